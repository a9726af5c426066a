"""Objectives against hand-computed losses, at their limits, and in every combination with defenses."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from blurnet.layers.insert import insert_after
from blurnet.layers.penalties import TotalVariation, penalties
from blurnet.training.callbacks import robust_share
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.adversarial import TRADES, FastTraining, FGSMTraining, PGDTraining, divergence
from blurnet.training.objectives.base import CleanLogitPairing, Natural, Objective
from blurnet.training.objectives.inner import target_classes, uniform_start
from blurnet.training.objectives.patches import OcclusionTraining, PatchTraining
from blurnet.training.objectives.table import OBJECTIVES, ObjectiveSpec, make_objective
from blurnet.zoo.spec import DefenseSpec

RADIUS, STEP = 0.05, 0.02
QUICK = {"doa": {"steps": 2}, "patch": {"steps": 2, "samples": 2, "rotation": 5.0}, "pgd": {"steps": 2}}
each_objective = pytest.mark.parametrize("name", OBJECTIVES)


@pytest.fixture
def net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(96, 5)
    )


@pytest.fixture
def batch(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    return torch.rand(7, 3, 16, 16, generator=generator), torch.tensor([0, 1, 2, 3, 4, 0, 1])


def numbers() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def value_of(objective: Objective, net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
    """The loss in evaluation mode, where two passes of a net with batch statistics give the same logits."""
    return objective.loss(net.eval(), *batch, numbers())[0]


def bare_ascent(net: nn.Module, images: Tensor, start: Tensor, steps: int, size: float, value: Any) -> Tensor:
    x = start
    for _ in range(steps):
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(value(net(x)), x)
        x = x.detach() + size * gradient.sign()
        x = images + (x - images).clamp(-RADIUS, RADIUS)
        x = x.clamp(0, 1)
    return x


def away(labels: Tensor) -> Any:
    return lambda logits: F.cross_entropy(logits, labels, reduction="sum")


def test_natural(net, batch):
    images, labels = batch
    smooth = Natural(label_smoothing=0.1)
    torch.testing.assert_close(value_of(smooth, net, batch), F.cross_entropy(net(images), labels, label_smoothing=0.1))


def test_fgsm_mixture(net, batch):
    images, labels = batch
    loss = value_of(FGSMTraining(clean=0.3, radius=RADIUS), net, batch)
    moved = bare_ascent(net, images, images, 1, RADIUS, away(labels))
    wanted = 0.3 * F.cross_entropy(net(images), labels) + 0.7 * F.cross_entropy(net(moved), labels)
    torch.testing.assert_close(loss, wanted)


def test_pgd(net, batch):
    images, labels = batch
    objective = PGDTraining(radius=RADIUS, steps=4, step_size=STEP, label_smoothing=0.1)
    start = uniform_start(images, RADIUS, numbers())
    moved = bare_ascent(net.eval(), images, start, 4, STEP, away(labels))
    wanted = F.cross_entropy(net(moved), labels, label_smoothing=0.1)
    torch.testing.assert_close(value_of(objective, net, batch), wanted)
    assert wanted > value_of(Natural(label_smoothing=0.1), net, batch)


def test_targeted_pgd_goes_towards_wrong_classes(net, batch):
    images, labels = batch
    objective = PGDTraining(radius=RADIUS, steps=4, step_size=STEP, target="random", clean_start=1.0)
    moved = objective.adversarial(net.eval(), images, labels, numbers())
    targets = target_classes("random", net, images, labels, numbers())
    wanted = bare_ascent(net, images, images, 4, STEP, lambda logits: -away(targets)(logits))
    torch.testing.assert_close(moved, wanted)


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


def test_adversarial_logit_pairing(net, batch):
    images, labels = batch
    settings: dict[str, Any] = {"radius": RADIUS, "steps": 2, "step_size": STEP, "clean": 0.5}
    moved = PGDTraining(**settings).adversarial(net.eval(), images, labels, numbers())
    logits, others = net(images), net(moved)
    mixed = (F.cross_entropy(logits, labels) + F.cross_entropy(others, labels)) / 2
    torch.testing.assert_close(value_of(PGDTraining(**settings), net, batch), mixed)
    paired = mixed + 0.25 * sum((a - b).norm() ** 2 for a, b in zip(logits, others, strict=True)) / 7
    torch.testing.assert_close(value_of(PGDTraining(**settings, pairing=0.25), net, batch), paired)


def test_clean_logit_pairing(net, batch):
    images, labels = batch
    logits = net.eval()(images)
    distances = [(logits[i] - logits[i + 3]).norm() ** 2 for i in range(3)]  # the seventh image has no partner
    wanted = F.cross_entropy(logits, labels) + 0.2 * sum(distances) / 3
    torch.testing.assert_close(value_of(CleanLogitPairing(weight=0.2), net, batch), wanted)
    one = (images[:1], labels[:1])
    assert torch.equal(value_of(CleanLogitPairing(), net, one), value_of(Natural(), net, one))


def test_fast(net, batch):
    images, labels = batch
    start = uniform_start(images, RADIUS, numbers())
    moved = bare_ascent(net.eval(), images, start, 1, 1.25 * RADIUS, away(labels))
    torch.testing.assert_close(value_of(FastTraining(radius=RADIUS), net, batch), F.cross_entropy(net(moved), labels))


def test_trades(net, batch):
    images, labels = batch
    objective = TRADES(beta=3.0, radius=RADIUS, steps=3, step_size=STEP)
    clean = net.eval()(images).detach()

    def kl(logits: Tensor, others: Tensor) -> Tensor:
        p, q = logits.softmax(1), others.softmax(1)
        return (p * (p / q).log()).sum()

    start = images + torch.empty_like(images).normal_(0, 0.001, generator=numbers())
    moved = bare_ascent(net, images, start.clamp(0, 1), 3, STEP, lambda logits: kl(clean, logits))
    wanted = F.cross_entropy(net(images), labels) + 3 * kl(net(images), net(moved)) / 7
    torch.testing.assert_close(value_of(objective, net, batch), wanted)


def test_divergence_is_not_negative(generator):
    p, q = torch.randn(2, 50, 6, generator=generator)
    assert divergence(p, q) > 0
    torch.testing.assert_close(divergence(p, p + 3), torch.tensor(0.0))
    assert all(divergence(p[i : i + 1], q[i : i + 1]) > 0 for i in range(50))


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


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("fgsm", {"clean": 1.0}),
        ("pgd", {"clean": 1.0}),
        ("alp", {"clean": 1.0, "pairing": 0.0}),
        ("fast", {"clean": 1.0}),
        ("doa", {"clean": 1.0}),
        ("patch", {"clean": 1.0}),
        ("trades", {"beta": 0.0}),
        ("clp", {"weight": 0.0}),
    ],
)
def test_weight_zero_is_natural_and_attacks_nothing(name, args, net, batch):
    state = {key: value.clone() for key, value in net.state_dict().items()}
    calls: list[int] = []
    net.register_forward_pre_hook(lambda _, inputs: calls.append(len(inputs[0])))
    loss, logits = make_objective(ObjectiveSpec(name, args)).loss(net.train(), *batch, numbers())
    net.load_state_dict(state)
    natural, same = Natural().loss(net, *batch, numbers())
    assert torch.equal(loss, natural)
    assert torch.equal(logits, same)
    assert calls == [7, 7]


@pytest.mark.parametrize("name", ["pgd", "fgsm", "alp", "fast"])
def test_radius_zero_is_natural(name, net, batch):
    args = {"pairing": 0.0} if name == "alp" else {}
    objective = make_objective(ObjectiveSpec(name, {**args, "radius": 0.0}))
    torch.testing.assert_close(value_of(objective, net, batch), value_of(Natural(), net, batch))


@each_objective
def test_modes_gradients_and_images_are_as_before(name, net, batch):
    objective = make_objective(ObjectiveSpec(name, QUICK.get(name, {})))
    images, labels = batch
    before = images.clone()
    net.train()
    net[1].eval()
    net[0].bias.requires_grad_(False)
    objective.loss(net, images, labels, numbers())
    assert [m.training for m in net] == [True, False, True, True, True, True]
    assert [p.requires_grad for p in net.parameters()] == [True, False, True, True, True, True]
    assert all(p.grad is None for p in net.parameters())
    assert torch.equal(images, before)


@each_objective
def test_batch_statistics_move_once(name, net, batch):
    objective = make_objective(ObjectiveSpec(name, QUICK.get(name, {})))
    objective.loss(net.train(), *batch, numbers())
    assert net[1].num_batches_tracked == 1


@each_objective
def test_restored_after_an_error(name, net, batch):
    objective = make_objective(ObjectiveSpec(name, QUICK.get(name, {})))

    def fail(*_: object) -> None:
        raise RuntimeError("broken layer")

    net.train()[-1].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="broken layer"):
        objective.loss(net, *batch, numbers())
    assert all(m.training for m in net.modules())
    assert all(p.requires_grad for p in net.parameters())


@each_objective
def test_autocast_trains_every_weight(name, net, batch):
    objective = make_objective(ObjectiveSpec(name, QUICK.get(name, {})))
    with torch.autocast("cpu", torch.bfloat16):
        loss, _ = objective.loss(net.train(), *batch, numbers())
    assert loss.dtype == torch.float32
    loss.backward()
    weights = [p.grad for p in net.parameters()]
    assert all(grad is not None and bool(grad.isfinite().all()) for grad in weights)
    assert all(bool(net[i].weight.grad.any()) for i in (0, 1, 5))


@each_objective
def test_penalties_count_once(name, net, batch):
    insert_after(net, "0", TotalVariation(1e-3))
    make_objective(ObjectiveSpec(name, QUICK.get(name, {}))).loss(net.train(), *batch, numbers())
    assert len(penalties(net)) == 1
    assert penalties(net) == {}


@each_objective
def test_with_every_kind_of_defense(name, monkeypatch, generator):
    defenses = [
        DefenseSpec("lgs"),
        DefenseSpec("total_variation", after="relu1", args={"alpha": 1e-4}),
        DefenseSpec("feature_denoise", after="relu2"),
    ]
    spec = ObjectiveSpec(name, QUICK.get(name, {}))
    classifier = Classifier(("a", "b", "c"), defenses=defenses, objective=spec, label_smoothing=0.1)
    logs: dict[str, Tensor] = {}
    monkeypatch.setattr(classifier, "log_dict", lambda values, **_: logs.update(values))
    images, labels = torch.rand(4, 3, 32, 32, generator=generator), torch.tensor([0, 1, 2, 0])
    classifier.training_step((images, labels), 0).backward()
    assert all(p.grad is not None for p in classifier.net.parameters())
    kind = "cross_entropy" if name == "natural" else "objective"
    assert {key.split("/")[1] for key in logs} == {kind, "loss", "penalty"}
    assert classifier.objective.label_smoothing == 0.1


def test_draws_follow_from_the_position(batch):
    classifier = Classifier(("a", "b"), objective=ObjectiveSpec("pgd"))
    images = batch[0]
    first, again, next_batch = (torch.rand(3, generator=classifier._generator(images, i)) for i in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_batch)


@pytest.mark.parametrize(
    ("spec", "error", "says"),
    [
        (ObjectiveSpec("madry"), ValueError, r"objective: expected one of \['natural', 'fgsm', .*\], got 'madry'"),
        (ObjectiveSpec("pgd", {"epsilon": 1.0}), ValueError, "unknown .*epsilon.* allowed are .*radius"),
        (ObjectiveSpec("pgd", {"label_smoothing": 0.1}), ValueError, "unknown .*label_smoothing"),
        (ObjectiveSpec("pgd", {"steps": 2.5}), TypeError, "expected int, got 2.5"),
        (ObjectiveSpec("pgd", {"target": "any"}), TypeError, "least-likely"),
        (ObjectiveSpec("pgd", {"radius": -1.0}), ValueError, "PGDTraining radius: expected from 0, got -1.0"),
        (ObjectiveSpec("fgsm", {"clean": 2.0}), ValueError, r"FGSMTraining clean: expected in \[0, 1\], got 2.0"),
        (ObjectiveSpec("trades", {"step_size": 0.0}), ValueError, "step_size: expected a positive number"),
        (ObjectiveSpec("doa", {"stride": 0}), ValueError, "stride: expected from 1, got 0"),
        (ObjectiveSpec("patch", {"area": 2.0}), ValueError, r"area: expected a share .* got 2.0"),
    ],
)
def test_what_does_not_exist_is_refused(spec, error, says):
    with pytest.raises(error, match=says):
        make_objective(spec)


def two_features(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """A half of the image that is brighter, in nine images of ten the right one; and faint stripes that never lie."""
    labels = torch.randint(2, (n,), generator=generator)
    sign = (2 * labels - 1).float()
    right = torch.where(torch.rand(n, generator=generator) < 0.9, sign, -sign)
    images = 0.5 + 0.02 * torch.randn(n, 3, 8, 8, generator=generator)
    halves = torch.tensor([1.0, -1.0]).repeat_interleave(4)
    stripes = torch.tensor([1.0, -1.0]).repeat(4)[:, None]
    images += 0.1 * right[:, None, None, None] * halves + 0.03 * sign[:, None, None, None] * stripes
    return images.clamp(0, 1), labels


def trained(objective: Objective, batches: list[tuple[Tensor, Tensor]]) -> nn.Module:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Flatten(), nn.Linear(192, 2))
    adam, generator = torch.optim.Adam(net.parameters(), 0.02), numbers()
    for images, labels in batches:
        adam.zero_grad()
        objective.loss(net, images, labels, generator)[0].backward()
        adam.step()
    return net


@pytest.mark.parametrize("name", ["pgd", "trades", "alp", "fast"])
def test_training_improves_robustness(name, generator):
    radius = 0.06
    batches = [two_features(64, generator) for _ in range(80)]
    images, labels = two_features(500, generator)
    objective = make_objective(ObjectiveSpec(name, {"radius": radius}))
    natural, robust = (trained(o, batches) for o in (Natural(), objective))
    before, after = (float(robust_share(n, images, labels, radius=radius, steps=20)) for n in (natural, robust))
    assert before < 0.6
    assert after > 0.8
    assert (natural(images).argmax(1) == labels).float().mean() > 0.92
