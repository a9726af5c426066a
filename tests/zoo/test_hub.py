"""The Hub layout from a local folder, and what is said without the extra."""

import sys
from pathlib import Path

import pytest
import torch

from blurnet.zoo.hub import MODEL_FILES, hub_folder
from blurnet.zoo.models import load_model

IMAGES = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def fetched(monkeypatch, tmp_path):
    """huggingface_hub with one repository: this test's folder. Returns what it was asked for."""
    huggingface_hub = pytest.importorskip("huggingface_hub")
    asked = []

    def snapshot_download(repo_id, *, revision, allow_patterns):
        asked.append((repo_id, revision, tuple(allow_patterns)))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    return asked


def test_one_model_of_several(saved, net, fetched):
    assert torch.equal(load_model(f"hf:user/repo/{saved.name}")(IMAGES), net(IMAGES))
    assert fetched == [("user/repo", None, tuple(f"{saved.name}/{name}" for name in MODEL_FILES))]


def test_a_repository_of_one_model_and_a_revision(saved, fetched):
    for path in list(saved.iterdir()):
        path.rename(saved.parent / path.name)
    assert load_model("hf:user/repo").classes == ("stop", "yield", "merge")
    assert hub_folder("hf:user/repo@v1.0") == saved.parent
    assert fetched == [("user/repo", None, MODEL_FILES), ("user/repo", "v1.0", MODEL_FILES)]


def test_a_repository_without_a_model(fetched):
    with pytest.raises(FileNotFoundError, match="holds no model"):
        load_model("hf:user/repo")


@pytest.mark.parametrize("place", ["hf:", "hf:repo", "hf:user/../x", "hf:user/repo/../../x", "hf:user/re po"])
def test_other_places_are_refused(place):
    with pytest.raises(ValueError, match="expected hf:user/repo"):
        load_model(place)


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ImportError, match=r"pip install 'blurnet\[hub\]'"):
        load_model("hf:user/repo")


def test_links_of_the_cache_are_followed(saved, fetched, tmp_path, net):
    """The Hub's cache holds links to blobs."""
    blobs = tmp_path / "blobs"
    blobs.mkdir()
    for path in list(saved.iterdir()):
        blob = path.rename(blobs / path.name)
        Path(path).symlink_to(blob)
    assert torch.equal(load_model(f"hf:user/repo/{saved.name}")(IMAGES), net(IMAGES))
