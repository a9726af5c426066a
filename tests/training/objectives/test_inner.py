"""The attack inside a training step: starts, steps, targets."""

import torch

from blurnet.training.objectives.inner import target_classes, uniform_start
from tests.training.objectives.by_hand import RADIUS, numbers


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
