"""Photographs of painted signs: pose, light, clutter, occlusion, camera. Every step is batched tensor arithmetic."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from blurnet.data.labels import LISA_CLASSES
from blurnet.data.synthetic.draws import Draws
from blurnet.data.synthetic.shapes import canvas
from blurnet.data.synthetic.sheet import PAINTS
from blurnet.data.synthetic.signs import VARIANTS, atlas, outlines

_UNREADABLE = LISA_CLASSES.index("speedLimitUrdbl")
# Samples a pixel along each axis; the camera's resampling filters them down.
_OVERSAMPLING = 2
# Detail of the painted signs is capped here: 50 MB for all of them.
_TEXELS = 192


def render(keys: Tensor, classes: Tensor, size: int) -> tuple[Tensor, Tensor]:
    """Photograph one sign a key, cropped as tightly as LISA's annotations.

    Args:
        keys: int64 (N,); row n depends on keys[n] and classes[n] alone.
        classes: int64 (N,), index into ``LISA_CLASSES``.
        size: width and height in pixels.

    Returns:
        images (N, 3, size, size) in [0, 1], and masks (N, 1, size, size) in {0, 1} of the sign, as if nothing
        stood in front of it.
    """
    draws = Draws(keys)
    fine = size * _OVERSAMPLING
    grid = canvas(fine)
    shares = _posed(draws, classes, grid, min(3 * size, _TEXELS))
    visible = shares.sum(1, keepdim=True).clamp(0, 1)
    mask = (F.avg_pool2d(visible, _OVERSAMPLING) > 0.5).float()
    scene = torch.einsum("nkhw,nkc->nchw", shares, _colours(draws))
    scene = scene * _light(draws, grid) + (1 - visible) * _clutter(draws, grid)
    scene = _occlude(draws, scene, grid)
    return _camera(draws, scene, classes, size), mask


def _posed(draws: Draws, classes: Tensor, grid: Tensor, texels: int) -> Tensor:
    """Paint shares (N, paints, H, W) of a sign turned, sheared and seen in perspective, fitted to the crop."""
    angle = draws.uniform(-0.21, 0.21) * draws.uniform(0, 1)
    cos, sin = angle.cos(), angle.sin()
    shear, far_x, far_y = draws.uniform(-0.12, 0.12), draws.uniform(-0.15, 0.15), draws.uniform(-0.15, 0.15)
    one, zero = torch.ones_like(cos), torch.zeros_like(cos)
    plate_to_scene = torch.stack((cos, shear - sin, zero, sin, cos, zero, far_x, far_y, one), -1).view(-1, 3, 3)
    corners = F.pad(outlines(), (0, 1), value=1.0)[classes] @ plate_to_scene.mT
    corners = corners[..., :2] / corners[..., 2:]
    low, high = corners.amin(1), corners.amax(1)
    # An annotator's box: a little loose more often than a little tight, and off centre.
    half = (high - low) / 2 * draws.uniform(0.95, 1.16, 2)
    centre = (high + low) / 2 + half * draws.uniform(-0.07, 0.07, 2)
    window = torch.cat((torch.diag_embed(half), centre.unsqueeze(-1)), -1)
    window = torch.cat((window, torch.tensor([0.0, 0.0, 1.0]).expand(len(half), 1, 3)), 1)
    # The adjugate is the inverse up to a factor, which a homography ignores.
    a, b, c = plate_to_scene.unbind(2)
    inverse = torch.stack((b.cross(c, dim=1), c.cross(a, dim=1), a.cross(b, dim=1)), 1)
    rays = torch.cat((grid.flatten(1), torch.ones(1, grid[0].numel())))
    at = (inverse @ window) @ rays
    at = (at[:, :2] / at[:, 2:]).mT.reshape(-1, *grid.shape[1:], 2)
    variant = draws.choice(torch.full_like(classes, VARIANTS))
    return F.grid_sample(atlas(texels)[classes, variant], at, align_corners=False)


def _colours(draws: Draws) -> Tensor:
    """RGB (N, paints, 3) of each item's paints, faded to a varying degree."""
    low, high = torch.tensor(list(PAINTS.values())).unbind(1)
    shade = 0.7 * draws.uniform(0, 1, len(PAINTS), 1) + 0.3 * draws.uniform(0, 1, len(PAINTS), 3)
    colours = low + (high - low) * shade
    fade = 0.45 * draws.uniform(0, 1, 1, 1).square()
    return colours + fade * (draws.uniform(0.3, 0.8, 1, 1) - colours)


def _slope(draws: Draws, grid: Tensor) -> Tensor:
    """Signed distance (N, 1, H, W) to a random line through the crop."""
    angle = draws.uniform(0, 2 * math.pi, 1, 1, 1)
    offset = draws.uniform(-0.9, 0.9, 1, 1, 1)
    return grid[0] * angle.cos() + grid[1] * angle.sin() - offset


def _light(draws: Draws, grid: Tensor) -> Tensor:
    """Illumination (N, 3, H, W) of the sign: exposure, colour cast, a gradient, a cast shadow, a glare."""
    exposure = torch.exp(draws.uniform(-1.9, 0.45, 1, 1, 1))
    exposure = torch.where(draws.uniform(0, 1, 1, 1, 1) < 0.6, exposure.clamp_min(0.6), exposure)
    cast = torch.exp(0.09 * draws.normal(3, 1, 1))
    gradient = 1 + draws.uniform(0, 0.3, 1, 1, 1) * _slope(draws, grid)
    shadow = torch.sigmoid(_slope(draws, grid) * draws.uniform(3, 30, 1, 1, 1))
    shadow = 1 - draws.chance(0.3, 1, 1, 1) * draws.uniform(0.2, 0.65, 1, 1, 1) * shadow
    away = (grid - draws.uniform(-1, 1, 2, 1, 1)).square().sum(1, keepdim=True)
    glare = torch.exp(-away * draws.uniform(1, 12, 1, 1, 1)) * draws.chance(0.2, 1, 1, 1)
    return exposure * cast * gradient.clamp_min(0.2) * shadow + glare * draws.uniform(0.2, 0.8, 1, 1, 1)


def _clutter(draws: Draws, grid: Tensor) -> Tensor:
    """Background (N, 3, H, W): two regions parted by an edge, each of noise at three scales, and a pole."""
    regions = []
    for _ in range(2):
        tone = draws.uniform(0, 1, 1, 1, 1) + 0.08 * draws.normal(3, 1, 1)
        for cells, strength in ((3, 0.15), (6, 0.15), (16, 0.2)):
            noise = 0.7 * draws.normal(1, cells, cells) + 0.3 * draws.normal(3, cells, cells)
            tone = tone + draws.uniform(0, strength, 1, 1, 1) * _enlarge(noise, 16)
        regions.append(_enlarge(tone, grid.shape[-1]))
    side = torch.sigmoid(_slope(draws, grid) * draws.uniform(5, 40, 1, 1, 1))
    ground = regions[0] + side * (regions[1] - regions[0])
    pole = (grid[0] - draws.uniform(-0.2, 0.2, 1, 1, 1)).abs() < draws.uniform(0.03, 0.15, 1, 1, 1)
    pole = pole.float() * (grid[1] > 0) * draws.chance(0.3, 1, 1, 1)
    return (ground + pole * (draws.uniform(0, 1, 1, 1, 1) - ground)).clamp(0, 1)


def _occlude(draws: Draws, scene: Tensor, grid: Tensor) -> Tensor:
    """A branch across the crop or a leaf over its border, on a share of the items."""
    branch = (draws.uniform(0.03, 0.14, 1, 1, 1) - _slope(draws, grid).abs()) * 20
    along = draws.uniform(0, 2 * math.pi, 1, 1, 1)
    centre = torch.cat((along.cos(), along.sin()), 1) * draws.uniform(0.8, 1.1, 1, 1, 1)
    away = torch.hypot(grid[0] - centre[:, :1], grid[1] - centre[:, 1:])
    leaf = (draws.uniform(0.2, 0.55, 1, 1, 1) - away) * 20
    cover = draws.chance(0.12, 1, 1, 1) * branch.sigmoid() + draws.chance(0.15, 1, 1, 1) * leaf.sigmoid()
    shade = (draws.uniform(0, 0.7, 1, 1, 1) + 0.08 * draws.normal(3, 1, 1)).clamp(0, 1)
    return scene + cover.clamp(0, 1) * (shade - scene)


def _camera(draws: Draws, scene: Tensor, classes: Tensor, size: int) -> Tensor:
    """Images (N, 3, size, size) in [0, 1]: blur and antialiased resampling, gray sensors, contrast, noise."""
    far = (classes == _UNREADABLE).float()
    blur = draws.uniform(0, 1).square() * 1.5 * (1 - far) + draws.uniform(1.3, 2.6) * far
    stretch = torch.exp(draws.uniform(-0.35, 0.35))
    rows, columns = (_filter(sigma * size / 32, size) for sigma in (blur * stretch, blur / stretch))
    # Both products with the channels folded into a free side: a broadcast one would copy the filters.
    image = (scene.clamp(0, 1.2).flatten(1, 2) @ columns.mT).view(len(scene), 3, -1, size).transpose(1, 2)
    image = (rows @ image.flatten(2)).view(len(scene), size, 3, size).transpose(1, 2)
    # Part of LISA is gray, from cameras whose weighting of the colours is unknown.
    weights = draws.uniform(0.1, 1, 3, 1, 1)
    gray = (image * (weights / weights.sum(1, keepdim=True))).sum(1, keepdim=True)
    image = image + draws.chance(0.5, 1, 1, 1) * (gray - image)
    contrast, veil = draws.uniform(0.55, 1.15, 1, 1, 1), draws.uniform(0.2, 0.8, 1, 1, 1)
    gamma = torch.exp(draws.uniform(-0.4, 0.4, 1, 1, 1))
    image = (veil + contrast * (image - veil)).clamp(0, 1).pow(gamma)
    # Less noise in the dark, as of photons: otherwise dark signs drown.
    return (image + (0.15 + 0.7 * image) * _sensor_noise(draws, size)).clamp(0, 1)


def _sensor_noise(draws: Draws, size: int) -> Tensor:
    """Noise (N, 3, size, size): white, blocky colour noise of compression, and the weave of interlaced video."""
    white = 0.06 * draws.uniform(0, 1, 1, 1, 1).square() * draws.normal(1, size, size)
    blocks = _enlarge(draws.normal(3, size // 2, size // 2), size)
    blocks = 0.06 * draws.uniform(0, 1, 1, 1, 1).square() * blocks
    pixel = torch.arange(size)
    wave = torch.cos(pixel[:, None] * draws.uniform(1.2, 3.2, 1, 1, 1) + draws.uniform(0, 6.3, 1, 1, 1))
    wave = wave * torch.cos(pixel * draws.uniform(1.2, 3.2, 1, 1, 1))
    return white + blocks + draws.chance(0.4, 1, 1, 1) * draws.uniform(0, 0.07, 1, 1, 1) * wave


def _filter(sigma: Tensor, size: int) -> Tensor:
    """Rows (N, size, fine) that blur by sigma pixels and resample in one step, each summing to 1."""
    fine = (torch.arange(size * _OVERSAMPLING) + 0.5) / _OVERSAMPLING
    away = torch.arange(size)[:, None] + 0.5 - fine
    # 0.4 pixels is the footprint of the pixel itself. Cut off far out: denormal numbers would slow the products.
    falloff = away.square() / (2 * (sigma.square() + 0.16)[:, None, None])
    weights = torch.exp(-falloff.clamp_max(30))
    return weights / weights.sum(-1, keepdim=True)


def _enlarge(image: Tensor, size: int) -> Tensor:
    """Bilinear interpolation (N, C, size, size) of a coarse image (N, C, cells, cells)."""
    return F.interpolate(image, size=size, mode="bilinear", align_corners=False)
