"""Models given to the Hugging Face Hub and taken from it: the files of a model's folder, checked on both ways."""

import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import nn

from blurnet import __version__
from blurnet.strict import parse_json
from blurnet.zoo.card import Card
from blurnet.zoo.hub import MODEL_FILES, PREFIX, HubPlace, hub_library, parse_place
from blurnet.zoo.models import load_model, model_folder
from blurnet.zoo.readme import render_readme


def from_pretrained(place: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """A pretrained model from wherever it is: :func:`blurnet.load_model` that knows the Hub's own names as well.

    Args:
        place: a name from ``list_models()``, a model's folder, or a place on the Hub (extra ``blurnet[hub]``):
            "user/repo", "user/repo/folder", either with "@revision", "hf:" in front or not. A local folder of that
            name comes first; "hf:" in front means the Hub.
        device: where the model goes.

    Returns:
        What ``load_model`` returns: images (N, 3, H, W) in [0, 1] to logits, with ``.classes``, ``.card``, ``.spec``.

    Raises:
        ValueError: no such model, or files that are damaged, incomplete or do not belong together. ImportError: the
        extra is not installed. OSError: no network, no such repository, or no model in it.
    """
    if not isinstance(place, str) or not _names_the_hub(place):
        return load_model(place, device)
    try:
        return load_model(PREFIX + place, device)
    except OSError as error:
        raise OSError(f"{place!r} is no folder here, and the Hub gave no model: {error}") from error


def push_to_hub(
    model: str | os.PathLike[str],
    place: str,
    *,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    commit_message: str | None = None,
) -> str:
    """Upload a model's folder to the Hugging Face Hub in one commit (extra ``blurnet[hub]``).

    The model is loaded strictly before anything touches the network, and what was loaded is what goes up: a model's
    own files and nothing else that lies beside them. A report that an older model left there is deleted.

    Args:
        model: a model's folder, or a name from ``list_models()``.
        place: "user/repo", or "user/repo/folder" for one of several models; the repository is made if missing.
        private: whether a new repository is private; None is the account's default. An old one stays as it is.
        revision: the branch; made if missing. None is the main one.
        token: with the right to write; None takes that of ``hf auth login``.
        commit_message: None names the model.

    Returns:
        The URL of the commit.

    Raises:
        ValueError: not such a place, or a folder that is no model, damaged, incomplete or of several models' files.
        ImportError: the extra is not installed. PermissionError: the Hub refused. ConnectionError: no network. Other
        answers of the Hub are raised as they come, as OSError.
    """
    target = _target(place)
    library = hub_library("push_to_hub")
    folder = _local_folder(model)
    load_model(folder)  # raises with the user's own path in the message
    with tempfile.TemporaryDirectory(prefix="blurnet-") as scratch:
        copy = Path(scratch) / (target.folder.rpartition("/")[2] or "model")
        card = _checked_copy(folder, copy)
        api = library.HfApi(token=token, library_name="blurnet", library_version=__version__)
        return _upload(api, copy, target, private, revision, commit_message or f"Upload {card.name}")


def _names_the_hub(text: str) -> bool:
    if text.startswith((PREFIX, ".", "/", "~")) or "/" not in text or Path(text).exists():
        return False
    try:
        parse_place(text)
    except ValueError:
        return False
    return True


def _target(place: str) -> HubPlace:
    target = parse_place(place)
    if target.revision is not None:
        raise ValueError(f"push_to_hub: give the branch as revision={target.revision!r}, not in the place {place!r}")
    return target


def _local_folder(model: str | os.PathLike[str]) -> Path:
    if os.fspath(model).startswith(PREFIX):
        raise ValueError(f"push_to_hub: expected a model's folder or a shipped name, got a place on the Hub: {model!r}")
    return model_folder(model)


def _checked_copy(folder: Path, copy: Path) -> Card:
    """The model's files in a folder of their own, which nothing else can enter or change, loaded from there."""
    copy.mkdir()
    for name in MODEL_FILES:
        if (folder / name).is_file():
            shutil.copyfile(folder / name, copy / name)
    card: Card = vars(load_model(copy))["card"]
    if (copy / "report.json").exists():
        _check_report(parse_json((copy / "report.json").read_text(encoding="utf-8"), f"{folder}: report.json"), card)
    if not (copy / "README.md").exists():
        (copy / "README.md").write_text(render_readme(card), encoding="utf-8")
    return card


def _check_report(report: Any, card: Card) -> None:
    about = report.get("model") if isinstance(report, dict) else None
    sha256 = about.get("sha256") if isinstance(about, dict) else None
    if sha256 is not None and sha256 != card.sha256:
        raise ValueError(f"report.json is about weights {sha256}, the card about {card.sha256}: evaluate again")


def _upload(
    api: Any, copy: Path, target: HubPlace, private: bool | None, revision: str | None, commit_message: str
) -> str:
    from huggingface_hub.errors import HfHubHTTPError

    # Of one family with HfHubHTTPError, whichever HTTP library this version of the Hub's client uses.
    unreachable: Any = HfHubHTTPError.__bases__[0]
    try:
        api.create_repo(target.repo, private=private, exist_ok=True)
        if revision is not None and not revision.startswith("refs/"):
            api.create_branch(target.repo, branch=revision, exist_ok=True)
        commit = api.upload_folder(
            repo_id=target.repo,
            folder_path=copy,
            path_in_repo=target.folder or None,
            commit_message=commit_message,
            revision=revision,
            allow_patterns=list(MODEL_FILES),
            delete_patterns=[name for name in MODEL_FILES if not (copy / name).exists()] or None,
        )
    except HfHubHTTPError as error:
        if getattr(error.response, "status_code", None) not in (401, 403):
            raise
        how = "log in with `hf auth login`, or give token= one that may write there"
        raise PermissionError(f"the Hub refused {target.repo}: {how} ({error})") from error
    except unreachable as error:
        raise ConnectionError(f"the Hub could not be reached: {error}") from error
    return str(commit.commit_url)
