"""What the transformations share: borders, working precision, range, and blocks that fit the cache."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.bpda import bpda
from blurnet.checks import check_form, check_images, check_range

T = TypeVar("T")
Block = Callable[[Tensor], Tensor]


def prepare(x: Tensor, channels: int | None = None, values: bool = True) -> Tensor:
    """Check images and give them in the precision to work in: half types as float32, others as they are.

    Args:
        x: images (N, C, H, W) in [0, 1].
        channels: the only number of channels allowed; None allows any.
        values: whether to check the pixels too; not needed before :func:`by_blocks`, which does it in the cache.

    Raises:
        TypeError, ValueError: as :func:`blurnet.checks.check_images`.
    """
    if not torch.compiler.is_compiling():
        (check_images if values else check_form)(x, channels=channels)
    return x.float() if x.dtype in (torch.float16, torch.bfloat16) else x


def records(x: Tensor) -> bool:
    """Whether operations on ``x`` are recorded, for a gradient or by a compiler: then none may write in place."""
    return torch.compiler.is_compiling() or (x.requires_grad and torch.is_grad_enabled())


def rounded_into_range(y: Tensor, dtype: torch.dtype) -> Tensor:
    """Averages of pixels, in [0, 1] but for rounding, brought into it in ``dtype``; the gradient passes unchanged.

    A plain clamp would stop the gradient wherever a white pixel rounds to just above 1.
    """
    y = y.to(dtype)
    if y.requires_grad and torch.is_grad_enabled():
        return bpda(y.detach().clamp(0, 1), y)
    return y.clamp_(0, 1)


def symmetric(x: Tensor, rows: int, columns: int) -> Tensor:
    """Images (..., H, W) continued by ``rows`` and ``columns`` on either side, mirrored at the edge of the last pixel.

    The border d c b a | a b c d | d c b a: scipy's mode "reflect", numpy's "symmetric". Any size of border.
    """
    return _mirror(_mirror(x, -2, rows), -1, columns)


def _mirror(x: Tensor, dim: int, border: int) -> Tensor:
    size = x.shape[dim]
    if border <= size:
        before, after = x.narrow(dim, 0, border), x.narrow(dim, size - border, border)
        return torch.cat([before.flip(dim), x, after.flip(dim)], dim) if border else x
    place = torch.arange(-border, size + border, device=x.device) % (2 * size)
    return x.index_select(dim, torch.minimum(place, 2 * size - 1 - place))


def reflect(x: Tensor, border: int) -> Tensor:
    """Images (N, C, H, W) continued by ``border`` pixels, mirrored at the middle of the last pixel; any size.

    The border d c b | a b c d | c b a: numpy's "reflect", OpenCV's BORDER_REFLECT_101. One pixel repeats.
    """
    if border < min(x.shape[-2:]):
        return F.pad(x, (border,) * 4, mode="reflect") if border else x
    for dim in (-2, -1):
        x = reflected(x, dim, -border, x.shape[dim] + border)
    return x


def reflected(x: Tensor, dim: int, start: int, stop: int) -> Tensor:
    """Places ``start`` to below ``stop`` along an axis of images that :func:`reflect` would mirror without end."""
    last = max(x.shape[dim] - 1, 1)
    place = torch.arange(start, stop, device=x.device) % (2 * last)
    return x.index_select(dim, torch.minimum(place, 2 * last - place).clamp(max=x.shape[dim] - 1))


def by_planes(function: Block, x: Tensor, numbers: int = 2**18) -> Tensor:
    """``function(x)`` for one that treats every channel alone: :func:`by_blocks` over planes (N C, 1, H, W)."""
    return by_blocks(function, x.flatten(0, 1)[:, None], numbers).view(x.shape)


def by_blocks(function: Block, x: Tensor, numbers: int = 2**18, result: torch.Size | None = None) -> Tensor:
    """``function(x)``, on a CPU over slices of the batch small enough that temporaries stay in the cache.

    Args:
        function: treats every image alone.
        x: images (N, ...) of any shape; each slice is checked to be in [0, 1].
        numbers: how many values a slice may hold for each of torch's threads; it has one image at least.
        result: shape of the result of one image, if it is not that of the image.

    Raises:
        ValueError: as :func:`blurnet.checks.check_range`.
    """
    if torch.compiler.is_compiling():
        return function(x)
    if not x.is_cpu or (x.requires_grad and torch.is_grad_enabled()):
        check_range(x)
        return function(x)

    def fill(part: Tensor, target: Tensor) -> None:
        target.copy_(function(part))

    return fill_blocks(fill, x, numbers, result)


def fill_blocks(
    fill: Callable[[Tensor, Tensor], object], x: Tensor, numbers: int = 2**20, result: torch.Size | None = None
) -> Tensor:
    """:func:`by_blocks` for ``fill(images, target)``, which writes its result into ``target``; records no gradient."""
    if torch.compiler.is_compiling():  # a traced program checks no values and knows no number of images
        whole = x.new_empty(x.shape[0], *(x.shape[1:] if result is None else result))
        fill(x, whole)
        return whole
    count = max(1, numbers * torch.get_num_threads() // x[0].numel())
    count = count if x.is_cpu else len(x)
    # Every thread works on every operation. Threads of Python's that take a slice each wait for its lock so often
    # that they gain less.
    out = x.new_empty(len(x), *(x.shape[1:] if result is None else result))
    with torch.no_grad():
        for start in range(0, len(x), count):
            part = x[start : start + count]
            check_range(part)
            fill(part, out[start : start + count])
    return out


def fill_each(fill: Callable[[Tensor, Tensor], object], x: Tensor, numbers: int) -> Tensor:
    """What ``fill(image, target)`` writes for each image of ``x`` on the CPU, in Python threads; no gradients.

    For libraries that take one image at a time and work outside of Python's lock.

    Args:
        fill: writes its result for one image into a target of the same shape.
        x: images or planes (N, ...); each is checked to be in [0, 1] just before it is used, while it is in the cache.
        numbers: how many values a thread's share has at least; to start a thread for fewer takes longer than the work.

    Raises:
        ValueError: as :func:`blurnet.checks.check_range`.
    """
    out = torch.empty_like(x, memory_format=torch.contiguous_format)
    # Four shares a thread: enough to spread the work evenly, few enough to wait seldom for Python's lock.
    shares = min(len(x), 4 * torch.get_num_threads(), max(x.numel() // numbers, 1))

    def run(i: int) -> None:
        for image, target in zip(x[i::shares], out[i::shares], strict=True):
            check_range(image)
            fill(image, target)

    side_by_side(run, shares)
    return out


def side_by_side(function: Callable[[int], T], count: int, each: int | None = None) -> list[T]:
    """``function`` of 0 to ``count - 1`` in Python threads that share torch's number of threads; no gradients.

    For work on one image at a time that happens outside of Python's lock.

    Args:
        function: takes a number.
        count: of the numbers.
        each: how many of torch's threads each of Python's has, where results may not depend on it; None: its share.
    """
    threads, inference = torch.get_num_threads(), torch.is_inference_mode_enabled()
    workers = min(count, threads)
    each = each or threads // workers

    def run(i: int) -> T:
        with torch.inference_mode(inference), torch.no_grad():  # threads begin with gradients on
            return function(i)

    if workers == 1 and each == threads:
        return [run(i) for i in range(count)]
    # The setting holds for the worker alone, but is also what threads to come begin with: that is put back.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(each,)) as pool:
        try:
            return list(pool.map(run, range(count)))
        finally:
            torch.set_num_threads(threads)
