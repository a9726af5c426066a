"""The smallest radius that fools: which result is kept, what it costs, bad settings."""

import pytest
import torch

from blurnet.attacks.ball.pgd import FGSM, PGD
from blurnet.attacks.base import STANDING, WRONG
from blurnet.attacks.patch.lavan import LaVAN
from blurnet.attacks.wrappers.smallest import SmallestRadius
from blurnet.balls import Ball

RADII = (0.005, 0.02, 0.08)


def test_each_image_keeps_its_first_success(problem):
    images, labels = problem.images, problem.labels
    record = SmallestRadius(FGSM(Ball("linf", 1.0)), RADII).record(problem.net, images, labels)
    alone = [FGSM(Ball("linf", radius)).record(problem.net, images, labels) for radius in RADII]
    assert len(record.stage.unique()) > 1, "one radius does for all: the test would see nothing"
    for i, stage in enumerate(record.stage.tolist()):
        first = next((n for n, one in enumerate(alone) if one.stage[i] >= 0), None)
        assert stage == (STANDING if first is None else first)
        kept = len(RADII) - 1 if first is None else first
        assert torch.equal(record.adversarial[i], alone[kept].adversarial[i])
        assert record.calls[i] == 1 + sum(int(one.calls[i]) - 1 for one in alone[: kept + 1])


def test_wrong_images_stay_and_what_is_left_has_the_largest_radius(problem):
    labels = problem.labels.clone()
    labels[0] = (labels[0] + 1) % 5
    attack = SmallestRadius(PGD(Ball("linf", 0.1), steps=1), (1e-5, 1e-4))
    record = attack.record(problem.net, problem.images, labels)
    assert record.stage.tolist() == [WRONG] + 7 * [STANDING]
    assert torch.equal(record.adversarial[0], problem.images[0])
    far = (record.adversarial - problem.images).abs().flatten(1).amax(1)[1:]
    torch.testing.assert_close(far, torch.full((7,), 1e-4), rtol=1e-2, atol=0)
    assert attack.ball == Ball("linf", 1e-4)
    assert attack.stage_names == ("radius 1e-05", "radius 0.0001")


@pytest.mark.parametrize("radii", [(), (0.0, 0.1), (0.2, 0.1), (0.1, 0.1)])
def test_bad_radii_raise(radii):
    with pytest.raises(ValueError, match="expected growing numbers above 0, got"):
        SmallestRadius(FGSM(Ball("linf", 0.1)), radii)


def test_an_attack_without_a_ball_raises():
    with pytest.raises(TypeError, match="expected one with a ball, got LaVAN"):
        SmallestRadius(LaVAN(None), (0.1,))
