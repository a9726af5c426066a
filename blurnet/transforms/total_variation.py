"""Total-variation minimization by split Bregman, as scikit-image runs it, and from half of the pixels (Guo et al.)."""

import math
from dataclasses import dataclass, field
from typing import Annotated

import torch
from torch import Tensor

from blurnet.bounds import Bounds, Count, Positive
from blurnet.checks import check_mask
from blurnet.filters import forward_differences
from blurnet.settings import Settings, takes
from blurnet.transforms._blocks import by_blocks, by_planes, prepare, records, rounded_into_range
from blurnet.transforms.base import Transform

# Both systems have the penalty 2 weight, so that neighbours count 2, the image 1, and 2 / 9 is one neighbour's share.
_SHARE = 2 / 9

Pair = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class TotalVariationSettings(Settings):
    """Of :func:`total_variation_min`.

    Args:
        weight: above 0; *smaller is smoother*. The paper tries 10, 20 and 30.
        isotropic: whether the two components of the gradient shrink together.
        iterations: at most that many.
        tolerance: a channel is done when the root mean square of its change in an iteration is at most this.
    """

    weight: Positive = 10.0
    isotropic: bool = True
    iterations: Count = 100
    tolerance: Positive = 1e-3


@dataclass(frozen=True)
class MaskedTotalVariationSettings(TotalVariationSettings):
    """Of :func:`masked_total_variation_min`: those of :class:`TotalVariationSettings` and one more.

    Args:
        weight: Guo et al.: 1 / 0.03; Athalye et al.: 2 / 0.03.
        isotropic: Guo et al. True, Athalye et al. False.
        tolerance: Guo et al. 0.01, Athalye et al. 0.001.
        sweeps: of the linear system in each iteration.
    """

    weight: Positive = 1 / 0.03
    tolerance: Positive = 0.01
    sweeps: Count = 10


@takes(TotalVariationSettings)
def total_variation_min(x: Tensor, settings: TotalVariationSettings) -> Tensor:
    """Few iterations of split Bregman for ``min sum |gradient u| + weight / 2 |u - x|^2``, the reading of LGS's paper.

    Agrees with ``skimage.restoration.denoise_tv_bregman(channel, weight, iterations, tolerance, isotropic)`` of each
    channel to 5e-4, iteration by iteration, with its borders and its isotropic shrinkage of gradients of size s to
    ``s^2 / (s + 1 / (2 weight))``. Its sequential Gauss-Seidel sweep is solved for all pixels at once. Given colour
    images, the library differs a little from itself: without ``channel_axis`` all channels stop together (its only
    way when the paper was written), and with it the second and third start from what the one before left in memory.

    Args:
        x: images (N, C, H, W) in [0, 1], at least 2 x 2 pixels.
        settings: the fields of :class:`TotalVariationSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1]; the gradient is that of the iterations.

    Raises:
        TypeError, ValueError: bad images or settings.

    Source: Goldstein & Osher 2009; Naseer et al. 2019, Table 1 (TVM, weights 10, 20, 30, scikit-image).
    """
    images = _prepared(x)
    return rounded_into_range(by_planes(lambda part: _bregman(part, settings), images, 2**17), x.dtype)


@takes(MaskedTotalVariationSettings)
def masked_total_variation_min(x: Tensor, kept: Tensor, settings: MaskedTotalVariationSettings) -> Tensor:
    """Rebuild an image from some of its values: as above, with the distance to the image where ``kept`` is 1 only.

    Follows the masked Bregman of Guo et al., with two differences: sweeps go over the two colours of a chessboard
    instead of pixel by pixel, and a dropped value at the border is the mean of the neighbours it has (theirs divides
    by 4 there, too). Both go to the same minimum inside; stopped at the tolerance of 0.01 they differ by less.

    Args:
        x: images (N, C, H, W) in [0, 1], at least 2 x 2 pixels.
        kept: zeros and ones that broadcast over ``x``, for each image alike: (1, C, H, W) or (1, 1, H, W).
        settings: the fields of :class:`MaskedTotalVariationSettings`, as arguments of their own.

    Returns:
        Images (N, C, H, W) in [0, 1]; the gradient is that of the iterations, and reaches kept values only.

    Raises:
        TypeError, ValueError: bad images, mask or settings.

    Source: Guo et al. 2018, "Countering Adversarial Images using Input Transformations".
    """
    images = _prepared(x)
    if kept.shape[1] != 1 and kept.shape[1:] != x.shape[1:]:
        raise ValueError(f"total variation: kept {tuple(kept.shape)} does not fit images {tuple(x.shape)}")
    check_mask(kept[:, :1], x[:1], "total variation: kept")
    kept = kept.to(images)
    return by_blocks(lambda part: rounded_into_range(_masked_bregman(part, kept, settings), images.dtype), images).to(
        x.dtype
    )


@dataclass(frozen=True)
class TotalVariationMinSettings(Settings):
    """Of :class:`TotalVariationMin`; the others are those of :class:`TotalVariationSettings`.

    Args:
        weight: smaller is smoother.
        drop: share of the values (of every channel alone) that are dropped at random before the image is rebuilt;
            0 is the paper's reading, 0.5 Guo et al.'s (with ``weight`` 1 / 0.03).
        tolerance: None takes 0.001, and 0.01 with ``drop``.
        seed: of the values dropped.
    """

    weight: Positive = 10.0
    drop: Annotated[float, Bounds("a share from 0 to below 1", 0, math.nextafter(1, 0))] = 0.0
    isotropic: bool = True
    iterations: Count = field(default=100, repr=False)
    tolerance: Positive | None = None
    seed: int = field(default=0, repr=False)

    @property
    def iteration(self) -> TotalVariationSettings | MaskedTotalVariationSettings:
        """The settings of the function that does it."""
        kind = MaskedTotalVariationSettings if self.drop else TotalVariationSettings
        tolerance = kind.tolerance if self.tolerance is None else self.tolerance
        return kind(self.weight, self.isotropic, self.iterations, tolerance)


class TotalVariationMin(Transform):
    """Total-variation minimization as a module: :func:`total_variation_min`, or with ``drop`` the masked reading.

    Differentiable through its iterations, so it is its own surrogate; random where it drops values.

    Args:
        settings: the fields of :class:`TotalVariationMinSettings`, as arguments of their own.
    """

    differentiable = True
    tolerance: float

    @takes(TotalVariationMinSettings)
    def __init__(self, settings: TotalVariationMinSettings) -> None:
        super().__init__(settings.seed)
        self.settings, self._iteration = settings, settings.iteration
        self.tolerance = self._iteration.tolerance
        self.random = settings.drop > 0

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] to the same."""
        if not isinstance(self._iteration, MaskedTotalVariationSettings):
            return total_variation_min(x, self._iteration)
        kept = (torch.rand(1, *x.shape[1:], generator=self.generator()) >= self.settings.drop).to(x)
        return masked_total_variation_min(x, kept, self._iteration)


def _prepared(x: Tensor) -> Tensor:
    images = prepare(x, values=False)
    if min(x.shape[-2:]) < 2:
        raise ValueError(f"total variation: expected at least 2 x 2 pixels, got {tuple(x.shape)}")
    return images


def _bregman(x: Tensor, settings: TotalVariationSettings) -> Tensor:
    scale = 2 * settings.weight  # in units of 1 / scale the shrinkage has no parameter left
    f = (x + 1) * scale  # away from 0, where products become subnormal, which is slow
    half, u = f / 2, _framed(f)
    middle = u[..., 1:-1, 1:-1]
    b = (torch.zeros_like(f), torch.zeros_like(f))
    p = (f.new_zeros(*f.shape[:-1], f.shape[-1] + 1), f.new_zeros(*f.shape[:-2], f.shape[-2] + 1, f.shape[-1]))
    inner = (p[0][..., 1:], p[1][..., 1:, :])
    active = torch.ones(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
    # Maps to write into; where operations are recorded, None, and each writes into a new one.
    spare: list[Tensor | None] = [None] * 5 if records(x) else [torch.empty_like(f) for _ in range(5)]
    for _ in range(settings.iterations):
        across = torch.sub(b[0], middle, out=spare[0]).add_(u[..., 1:-1, 2:])
        down = torch.sub(b[1], middle, out=spare[1]).add_(u[..., 2:, 1:-1])
        rest = torch.sub(half, inner[0], out=spare[2]).sub_(inner[1]).sub_(middle, alpha=1 / _SHARE)
        b = _shrinkage(across, down, settings.isotropic, spare[3], None if spare[0] is None else b)
        for target, values, shrunk in zip(inner, (across, down), b, strict=True):
            if spare[0] is None:
                target.copy_(torch.sub(values, shrunk, alpha=2))
            else:
                torch.sub(values, shrunk, alpha=2, out=target)
        for part in (u[..., :-2, 1:-1], u[..., 2:, 1:-1], u[..., 1:-1, :-2], u[..., 1:-1, 2:]):
            rest.add_(part)
        change = _swept(rest.add_(p[0][..., :-1]).add_(p[1][..., :-1, :]), spare[3], spare[4])
        middle.add_(change if bool(active.all()) else change * active, alpha=_SHARE)
        active = active & (_root_mean_square(change) > settings.tolerance * scale / _SHARE)
        if not bool(active.any()):
            break
    return middle / scale - 1


def _framed(f: Tensor) -> Tensor:
    """The image in a fixed frame of one pixel, the second row and column before it, the last ones after it."""
    u = torch.nn.functional.pad(f, (1, 1, 1, 1))
    u[..., 0, 1:-1], u[..., 1:-1, 0] = f[..., 1, :], f[..., 1]
    u[..., -1, 1:-1], u[..., 1:-1, -1] = f[..., -1, :], f[..., -1]
    return u


def _shrinkage(
    across: Tensor, down: Tensor, isotropic: bool, spare: Tensor | None = None, out: Pair | None = None
) -> Pair:
    """What shrinking gradients by 1 takes away from them; ``spare`` is written to, ``out`` takes the result."""
    outs = (None, None) if out is None else out
    if not isotropic:
        return torch.clamp(across, -1, 1, out=outs[0]), torch.clamp(down, -1, 1, out=outs[1])
    # The tiny term keeps the slope of the root finite at 0.
    square = torch.addcmul(across.new_tensor(1e-20), across, across, out=spare).addcmul_(down, down)
    share = torch.add(square.sqrt_(), 1, out=spare).reciprocal_()
    return torch.mul(across, share, out=outs[0]), torch.mul(down, share, out=outs[1])


def _swept(rest: Tensor, *spare: Tensor | None) -> Tensor:
    """A Gauss-Seidel sweep's change, over the share: ``(1 - T)^-1 rest``, T the share of the pixels above and left.

    ``(1 - T)^-1 = (1 + T)(1 + T^2)(1 + T^4) ...``; after three factors T^8 is left out, which is at most 0.0015 of it.
    The two spare maps, or ``rest`` itself, hold the result.
    """
    for power, out in zip((1, 2, 4), (spare[0], spare[1], spare[0]), strict=True):
        rest = _plus_power(rest, power, out)
    return rest


def _plus_power(source: Tensor, power: int, out: Tensor | None) -> Tensor:
    """``(1 + T^power) source``; every way of ``power`` steps down or right counts."""
    height, width = source.shape[-2:]
    out = source.clone() if out is None else out.copy_(source)
    for down in range(power + 1):
        right, factor = power - down, math.comb(power, down) * _SHARE**power
        if down < height and right < width:
            out[..., down:, right:].add_(source[..., : height - down, : width - right], alpha=factor)
    return out


def _root_mean_square(change: Tensor) -> Tensor:
    return change.detach().square().mean((1, 2, 3), keepdim=True).sqrt_()


def _masked_bregman(x: Tensor, kept: Tensor, settings: MaskedTotalVariationSettings) -> Tensor:
    scale = 2 * settings.weight
    f = x * kept * scale
    u = f
    z, b = torch.zeros_like(f), (torch.zeros_like(f), torch.zeros_like(f))
    neighbours = _neighbours(torch.ones_like(f[:1, :1]))
    share = torch.where(kept > 0, 2 / (1 + 2 * neighbours), 1 / neighbours)
    own = kept / (1 + 2 * neighbours) * f
    rows, columns = (torch.arange(size, device=x.device) for size in x.shape[-2:])
    red = (rows[:, None] + columns[None]) % 2 == 0
    active = torch.ones(len(x), 1, 1, 1, dtype=torch.bool, device=x.device)
    for _ in range(settings.iterations):
        before = u
        for colour in (red, ~red) * settings.sweeps:
            u = torch.where(colour & active, torch.addcmul(own, share, _neighbours(u).add_(z)), u)
        across, down = forward_differences(u, "constant")
        across, down = b[0] + across, b[1] + down
        b = _shrinkage(across, down, settings.isotropic)
        z = _divergence(torch.sub(across, b[0], alpha=2), torch.sub(down, b[1], alpha=2))
        active = active & (_root_mean_square(u - before) > settings.tolerance * scale)
        if not bool(active.any()):
            break
    return u / scale


def _neighbours(u: Tensor) -> Tensor:
    """Sum over the up to four neighbours of each pixel."""
    total = torch.zeros_like(u)
    total[..., 1:, :].add_(u[..., :-1, :])
    total[..., :-1, :].add_(u[..., 1:, :])
    total[..., 1:].add_(u[..., :-1])
    total[..., :-1].add_(u[..., 1:])
    return total


def _divergence(across: Tensor, down: Tensor) -> Tensor:
    z = -across - down
    z[..., 1:].add_(across[..., :-1])
    z[..., 1:, :].add_(down[..., :-1, :])
    return z
