"""Local gradients smoothing: darken the image where its gradients crowd."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.checks import check_images


def lgs(
    x: Tensor,
    smoothing: float = 2.3,
    block: int | None = None,
    overlap: int | None = None,
    threshold: float = 0.1,
    temperature: float = 0.05,
) -> Tensor:
    """Suppress the regions in which gradients are dense, as localized adversarial noise makes them.

    The gradient magnitude of the gray image (Eq. 5) is scaled to [0, 1] per image (Eq. 6), kept inside the windows
    whose mean exceeds ``threshold`` (Eq. 8), and the image is multiplied by ``1 - clip(smoothing * gradient, 0, 1)``
    (Eq. 7). An image without gradients comes back unchanged. No image's result depends on its batch.

    Where the paper is silent, this is the reading: gray is the mean over channels; gradients are forward differences
    (at the last row and column the one before); windows at the right and bottom border are partial, their mean
    taken over the pixels they have, so that no strip is left unprotected; a pixel counts if any window over it does.

    Args:
        x: images (N, C, H, W) in [0, 1], at least 2 x 2 pixels, before any normalisation.
        smoothing: the paper's lambda, 0 (identity) and up; the paper tries 1.5 to 2.3.
        block: side of the windows in pixels, at most the image's shorter side. None: the paper's 15, and on images
            whose shorter side is below 60 pixels a quarter of that side (8 at 32 x 32).
        overlap: pixels that neighbouring windows share, below ``block``. None: a third of the block, as 5 of 15.
        threshold: mean of the scaled gradient above which a window is kept, the paper's gamma.
        temperature: the gate's gradient is that of ``sigmoid((mean - threshold) / temperature)``, averaged over the
            windows at a pixel, straight through its hard value; 0 gives none, which is exact except at the threshold.

    Returns:
        Images (N, C, H, W) in [0, 1].

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Naseer et al. 2019, "Local Gradients Smoothing", Eq. 5-8.
    """
    _check_settings(smoothing, block, overlap, threshold, temperature)
    if not torch.compiler.is_compiling():
        check_images(x, channels=None)
    side = min(x.shape[-2:])
    block = min(15, max(side // 4, 2)) if block is None else block
    overlap = block // 3 if overlap is None else overlap
    if side < 2 or block > side or overlap >= block:
        raise ValueError(f"lgs: block {block} with overlap {overlap} does not fit images {tuple(x.shape)}")
    gradient = _scaled(_magnitude(x.mean(dim=1, keepdim=True)))
    dense = _dense(gradient, block, block - overlap, threshold, temperature)
    return x * (1 - (smoothing * gradient * dense).clamp(max=1))


class LGS(nn.Module):
    """:func:`lgs` as a module, to stand in front of a net; arguments and images as there."""

    def __init__(
        self,
        smoothing: float = 2.3,
        block: int | None = None,
        overlap: int | None = None,
        threshold: float = 0.1,
        temperature: float = 0.05,
    ) -> None:
        super().__init__()
        _check_settings(smoothing, block, overlap, threshold, temperature)
        self.smoothing, self.block, self.overlap = smoothing, block, overlap
        self.threshold, self.temperature = threshold, temperature

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same shape and range."""
        return lgs(x, self.smoothing, self.block, self.overlap, self.threshold, self.temperature)

    def extra_repr(self) -> str:
        """The arguments, for ``print(net)``."""
        return f"smoothing={self.smoothing:g}, block={self.block}, overlap={self.overlap}, threshold={self.threshold:g}"


def _magnitude(gray: Tensor) -> Tensor:
    """Gradient magnitude of (N, 1, H, W) by forward differences, the last one repeated; same shape."""
    across = F.pad(gray.diff(dim=-1), (0, 1, 0, 0), mode="replicate")
    down = F.pad(gray.diff(dim=-2), (0, 0, 0, 1), mode="replicate")
    square = across.square() + down.square()
    # The square root has an infinite slope at 0: flat pixels take gradient 0.
    return torch.where(square > 0, torch.where(square > 0, square, 1.0).sqrt(), 0.0)


def _scaled(magnitude: Tensor) -> Tensor:
    """Each image's magnitude scaled to [0, 1]; 0 for an image whose gradients differ by rounding errors only."""
    low, high = magnitude.amin(dim=(-2, -1), keepdim=True), magnitude.amax(dim=(-2, -1), keepdim=True)
    flat = high - low <= 8 * torch.finfo(magnitude.dtype).eps
    return torch.where(flat, 0.0, (magnitude - low) / torch.where(flat, 1.0, high - low))


def _dense(gradient: Tensor, block: int, stride: int, threshold: float, temperature: float) -> Tensor:
    """1 at the pixels under any window whose mean exceeds the threshold, else 0; (N, 1, H, W)."""
    mean = F.avg_pool2d(gradient, block, stride, ceil_mode=True, count_include_pad=False)
    dense = (_spread((mean > threshold).to(gradient), block, stride, gradient) > 0).to(gradient)
    if temperature > 0 and torch.is_grad_enabled():
        gate = torch.sigmoid((mean - threshold) / temperature)
        soft = _spread(gate, block, stride, gradient) / _spread(torch.ones_like(gate), block, stride, gradient)
        dense = dense + (soft - soft.detach())
    return dense


def _spread(values: Tensor, block: int, stride: int, like: Tensor) -> Tensor:
    """Each pixel's sum over the windows that cover it, one value a window; the shape of ``like``."""
    total = F.conv_transpose2d(values, values.new_ones(1, 1, block, block), stride=stride)
    return total[..., : like.shape[-2], : like.shape[-1]]


def _check_settings(
    smoothing: float, block: int | None, overlap: int | None, threshold: float, temperature: float
) -> None:
    for name, value in {"smoothing": smoothing, "threshold": threshold, "temperature": temperature}.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"lgs {name}: expected a finite number from 0, got {value!r}")
    if block is not None and block < 1:
        raise ValueError(f"lgs block: expected a positive number of pixels, got {block!r}")
    if overlap is not None and (overlap < 0 or (block is not None and overlap >= block)):
        raise ValueError(f"lgs overlap: expected from 0 to below the block {block}, got {overlap!r}")
