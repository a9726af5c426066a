"""What the checks look at."""

import pytest
import torch

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


MASK = torch.zeros(1, 1, 16, 16)
MASK[..., 2:6, 3:9] = 1


def test_half_is_half_the_radius_or_a_quarter_of_the_mask(honest):
    assert made(*honest).half().ball.radius == BALL.radius / 2
    quarter = made(*honest, mask=MASK).half().mask
    assert quarter.flatten(1).sum(1).tolist() == [6] * 16
    assert not (quarter & (MASK == 0)).any()


def test_gradients_count_where_an_attacker_may_write(honest):
    net, images, labels = honest
    x = images.clone().requires_grad_()
    logits = net(x)
    others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
    (gradient,) = torch.autograd.grad((logits.gather(1, labels[:, None])[:, 0] - others).sum(), x)
    torch.testing.assert_close(made(*honest).gradient("margin"), gradient.abs().flatten(1).amax(1))
    inside = gradient[..., 2:6, 3:9].abs().flatten(1).amax(1)
    torch.testing.assert_close(made(*honest, mask=MASK).gradient("margin"), inside)


def test_noise_uses_the_budget_and_is_the_same_for_every_image(honest):
    images = honest[1]
    ball, patch = made(*honest), made(*honest, mask=MASK)
    assert BALL.contains(ball.random(0), images, 1e-6).all()
    torch.testing.assert_close((ball.random(0) - images).abs().amax(), torch.tensor(BALL.radius))
    changed = (patch.random(0) != images).any(1, keepdim=True)
    assert torch.equal(changed, MASK.bool().expand_as(changed))
    assert torch.equal(patch.random(0)[:, :, 2:6, 3:9], patch.random(0)[:1, :, 2:6, 3:9].expand(16, -1, -1, -1))
    assert not torch.equal(patch.random(0), patch.random(1))
