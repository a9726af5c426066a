"""Local gradients smoothing without gradients: few passes over cache-sized chunks of the batch."""

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.checks import check_images
from blurnet.filters import GAIN, Windows, depthwise, derivatives, gaussian
from blurnet.transforms.lgs.settings import LGSSettings

#: Pixels a chunk: on a CPU its maps stay in the cache that the cores share, on a GPU they stay small beside the batch.
CPU_CHUNK, GPU_CHUNK = 2**20, 2**25


def lgs_fast(x: Tensor, settings: LGSSettings, windows: Windows) -> Tensor:
    """The values of :func:`blurnet.transforms.lgs.lgs.lgs` with its hard gate; records no gradient.

    Besides the result it takes memory for three maps of a chunk's images, whatever the batch.
    """
    out = torch.empty_like(x)
    limit = CPU_CHUNK if x.device.type == "cpu" else GPU_CHUNK
    size = min(len(x), max(1, limit // (windows.height * windows.width)))
    dtype = torch.promote_types(x.dtype, torch.float32)
    maps = 1 if settings.maps == "gray" else x.shape[1]
    buffers = torch.zeros(2, size, maps, *windows.padded, dtype=dtype, device=x.device).unbind()
    for start in range(0, len(x), size):
        images, result = x[start : start + size], out[start : start + size]
        check_images(images, channels=None)  # here, where it brings the images into the cache
        _smooth(images.to(dtype), result, settings, windows, *(buffer[: len(images)] for buffer in buffers))
    return out


def _smooth(x: Tensor, out: Tensor, settings: LGSSettings, windows: Windows, magnitude: Tensor, other: Tensor) -> None:
    """One chunk, in place in ``out``; the last two are scratch maps of the padded size.

    The scaled gradient (g - low) / span is never written: its window means and its product with the smoothing are
    affine in the magnitude g.
    """
    height, width = windows.height, windows.width
    scratch = out[:, :1] if out.dtype == x.dtype else None  # nothing stands there yet
    scale = _magnitude_into(x, settings, windows, magnitude, other, scratch)
    flat = magnitude.flatten(1)  # the padding repeats pixels of the image: it holds no other values
    low, high = flat.amin(dim=1).view(-1, 1, 1, 1), flat.amax(dim=1).view(-1, 1, 1, 1)
    span = high - low
    varied = span > 8 * torch.finfo(magnitude.dtype).eps * scale
    dense = (_means(magnitude, windows) - low > settings.threshold * span) & varied
    slope = torch.where(varied, settings.smoothing / torch.where(varied, span, 1.0), 0.0)
    rows = _cover(dense, windows)  # (n, 1, cells down, padded width)
    factor = torch.where(rows, slope, 0.0)
    cells = (*magnitude.shape[:2], -1, windows.cell, magnitude.shape[-1])
    offset = (-low * factor).unsqueeze(3)
    torch.addcmul(offset, magnitude.view(cells), factor.unsqueeze(3), out=other.view(cells)).clamp_(0, 1)
    u = other[..., :height, :width]
    if settings.low_pass:
        inside = rows.repeat_interleave(windows.cell, dim=2)[..., :height, :width]
        x = torch.where(inside, low_passed(x, settings.low_pass), x)
    if x.dtype == out.dtype:
        torch.addcmul(x, x, u, value=-1, out=out)
    else:
        out.copy_(torch.addcmul(x, x, u, value=-1))


def low_passed(x: Tensor, size: int) -> Tensor:
    """Images through a Gaussian of ``size`` pixels, still in [0, 1]."""
    return depthwise(x, gaussian(size).to(x.device)).clamp(0, 1)


def _magnitude_into(
    x: Tensor, settings: LGSSettings, windows: Windows, magnitude: Tensor, other: Tensor, scratch: Tensor | None
) -> float:
    """Write the gradient's size, padded by reflection; returns its unit: the largest slope of one pixel step.

    ``scratch`` is a map that may be written to, else one is made.
    """
    height, width = windows.height, windows.width
    source, gain = x, GAIN[settings.stencil]
    if settings.maps == "gray":  # the sum over channels: min-max scaling takes the mean's factor away
        first, *others = x.split_with_sizes([1] * x.shape[1], dim=1)
        source, gain = first, gain * x.shape[1]
        for channel in others:
            source = torch.add(first, channel, out=scratch) if source is first else source.add_(channel)
    across, down = magnitude[..., :height, :width], other[..., :height, :width]
    if settings.stencil == "forward":
        torch.sub(source[..., 1:], source[..., :-1], out=across[..., :-1])
        torch.sub(source[..., 1:, :], source[..., :-1, :], out=down[..., :-1, :])
        across[..., -1] = across[..., -2]
        down[..., -1, :] = down[..., -2, :]
    else:
        for target, values in zip((across, down), derivatives(source, settings.stencil), strict=True):
            target.copy_(values)
    magnitude.mul_(magnitude).addcmul_(other, other).sqrt_()
    bottom, right = (padded - size for padded, size in zip(windows.padded, (height, width), strict=True))
    if bottom:
        magnitude[..., height:, :] = magnitude[..., height - 1 - bottom : height - 1, :].flip(-2)
    if right:
        magnitude[..., width:] = magnitude[..., width - 1 - right : width - 1].flip(-1)
    return gain


def _means(magnitude: Tensor, windows: Windows) -> Tensor:
    """Mean of each window over its pixels and maps, (n, 1, rows, columns)."""
    cell, block, stride = windows.cell, windows.block, windows.stride
    sums = magnitude.view(*magnitude.shape[:2], -1, cell, magnitude.shape[-1]).sum(
        dim=3
    )  # adds whole rows, which a pooling does pixel by pixel
    strips = sums[..., :: stride // cell, :][..., : windows.rows, :].clone()
    for step in range(1, block // cell):
        strips += sums[..., step :: stride // cell, :][..., : windows.rows, :]
    means = F.avg_pool2d(strips, (1, block), (1, stride))[..., : windows.columns] / block
    return means if means.shape[1] == 1 else means.mean(dim=1, keepdim=True)


def _cover(dense: Tensor, windows: Windows) -> Tensor:
    """Whether any dense window covers a pixel: (n, 1, cells down, padded width), each row for a row of cells."""
    cell = windows.cell
    steps, every = windows.block // cell, windows.stride // cell
    down, across = (size // cell for size in windows.padded)
    columns = dense.new_zeros(*dense.shape[:3], across)
    for step in range(steps):
        columns[..., step::every][..., : windows.columns] |= dense
    columns = columns.repeat_interleave(cell, dim=-1)
    covered = dense.new_zeros(*dense.shape[:2], down, columns.shape[-1])
    for step in range(steps):
        covered[..., step::every, :][..., : windows.rows, :] |= columns
    return covered
