"""Golden tensors: outputs of transformations, layers, masks, balls and nets, through public names alone."""

import copy
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import blurnet

Parts = dict[str, Tensor]


class AnySize(nn.Module):
    """A net without weights for images of any size."""

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, 3, H, W) to four logits."""
        return F.adaptive_avg_pool2d(x.square(), 2).mean(dim=1).flatten(1)


def images(height: int, width: int, seed: int = 0) -> Tensor:
    """Two pictures (2, 3, H, W) in [0, 1]: one of noise, one smooth with a noisy patch."""
    generator = torch.Generator().manual_seed(seed)
    noise = torch.rand(3, height, width, generator=generator)
    coarse = torch.rand(1, 3, 4, 4, generator=generator)
    smooth = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)[0]
    smooth[:, 5:11, 6:13] = torch.rand(3, 6, 7, generator=generator)
    return torch.stack([noise, smooth])


def maps(channels: int, height: int, width: int, seed: int = 1) -> Tensor:
    """Feature maps (2, channels, H, W) about 0."""
    return torch.randn(2, channels, height, width, generator=torch.Generator().manual_seed(seed))


SIZES = ((24, 20), (33, 47))


def _settings(name: str, *choices: dict[str, Any]) -> dict[str, tuple[str, dict[str, Any]]]:
    return {f"{name}-{number}": (name, settings) for number, settings in enumerate(choices)}


#: Case to class and settings.
TRANSFORMS: dict[str, tuple[str, dict[str, Any]]] = {
    **_settings(
        "LGS",
        {},
        {"smoothing": 1.5, "threshold": 0.05},
        {"block": 7, "overlap": 3, "temperature": 0},
        {"maps": "channel", "stencil": "central"},
        {"stencil": "sobel", "padding": "none"},
        {"gate": "soft", "temperature": 0.1},
        {"block": 5, "overlap": 0, "low_pass": 3},
    ),
    **_settings(
        "Bilateral", {}, {"window": 3, "sigma_color": 0.2, "sigma_spatial": 2.0}, {"sigma_color": 0.3, "rule": "opencv"}
    ),
    **_settings("BitDepth", {}, {"bits": 5}, {"bits": 2, "rule": "truncate"}, {"bits": 4, "rule": "quantize"}),
    **_settings("Gaussian", {}, {"sigma": 0.6, "truncate": 3.0}, {"sigma": 2.0, "window": 5}),
    **_settings("JPEG", {}, {"quality": 30}, {"quality": 50, "subsampling": "4:4:4"}, {"rounding": "cubic"}),
    **_settings("Median", {}, {"size": 5}, {"size": 7}),
    **_settings(
        "NonLocalMeans",
        {"search": 5},
        {"search": 3, "patch": 5, "strength": 0.1},
        {"search": 5, "strength": 0.2, "rule": "scikit-image"},
    ),
    **_settings(
        "RandomResizePad",
        {},
        {"ratio": 1.5, "grow": False, "seed": 3},
        {"ratio": 1.3, "interpolation": "bilinear", "value": 0.5},
    ),
    **_settings(
        "TotalVariationMin",
        {},
        {"weight": 4.0, "isotropic": False, "iterations": 20},
        {"weight": 33.0, "drop": 0.5, "iterations": 3, "seed": 2},
    ),
    **_settings(
        "DigitalWatermark",
        {"share": 0.1},
        {"share": 0.05, "density": 0.1, "window": 5, "dilation": 3, "guided": False},
    ),
    **_settings(
        "Wavelet",
        {},
        {"method": "VisuShrink", "mode": "hard", "sigma": 0.05},
        {"levels": 2, "ycbcr": False},
        {"mode": "hard", "sigma": 0.1},
    ),
}


def transform(case: str) -> Parts:
    """Values of two calls, and the gradients that an adaptive attacker, BPDA and the transformation itself give."""
    name, settings = TRANSFORMS[case]
    kept: Parts = {}
    for height, width in SIZES:
        x, kind = images(height, width), getattr(blurnet, name)
        made = kind(net=AnySize().eval(), **settings) if name == "DigitalWatermark" else kind(**settings)
        model = nn.Sequential(made).eval()
        title = f"transform {case}/{height}x{width}"
        for call in ("first", "second") if made.random else ("value",):
            kept[f"{title} {call}"] = made(x)
        kept[f"{title} alone"] = _again(made)(x[1:])
        views = {"adaptive": blurnet.adaptive(model), "identity": blurnet.identity_bpda(model)}
        if made.differentiable:
            views["own"] = model
        for view, seen in views.items():
            _again(made)
            kept[f"{title} {view} gradient"] = _gradient(seen, x)
    return kept


def chain() -> Parts:
    """Transformations in a row, in front of a net."""
    x = images(24, 20)
    stages = (blurnet.JPEG(60), blurnet.LGS(), blurnet.BitDepth(4), blurnet.RandomResizePad(grow=False))
    model = blurnet.defend(AnySize().eval(), *stages)
    kept = {"chain/logits": model(x)}
    for view, seen in {"adaptive": blurnet.adaptive(model), "identity": blurnet.identity_bpda(model)}.items():
        for stage in stages:
            _again(stage)
        kept[f"chain/{view} gradient"] = _gradient(seen, x)
    return {**kept, "chain/pipeline": _again(blurnet.Pipeline(*stages))(x), "chain/lgs": blurnet.lgs(x)}


def _again(made: Any) -> Any:
    made.reset()
    return made


def _gradient(model: nn.Module, x: Tensor) -> Tensor:
    x = x.clone().requires_grad_()
    value = model(x)
    weights = torch.rand(value.shape, generator=torch.Generator().manual_seed(7)) - 0.3
    (gradient,) = torch.autograd.grad((value * weights).sum(), [x])
    return gradient


def _seeded(make: Callable[[], nn.Module], seed: int = 0) -> nn.Module:
    """A module whose parameters are drawn anew, those that begin at 0 too."""
    net, generator = make(), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    return net


def _layers() -> dict[str, tuple[Callable[[], nn.Module], int]]:
    """Case to layer and number of channels."""
    made: dict[str, tuple[Callable[[], nn.Module], int]] = {}
    for kernel in ("box", "binomial", "gaussian"):
        made[f"fixed-{kernel}"] = (lambda kernel=kernel: blurnet.FixedLowPass(3, kernel), 5)
    for padding in ("reflect", "zeros", "replicate"):
        made[f"fixed-5-{padding}"] = (lambda padding=padding: blurnet.FixedLowPass(5, padding=padding), 3)
    made["fixed-7"] = (lambda: blurnet.FixedLowPass(7), 4)
    for init in ("box", "binomial", "gaussian", "identity"):
        made[f"learned-{init}"] = (lambda init=init: blurnet.LearnedLowPass(4, 5, 0.1, init=init), 4)
    made["learned-drawn"] = (lambda: _seeded(lambda: blurnet.LearnedLowPass(6, 3, 0.2)), 6)
    for operation in ("gaussian", "dot", "mean", "median"):
        made[f"denoise-{operation}"] = (
            lambda operation=operation: _seeded(lambda: blurnet.FeatureDenoise(8, operation)),
            8,
        )
    made["denoise-plain"] = (lambda: _seeded(lambda: blurnet.FeatureDenoise(8, "gaussian", embed=False)), 8)
    made["total-variation"] = (lambda: blurnet.TotalVariation(1e-3), 4)
    for operator in ("hf", "diff", "pinv"):
        made[f"tikhonov-{operator}"] = (lambda operator=operator: blurnet.Tikhonov(1e-3, operator, 3), 4)
    made["tikhonov-window"] = (lambda: blurnet.Tikhonov(1e-2, "hf", 5), 4)
    return made


LAYERS = _layers()


def layer(case: str) -> Parts:
    """Values and gradients in both modes, and the penalty after training."""
    make, channels = LAYERS[case]
    kept: Parts = {}
    for height, width in ((12, 9), (17, 23)):
        for training in (True, False):
            module = make().train(training)
            x = maps(channels, height, width).requires_grad_()
            value = module(x)
            weights = torch.rand(value.shape, generator=torch.Generator().manual_seed(7)) - 0.3
            title = f"layer {case}/{height}x{width} {'training' if training else 'evaluation'}"
            total, found = (value * weights).sum(), blurnet.penalties(module)
            for penalty in found.values():
                kept[f"{title} penalty"] = penalty
                total = total + penalty
            inputs = [x, *module.parameters()]
            for name, gradient in zip(
                ("input", *(name for name, _ in module.named_parameters())),
                torch.autograd.grad(total, inputs, allow_unused=True),
                strict=True,
            ):
                if gradient is not None:
                    kept[f"{title} gradient of {name}"] = gradient
            kept[f"{title} value"] = value
    return kept


def masks() -> Parts:
    """Masks and places."""
    x = images(24, 20).repeat(2, 1, 1, 1)
    kept = {"octagon": blurnet.octagon(32), "octagon 17": blurnet.octagon(17)}
    kept |= {"stickers": blurnet.rp2_stickers(32), "stickers 48": blurnet.rp2_stickers(48)}
    kept["rectangles"] = blurnet.rectangles((9, 12), [(1, 4, 2, 7), (5, 9, 0, 3)])
    for where in ("border", "anywhere"):
        kept[f"place {where}"] = blurnet.Place(0.1, where, 3).masks(x)
    return {f"masks/{name}": value for name, value in kept.items()}


def balls() -> Parts:
    """Starts, steps and projections."""
    x, kept = images(24, 20), {}
    direction = maps(3, 24, 20, seed=5)
    for norm, radius in (("linf", 0.1), ("l2", 1.5), ("l1", 15.0)):
        ball, title = blurnet.Ball(norm, radius), f"balls/{norm}"
        kept[f"{title} start"] = ball.start(x, torch.Generator().manual_seed(3))
        kept[f"{title} step"] = ball.step(direction, radius / 2)
        kept[f"{title} step at the edge"] = ball.step(direction, radius / 2, ball.project(x + direction, x))
        kept[f"{title} project"] = ball.project(x + direction, x)
        kept[f"{title} distance"] = ball.distance(x + direction, x)
    return kept


def net(name: str) -> Parts:
    """Logits of a shipped model and their gradient, and its weights."""
    model, x = blurnet.load_model(name).eval(), images(32, 32)
    state = torch.cat([value.double().flatten() for _, value in sorted(model.state_dict().items())])
    summary = torch.stack([state.sum(), state.abs().sum(), state.square().sum()])
    title = f"net {name}"
    return {
        f"{title}/logits": model(x),
        f"{title}/gradient": _gradient(blurnet.adaptive(model) if blurnet.transforms_of(model) else model, x),
        f"{title}/weights": summary,
    }


def plain_nets() -> Parts:
    """The package's nets with drawn weights, and what is inserted into them."""
    x, kept = images(32, 32), {}
    for name, kind, classes in (("lisa", blurnet.LisaCNN, 18), ("gtsrb", blurnet.GtsrbCNN, 43)):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = kind(classes).eval()
        kept[f"plain nets/{name}"] = made(x)
        first = blurnet.first_conv(made)
        blurred = blurnet.insert_after(copy.deepcopy(made), first, blurnet.FixedLowPass(5)).eval()
        kept[f"plain nets/{name} after"] = blurred(x)
        blurred = blurnet.insert_before(copy.deepcopy(made), first, blurnet.FixedLowPass(3)).eval()
        kept[f"plain nets/{name} before"] = blurred(x)
    kept["plain nets/normalize"] = blurnet.Normalize((0.4, 0.5, 0.6), (0.2, 0.3, 0.25))(x)
    return kept


CASES: dict[str, Callable[[], Parts]] = {
    **{f"transform {case}": lambda case=case: transform(case) for case in TRANSFORMS},
    **{f"layer {case}": lambda case=case: layer(case) for case in LAYERS},
    **{f"net {name}": lambda name=name: net(name) for name in blurnet.list_models()},
    "chain": chain,
    "masks": masks,
    "balls": balls,
    "plain nets": plain_nets,
}


def compute(case: str) -> Parts:
    """A case's tensors, by names "case/part"."""
    return {name: value.detach() for name, value in CASES[case]().items()}
