"""The gradient through the last iterations of a deep image prior, with respect to the image that it draws."""

from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call

from blurnet.transforms.deep_image_prior.fit import Fit
from blurnet.transforms.deep_image_prior.settings import DeepImagePriorSettings


def unrolled(x: Tensor, settings: DeepImagePriorSettings, seed: int) -> Tensor:
    """The average of outputs after all iterations, the last ``settings.unroll`` steps that an output sees recorded.

    Args:
        x: images (N, C, H, W) in [0, 1], float32 or float64.
        settings: of the run.
        seed: of its draws.

    Returns:
        (N, C, H, W), differentiable in ``x``: what the target of the last steps does to weights and so to outputs. What
        the image did to the weights and Adam's moments before is taken as given.
    """
    return torch.cat([_unrolled(image[None], settings, seed) for image in x])


def _unrolled(x: Tensor, settings: DeepImagePriorSettings, seed: int) -> Tensor:
    with torch.inference_mode(False), torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
        fit = Fit(x.detach().clone(), settings, seed)
        for _ in range(settings.iterations - settings.unroll - 1):  # no output sees the weights after the last
            fit.step()
        adam, target = _Adam(fit), fit.continued(x)
        drawn = adam.draw(fit)
        average = fit.moved(fit.average, fit.cut(drawn))
        for _ in range(settings.unroll):
            adam.step(fit.loss(drawn, target))
            drawn = adam.draw(fit)
            average = fit.moved(average, fit.cut(drawn))
        return average


class _Adam:
    """Adam from where a fit's has come, its steps recorded."""

    def __init__(self, fit: Fit) -> None:
        group: dict[str, Any] = fit.adam.param_groups[0]
        self.lr, self.betas, self.eps = group["lr"], group["betas"], group["eps"]
        self.weights = {name: p.detach().clone().requires_grad_() for name, p in fit.nets.named_parameters()}
        states = [fit.adam.state.get(p, {}) for p in fit.nets.parameters()]
        self.count = int(states[0]["step"]) if states[0] else 0
        self.first, self.second = (
            [
                state[key].clone() if state else torch.zeros_like(p)
                for state, p in zip(states, fit.nets.parameters(), strict=True)
            ]
            for key in ("exp_avg", "exp_avg_sq")
        )

    def draw(self, fit: Fit) -> Tensor:
        """What the fit's nets draw with the present weights."""
        drawn: Tensor = functional_call(fit.nets, self.weights, (fit.perturbed(),))
        return drawn

    def step(self, loss: Tensor) -> None:
        """Move the weights; how they depend on the loss's target stays recorded."""
        gradients = torch.autograd.grad(loss, list(self.weights.values()), create_graph=True)
        self.count += 1
        rise, spread = (1 - beta**self.count for beta in self.betas)
        self.first = [m.lerp(g, 1 - self.betas[0]) for m, g in zip(self.first, gradients, strict=True)]
        self.second = [
            v * self.betas[1] + (1 - self.betas[1]) * g.square() for v, g in zip(self.second, gradients, strict=True)
        ]
        moved = {}
        for (name, weight), m, v in zip(self.weights.items(), self.first, self.second, strict=True):
            # Where a gradient is exactly 0 so is its square's: the root has no slope there.
            root = torch.where(v > 0, v, 1.0).sqrt().where(v > 0, 0.0)
            moved[name] = weight - self.lr / rise * m / (root / spread**0.5 + self.eps)
        self.weights = moved
