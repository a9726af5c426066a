"""What the checks look at."""

import pytest

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.wrappers.model import EOT
from blurnet.evaluation.sanity import attack_checks, model_checks
from blurnet.evaluation.sanity.check import check
from tests.evaluation.sanity.planted import BALL, Defended, made, noisy


def test_a_mean_of_passes_is_checked_in_place_of_a_random_model(honest):
    net, images, labels = honest
    model = Defended(net, noisy)
    subject = made(model, images, labels)
    assert subject.spread > 1e-3
    assert subject.mean is not model
    assert attack_checks.black_box_beats_gradient(subject) is None
    assert model_checks.random_model(made(EOT(PGD(BALL), 4).seen(net), images, labels)) is None


def test_only_correctly_answered_images_count(honest):
    net, images, labels = honest
    wrong = labels.clone()
    wrong[:12] = (labels[:12] + 1) % 5
    assert made(net, images, wrong).n == 4
    assert made(net, images.repeat(3, 1, 1, 1), labels.repeat(3)).n == 32
    with pytest.raises(ValueError, match="answers none of the 16 images correctly"):
        check(net, images, (labels + 1) % 5)
