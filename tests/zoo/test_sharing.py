"""Models pushed to a Hub that is a folder, and taken from it again; nothing else goes up, nothing broken either."""

import dataclasses
import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml

import blurnet
from blurnet.zoo.export import REFUSED
from blurnet.zoo.hub import MODEL_FILES, parse_place
from blurnet.zoo.models import list_models, load_model, models_root
from blurnet.zoo.readme import render_readme
from blurnet.zoo.sharing import from_pretrained, push_to_hub

huggingface_hub = pytest.importorskip("huggingface_hub")
errors = pytest.importorskip("huggingface_hub.errors")

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


class Hub:
    """A Hub in a folder: repositories by name, one folder a revision. It notes what was asked of it."""

    def __init__(self, root: Path) -> None:
        self.root, self.calls, self.error = root, [], None

    def api(self, token=None, library_name=None, library_version=None):
        assert (library_name, library_version) == ("blurnet", blurnet.__version__)
        self.calls.append(("token", token))
        return self

    def create_repo(self, repo_id, *, private=None, exist_ok=False):
        if self.error is not None:
            raise self.error
        assert exist_ok
        self.calls.append(("create_repo", repo_id, private))
        (self.root / repo_id / "main").mkdir(parents=True, exist_ok=True)

    def create_branch(self, repo_id, *, branch, exist_ok=False):
        assert exist_ok
        self.calls.append(("create_branch", branch))
        (self.root / repo_id / branch).mkdir(exist_ok=True)

    def upload_folder(
        self, *, repo_id, folder_path, path_in_repo, commit_message, revision, allow_patterns, delete_patterns
    ):
        target = self.root / repo_id / (revision or "main")
        assert target.is_dir(), "no such branch"
        target = target / (path_in_repo or "")
        target.mkdir(parents=True, exist_ok=True)
        for name in delete_patterns or ():
            (target / name).unlink(missing_ok=True)
        uploaded = sorted(path.name for path in Path(folder_path).iterdir())
        assert set(uploaded) <= set(allow_patterns)
        for name in uploaded:
            shutil.copy(Path(folder_path) / name, target / name)
        self.calls.append(("upload", uploaded, commit_message))
        return SimpleNamespace(commit_url=f"https://huggingface.co/{repo_id}/commit/1")

    def snapshot_download(self, repo_id, *, revision, allow_patterns):
        folder = self.root / repo_id / (revision or "main")
        if not folder.is_dir():
            raise errors.LocalEntryNotFoundError(f"no {repo_id}")
        return str(folder)


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Hub:
    made = Hub(tmp_path / "hub")
    monkeypatch.setattr(huggingface_hub, "HfApi", made.api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", made.snapshot_download)
    return made


@pytest.mark.parametrize("place", ["user/repo", "hf:user/repo", "user/repo/nets/linf5"])
def test_push_and_back(saved, net, hub, place):
    assert push_to_hub(saved, place) == "https://huggingface.co/user/repo/commit/1"
    assert hub.calls == [
        ("token", None),
        ("create_repo", "user/repo", None),
        ("upload", ["README.md", "card.json", "model.safetensors", "spec.json"], "Upload lisa_cnn-linf5"),
    ]
    folder = hub.root / "user/repo/main" / parse_place(place).folder
    for path in saved.iterdir():
        assert (folder / path.name).read_bytes() == path.read_bytes()
    loaded = from_pretrained(place)
    assert torch.equal(loaded(IMAGES), net(IMAGES))
    assert loaded.classes == ("stop", "yield", "merge")
    assert not loaded.training


def test_options_reach_the_hub(saved, hub):
    push_to_hub(saved, "user/repo", private=True, revision="v2", token="secret", commit_message="Better")
    assert hub.calls[:3] == [("token", "secret"), ("create_repo", "user/repo", True), ("create_branch", "v2")]
    assert hub.calls[3][2] == "Better"
    assert from_pretrained("user/repo@v2").card.seed == 3
    with pytest.raises(OSError, match="is no folder here, and the Hub gave no model"):
        from_pretrained("user/repo")  # nothing went to the main branch


def test_a_pull_request_needs_no_branch(saved, hub):
    (hub.root / "user/repo/refs/pr/1").mkdir(parents=True)
    push_to_hub(saved, "user/repo", revision="refs/pr/1")
    assert "create_branch" not in [call[0] for call in hub.calls]


@pytest.mark.skipif(not list_models(), reason="no models in this checkout")
def test_a_shipped_model_by_name(hub):
    name = list_models()[0]
    push_to_hub(name, "user/repo")
    uploaded = hub.root / "user/repo/main"
    assert sorted(path.name for path in uploaded.iterdir()) == sorted(MODEL_FILES)
    assert (uploaded / "report.json").read_bytes() == (models_root() / name / "report.json").read_bytes()
    assert from_pretrained("hf:user/repo").card == from_pretrained(name).card


def test_nothing_else_goes_up(saved, hub):
    torch.save({"a": 1}, saved / "pytorch_model.bin")
    (saved / ".env").write_text("TOKEN=secret")
    (saved / "modeling.py").write_text("import os")
    (saved / "work").mkdir()
    push_to_hub(saved, "user/repo")
    assert hub.calls[-1][1] == ["README.md", "card.json", "model.safetensors", "spec.json"]


def test_an_older_report_does_not_stay(saved, hub):
    (hub.root / "user/repo/main").mkdir(parents=True)
    (hub.root / "user/repo/main/report.json").write_text("{}")
    (hub.root / "user/repo/main/notes.md").write_text("the user's")
    push_to_hub(saved, "user/repo")
    assert not (hub.root / "user/repo/main/report.json").exists()
    assert (hub.root / "user/repo/main/notes.md").exists()


def test_a_missing_readme_is_made(saved, hub):
    text = (saved / "README.md").read_text()
    (saved / "README.md").unlink()
    push_to_hub(saved, "user/repo")
    assert (hub.root / "user/repo/main/README.md").read_text() == text
    assert not (saved / "README.md").exists()


def damage(folder: Path, how: str) -> None:
    weights = folder / "model.safetensors"
    if how == "pickle":
        torch.save({"a": 1}, weights)
    elif how == "tampered":
        weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    elif how == "no card":
        (folder / "card.json").unlink()
    elif how == "code":
        (folder / "spec.json").write_text('{"format": 1, "import": "os"}')
    elif how == "no report":
        (folder / "report.json").write_text("not JSON")
    elif how == "another's report":
        (folder / "report.json").write_text(json.dumps({"model": {"sha256": "0" * 64}}))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("pickle", "pickle"),
        ("tampered", "damaged or tampered"),
        ("no card", r"lacks card\.json"),
        ("code", r"unknown \['import'\]"),
        ("no report", r"report\.json: not JSON"),
        ("another's report", "is about weights 000"),
    ],
)
def test_damaged_folders_never_reach_the_hub(saved, hub, how, says):
    damage(saved, how)
    with pytest.raises(ValueError, match=says):
        push_to_hub(saved, "user/repo")
    assert hub.calls == []


def test_what_is_no_model_or_no_place(saved, hub):
    with pytest.raises(ValueError, match="it holds the models lisa_cnn-linf5"):
        push_to_hub(saved.parent, "user/repo")
    with pytest.raises(ValueError, match="got a place on the Hub"):
        push_to_hub("hf:other/repo", "user/repo")
    for place in ("repo", "user/", "user/re po", "user/../x", "https://huggingface.co/user/repo"):
        with pytest.raises(ValueError, match="expected hf:user/repo"):
            push_to_hub(saved, place)
    with pytest.raises(ValueError, match="revision='v2'"):
        push_to_hub(saved, "user/repo@v2")
    assert hub.calls == []


def refusal(status: int) -> Exception:
    error = errors.HfHubHTTPError.__new__(errors.HfHubHTTPError)
    error.response = SimpleNamespace(status_code=status)
    return error


def test_what_the_hub_answers(saved, hub):
    family = errors.HfHubHTTPError.__bases__[0]
    unreachable = family.__new__(family)
    for error, kind, says in (
        (refusal(401), PermissionError, "hf auth login"),
        (refusal(403), PermissionError, "user/repo"),
        (refusal(500), errors.HfHubHTTPError, None),
        (unreachable, ConnectionError, "could not be reached"),
    ):
        hub.error = error
        with pytest.raises(kind, match=says):
            push_to_hub(saved, "user/repo")


def test_from_pretrained_takes_names_and_folders(saved, net, hub, monkeypatch):
    assert torch.equal(from_pretrained(saved)(IMAGES), net(IMAGES))
    monkeypatch.chdir(saved.parents[1])
    local = f"{saved.parent.name}/{saved.name}"  # reads like user/repo, but is here
    assert torch.equal(from_pretrained(local)(IMAGES), net(IMAGES))
    assert hub.calls == []
    for name in list_models()[:1]:
        assert from_pretrained(name).card == load_model(name).card
    with pytest.raises(ValueError, match=r"no model '\./user/repo'"):
        from_pretrained("./user/repo")
    with pytest.raises(ValueError, match="no model 'nothing'"):
        from_pretrained("nothing")


def test_without_the_extra(saved, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    for fails in (lambda: push_to_hub(saved, "user/repo"), lambda: from_pretrained("user/repo")):
        with pytest.raises(ImportError, match=r"pip install 'blurnet\[hub\]'"):
            fails()


@pytest.mark.parametrize(
    "license_", ["Apache-2.0", "MIT", "BSD-3-Clause", "CC-BY-4.0", "free for research: ask us", "NO"]
)
def test_the_front_matter_is_the_hubs(card, license_):
    text = render_readme(dataclasses.replace(card, license=license_, name="x"))
    _, front, body = text.split("---\n", 2)
    data = yaml.safe_load(front)
    assert data["library_name"] == "blurnet"
    assert data["pipeline_tag"] == "image-classification"
    known = {"Apache-2.0": "apache-2.0", "MIT": "mit", "BSD-3-Clause": "bsd-3-clause", "CC-BY-4.0": "cc-by-4.0"}
    assert data["license"] == known.get(license_, "other")
    assert "adversarial-robustness" in data["tags"]
    parsed = huggingface_hub.ModelCard(text)
    assert parsed.data.license == data["license"]
    assert parsed.text.strip() == body.strip()


def test_the_docs_name_what_cannot_be_exported():
    rows = (Path(__file__).parents[2] / "docs" / "sharing.md").read_text().splitlines()
    refused = {row.split("|")[1].strip() for row in rows if "| no: " in row}
    assert refused == {kind.__name__ for kind in REFUSED} | {"RandomResizePad"}
