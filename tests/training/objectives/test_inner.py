"""The attack inside a training step: starts, steps, targets."""

import torch

from blurnet.training.objectives.inner import AttackedView, ascend, target_classes, uniform_start
from tests.training.objectives.by_hand import RADIUS, STEP, away, bare_ascent, numbers


def test_random_targets_are_every_wrong_class(net, batch):
    images, labels = batch
    generator = numbers()
    drawn = torch.stack([target_classes("random", net, images, labels, generator) for _ in range(80)])
    assert all(set(drawn[:, i].tolist()) == set(range(5)) - {int(labels[i])} for i in range(7))
    least = target_classes("least-likely", net.eval(), images, labels, generator)
    assert torch.equal(least, net(images).scatter(1, labels[:, None], torch.inf).argmin(1))


def test_starts(batch):
    images, _ = batch
    start, generator = uniform_start(images, RADIUS, numbers()), numbers()
    assert ((start - images).abs() <= RADIUS + 1e-6).all()
    assert len({tuple(noise.flatten().tolist()) for noise in start - images}) == len(images)
    clean = [torch.equal(uniform_start(images, RADIUS, generator, 0.2), images) for _ in range(200)]
    assert 20 < sum(clean) < 65  # a fifth of the batches, within three deviations or so


def test_ascent_is_the_bare_loop_and_leaves_the_net(net, batch):
    images, labels = batch
    start = uniform_start(images, RADIUS, numbers())
    settings = {"radius": RADIUS, "step_size": STEP}
    state = {key: value.clone() for key, value in net.train().state_dict().items()}
    moved = ascend(net, away(labels), images, start, steps=3, **settings)
    assert net.training
    assert all(torch.equal(value, state[key]) for key, value in net.state_dict().items())
    assert all(p.requires_grad and p.grad is None for p in net.parameters())
    torch.testing.assert_close(moved, bare_ascent(net.eval(), images, start, 3, STEP, away(labels)))
    assert torch.equal(ascend(net, away(labels), images, start, steps=0, **settings), start)


def test_the_attacker_sees_float32_logits(net, batch):
    view = AttackedView(net.eval())
    with torch.autocast("cpu", torch.bfloat16):
        assert net(batch[0]).dtype == torch.bfloat16
        assert view(batch[0]).dtype == torch.float32
    assert torch.equal(view(batch[0]), net(batch[0]))
