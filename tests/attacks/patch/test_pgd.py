"""PatchPGD: compositing, starts, one step by hand."""

import copy

import pytest
import torch

from blurnet.attacks.engine.losses import objective
from blurnet.attacks.patch.pgd import PatchPGD


@pytest.mark.parametrize("composition", ["replace", "add"])
def test_one_sign_step_by_hand(composition, problem):
    net, mask = copy.deepcopy(problem.net).double(), problem.mask.bool()
    x, y = problem.images[:2].double(), problem.labels[:2]
    attack = PatchPGD(mask, steps=1, optimizer="sign", lr=0.3, start="gray", stop=False, composition=composition)
    pixels = torch.where(mask, 0.5, x).requires_grad_()
    z = net(pixels)
    wrong = z.detach().scatter(1, y[:, None], -1e9).argmax(1)
    (gradient,) = torch.autograd.grad((z.gather(1, wrong[:, None]) - z.gather(1, y[:, None])).sum(), pixels)
    moved = torch.where(mask, (0.5 + 0.3 * gradient.sign()).clamp(0, 1), x)
    with torch.no_grad():
        better = objective("margin", net(moved), y) > objective("margin", net(pixels), y)
    assert better.all()
    torch.testing.assert_close(attack(net, x, y), moved)


@pytest.mark.parametrize(
    ("start", "composition"), [(s, c) for s in ("noise", "gray", "image") for c in ("replace", "add")]
)
def test_starts(start, composition, problem):
    x, attack = problem.images, PatchPGD(problem.mask, steps=0, start=start, composition=composition, seed=3)
    out = attack(problem.net, x, problem.labels)
    noise = torch.rand(1, *x.shape[1:], generator=torch.Generator().manual_seed(3 * 1_000_003))
    added = (x + noise - 0.5).clamp(0, 1)
    wanted = {"noise": noise if composition == "replace" else added, "gray": torch.tensor(0.5), "image": x}[start]
    torch.testing.assert_close(out, torch.where(problem.mask.bool(), wanted, x))


def test_a_saturated_pixel_finds_its_way_back(problem):
    """Added noise far above white still takes the gradient that darkens it."""
    attack = PatchPGD(problem.mask, composition="add")
    noise = torch.full_like(problem.images, 0.9).requires_grad_()
    (gradient,) = torch.autograd.grad(attack.paint(noise, problem.images).sum(), noise)
    assert (gradient == 1).all()
    assert attack.paint(noise, problem.images).max() == 1
    assert attack.project(torch.tensor([-2.0, 0.4, 2.0])).tolist() == pytest.approx([-1, 0.4, 1])


@pytest.mark.parametrize(
    "settings",
    [
        {"steps": -1},
        {"restarts": 0},
        {"eot_samples": 0},
        {"lr": 0.0},
        {"weight": -1.0},
        {"start": "black"},
        {"loss": "hinge"},
        {"optimizer": "sgd"},
        {"composition": "multiply"},
        {"target": "third"},
    ],
    ids=str,
)
def test_bad_settings_raise(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"PatchPGD {name}: expected"):
        PatchPGD(**settings)
