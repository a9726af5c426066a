"""Models by name and by folder: round trips, listing, and everything that must not load or be overwritten."""

import dataclasses
import json
import shutil

import pytest
import torch

import blurnet.zoo.models as models
from blurnet.zoo.build import build
from blurnet.zoo.models import list_models, load_model, save_model
from blurnet.zoo.readme import render_readme
from blurnet.zoo.spec import ModelSpec

IMAGES = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(1))
FILES = ["README.md", "card.json", "model.safetensors", "spec.json"]


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def zoo(saved, net, spec, card, monkeypatch):
    """Two shipped models."""
    monkeypatch.setattr(models, "models_root", lambda: saved.parent)
    other = dataclasses.replace(card, dataset="synthetic", defense="none")
    save_model(net, saved.parent / "plain", spec=spec, card=other)
    return saved.parent


def test_round_trip(saved, net, spec):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    loaded = load_model(saved)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(loaded(IMAGES), net(IMAGES))
    assert not any(module.training for module in loaded.modules())
    assert loaded.classes == ("stop", "yield", "merge")
    assert loaded.spec == spec.with_images((32, 32), "stretch")
    assert (loaded.image_size, loaded.fit) == ((32, 32), "stretch") == (loaded.card.image_size, loaded.card.fit)
    assert (loaded.card.name, loaded.card.net, loaded.card.classes) == ("lisa_cnn-linf5", "lisa_cnn", 3)
    assert names(saved) == FILES
    assert (saved / "README.md").read_text() == render_readme(loaded.card)


def test_list_models(zoo):
    assert list_models() == ["lisa_cnn-linf5", "plain"]
    assert list_models(dataset="synthetic") == ["plain"]
    assert list_models(dataset="lisa", defense="learned_low_pass") == ["lisa_cnn-linf5"]
    assert list_models(dataset="lisa", defense="none") == []
    with pytest.raises(ValueError, match="there are: lisa, synthetic"):
        list_models(dataset="gtsrb")
    with pytest.raises(ValueError, match="there are: learned_low_pass, none"):
        list_models(defense="tv")


def test_names_work_from_any_folder(zoo, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    assert load_model("plain").card.dataset == "synthetic"


def test_unknown_names_list_what_exists(zoo):
    with pytest.raises(
        ValueError, match=r"no model 'plane' \(did you mean 'plain'\?\); there are: lisa_cnn-linf5, plain"
    ):
        load_model("plane")
    with pytest.raises(ValueError, match="it holds the models lisa_cnn-linf5, plain"):
        load_model(zoo)
    (zoo / "empty").mkdir()
    with pytest.raises(ValueError, match=r"not a model's folder: expected model\.safetensors"):
        load_model(zoo / "empty")


@pytest.mark.parametrize("name", FILES[1:])
def test_incomplete_folders_are_refused(saved, name):
    (saved / name).unlink()
    with pytest.raises((ValueError, FileNotFoundError), match=name if name != "spec.json" else "not a model's folder"):
        load_model(saved)


def test_truncated_and_tampered_weights_are_refused(saved):
    whole = (saved / "model.safetensors").read_bytes()
    for bad in (whole[:-100], whole[:-1] + bytes([whole[-1] ^ 1])):
        (saved / "model.safetensors").write_bytes(bad)
        with pytest.raises(ValueError, match="damaged or tampered"):
            load_model(saved)


def test_a_pickle_in_their_place_is_refused(saved, net):
    torch.save(net.state_dict(), saved / "model.safetensors")
    with pytest.raises(ValueError, match="pickle"):
        load_model(saved)


def test_wrong_class_count_is_refused(saved):
    text = json.loads((saved / "spec.json").read_text())
    text["classes"].append("a fourth")
    (saved / "spec.json").write_text(json.dumps(text))
    with pytest.raises(ValueError, match="card is of lisa_cnn with 3 classes, the spec of lisa_cnn with 4"):
        load_model(saved)
    card = json.loads((saved / "card.json").read_text())
    (saved / "card.json").write_text(json.dumps({**card, "classes": 4}))
    with pytest.raises(ValueError, match=r"net\.fc\.weight: the file has float\[3, 512\], the net float\[4, 512\]"):
        load_model(saved)


def test_broken_json_names_its_file(saved):
    (saved / "spec.json").write_text('{"format": 1, "import": "os"}')
    with pytest.raises(ValueError, match=r"spec\.json: spec: unknown \['import'\]"):
        load_model(saved)


def test_saving_again_replaces_the_model(saved, net, spec, card):
    save_model(net, saved, spec=spec, card=dataclasses.replace(card, seed=9), report='{"a": 1}\n')
    assert (saved / "report.json").read_text() == '{"a": 1}\n'
    assert load_model(saved).card.seed == 9
    assert names(saved) == [*FILES[:3], "report.json", FILES[3]]
    assert names(saved.parent) == [saved.name]


def test_a_compiled_net_saves_as_its_original(net, spec, card, tmp_path):
    save_model(torch.compile(net), tmp_path / "compiled", spec=spec, card=card)
    assert torch.equal(load_model(tmp_path / "compiled")(IMAGES), net(IMAGES))


def test_other_folders_are_not_overwritten(saved, net, spec, card, tmp_path):
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "thesis.tex").write_text("years of work")
    (tmp_path / "file").write_text("")
    (saved / "notes.txt").write_text("mine")
    for name in ("work", "file", saved.name):
        with pytest.raises(FileExistsError):
            save_model(net, tmp_path / name, spec=spec, card=card)
    assert names(tmp_path / "work") == ["thesis.tex"]
    assert (saved / "notes.txt").exists()


def test_a_net_that_is_not_its_spec_leaves_nothing_behind(net, spec, card, tmp_path):
    with pytest.raises(ValueError, match="does not fit"):
        save_model(net, tmp_path / "new", spec=ModelSpec(classes=spec.classes), card=card)
    with pytest.raises(ValueError, match="no classes"):
        save_model(net, tmp_path / "new", spec=ModelSpec(), card=card)
    assert names(tmp_path) == []


@pytest.mark.parametrize("step", ["save_weights", "write_card", "load_model"])
def test_a_failing_save_keeps_the_old_model(saved, net, spec, card, monkeypatch, step):
    def full(*_args):
        raise OSError("disk full")

    monkeypatch.setattr(models, step, full)
    with pytest.raises(OSError, match="disk full"):
        save_model(net, saved, spec=spec, card=dataclasses.replace(card, seed=9))
    monkeypatch.undo()
    assert load_model(saved).card.seed == 3
    assert names(saved.parent) == [saved.name]


def test_a_failing_swap_puts_the_old_model_back(saved, net, spec, card, monkeypatch):
    rename = models.Path.rename

    def fails_for_the_new(self, target):
        if self.name == saved.name and target == saved:
            raise OSError("no")
        return rename(self, target)

    monkeypatch.setattr(models.Path, "rename", fails_for_the_new)
    with pytest.raises(OSError, match="no"):
        save_model(net, saved, spec=spec, card=card)
    monkeypatch.undo()
    assert load_model(saved).card.seed == 3
    assert names(saved.parent) == [saved.name]


def test_non_finite_weights_are_not_saved(net, spec, card, tmp_path):
    broken = load_model(save_model(net, tmp_path / "a", spec=spec, card=card))
    with torch.no_grad():
        broken.net.fc.bias.fill_(torch.inf)
    with pytest.raises(ValueError, match="NaN or infinite"):
        save_model(broken, tmp_path / "b", spec=spec, card=card)
    assert names(tmp_path) == ["a"]


def test_unwritable_place(net, spec, card, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError, match="models folder"):
        save_model(net, tmp_path / "file" / "new", spec=spec, card=card)


def test_models_root_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch):
    package = tmp_path / "blurnet"
    monkeypatch.setattr(models, "__file__", str(package / "zoo" / "models.py"))
    (tmp_path / "models").mkdir()
    assert models.models_root() == package / "models"  # site-packages/models is someone else's
    (tmp_path / "pyproject.toml").touch()
    assert models.models_root() == tmp_path / "models"
    (package / "models").mkdir(parents=True)
    assert models.models_root() == package / "models"


def test_no_models_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "models_root", lambda: tmp_path)
    assert list_models() == []
    with pytest.raises(ValueError, match="there are: none in"):
        load_model("lisa_cnn")


def test_a_copied_folder_loads(saved, tmp_path_factory):
    copy = shutil.copytree(saved, tmp_path_factory.mktemp("copy") / "renamed")
    assert load_model(str(copy)).card.name == "lisa_cnn-linf5"


def test_a_spec_of_an_earlier_version_gets_the_size_of_its_net(saved):
    for name in ("spec.json", "card.json"):
        text = json.loads((saved / name).read_text())
        (saved / name).write_text(json.dumps({k: v for k, v in text.items() if k not in ("image_size", "fit")}))
    loaded = load_model(saved)
    assert (loaded.image_size, loaded.fit) == ((32, 32), "stretch")
    assert (loaded.card.image_size, loaded.card.fit) == ((32, 32), "stretch")


@pytest.mark.parametrize(
    ("net", "size", "fit"),
    [("torchvision/resnet18", (224, 224), "crop"), ("timm/test_resnet", (160, 160), "crop")],
)
def test_size_and_fit_of_library_nets(net, size, fit, card, tmp_path):
    if net.startswith("timm"):
        pytest.importorskip("timm")
    spec = ModelSpec(net, ["a", "b"])
    plain = load_model(save_model(build(spec), tmp_path / "plain", spec=spec, card=card))
    assert (plain.image_size, plain.fit) == (size, fit)
    small = spec.with_images((48, 64), "stretch")
    loaded = load_model(save_model(build(small), tmp_path / "small", spec=small, card=card))
    assert (loaded.image_size, loaded.fit, loaded.spec) == ((48, 64), "stretch", small)
    assert '"image_size": [\n    48,\n    64\n  ]' in (tmp_path / "small" / "spec.json").read_text()
