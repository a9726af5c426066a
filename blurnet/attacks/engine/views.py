"""Random image transformations for attacks in expectation over transformations, batched and differentiable."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

#: Images (N, C, H, W) and a CPU generator to transformed images of the same shape. An attack on several targets puts
#: them side by side as channels, so what is drawn must depend on N, not on C; colours repeat every three channels.
Transformation = Callable[[Tensor, torch.Generator], Tensor]


def _uniform(x: Tensor, generator: torch.Generator, low: float, high: float, *shape: int) -> Tensor:
    """Uniform numbers (N, *shape) on x's device, drawn on the CPU so that every device sees the same."""
    return (torch.rand(len(x), *shape, generator=generator) * (high - low) + low).to(x)


def _warp(x: Tensor, theta: Tensor) -> Tensor:
    """Affine warp of x by theta (N, 2, 3); the border colour continues outside."""
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


@dataclass(frozen=True)
class Rotation:
    """Rotate each image about its centre by an angle from [-degrees, degrees]."""

    degrees: float = 10.0

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        angle = torch.deg2rad(_uniform(x, generator, -self.degrees, self.degrees))
        ratio = x.shape[-2] / x.shape[-1]
        zero, cos, sin = torch.zeros_like(angle), angle.cos(), angle.sin()
        rows = [torch.stack([cos, -sin * ratio, zero], 1), torch.stack([sin / ratio, cos, zero], 1)]
        return _warp(x, torch.stack(rows, 1))


@dataclass(frozen=True)
class Crop:
    """Crop up to ``share`` of the width and height from each side and resize back (RP2's ImageNet script: 0.2)."""

    share: float = 0.1

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        low = _uniform(x, generator, 0, self.share, 2)
        high = 1 - _uniform(x, generator, 0, self.share, 2)
        theta = torch.cat([torch.diag_embed(high - low), (high + low - 1)[:, :, None]], dim=2)
        return _warp(x, theta)


@dataclass(frozen=True)
class Resize:
    """Scale the image about its centre by a factor from [low, high]: a sign nearer or farther away."""

    low: float = 0.8
    high: float = 1.2

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        inverse = 1 / _uniform(x, generator, self.low, self.high)
        zero = torch.zeros_like(inverse)
        rows = [torch.stack([inverse, zero, zero], 1), torch.stack([zero, inverse, zero], 1)]
        return _warp(x, torch.stack(rows, 1))


@dataclass(frozen=True)
class Perspective:
    """Move the four corners independently by up to ``share`` of the image's width and height."""

    share: float = 0.1

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        corners = torch.tensor([[-1.0, -1], [1, -1], [1, 1], [-1, 1]]).to(x)
        moved = corners + _uniform(x, generator, -2 * self.share, 2 * self.share, 4, 2)
        home = _homography(corners.expand_as(moved), moved)
        h, w = x.shape[-2:]
        ys = (torch.arange(h, device=x.device, dtype=x.dtype) + 0.5) / h * 2 - 1
        xs = (torch.arange(w, device=x.device, dtype=x.dtype) + 0.5) / w * 2 - 1
        points = torch.stack([xs.expand(h, w), ys[:, None].expand(h, w), torch.ones_like(xs.expand(h, w))], dim=-1)
        mapped = torch.einsum("nij,hwj->nhwi", home, points)
        grid = mapped[..., :2] / mapped[..., 2:]
        return F.grid_sample(x, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _homography(source: Tensor, target: Tensor) -> Tensor:
    """The 3 x 3 matrices (N, 3, 3) that take four points source (N, 4, 2) to target (N, 4, 2)."""
    x, y = source.unbind(-1)
    one, zero = torch.ones_like(x), torch.zeros_like(x)
    u, v = target.unbind(-1)
    top = torch.stack([x, y, one, zero, zero, zero, -u * x, -u * y], dim=-1)
    bottom = torch.stack([zero, zero, zero, x, y, one, -v * x, -v * y], dim=-1)
    solved = torch.linalg.solve(torch.cat([top, bottom], dim=1), torch.cat([u, v], dim=1))
    return torch.cat([solved, torch.ones_like(solved[:, :1])], dim=1).view(-1, 3, 3)


@dataclass(frozen=True)
class Brightness:
    """Multiply each image by a factor from [low, high]; the caller clips."""

    low: float = 0.7
    high: float = 1.3

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        return x * _uniform(x, generator, self.low, self.high, 1, 1, 1)


@dataclass(frozen=True)
class Noise:
    """Add Gaussian noise of deviation ``sigma`` in pixel units, the same on every three channels."""

    sigma: float = 0.02

    def __call__(self, x: Tensor, generator: torch.Generator) -> Tensor:
        """Images (N, C, H, W) to the same shape."""
        n, c, h, w = x.shape
        noise = torch.randn(n, min(c, 3), h, w, generator=generator).to(x)
        return x + noise.repeat(1, -(-c // 3), 1, 1)[:, :c] * self.sigma


TRANSFORMATIONS: dict[str, type] = {
    "rotation": Rotation,
    "perspective": Perspective,
    "brightness": Brightness,
    "crop": Crop,
    "resize": Resize,
    "noise": Noise,
}


def views(x: Tensor, count: int, moves: Sequence[Transformation], generator: torch.Generator) -> Tensor:
    """Images (N, C, H, W) as often as there are views, (count N, C, H, W), view by view.

    Without moves they are repeated as they are; with them each view has a draw of its own, the same for all images,
    and is clipped to [0, 1].
    """
    if not moves:
        return x if count == 1 else x.repeat(count, 1, 1, 1)
    return moved(x[None].expand(count, *x.shape), moves, generator).flatten(0, 1).clamp(0, 1)


def moved(x: Tensor, moves: Sequence[Transformation], generator: torch.Generator) -> Tensor:
    """Pictures (draws, riders, C, H, W) after the moves: one draw for each of the first axis moves all its riders."""
    seen = x.flatten(1, 2)  # riders are channels: one random number moves all of them
    for move in moves:
        seen = move(seen, generator)
    return seen.reshape(x.shape)
