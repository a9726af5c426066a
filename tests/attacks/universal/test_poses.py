"""Where a patch lies: compositing against hand-computed values, reach, area, one warp against a loop."""

import math

import pytest
import torch
from torch import Tensor

from blurnet.attacks.universal.patch import disc
from blurnet.attacks.universal.poses import Layout, Pose, Poses, layout, place


def pose(angle: float = 0.0, scale: float = 1.0, y: float = 8.0, x: float = 8.0, brightness: float = 1.0, n: int = 1):
    return Pose(*(torch.full((n,), float(v)) for v in (angle, scale, y, x, brightness)))


def colors(h: int, w: int) -> Tensor:
    return torch.rand(3, h, w, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(("y", "x"), [(4, 4), (12, 4), (8, 9), (12, 12)])
def test_at_whole_pixels_the_patch_is_reproduced_exactly(y, x):
    images, patch = torch.rand(2, 3, 16, 16), colors(8, 8)
    out = place(images, patch, torch.ones(1, 8, 8), pose(y=y, x=x, n=2))
    box = (slice(None), slice(None), slice(y - 4, y + 4), slice(x - 4, x + 4))
    wanted = images.clone()
    wanted[box] = patch
    assert torch.equal(out, wanted)  # sizes are powers of two: no rounding; pixels outside are bit-identical


def test_other_sizes_are_reproduced_to_rounding():
    images, patch = torch.rand(1, 3, 30, 21), colors(7, 5)
    out = place(images, patch, torch.ones(1, 7, 5), pose(y=10.5, x=9.5))
    torch.testing.assert_close(out[0, :, 7:14, 7:12], patch, atol=2e-5, rtol=0)


def test_half_a_pixel_aside_blends_patch_and_image():
    image, patch = torch.full((1, 3, 1, 4), 0.2), torch.tensor([0.6, 1.0]).expand(3, 1, 2)
    out = place(image, patch, torch.ones(1, 1, 2), pose(y=0.5, x=1.5))
    # Pixels 0 to 2 hold patch columns (-0.5, 0.5, 1.5): half of each and the image where there is none.
    wanted = [(0.2 + 0.6) / 2, (0.6 + 1.0) / 2, (1.0 + 0.2) / 2, 0.2]
    torch.testing.assert_close(out[0, 0, 0], torch.tensor(wanted))


def test_brightness_is_a_factor_and_the_image_is_clipped():
    image, patch = torch.full((2, 3, 4, 4), 0.3), torch.tensor([0.2, 0.9]).expand(3, 2, 2)
    light = pose(y=2, x=2, n=2)._replace(brightness=torch.tensor([0.5, 1.5]))
    out = place(image, patch, torch.tensor([[[1.0, 1.0], [0.5, 0.0]]]), light)
    torch.testing.assert_close(out[0, 0, 1:3, 1:3], torch.tensor([[0.1, 0.45], [0.15 + 0.05, 0.3]]))
    torch.testing.assert_close(out[1, 0, 1:3, 1:3], torch.tensor([[0.3, 1.0], [0.15 + 0.15, 0.3]]))


def test_a_quarter_turn_is_counter_clockwise():
    image, patch = torch.zeros(1, 3, 8, 10), colors(4, 6)
    out = place(image, patch, torch.ones(1, 4, 6), pose(angle=math.pi / 2, y=4, x=5))
    torch.testing.assert_close(out[0, :, 1:7, 3:7], patch.rot90(1, (1, 2)), atol=1e-5, rtol=0)


def test_twice_the_scale_covers_four_times_the_area():
    ones = torch.ones(3, 4, 4)
    sums = [place(torch.zeros(1, 3, 32, 32), ones, ones[:1], pose(scale=s, y=16, x=16)).sum() for s in (1, 2)]
    assert float(sums[1] / sums[0]) == pytest.approx(4, rel=1e-5)


@pytest.mark.parametrize("size", [16, 50, 95, 299])
def test_a_disc_is_pi_quarters_of_its_square(size):
    assert float(disc(size).mean()) == pytest.approx(math.pi / 4, rel=0.03)
    assert torch.equal(disc(size), disc(size).flip(1).transpose(1, 2))


@pytest.mark.parametrize("mask", [disc(40), torch.ones(1, 40, 40), torch.ones(1, 20, 30)], ids=["disc", "box", "bar"])
@pytest.mark.parametrize("area", [0.02, 0.1, 0.25])
def test_the_shape_covers_the_area_asked_for(mask, area):
    """On the average of places: at one place, whole pixels decide."""
    size, patch = (60, 80), torch.ones(3, *mask.shape[1:])
    drawn = Poses().draw(200, layout(mask, size, area), torch.Generator().manual_seed(0))
    covered = place(torch.zeros(200, 3, *size), patch, mask, drawn)[:, 0].mean()
    assert float(covered) == pytest.approx(area, rel=0.01)


def test_no_area_means_its_own_pixels():
    assert layout(torch.ones(1, 5, 5), (32, 32), None).scale == 1
    assert layout(torch.ones(1, 8, 8), (32, 32), 0.25).scale == 2


def units(n: int = 4000) -> Tensor:
    return torch.rand(n, 5, generator=torch.Generator().manual_seed(0))


def turned_corners(mask: Tensor, poses: Poses, drawn: Tensor, frame: Layout) -> tuple[Tensor, Tensor]:
    """Where the corners of a mask's pixels come to lie, (N, K) each."""
    p = poses.at(drawn, frame)
    ys, xs = (mask[0] > 0).nonzero().unbind(1)
    grid = [(ys + dy - mask.shape[1] / 2, xs + dx - mask.shape[2] / 2) for dy in (0, 1) for dx in (0, 1)]
    v, u = (torch.cat(part)[None] for part in zip(*grid, strict=True))
    cos, sin = (p.scale * p.angle.cos())[:, None], (p.scale * p.angle.sin())[:, None]
    return p.y[:, None] + cos * v - sin * u, p.x[:, None] + sin * v + cos * u


LOPSIDED = torch.zeros(1, 9, 12)
LOPSIDED[0, 2:8, 3:5] = 1
LOPSIDED[0, 6:8, 3:11] = 0.5


@pytest.mark.parametrize("mask", [torch.ones(1, 7, 7), disc(9), LOPSIDED], ids=["square", "disc", "lopsided"])
@pytest.mark.parametrize("rotation", [0.0, 22.5, 180.0])
def test_anywhere_is_inside_and_reaches_every_edge(mask, rotation):
    frame, poses = layout(mask, (32, 40), 0.1), Poses(rotation, (0.5, 1.0))
    drawn = units()
    drawn[:4, 2:4] = torch.tensor([[0.0, 0], [0, 1], [1, 0], [1, 1]])  # the ends of the range are the image's corners
    y, x = turned_corners(mask, poses, drawn, frame)
    assert y.min() >= -1e-4
    assert x.min() >= -1e-4
    assert y.max() <= 32 + 1e-4
    assert x.max() <= 40 + 1e-4
    edges = [y[:2].amin(1), 32 - y[2:4].amax(1), x[:4:2].amin(1), 40 - x[1:4:2].amax(1)]
    assert all(bool((gap.abs() < 1e-4).all()) for gap in edges)


def test_every_pixel_is_covered_and_places_are_continuous():
    mask, size = torch.ones(1, 5, 5), (16, 16)
    frame = layout(mask, size, None)
    drawn = Poses().draw(3000, frame, torch.Generator().manual_seed(0))
    assert len(drawn.x.unique()) > 2900
    assert len(drawn.angle.unique()) > 2900
    covered = place(torch.zeros(3000, 3, *size), torch.ones(3, 5, 5), mask, drawn)[:, 0].amax(0)
    assert covered.min() > 0.3  # corner pixels too


def test_a_patch_larger_than_the_image_covers_all_of_it():
    mask = torch.ones(1, 8, 8)
    frame = layout(mask, (16, 16), 1.0)
    drawn = Poses(rotation=0, scale=(1.5, 2.0)).draw(200, frame, torch.Generator().manual_seed(0))
    out = place(torch.zeros(200, 3, 16, 16), torch.ones(3, 8, 8), mask, drawn)
    assert out[..., 2:-2, 2:-2].min() == pytest.approx(1)


def test_ranges_are_kept_and_filled():
    poses = Poses(10, (0.5, 2.0), (0.4, 0.6), (0.1, 0.2), (0.8, 1.1))
    p = poses.at(units(), layout(torch.ones(1, 4, 4), (100, 200), None))
    wanted = [math.radians(10) * torch.tensor([-1, 1]), (0.5, 2), (30, 50), (80, 160), (0.8, 1.1)]
    for part, (low, high) in zip(p, wanted, strict=True):
        span = float(high) - float(low)
        assert float(low) <= float(part.min()) + 1e-4 <= float(low) + 0.01 * span
        assert float(high) - 0.01 * span <= float(part.max()) <= float(high) + 1e-4
        assert float(part.mean()) == pytest.approx((float(low) + float(high)) / 2, abs=0.02 * span)


def test_a_pose_follows_from_the_image_and_the_seed():
    images = torch.rand(500, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    frame = layout(torch.ones(1, 2, 2), (8, 8), None)
    wide = Poses(180, (0.5, 1.0), brightness=(0.5, 1.5))
    together = wide.drawn_for(images, frame, 3)
    alone = wide.drawn_for(images[7:8], frame, 3)
    assert all(torch.equal(a, t[7:8]) for a, t in zip(alone, together, strict=True))
    assert not torch.equal(together.y, wide.drawn_for(images, frame, 4).y)
    parts = torch.stack(list(together))
    assert (parts.corrcoef().fill_diagonal_(0).abs() < 0.25).all()
    assert together.angle.mean().abs() < 0.3
    assert together.brightness.mean() == pytest.approx(1, abs=0.05)


def test_the_batched_gradient_is_that_of_a_loop_over_images():
    g = torch.Generator().manual_seed(0)
    images = torch.rand(6, 3, 12, 14, generator=g, dtype=torch.float64)
    weights = torch.randn(6, 3, 12, 14, generator=g, dtype=torch.float64)
    mask, poses = disc(7).double(), Poses(40, (0.7, 1.2), brightness=(0.8, 1.2))
    drawn = poses.draw(6, layout(mask, (12, 14), 0.2), g)
    patch = torch.rand(3, 7, 7, generator=g, dtype=torch.float64).requires_grad_()
    (batched,) = torch.autograd.grad((place(images, patch, mask, drawn) * weights).sum(), [patch])
    value = sum((slow_place(images[i], patch, mask, drawn, i) * weights[i]).sum() for i in range(6))
    (looped,) = torch.autograd.grad(value, [patch])
    torch.testing.assert_close(batched, looped, atol=1e-10, rtol=1e-8)
    assert torch.autograd.gradcheck(lambda p: place(images, p, mask, drawn), [patch * 0.8 + 0.1])


def slow_place(image: Tensor, patch: Tensor, mask: Tensor, drawn: Pose, i: int) -> Tensor:
    """One image, pixel by pixel: bilinear interpolation written out."""
    h, w = mask.shape[1:]
    angle, scale, cy, cx, light = (float(part[i]) for part in drawn)
    rows = []
    for y in range(image.shape[1]):
        for x in range(image.shape[2]):
            v, u = (y + 0.5 - cy) / scale, (x + 0.5 - cx) / scale
            py = math.sin(angle) * u + math.cos(angle) * v + h / 2 - 0.5
            px = math.cos(angle) * u - math.sin(angle) * v + w / 2 - 0.5
            color, cover = torch.zeros(3, dtype=patch.dtype), torch.zeros((), dtype=patch.dtype)
            for a in (math.floor(py), math.floor(py) + 1):
                for b in (math.floor(px), math.floor(px) + 1):
                    if 0 <= a < h and 0 <= b < w:
                        weight = (1 - abs(py - a)) * (1 - abs(px - b)) * mask[0, a, b]
                        color, cover = color + weight * patch[:, a, b], cover + weight
            rows.append((image[:, y, x] * (1 - cover) + light * color).clamp(0, 1))
    return torch.stack(rows, 1).view_as(image)


BAD = {
    "rotation": {"rotation": 181},
    "negative rotation": {"rotation": -1},
    "scale": {"scale": (0.0, 1.0)},
    "scale order": {"scale": (2.0, 1.0)},
    "scale number": {"scale": 1.0},
    "brightness": {"brightness": (-1.0, 1.0)},
    "where": {"where": "border"},
    "where outside": {"where": (0.5, 1.5)},
    "shift": {"where": (0.5, 0.5), "shift": (-0.1, 0.0)},
    "shift anywhere": {"shift": (0.1, 0.1)},
}


@pytest.mark.parametrize("settings", BAD.values(), ids=BAD)
def test_bad_ranges_raise(settings):
    with pytest.raises(ValueError, match=f"Poses {list(settings)[-1]}: "):
        Poses(**settings)
