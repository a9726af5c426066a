"""What a universal patch is trained on: every image, round after round."""

import torch
from torch.utils.data import DataLoader, TensorDataset

from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from tests.attacks.universal.settings import ON_THE_SPOT, WIDE


def test_a_loader_of_one_batch_is_that_batch(problem):
    attack = AdversarialPatch(0, steps=6, poses=WIDE)
    loader = DataLoader(TensorDataset(problem.images, problem.labels), batch_size=8)
    wanted = attack.train(problem.net, problem.images, problem.labels)
    assert torch.equal(attack.train(problem.net, loader, device="cpu").pixels, wanted.pixels)
    small = DataLoader(TensorDataset(problem.images, problem.labels), batch_size=3)
    assert attack.train(problem.net, small).meta["success"].endswith("of 8 check images")


def test_batches_visit_every_image(problem):
    marks = problem.images.clone()
    marks[:, :, 0, 0] = torch.arange(8)[:, None] / 8
    seen: list[float] = []

    def net(x):
        if x.requires_grad:
            seen.extend(x[:, 0, 0, 0].tolist())
        return problem.net(x)

    AdversarialPatch(None, steps=6, batch=3, poses=ON_THE_SPOT).train(net, marks, problem.labels)
    assert sorted(seen) == sorted([i / 8 for i in range(8)] * 2)
    assert seen[:8] != seen[8:]
