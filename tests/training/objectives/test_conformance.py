"""What every objective keeps: its limits, the net as it was, autocast, penalties, every kind of defense."""

import pytest
import torch
from torch import Tensor

from blurnet.layers.insert import insert_after
from blurnet.layers.penalties import TotalVariation, penalties
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.base import Natural
from blurnet.training.objectives.table import OBJECTIVES, ObjectiveSpec, make_objective
from blurnet.zoo.spec import DefenseSpec
from tests.training.objectives.by_hand import numbers, value_of

QUICK = {
    "doa": {"steps": 2},
    "patch": {"steps": 2, "samples": 2, "rotation": 5.0},
    "pgd": {"steps": 2},
    "masked": {"distill": 0.5},
}
each_objective = pytest.mark.parametrize("name", OBJECTIVES)


@pytest.mark.parametrize(
    ("name", "args"),
    [
        ("fgsm", {"clean": 1.0}),
        ("pgd", {"clean": 1.0}),
        ("alp", {"clean": 1.0, "pairing": 0.0}),
        ("fast", {"clean": 1.0}),
        ("doa", {"clean": 1.0}),
        ("patch", {"clean": 1.0}),
        ("masked", {"clean": 1.0, "distill": 0.5}),
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
