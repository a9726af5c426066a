"""Models on the Hugging Face Hub: the extra ``blurnet[hub]``. The layout is that of a model's folder."""

import re
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

#: Marks a name as a place on the Hub.
PREFIX = "hf:"

#: The files of a model; nothing else of a repository is fetched or uploaded, so no code is either.
MODEL_FILES = ("model.safetensors", "spec.json", "card.json", "report.json", "README.md")

_PLACE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(?P<sub>(?:/[\w.-]+)*?)(?:@(?P<revision>[\w./-]+))?")


class HubPlace(NamedTuple):
    """A model's place on the Hub: repository "user/repo", folder in it ("" for its root), revision or None."""

    repo: str
    folder: str
    revision: str | None


def parse_place(text: str) -> HubPlace:
    """The parts of "user/repo[/folder][@revision]", with or without "hf:" in front.

    Raises:
        ValueError: not such a place.
    """
    match = _PLACE.fullmatch(text.removeprefix(PREFIX))
    if match is None or ".." in text:
        raise ValueError(f"expected hf:user/repo, hf:user/repo/folder or either with @revision, got {text!r}")
    return HubPlace(match["repo"], match["sub"].strip("/"), match["revision"])


def hub_library(wanted_by: str) -> ModuleType:
    """The module huggingface_hub; ImportError with the line that installs it, naming what needs it."""
    try:
        import huggingface_hub
    except ImportError as error:
        raise ImportError(f"{wanted_by} needs the extra: pip install 'blurnet[hub]'") from error
    return huggingface_hub


def hub_folder(place: str) -> Path:
    """Fetch a model from the Hub into its cache, unless it is there, and return the local folder.

    Args:
        place: "hf:user/repo", "hf:user/repo/folder" for one of several models in a repository, either followed by
            "@revision" (a commit pins what is loaded).

    Raises:
        ValueError: not such a place. ImportError: the extra is not installed. OSError: no network, no such
        repository, or no model in it.
    """
    repo, sub, revision = parse_place(place)
    wanted = [f"{sub}/{name}" if sub else name for name in MODEL_FILES]
    library = hub_library(repr(place))
    root = Path(library.snapshot_download(repo, revision=revision, allow_patterns=wanted))
    folder = root / sub
    if not (folder / "spec.json").is_file():
        raise FileNotFoundError(f"{place}: holds no model (spec.json); a model's folder has {', '.join(MODEL_FILES)}")
    return folder
