"""The defender's regulariser in the attacker's objective."""

import pytest
import torch

from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.patch.location import BestLocation
from blurnet.attacks.patch.low_frequency import LowFrequency
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.wrappers.penalty import BlockGradient, MapVariation, WithPenalty

#: Far from the net's scale, so that the penalty rules.
HEAVY = 1e3


def identity(x):
    return x


@pytest.mark.parametrize("kind", [PatchPGD, LowFrequency])
@pytest.mark.parametrize("penalty", [MapVariation(identity, "pixels"), BlockGradient(4, 1, threshold=0.05)], ids=repr)
def test_the_penalty_falls(kind, penalty, problem):
    sure = 1e4 * torch.nn.functional.one_hot(problem.labels, 5)

    def model(x):  # never fooled, so that nothing but the objective counts
        return problem.net(x) + sure

    attack = kind(problem.mask, steps=30, stop=False)
    plain = attack(model, problem.images, problem.labels)
    start = kind(problem.mask, steps=0)(model, problem.images, problem.labels)
    quiet = WithPenalty(attack, penalty, HEAVY)(model, problem.images, problem.labels)
    assert (penalty(quiet) < penalty(plain)).all()
    assert (penalty(quiet) < penalty(start)).all()


def test_no_weight_is_the_attack_inside(problem):
    attack = PatchPGD(problem.mask, steps=5)
    wrapped = WithPenalty(attack, BlockGradient(), 0.0)
    wanted = attack(problem.net, problem.images, problem.labels)
    assert torch.equal(wrapped(problem.net, problem.images, problem.labels), wanted)


def test_one_step_climbs_the_difference(problem):
    """A linear penalty of weight w: the sign of the margin's gradient less w."""
    x, y = problem.images[:1], problem.labels[:1]
    attack = PatchPGD(torch.ones(16, 16), steps=1, optimizer="sign", lr=0.01, start="image", stop=False, target=0)
    pixels = x.clone().requires_grad_()
    z = problem.net(pixels)
    others = z.detach().scatter(1, torch.zeros(1, 1, dtype=torch.int64), -1e9).argmax(1)
    (gradient,) = torch.autograd.grad(z[0, 0] - z[0, others[0]], pixels)
    weight = float(gradient.abs().median())
    out = WithPenalty(attack, lambda p: p.flatten(1).sum(1), weight)(problem.net, x, y)
    wanted = (x + 0.01 * (gradient - weight).sign()).clamp(0, 1)
    torch.testing.assert_close(out, wanted)


def test_success_counts_more_than_the_penalty(problem):
    mask = torch.ones(16, 16)
    out = WithPenalty(PatchPGD(mask, steps=40), MapVariation(identity), 1e-4)(
        problem.net, problem.images, problem.labels
    )
    with torch.no_grad():
        assert (problem.net(out).argmax(1) != problem.labels).all()


def test_wraps_and_is_wrapped_by_a_location_search(problem):
    penalty = MapVariation(identity, "pixels")
    inner, outer = BestLocation(PatchPGD(steps=5), size=5, stride=6), WithPenalty(PatchPGD(steps=5), penalty, 0.1)
    first = WithPenalty(inner, penalty, 0.1)(problem.net, problem.images, problem.labels)
    second = BestLocation(outer, size=5, stride=6)(problem.net, problem.images, problem.labels)
    assert torch.equal(first, second)


def test_total_variation_by_hand():
    """One impulse a has four edges inside the map: TV = 4 |a|; mean over the maps."""
    maps = torch.zeros(2, 2, 5, 5)
    maps[0, 0, 2, 2], maps[1, 1, 0, 0] = -3.0, 1.0
    assert MapVariation(identity)(maps).tolist() == [6.0, 1.0]


def test_block_gradient_by_hand():
    """A vertical edge of height 1 in a 4 x 4 picture: scaled gradient 1 in one column, windows of 2 x 2."""
    picture = torch.zeros(1, 3, 4, 4)
    picture[..., 2:] = 1.0
    penalty = BlockGradient(block=2, overlap=0, threshold=0.3, slack=0.1)
    assert penalty.means(picture)[0, 0].tolist() == [[0.5, 0.0], [0.5, 0.0]]
    assert penalty(picture).item() == pytest.approx(2 * 0.3)
    assert BlockGradient(block=2, overlap=1).means(picture).shape == (1, 1, 3, 3)
    flat = torch.full((1, 3, 4, 4), 0.4).requires_grad_()
    value = penalty(flat)
    value.sum().backward()
    assert value.item() == 0
    assert (flat.grad == 0).all()


@pytest.mark.parametrize(("size", "block"), [((32, 32), None), ((20, 33), 5), ((80, 76), None)], ids=str)
def test_block_gradient_tells_where_lgs_fires(size, block, generator):
    """Where no window exceeds the threshold the defense passes the picture on; where one does it darkens it."""
    lgs = pytest.importorskip("blurnet.transforms.lgs.lgs").lgs
    pictures = torch.rand(12, 3, 5, 5, generator=generator)
    pictures = torch.nn.functional.interpolate(pictures, size, mode="bilinear")
    for i, picture in enumerate(pictures):  # noise of another size in each, at the lower right corner, windows' last
        picture[:, -i - 1 :, -i - 1 :] = torch.rand(3, i + 1, i + 1, generator=generator)
    outcomes = set()
    for threshold in (0.05, 0.15, 0.2, 0.25, 0.3, 0.4):
        fires = (BlockGradient(block, threshold=threshold, slack=0)(pictures) > 0).tolist()
        changed = (lgs(pictures, threshold=threshold, block=block) != pictures).flatten(1).any(1).tolist()
        assert fires == changed
        outcomes |= {(threshold, fired) for fired in fires}
    assert len(outcomes) >= 9  # most thresholds part the pictures


def test_bad_settings_raise(problem):
    with pytest.raises(ValueError, match="LaVAN has no penalty, weight"):
        WithPenalty(LaVAN(0), identity)
    with pytest.raises(ValueError, match="weight: expected from 0, got -1"):
        WithPenalty(PatchPGD(), identity, -1)
    with pytest.raises(ValueError, match="block 17 with overlap 5 does not fit"):
        BlockGradient(block=17)(problem.images)


def test_repr_names_the_penalty():
    attack = WithPenalty(PatchPGD(steps=3), MapVariation(identity, "conv1"), 0.5)
    assert "penalty=MapVariation(name='conv1'), weight=0.5" in repr(attack)
    assert "penalty=identity" in repr(WithPenalty(PatchPGD(), identity))
