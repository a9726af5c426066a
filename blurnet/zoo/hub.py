"""Models on the Hugging Face Hub: the extra ``blurnet[hub]``. The layout is that of a model's folder."""

import re
from pathlib import Path

#: Marks a name as a place on the Hub.
PREFIX = "hf:"

#: The files of a model; nothing else of a repository is fetched, so no code is either.
MODEL_FILES = ("model.safetensors", "spec.json", "card.json", "report.json", "README.md")

_PLACE = re.compile(r"hf:(?P<repo>[\w.-]+/[\w.-]+)(?P<sub>(?:/[\w.-]+)*?)(?:@(?P<revision>[\w./-]+))?")


def hub_folder(place: str) -> Path:
    """Fetch a model from the Hub into its cache, unless it is there, and return the local folder.

    Args:
        place: "hf:user/repo", "hf:user/repo/folder" for one of several models in a repository, either followed by
            "@revision" (a commit pins what is loaded).

    Raises:
        ValueError: not such a place. ImportError: the extra is not installed. OSError: no network, no such
        repository, or no model in it.
    """
    match = _PLACE.fullmatch(place)
    if match is None or ".." in place:
        raise ValueError(f"expected hf:user/repo, hf:user/repo/folder or either with @revision, got {place!r}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError as error:
        raise ImportError(f"{place!r} needs the extra: pip install 'blurnet[hub]'") from error
    sub = match["sub"].strip("/")
    wanted = [f"{sub}/{name}" if sub else name for name in MODEL_FILES]
    root = Path(snapshot_download(match["repo"], revision=match["revision"], allow_patterns=wanted))
    folder = root / sub
    if not (folder / "spec.json").is_file():
        raise FileNotFoundError(f"{place}: holds no model (spec.json); a model's folder has {', '.join(MODEL_FILES)}")
    return folder
