"""Masked views of images, shown to a model in full batches, and the gradient through them."""

from collections.abc import Iterator
from contextvars import copy_context
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from blurnet.bpda import with_pullback
from blurnet.certified.base import Model


@dataclass(frozen=True, eq=False)
class Views:
    """How views are made: hidden pixels have one value, all others are the image's, bit for bit.

    What is hidden is chosen, not multiplied away: nothing of it is left, were it NaN.

    Args:
        model: images to logits.
        hidden: where each mask hides the image, (M, H, W) bool.
        fill: the value of hidden pixels, in [0, 1].
        batch: views shown to the model at once.
    """

    model: Model
    hidden: Tensor
    fill: float
    batch: int

    def answers(self, images: Tensor, places: Tensor) -> Iterator[tuple[slice, Tensor]]:
        """The model's logits of views, batch after batch.

        Args:
            images: (N, C, H, W).
            places: views (V, 2 or more): the number of an image, and those of the masks that hide it.

        Yields:
            Which of the views, and their logits (at most ``batch``, classes) in float32 at least.
        """
        layout = layout_of(self.model)
        for start in range(0, len(places), self.batch):
            part = slice(start, min(start + self.batch, len(places)))
            logits = self.model(self.made(images, places[part]).contiguous(memory_format=layout))
            _check(logits, part.stop - start)
            yield part, logits if logits.dtype == torch.float64 else logits.float()

    def made(self, images: Tensor, places: Tensor) -> Tensor:
        """The views themselves, (V, C, H, W)."""
        image, *masks = places.unbind(1)
        hidden = self.hidden[masks[0]]
        for mask in masks[1:]:
            hidden = hidden | self.hidden[mask]
        return torch.where(hidden[:, None], self.fill, images[image])

    def steered(self, images: Tensor, value: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        """``value`` with the gradient of a weighted sum of the logits of views, for whoever attacks the defense.

        The views are made and answered again when the gradient is asked for, a batch at a time, so that memory does
        not grow with their number. Rules for gradients that hold now (``blurnet.adaptive``) hold then.

        Args:
            images: (N, C, H, W).
            value: logits (N, classes).
            places: views, as in :meth:`answers`.
            weights: of each view in the sum of its image, (V,).
        """
        rules = copy_context()

        def summed(x: Tensor, part: slice) -> Tensor:
            logits = self.model(self.made(x, places[part]))
            whole = torch.zeros_like(value, dtype=logits.dtype)
            return whole.index_add(0, places[part, 0], logits * weights[part, None].to(logits.dtype))

        def pullback(x: Tensor, upstream: Tensor) -> Tensor:
            total = torch.zeros_like(x)
            for start in range(0, len(places), self.batch):
                with torch.enable_grad():
                    leaf = x.detach().requires_grad_()
                    out = rules.run(summed, leaf, slice(start, start + self.batch))
                total += torch.autograd.grad(out, leaf, upstream.to(out.dtype))[0]
            return total

        return with_pullback(value, images, pullback)


def layout_of(model: Model) -> torch.memory_format:
    """Channels last where a model's convolutions have their weights so, which is faster on many processors."""
    weights = (p for p in model.parameters() if p.ndim == 4) if isinstance(model, nn.Module) else iter(())
    first = next((p for p in weights if p.shape[1] > 1 and p.shape[2:].numel() > 1), None)
    last = first is not None and first.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if last else torch.contiguous_format


def _check(logits: Tensor, n: int) -> None:
    if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != n:
        got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"certified defense: the model must return logits ({n}, classes), got {got}")
