"""The one forward pass of the clean images, which logits and pixel gradients come from."""

from collections.abc import Callable

import torch
from torch import Tensor

from blurnet.attacks.engine.ascent import pixel_gradient


class CleanPass:
    """A model's forward pass over clean images, kept with its graph while gradients of it are still expected.

    The pass is made when it is first asked for. Until the last expected gradient has been taken, the graph holds the
    activations of all images: as much memory as one more step of an attack on all of them. A gradient costs a
    backward pass of all images, however few it is asked for.

    Args:
        model: images to logits.
        images: (N, 3, H, W), detached.
        expected: how many gradients will be asked for at most. One more than that is given too, at one more pass.
    """

    def __init__(self, model: Callable[[Tensor], Tensor], images: Tensor, expected: int) -> None:
        self.model, self.images, self.expected = model, images, expected
        self._graph: tuple[Tensor, Tensor] | None = None

    def logits(self) -> Tensor:
        """The model's logits of the images, (N, classes), detached."""
        with torch.set_grad_enabled(self.expected > 0):
            logits = self._run()[1]
        # What is no tensor is shown as it is to the checks of the caller.
        return logits.detach() if isinstance(logits, Tensor) else logits

    def gradient(self, rows: Tensor, objective: Callable[[Tensor], Tensor]) -> Tensor:
        """The pixel gradient (n, 3, H, W) of an objective of some images.

        Args:
            rows: indices of the images, (n,); one that comes twice has twice its gradient.
            objective: their logits (n, classes) to (n,).

        Raises:
            RuntimeError: the model gives no gradient.
        """
        images, logits = self._run()
        self.expected -= 1
        if self.expected <= 0:
            self._graph = None
        value = objective(logits[rows]).sum()
        return pixel_gradient(value, images, images, keep=self.expected > 0)[rows]

    def _run(self) -> tuple[Tensor, Tensor]:
        """The images as leaves and their logits; kept where a gradient is expected."""
        if self._graph is not None:
            return self._graph
        images = self.images.detach().requires_grad_(torch.is_grad_enabled())
        graph = images, self.model(images)
        if self.expected > 0:
            self._graph = graph
        return graph
