"""Training against occlusions and patches."""

import torch
import torch.nn.functional as F

from blurnet.training.objectives.patches import OcclusionTraining, PatchTraining
from tests.training.objectives.by_hand import numbers, value_of


def test_occlusion_stays_in_one_rectangle(net, batch):
    images, labels = batch
    objective = OcclusionTraining(size=(5, 3), stride=2, steps=3, step_size=0.05)
    moved = objective.adversarial(net.eval(), images, labels, numbers())
    changed = (moved != images).any(dim=1)
    for one, image in zip(changed, moved, strict=True):
        rows, columns = one.any(1).nonzero().flatten(), one.any(0).nonzero().flatten()
        assert rows.max() - rows.min() < 5
        assert columns.max() - columns.min() < 3
        inside = image[:, one]
        assert ((inside - 0.5).abs() <= 3 * 0.05 + 1e-6).all(), "steps from gray"
    torch.testing.assert_close(value_of(objective, net, batch), F.cross_entropy(net(moved), labels))


def test_patches_move_from_step_to_step(net, batch):
    images, labels = batch
    objective, generator = PatchTraining(area=0.06, steps=2), numbers()
    changed = [(objective.adversarial(net.eval(), images, labels, generator) != images).any(dim=1) for _ in range(2)]
    assert (changed[0].sum(dim=(1, 2)) <= 16).all()
    assert not torch.equal(changed[0], changed[1])
