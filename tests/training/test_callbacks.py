"""Guard, averaged weights, checkpoints and resumed attacks, in short fits."""

from collections.abc import Iterator
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

import blurnet.training.callbacks as guard_file
from blurnet.certified.double_masking import DoubleMasking
from blurnet.files import save_weights
from blurnet.quiet import quiet
from blurnet.training.callbacks import EMA, OverfittingGuard, StepSeed, best_and_last
from blurnet.training.classifier import Classifier
from blurnet.training.objectives.table import ObjectiveSpec


class Batches:
    """The same two batches in every epoch."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.items = [(torch.rand(6, 3, 32, 32, generator=generator), torch.arange(6) % 3) for _ in range(2)]

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def fit(
    classifier: Classifier, epochs: int, folder: Path, *callbacks: pl.Callback, resume: bool = False, every: int = 1
) -> pl.Trainer:
    trainer = pl.Trainer(
        check_val_every_n_epoch=every,
        accelerator="cpu",
        max_epochs=epochs,
        callbacks=[*callbacks, *best_and_last(folder, classifier.objective.monitor)],
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
        num_sanity_val_steps=0,
    )
    last = str(folder / "last.ckpt") if resume else None
    with quiet():
        trainer.fit(classifier, Batches(), Batches(), ckpt_path=last)
    return trainer


def fast(**args: float) -> Classifier:
    return Classifier(("a", "b", "c"), objective=ObjectiveSpec("fast", args), lr=0.05, schedule="constant")


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {key: value.clone() for key, value in net.state_dict().items()}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return all(torch.equal(one[key], other[key]) for key in one)


def test_a_collapse_stops_the_run_with_the_weights_before_it(tmp_path, monkeypatch):
    seen: list[dict[str, Tensor]] = []
    shares = iter([0.5, 0.6, 0.45, 0.2, 0.9])

    def measured(net: nn.Module, *_: Tensor, **settings: float) -> Tensor:
        assert settings == {"radius": 0.1, "steps": 5}
        seen.append(weights(net))
        return torch.tensor(next(shares))

    monkeypatch.setattr(guard_file, "robust_share", measured)
    classifier = fast(radius=0.1)
    trainer = fit(classifier, 9, tmp_path)
    assert len(seen) == 4, "the fourth epoch fell by a quarter"
    assert trainer.current_epoch == 4
    assert equal(weights(classifier.net), seen[2])
    assert not equal(seen[2], seen[3])


def test_a_slow_fall_is_no_collapse(tmp_path, monkeypatch):
    shares = iter([0.9, 0.75, 0.6, 0.45])
    monkeypatch.setattr(guard_file, "robust_share", lambda *_, **__: torch.tensor(next(shares)))
    assert fit(fast(), 4, tmp_path).current_epoch == 4


def test_a_resumed_run_remembers(tmp_path, monkeypatch):
    monkeypatch.setattr(guard_file, "robust_share", lambda *_, **__: torch.tensor(0.8))
    first = fast()
    fit(first, 1, tmp_path)
    kept = weights(first.net)
    monkeypatch.setattr(guard_file, "robust_share", lambda *_, **__: torch.tensor(0.1))
    second = fast()
    assert fit(second, 5, tmp_path, resume=True).current_epoch == 2
    assert equal(weights(second.net), kept)


def test_the_guard_is_there_where_it_is_asked_for():
    assert [type(c) for c in fast().configure_callbacks()] == [OverfittingGuard]
    assert Classifier(("a", "b"), objective=ObjectiveSpec("fast", {"guard": None})).configure_callbacks() == []
    assert Classifier(("a", "b")).configure_callbacks() == []


def test_the_measurement_itself(tmp_path):
    classifier = fast()
    trainer = fit(classifier, 1, tmp_path)
    (guard,) = [c for c in trainer.callbacks if isinstance(c, OverfittingGuard)]
    assert guard.previous is not None
    assert 0 <= guard.previous <= 1


def test_the_last_epoch_is_kept_whether_or_not_it_is_the_best(tmp_path, monkeypatch):
    accuracies = iter([0.9, 0.5, 0.5])
    classifier = plain()
    monkeypatch.setattr(classifier.val_accuracy, "compute", lambda: torch.tensor(next(accuracies)))
    fit(classifier, 3, tmp_path)
    kept = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("best", "last")}
    assert {name: state["epoch"] for name, state in kept.items()} == {"best": 0, "last": 2}
    assert len(list(tmp_path.iterdir())) == 2


def plain() -> Classifier:
    torch.manual_seed(0)
    return Classifier(("a", "b", "c"), lr=0.05, schedule="constant")


def test_averaged_weights_are_what_is_kept_and_tested(tmp_path):
    classifier = plain()
    trainer = fit(classifier, 2, tmp_path, EMA(0.5))
    averaged = weights(classifier.net)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert equal(averaged, {key.removeprefix("net."): value for key, value in state["state_dict"].items()})
    current = {key.removeprefix("net."): value for key, value in state["current_model_state"].items()}
    assert not equal(averaged, current)
    with quiet():
        trainer.test(classifier, Batches(), ckpt_path=str(tmp_path / "last.ckpt"), verbose=False)
    assert equal(weights(classifier.net), averaged)


def test_a_resumed_average_is_that_of_a_whole_run(tmp_path):
    whole, killed, resumed = plain(), plain(), plain()
    fit(whole, 2, tmp_path / "whole", EMA(0.5))
    fit(killed, 1, tmp_path / "killed", EMA(0.5))
    fit(resumed, 2, tmp_path / "killed", EMA(0.5), resume=True)
    assert equal(weights(whole.net), weights(resumed.net))


def test_a_resumed_attack_draws_what_a_whole_run_draws(tmp_path):
    whole, killed, resumed = (
        Classifier(("a", "b", "c"), objective=ObjectiveSpec("pgd", {"steps": 2}), lr=0.05, schedule="constant")
        for _ in range(3)
    )
    killed.load_state_dict(whole.state_dict())
    fit(whole, 2, tmp_path / "whole", StepSeed(3))
    fit(killed, 1, tmp_path / "killed", StepSeed(3))
    fit(resumed, 2, tmp_path / "killed", StepSeed(3), resume=True)
    assert equal(weights(whole.net), weights(resumed.net))


MASKED = {"masks": 3, "tries": 2, "clean": 0.3}


def test_the_best_epoch_is_what_the_objective_monitors(tmp_path, monkeypatch):
    """The second epoch certifies most, though the first is the most accurate; shares are those of all batches."""
    classifier = Classifier(("a", "b", "c"), objective=ObjectiveSpec("masked", MASKED), schedule="constant")
    accuracies, counts = iter([0.9, 0.5, 0.6]), iter([0, 1, 5, 2, 1, 2])
    monkeypatch.setattr(classifier.val_accuracy, "compute", lambda: torch.tensor(next(accuracies)))
    kind = type(classifier.objective)

    def validate(self: object, net: nn.Module, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        assert not any(module.training for module in net.modules())
        return {"certified": torch.arange(6) < next(counts)}

    monkeypatch.setattr(kind, "validate", validate)
    trainer = fit(classifier, 3, tmp_path)
    assert float(trainer.callback_metrics["val/certified"]) == 3 / 12, "of the last epoch alone"
    kept = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("best", "last")}
    assert {name: state["epoch"] for name, state in kept.items()} == {"best": 1, "last": 2}
    assert kept["best"]["monitor"] == "val/certified"


def test_the_best_is_looked_for_where_there_is_a_validation(tmp_path, monkeypatch):
    """Validated are the second and the fourth epoch; before the first validation nothing is missed or warned of."""
    classifier = plain()
    accuracies = iter([0.9, 0.5])
    monkeypatch.setattr(classifier.val_accuracy, "compute", lambda: torch.tensor(next(accuracies)))
    fit(classifier, 5, tmp_path, every=2)
    kept = {name: torch.load(tmp_path / f"{name}.ckpt", weights_only=True) for name in ("best", "last")}
    assert {name: state["epoch"] for name, state in kept.items()} == {"best": 1, "last": 4}


def test_a_validation_measures_the_certified_share(tmp_path):
    spec = ObjectiveSpec("masked-random", {"masks": 3, "count": 1})
    classifier = Classifier(("a", "b", "c"), objective=spec, optimizer="adam", lr=0.001, schedule="constant")
    trainer = fit(classifier, 8, tmp_path)
    defended = DoubleMasking(classifier.net.eval(), area=0.05, masks=3)
    certified = torch.cat([defended.certify(*batch).certified for batch in Batches()])
    assert float(trainer.callback_metrics["val/certified"]) == float(certified.float().mean())
    assert certified.any()


def taught(start: Path) -> Classifier:
    spec = ObjectiveSpec("masked", {"masks": 3, "tries": 2, "distill": 1.0, "teacher": "start"})
    return Classifier(("a", "b", "c"), objective=spec, weights=str(start), lr=0.05, schedule="constant")


def test_a_resumed_run_has_the_teacher_of_its_start(tmp_path):
    """Weights, averaged too, are those of a whole run, and the teacher is neither trained nor kept."""
    start = tmp_path / "start.safetensors"
    save_weights(plain().net, start)
    whole, killed, resumed = (taught(start) for _ in range(3))
    before = weights(whole.net)
    fit(whole, 2, tmp_path / "whole", StepSeed(3), EMA(0.5))
    fit(killed, 1, tmp_path / "killed", StepSeed(3), EMA(0.5))
    fit(resumed, 2, tmp_path / "killed", StepSeed(3), EMA(0.5), resume=True)
    assert not equal(weights(whole.net), before)
    assert equal(weights(whole.net), weights(resumed.net))
    for classifier in (whole, resumed):
        assert equal(weights(classifier.objective._start), before)
        assert set(classifier.state_dict()) == {f"net.{key}" for key in before}
        assert len(list(classifier.parameters())) == len(list(classifier.net.parameters()))
