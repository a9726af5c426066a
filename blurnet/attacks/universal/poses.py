"""How a patch lies in an image: turned, scaled, moved, lit. Continuous, one warp for a whole batch."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.masks import content_hash

#: Random numbers that a pose takes: angle, scale, vertical and horizontal place, brightness.
DRAWS = 5


class Pose(NamedTuple):
    """Where and how the patch lies in each of N images; every field (N,), float."""

    angle: Tensor  #: radians, counter-clockwise as seen
    scale: Tensor  #: image pixels for each pixel of the patch
    y: Tensor  #: its centre, pixels from the image's upper edge
    x: Tensor  #: its centre, pixels from the image's left edge
    brightness: Tensor  #: factor on its colours


class Layout(NamedTuple):
    """What of a patch and of the images the poses depend on."""

    corners: Tensor  #: (K, 2): x and y of points that span the patch's shape, in its pixels from its centre
    scale: float  #: image pixels for each pixel of the patch at scale 1
    size: tuple[int, int]  #: (H, W) of the images, pixels


def layout(mask: Tensor, size: tuple[int, int], area: float | None) -> Layout:
    """The layout of a patch of shape ``mask`` in images of ``size``.

    Args:
        mask: (1, h, w) in [0, 1]: how much of each pixel the patch covers.
        size: (H, W) of the images in pixels.
        area: share of the image that the shape covers at scale 1; None: one image pixel for each pixel of the patch.
    """
    scale = 1.0 if area is None else math.sqrt(area * size[0] * size[1] / float(mask.sum()))
    on = mask[0] > 0
    height, width = on.shape
    rows = on.any(dim=1).nonzero()[:, 0]
    first = on[rows].byte().argmax(dim=1)
    after = width - on[rows].flip(1).byte().argmax(dim=1)
    # The outer corners of each row's first and last pixel span the same hull as all of them.
    x = torch.cat([first, first, after, after]) - width / 2
    y = torch.cat([rows, rows + 1, rows, rows + 1]) - height / 2
    return Layout(torch.stack([x, y], dim=1).to(mask), scale, size)


@dataclass(frozen=True)
class Poses:
    """The poses that a patch may take, each part drawn uniformly and for each image anew.

    Args:
        rotation: largest angle to either side, degrees; 22.5 as in Brown et al.'s notebook.
        scale: factors (low, high) on the patch's width and height.
        where: "anywhere": every place at which the turned patch lies inside the image, edges included (a patch larger
            than the image covers all of it); or its centre (y, x) in shares of the image's height and width.
        shift: largest move (dy, dx) from a given centre to either side, in the same shares.
        brightness: factors (low, high) on the patch's colours; the image with the patch is clipped to [0, 1].

    Raises:
        ValueError: bad settings.

    Source: Brown et al. 2017; no brightness there.
    """

    rotation: float = 22.5
    scale: tuple[float, float] = (1.0, 1.0)
    where: Literal["anywhere"] | tuple[float, float] = "anywhere"
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: tuple[float, float] = (1.0, 1.0)

    def __post_init__(self) -> None:
        if not 0 <= self.rotation <= 180:
            raise ValueError(f"Poses rotation: expected 0 to 180 degrees, got {self.rotation!r}")
        for name, pair in {"scale": self.scale, "brightness": self.brightness}.items():
            if not (_pair(pair) and 0 < pair[0] <= pair[1]):
                raise ValueError(f"Poses {name}: expected (low, high) with 0 < low <= high, got {pair!r}")
        if self.where != "anywhere" and not (_pair(self.where) and all(0 <= float(v) <= 1 for v in self.where)):
            raise ValueError(f"Poses where: expected 'anywhere' or a centre (y, x) in [0, 1], got {self.where!r}")
        if not (_pair(self.shift) and min(self.shift) >= 0):
            raise ValueError(f"Poses shift: expected (dy, dx), shares from 0, got {self.shift!r}")
        if self.where == "anywhere" and max(self.shift) > 0:
            raise ValueError(f"Poses shift: {self.shift!r} needs a centre in 'where'; 'anywhere' covers every place")

    def at(self, units: Tensor, frame: Layout) -> Pose:
        """The poses at random numbers ``units`` (N, 5) in [0, 1]: angle, scale, y, x, brightness."""
        turn, size, down, right, light = units.unbind(1)
        angle = (2 * turn - 1) * math.radians(self.rotation)
        scale = _between(self.scale, size) * frame.scale
        if self.where == "anywhere":
            # Extents of the turned shape on each side of its centre, (N, K) to (N,).
            corner_x, corner_y = frame.corners.to(units).unbind(1)
            cos, sin = (scale * angle.cos())[:, None], (scale * angle.sin())[:, None]
            y = _inside(cos * corner_y - sin * corner_x, frame.size[0], down)
            x = _inside(cos * corner_x + sin * corner_y, frame.size[1], right)
        else:
            y = (float(self.where[0]) + (2 * down - 1) * self.shift[0]) * frame.size[0]
            x = (float(self.where[1]) + (2 * right - 1) * self.shift[1]) * frame.size[1]
        return Pose(angle, scale, y, x, _between(self.brightness, light))

    def draw(self, n: int, frame: Layout, generator: torch.Generator) -> Pose:
        """The poses of n images, by chance, on the frame's device; drawn on the CPU so that all devices agree."""
        return self.at(torch.rand(n, DRAWS, generator=generator).to(frame.corners), frame)

    def drawn_for(self, images: Tensor, frame: Layout, seed: int) -> Pose:
        """A pose for each image (N, C, H, W) that follows from its own pixels and the seed, whatever its batch."""
        generator = torch.Generator().manual_seed(seed)
        factors = torch.randint(-(2**62), 2**62, (DRAWS,), generator=generator).to(images.device) * 2 + 1
        bits = 2**31 - 1
        hashed = content_hash(images, seed)[:, None] * factors >> 33 & bits
        return self.at((hashed / bits).to(images.dtype), frame)


def place(images: Tensor, pixels: Tensor, mask: Tensor, pose: Pose) -> Tensor:
    """Images with the patch on top, differentiable in its pixels.

    ``clip(x (1 - W m) + b W(m p), 0, 1)`` with W the bilinear warp of the pose and b its brightness: colour and cover
    are warped together, so that an edge blends patch and image and no third colour. Pixels that the patch does not
    touch stay bit-identical. A patch drawn much smaller than its own resolution is sampled, not averaged.

    Args:
        images: (N, 3, H, W) in [0, 1].
        pixels: (3, h, w) in [0, 1].
        mask: (1, h, w) in [0, 1].
        pose: of N images.
    """
    grid = _grid(pose, (mask.shape[-2], mask.shape[-1]), (images.shape[-2], images.shape[-1]))
    layers = torch.cat([pixels * mask, mask]).expand(len(images), -1, -1, -1)
    warped = F.grid_sample(layers, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
    color, cover = warped[:, :3], warped[:, 3:]
    return (images * (1 - cover) + pose.brightness.view(-1, 1, 1, 1) * color).clamp(0, 1)


def _grid(pose: Pose, patch: tuple[int, int], size: tuple[int, int]) -> Tensor:
    """Where on the patch each image pixel lies, (N, H, W, 2) in grid_sample's coordinates.

    What ``F.affine_grid`` gives, but exact at whole pixels and cheaper: each coordinate is a sum of what its row and
    what its column contribute.
    """
    (h, w), (height, width) = patch, size
    down = torch.arange(height, device=pose.y.device) + 0.5 - pose.y[:, None]
    right = torch.arange(width, device=pose.x.device) + 0.5 - pose.x[:, None]
    cos, sin = ((part / pose.scale)[:, None] for part in (pose.angle.cos(), pose.angle.sin()))
    x = (2 / w * cos * right)[:, None, :] - (2 / w * sin * down)[:, :, None]
    y = (2 / h * sin * right)[:, None, :] + (2 / h * cos * down)[:, :, None]
    return torch.stack([x, y], dim=-1)


def _inside(offsets: Tensor, length: int, unit: Tensor) -> Tensor:
    """Centres (N,) at which a shape with these offsets (N, K) lies within [0, length], from edge to edge."""
    low, high = offsets.amin(dim=1), offsets.amax(dim=1)
    return unit * (length - high + low) - low


def _between(pair: tuple[float, float], unit: Tensor) -> Tensor:
    return pair[0] + unit * (pair[1] - pair[0])


def _pair(value: object) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(v, int | float) for v in value)
