from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn

from blurnet.files import save_weights
from blurnet.layers.penalties import Penalty
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.table import ObjectiveSpec
from blurnet.zoo.spec import DefenseSpec

NAMES = ("stop", "yield", "merge")
LINF = DefenseSpec("learned_low_pass", after="relu1", args={"kernel_size": 3, "linf": 0.5})
TV = DefenseSpec("total_variation", after="relu1", args={"alpha": 0.01})


@pytest.fixture
def batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(4, 3, 32, 32, generator=generator), torch.tensor([0, 1, 2, 0])


def loss_and_logs(
    classifier: Classifier, batch: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    logs: dict[str, torch.Tensor] = {}
    monkeypatch.setattr(classifier, "log_dict", lambda values, **_: logs.update(values))
    return classifier.training_step(batch, 0), logs


def test_penalties_are_in_the_loss(batch: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    classifier = Classifier(NAMES, defenses=[LINF, TV])
    images, labels = batch
    net = classifier.net
    layers = [m for m in net.modules() if isinstance(m, Penalty)]
    with torch.no_grad():
        kernels = layers[0].weight
        linf = 0.5 / 64 * sum(float(kernel.abs().max()) for kernel in kernels)
        maps = layers[0](F.relu(net.conv1(images)))
        down, right = maps[:, :, 1:] - maps[:, :, :-1], maps[..., 1:] - maps[..., :-1]
        tv = 0.01 / (4 * 64) * float(down.abs().sum() + right.abs().sum())
        plain = float(F.cross_entropy(net(images), labels))
    loss, logs = loss_and_logs(classifier, batch, monkeypatch)
    penalties = {k: float(v) for k, v in logs.items() if k.startswith("train/penalty/")}
    assert list(penalties.values()) == pytest.approx([linf, tv], rel=1e-4)
    assert all("relu1" in name for name in penalties)
    assert float(loss.detach()) == pytest.approx(plain + linf + tv, rel=1e-4)
    assert float(logs["train/cross_entropy"]) == pytest.approx(plain, rel=1e-4)
    loss.backward()
    assert net.conv1.weight.grad is not None


def test_loss_without_defenses_is_cross_entropy(
    batch: tuple[torch.Tensor, torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier = Classifier(NAMES, label_smoothing=0.1)
    loss, logs = loss_and_logs(classifier, batch, monkeypatch)
    assert torch.equal(loss, F.cross_entropy(classifier(batch[0]), batch[1], label_smoothing=0.1))
    assert set(logs) == {"train/cross_entropy", "train/loss"}


def test_channels_last_is_the_same_net(batch: tuple[torch.Tensor, torch.Tensor]) -> None:
    pl.seed_everything(3, verbose=False)
    first = Classifier(NAMES, defenses=[LINF], channels_last=False)
    pl.seed_everything(3, verbose=False)
    second = Classifier(NAMES, defenses=[LINF], channels_last=True)
    torch.testing.assert_close(first(batch[0]), second(batch[0]))


def test_starts_from_weights_of_the_plain_net(tmp_path: Path) -> None:
    plain = LisaCNN(3)
    save_weights(plain, tmp_path / "plain.safetensors")
    classifier = Classifier(NAMES, defenses=[LINF], weights=str(tmp_path / "plain.safetensors"))
    assert torch.equal(classifier.net.conv1.weight, plain.conv1.weight)
    assert torch.equal(classifier.net.fc.weight, plain.fc.weight)


def test_weights_of_another_class_count_are_refused(tmp_path: Path) -> None:
    save_weights(LisaCNN(17), tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"fc.weight.*17.*3"):
        Classifier(NAMES, weights=str(tmp_path / "other.safetensors"))


def test_no_hyperparameters_are_saved() -> None:
    assert not Classifier(NAMES, defenses=[LINF]).hparams


def test_draws_follow_from_the_position(batch):
    classifier = Classifier(("a", "b"), objective=ObjectiveSpec("pgd"))
    images = batch[0]
    first, again, next_batch = (torch.rand(3, generator=classifier._generator(images, i)) for i in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, next_batch)


def test_frozen_batchnorm_rests_and_its_weights_train(batch):
    """In training mode, after an evaluation, and after a step: statistics stay, weights move."""
    images, labels = batch
    pl.seed_everything(3, verbose=False)
    classifier = Classifier(NAMES, net="resnet_32", freeze_batchnorm=True, schedule="constant", lr=0.1)
    norms = [module for module in classifier.net.modules() if isinstance(module, nn.BatchNorm2d)]
    others = [module for module in classifier.net.modules() if not isinstance(module, nn.BatchNorm2d)]
    before = {key: value.clone() for key, value in classifier.net.state_dict().items()}
    assert not any(norm.training for norm in norms)
    classifier.eval()
    classifier.train()
    assert not any(norm.training for norm in norms)
    assert all(module.training for module in others)
    optimizer = classifier.configure_optimizers()
    F.cross_entropy(classifier(images), labels).backward()
    optimizer.step()
    after = classifier.net.state_dict()
    for key, value in before.items():
        rests = key.endswith(("running_mean", "running_var", "num_batches_tracked"))
        assert torch.equal(value, after[key]) == rests, key


def test_batchnorm_is_frozen_only_where_asked():
    assert all(module.training for module in Classifier(NAMES, net="resnet_32").net.modules())
    with pytest.raises(ValueError, match="freeze_batchnorm: lisa_cnn has no BatchNorm"):
        Classifier(NAMES, freeze_batchnorm=True)


def test_a_teacher_needs_weights():
    spec = ObjectiveSpec("masked", {"distill": 1.0, "teacher": "start"})
    with pytest.raises(ValueError, match="a net of random weights; give weights"):
        Classifier(NAMES, objective=spec)


def test_the_guard_of_an_inner_objective():
    spec = ObjectiveSpec("masked", {"clean": 0.5, "unmasked": {"name": "fast", "args": {"radius": 0.1}}})
    (guard,) = Classifier(NAMES, objective=spec).configure_callbacks()
    assert (guard.radius, guard.drop) == (0.1, 0.2)
