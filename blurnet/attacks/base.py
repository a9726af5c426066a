"""What every attack does the same way: guard its input, work in any mode, leave the model as it was."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import final

import torch
from torch import Tensor

from blurnet.checks import check_images, check_labels, check_logits
from blurnet.modes import attacking

Model = Callable[[Tensor], Tensor]


class Attack(ABC):
    """An attack as a value: its settings are frozen, the model is an argument.

    ``attack(model, images, labels)`` returns adversarial images of the same shape; ``repr(attack)`` is its line in
    a report. Subclasses are frozen dataclasses that implement :meth:`run`.
    """

    @final
    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Attack a batch.

        Works under ``torch.inference_mode`` and ``no_grad`` too. While it runs, a module is in evaluation mode and
        its parameters take no gradient; both are restored.

        Args:
            model: images in [0, 1] to logits (N, classes); a module or any callable.
            images: (N, 3, H, W) in [0, 1].
            labels: true classes (N,), integers.

        Returns:
            Adversarial images (N, 3, H, W) in [0, 1], detached.

        Raises:
            TypeError, ValueError: bad images, labels or logits; the message shows what came.
        """
        with prepared(model, images, labels) as (x, y):
            return self.run(model, x, y).detach()

    @abstractmethod
    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """The attack itself, on checked input, with gradients enabled and the model in evaluation mode."""


@contextmanager
def prepared(model: Model, images: Tensor, labels: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Everything a call does before an attack runs: copies of checked images and int64 labels, under `attacking`.

    For attacks that have a second way in, such as ``detailed``.

    Raises:
        TypeError, ValueError: bad images, labels or logits; the message shows what came.
    """
    check_images(images)
    check_labels(labels, n=len(images))
    with attacking(model):
        # Copies: tensors made in inference mode cannot be saved for a backward pass.
        x, y = images.detach().clone(), labels.to(images.device, torch.int64, copy=True)
        with torch.no_grad():
            logits = model(x)
        check_logits(logits, n=len(x))
        check_labels(y, n=len(x), classes=logits.shape[1])
        yield x, y
