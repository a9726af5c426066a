import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml

from blurnet.data.labels import LISA_OUTPUTS_18
from blurnet.data.module import LisaCropsData, get_data
from blurnet.files import load_weights, save_weights
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.rates import Rate
from blurnet.zoo.build import build
from blurnet.zoo.models import load_model
from blurnet.zoo.spec import ModelSpec

Train = Callable[..., None]
CONFIGS = sorted((Path(__file__).parents[2] / "configs" / "train").glob("*.yaml"))
LARGE = ("resnet152-denoise", "resnext101-denoise")
SMALL = ("--data.train_size", "64", "--data.val_size", "32", "--data.test_size", "32")
QUICK = ("--trainer.max_epochs", "1", "--data.batch_size", "32", "--trainer.enable_model_summary", "false")


def small(config: Path, crops: Path, signs: Path, photos: Path, folder: Path) -> tuple[object, ...]:
    """What makes a recipe's data and inner attack small enough for a test, and random weights for downloaded ones."""
    recipe = yaml.safe_load(config.read_text())
    quick = ("--model.objective.args.steps", "1") if "steps" in str(recipe["model"].get("objective")) else ()
    photo = ("--data.image_size", "64", "--data.batch_size", "3", "--data.num_workers", "0")
    arguments: dict[str, tuple[object, ...]] = {
        "SyntheticData": SMALL,
        "LisaCropsData": ("--data.root", crops, "--data.batch_size", "16"),
        "GtsrbData": ("--data.root", signs, "--data.batch_size", "16"),
        "FolderData": ("--data.root", photos, *photo),
    }
    if recipe["model"].get("weights") == "DEFAULT":
        start = folder / "start.safetensors"
        save_weights(build(ModelSpec(recipe["model"]["net"], ["cat", "dog", "tench"])), start)
        quick = (*quick, "--model.weights", start)
    return *quick, *arguments[recipe["data"]["class_path"].rpartition(".")[2]]


@pytest.mark.parametrize(
    "config",
    [pytest.param(path, marks=[pytest.mark.slow] * path.stem.endswith(LARGE)) for path in CONFIGS],
    ids=lambda path: path.stem,
)
def test_every_config_runs(config: Path, crops: Path, signs: Path, photos: Path, train: Train, tmp_path: Path) -> None:
    train("fit", config, *small(config, crops, signs, photos, tmp_path), "--trainer.fast_dev_run", "1")
    text = config.read_text()
    assert f"--config configs/train/{config.name}" in text, "the command in the config's comment"


def test_fit_exports_a_model_that_loads(crops: Path, train: Train, tmp_path: Path) -> None:
    train("fit", "lisa_cnn-linf3", "--data.root", crops, *QUICK, "--seed_everything", "5")
    out = tmp_path / "runs" / "lisa_cnn-linf3"
    net = load_model(out / "model")
    assert net.classes == LISA_OUTPUTS_18
    card = net.card
    assert (card.dataset, card.defense, card.seed) == ("lisa", "learned_low_pass", 5)
    assert (card.name, card.lineage) == ("model", "from scratch")
    assert (card.objective, card.defenses) == ("natural", net.spec.defenses)
    assert card.training_seconds is not None
    assert card.training_seconds > 0
    assert str(tmp_path) not in card.command
    images, labels = LisaCropsData(crops).split("test").tensors()
    with torch.no_grad():
        logits = net(images)
    assert card.clean is not None
    tracks = LisaCropsData(crops).split("test").groups
    assert card.clean == Rate.over(logits.argmax(1) == labels, tracks)
    assert card.clean.groups == len(set(tracks)) < card.clean.n == 34
    # The same logits as the best checkpoint's, and nothing outside the run's folder.
    state = torch.load(out / "checkpoints" / "best.ckpt", weights_only=True)["state_dict"]
    for key, value in net.state_dict().items():
        assert torch.equal(value, state[f"net.{key}"]), key
    assert {path.name for path in tmp_path.iterdir()} == {"runs"}
    assert {path.name for path in out.iterdir()} == {"checkpoints", "config.yaml", "logs", "model"}
    assert {path.name for path in (out / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_logs_and_config_are_complete(crops: Path, train: Train, tmp_path: Path) -> None:
    out = tmp_path / "run"
    train("fit", "lisa_cnn-tv", "--data.root", crops, *QUICK, "--out", out)
    columns = (out / "logs" / "start_0" / "metrics.csv").read_text().splitlines()[0].split(",")
    wanted = {"train/loss", "train/accuracy", "val/accuracy", "val/loss", "test/accuracy", "train/cross_entropy"}
    assert wanted <= set(columns)
    assert any(name.startswith("train/penalty/relu1") for name in columns)
    saved = yaml.safe_load((out / "config.yaml").read_text())
    assert (saved["out"], saved["resume"]) == (str(out), False)
    train("test", out / "config.yaml")
    train("validate", out / "config.yaml")
    assert len(list((out / "logs").iterdir())) == 1, "testing leaves no logs"


MASKED = ("--model.objective.args", '{"masks": 3, "tries": 2, "clean": 0.5}', "--model.weights", "null")
LONGER = ("--trainer.max_epochs", "3", "--model.schedule", "constant")


def test_mask_training_keeps_its_most_certified_epoch(
    crops: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, quick = tmp_path / "run", ("--data.root", crops, *QUICK, *MASKED)
    train("fit", "lisa_cnn-masked", *quick, "--out", out, *LONGER, "--trainer.max_epochs", "2")
    rows = list(csv.DictReader((out / "logs" / "start_0" / "metrics.csv").read_text().splitlines()))
    shares = [float(row["val/certified"]) for row in rows if row["val/certified"]]
    state = torch.load(out / "checkpoints" / "best.ckpt", weights_only=True)
    assert len(shares) == 2
    assert state["epoch"] == shares.index(max(shares))
    capsys.readouterr()
    train("validate", out / "config.yaml")
    assert "val/certified" in capsys.readouterr().out

    for name in ("best", "last"):  # a run of before: its checkpoints name no monitor
        file = out / "checkpoints" / f"{name}.ckpt"
        old = torch.load(file, weights_only=True)
        del old["monitor"]
        torch.save(old, file)
    error = failing(train, capsys, "fit", "lisa_cnn-masked", *quick, "--out", out, "--resume")
    assert "the run keeps its best epoch by val/accuracy, now asked for is val/certified" in error
    as_before = ("--resume", "--model.objective.args.certify", "false")
    train("fit", "lisa_cnn-masked", *quick, "--out", out, *LONGER, *as_before)
    assert torch.load(out / "checkpoints" / "last.ckpt", weights_only=True)["monitor"] == "val/accuracy"


def test_another_objective_beside_masks(
    crops: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = """{"masks": 3, "tries": 2, "clean": 0.5, "unmasked": {"name": "trades", "args": {"steps": 1}}}"""
    quick = ("--data.root", crops, *QUICK, "--model.weights", "null", "--model.objective.args")
    train("fit", "lisa_cnn-masked", *quick, settings, "--out", tmp_path / "run")
    card = load_model(tmp_path / "run" / "model").card
    assert card.objective.endswith("unmasked=trades(radius=0.0313725, steps=1))")
    assert card.defense == "masked+trades"
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved["model"]["objective"]["args"]["unmasked"] == {"name": "trades", "args": {"steps": 1}}
    error = failing(train, capsys, "fit", "lisa_cnn-masked", *quick, settings.replace("trades", "trade"))
    assert "objective: expected one of" in error


def test_defenses_by_name(crops: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    named = ("--defenses", "lgs:smoothing=1.5,fixed_low_pass:after=relu1:kernel_size=5")
    train("fit", "lisa_cnn-linf3", "--data.root", crops, *QUICK, "--out", out, *named)
    net = load_model(out / "model")
    assert [defense.name for defense in net.spec.defenses] == ["learned_low_pass", "lgs", "fixed_low_pass"]
    assert "lgs(smoothing=1.5) in front" in (out / "model" / "card.json").read_text()
    saved = yaml.safe_load((out / "config.yaml").read_text())
    assert (saved["defenses"], len(saved["model"]["defenses"])) == ("", 3)
    train("test", out / "config.yaml")  # the same three, not two of them twice
    error = failing(train, capsys, "fit", "lisa_cnn", "--data.root", crops, "--defenses", "blur")
    assert error.splitlines()[-1].startswith("train.py: error: unknown defense 'blur'; there are: ")


def test_a_second_fit_asks_what_to_do(
    crops: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--data.root", crops, *QUICK, "--out", tmp_path / "run")
    train("fit", "lisa_cnn", *arguments)
    before = (tmp_path / "run" / "model" / "card.json").read_text()
    error = failing(train, capsys, "fit", "lisa_cnn", *arguments)
    assert "holds a run: add --resume" in error
    assert (tmp_path / "run" / "model" / "card.json").read_text() == before
    train("fit", "lisa_cnn", *arguments, "--resume")  # finished: nothing to train, the export is renewed
    (tmp_path / "run" / "notes.txt").write_text("mine")
    train("fit", "lisa_cnn", *arguments, "--overwrite")
    after = json.loads((tmp_path / "run" / "model" / "card.json").read_text())
    assert after["sha256"] == json.loads(before)["sha256"]
    assert (tmp_path / "run" / "notes.txt").exists()


def failing(train: Train, capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a refused command says: its last line, on stderr, with exit status 2 and no traceback."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as stop:
        train(*arguments)
    assert stop.value.code == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    return text


def test_nothing_is_lost_when_the_export_fails(
    photos: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # With three classes behind bit_depth the header of the weights has 640 bytes, which reads as a pickle's start.
    data = ("--data", "FolderData", "--data.root", photos, "--data.image_size", "32")
    arguments = (*data, *QUICK, "--out", tmp_path / "run", "--defenses", "bit_depth")

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr("blurnet.training.run.save_model", full)
    with pytest.raises(SystemExit) as stop:
        train("fit", "lisa_cnn", *arguments)
    assert stop.value.code == 1
    error = capsys.readouterr().err
    best = tmp_path / "run" / "checkpoints" / "best.ckpt"
    assert f"no model was written to {tmp_path / 'run' / 'model'}: no space left on device" in error
    assert f"its weights are in {best}; the same command with --resume trains no more and exports again" in error
    trained = best.read_bytes()
    monkeypatch.undo()
    train("fit", "lisa_cnn", *arguments, "--resume")
    assert best.read_bytes() == trained
    net = load_model(tmp_path / "run" / "model")
    state = torch.load(best, weights_only=True)["state_dict"]
    assert all(torch.equal(value, state[f"net.{key}"]) for key, value in net.state_dict().items())
    assert (tmp_path / "run" / "model" / "model.safetensors").read_bytes()[:8] == (640).to_bytes(8, "little")
    assert len((tmp_path / "run" / "logs" / "start_1" / "metrics.csv").read_text().splitlines()) == 2, "the test only"


def test_without_checkpoints_a_failing_export_leaves_the_weights(
    crops: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    (out / "model").mkdir(parents=True)
    (out / "model" / "thesis.tex").write_text("years of work")
    off = ("--trainer.enable_checkpointing", "false")
    with pytest.raises(SystemExit):
        train("fit", "lisa_cnn", "--data.root", crops, *QUICK, "--out", out, *off)
    assert f"weights are in {out / 'weights.safetensors'}" in capsys.readouterr().err
    load_weights(LisaCNN(18), out / "weights.safetensors")


def test_size_and_fit_of_the_data_become_the_models(
    photos: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data.root", photos, "--data.image_size", "48", "--data.fit", "stretch", "--data.num_workers", "0")
    quick = (*data, "--data.batch_size", "6", "--trainer.max_epochs", "1", "--trainer.enable_model_summary", "false")
    plain = ("--trainer.precision", "32", "--trainer.callbacks", "null", "--model.objective.name", "natural")
    train("fit", "imagenet_resnet18-fast", *quick, *plain, "--model.objective.args", "{}", "--out", tmp_path / "run")
    net = load_model(tmp_path / "run" / "model")
    assert (net.image_size, net.fit) == ((48, 48), "stretch") == (net.card.image_size, net.card.fit)
    images, labels = get_data(f"folder:{photos}", image_size=net.image_size, fit=net.fit).split("test").tensors()
    with torch.no_grad():
        assert int((net(images).argmax(1) == labels).sum()) == net.card.clean.count
    error = failing(
        train,
        capsys,
        "fit",
        "imagenet_resnet18-fast",
        *data,
        *plain,
        "--model.net",
        "lisa_cnn",
        "--model.objective.args",
        "{}",
    )
    assert "takes no images of 48x48 pixels; it is made for 32x32: set --data.image_size" in error


def test_missing_data_is_one_line(train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    error = failing(train, capsys, "fit", "lisa_cnn", "--data.root", tmp_path / "nowhere")
    assert error.splitlines()[-1] == f"train.py: error: LISA crops: no such folder: {tmp_path / 'nowhere'}"
    assert failing(train, capsys, "fit", "lisa_cnn") == "train.py: error: this data needs --data.root\n"
    assert not list(tmp_path.iterdir()), "nothing is left behind"


def test_unwritable_output_is_one_line(
    crops: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    error = failing(train, capsys, "fit", "lisa_cnn", "--data.root", crops, "--out", tmp_path / "file" / "run")
    assert error.splitlines()[-1].startswith("train.py: error: output folder: ")


def test_wrong_weights_are_one_line(
    crops: Path, train: Train, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "w.safetensors").write_bytes(b"not weights")
    error = failing(
        train, capsys, "fit", "lisa_cnn", "--data.root", crops, "--model.weights", tmp_path / "w.safetensors"
    )
    assert "w.safetensors is not a whole safetensors file" in error.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--model.net", "alexnet"), "unknown net 'alexnet'"),
        (("--model.optimizer", "lion"), "lion"),
        (("--model.lr", "fast"), "fast"),
        (("--model.width", "3"), "width"),
        (("--model.defenses", '[{"name": "total_variation", "after": "relu9", "args": {"alpha": 1}}]'), "relu9"),
    ],
)
def test_wrong_settings_are_refused(
    crops: Path, train: Train, capsys: pytest.CaptureFixture[str], arguments: tuple[str, str], message: str
) -> None:
    assert message in failing(train, capsys, "fit", "lisa_cnn", "--data.root", crops, *arguments)


def test_testing_needs_a_checkpoint(crops: Path, train: Train, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no checkpoint runs/lisa_cnn/checkpoints/best.ckpt" in failing(
        train, capsys, "test", "lisa_cnn", "--data.root", crops
    )
