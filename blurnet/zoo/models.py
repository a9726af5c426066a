"""Pretrained models by name: list, load, save.

A model is a folder of data: model.safetensors, spec.json, card.json, README.md (made from the card) and, once it
has been evaluated, report.json.
"""

import dataclasses
import difflib
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from blurnet.checks import check_writable
from blurnet.files import load_weights, save_weights, write_atomic
from blurnet.nets.vision import count_parameters
from blurnet.zoo.build import build, images_of
from blurnet.zoo.card import Card
from blurnet.zoo.describe import describe_defenses
from blurnet.zoo.hub import MODEL_FILES, PREFIX, hub_folder
from blurnet.zoo.readme import render_readme
from blurnet.zoo.spec import ModelSpec

T = TypeVar("T")


def models_root() -> Path:
    """The folder of the shipped models: inside the package in a wheel, beside it in a source checkout."""
    package = Path(__file__).resolve().parents[1]
    inside, beside = package / "models", package.parent / "models"
    # Only a checkout has its own pyproject.toml there; in site-packages "models" would be someone else's.
    return beside if not inside.is_dir() and (package.parent / "pyproject.toml").is_file() else inside


def list_models(dataset: str | None = None, defense: str | None = None) -> list[str]:
    """Names of the shipped models, sorted, for :func:`load_model`.

    Args:
        dataset: only models trained on this data set, such as "lisa".
        defense: only models with this defense, such as "total_variation"; "none" for the baselines.

    Raises:
        ValueError: a data set or defense that no model has (lists those that exist).
    """
    cards = _cards()
    for what, wanted in (("dataset", dataset), ("defense", defense)):
        known = sorted({getattr(card, what) for card in cards.values()})
        if wanted is not None and wanted not in known:
            raise ValueError(f"no model has the {what} {wanted!r}; there are: {', '.join(known) or 'no models'}")
    return [n for n, c in cards.items() if dataset in (None, c.dataset) and defense in (None, c.defense)]


def load_model(name: str | os.PathLike[str], device: torch.device | str = "cpu") -> nn.Module:
    """A pretrained model, ready to use.

    Args:
        name: a name from :func:`list_models`, a model's folder, or "hf:user/repo" (extra ``blurnet[hub]``).
        device: where the model goes.

    Returns:
        A module in eval mode: RGB images (N, 3, H, W) in [0, 1] to logits (N, classes). It has ``.classes``, the
        class names in output order, ``.image_size``, (H, W) in pixels of the images it was trained on, ``.fit``, how
        others are brought to that size ("stretch" or "crop"), ``.card`` (:class:`blurnet.zoo.card.Card`) and ``.spec``.

    Raises:
        ValueError: no such model (lists what exists), or files that are damaged, incomplete or do not belong
            together.
    """
    folder = model_folder(name)
    card, spec = read_card(folder), _read(folder, "spec.json", ModelSpec.from_json)
    if (card.net, card.classes) != (spec.net, len(spec.classes)):
        stated, built = f"{card.net} with {card.classes} classes", f"{spec.net} with {len(spec.classes)}"
        raise ValueError(f"{folder}: the card is of {stated}, the spec of {built}")
    with torch.random.fork_rng(devices=[]):  # building draws weights that are replaced at once
        net = build(spec)
    if card.defenses not in (None, spec.defenses):
        stated, built = describe_defenses(card.defenses or []), describe_defenses(spec.defenses)
        raise ValueError(f"{folder}: the card is of a model with the defenses {stated}, the spec of {built}")
    size, fit = images_of(spec, net)
    spec = spec.with_images(size, fit)
    card = dataclasses.replace(card, defenses=spec.defenses, image_size=size, fit=fit)
    load_weights(net, folder / "model.safetensors", card.sha256)
    vars(net).update(classes=tuple(spec.classes), image_size=size, fit=fit, card=card, spec=spec)
    return net.eval().to(device)


def save_model(
    net: nn.Module,
    folder: str | os.PathLike[str],
    *,
    spec: ModelSpec,
    card: Card,
    report: str | None = None,
) -> Path:
    """Write a model's folder, whole or not at all, and return its path.

    Args:
        net: the module that ``build(spec)`` describes, trained (a compiled one is unwrapped).
        folder: its last part becomes the model's name. A model that stands there is replaced.
        spec: how to build ``net``; size and fit of its images are filled in where it states none.
        card: what is known; name, net, classes, parameters, hash, size and fit are filled in here.
        report: the report of its evaluation, JSON text that becomes report.json as it is.

    Raises:
        FileExistsError: ``folder`` holds something else than a model. PermissionError, NotADirectoryError: it cannot
        be written. ValueError: ``net`` is not what ``spec`` builds, or has NaN or infinite weights.
    """
    target = Path(folder).absolute()
    _check_replaceable(target)
    check_writable(target.parent, "models folder")
    net = getattr(net, "_orig_mod", net)
    spec = spec.with_images(*images_of(spec, net))
    scratch = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    new = scratch / target.name
    try:
        new.mkdir()
        sha256 = save_weights(net, new / "model.safetensors")
        card = dataclasses.replace(
            card,
            defenses=spec.defenses,
            name=target.name,
            net=spec.net,
            classes=len(spec.classes),
            parameters=count_parameters(net),
            sha256=sha256,
            image_size=spec.image_size,
            fit=spec.fit,
        )
        write_atomic(new / "spec.json", spec.to_json())
        write_card(new, card, report)
        load_model(new)  # what does not load is not worth keeping
        if target.exists():
            target.rename(scratch / "old")
        new.rename(target)
    except BaseException:
        if (scratch / "old").exists() and not target.exists():
            (scratch / "old").rename(target)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return target


def write_card(folder: Path, card: Card, report_json: str | None = None) -> None:
    """Write a card with the README made from it into a model's folder; the report too, where one is given."""
    if report_json is not None:
        write_atomic(folder / "report.json", report_json)
    write_atomic(folder / "README.md", render_readme(card))
    write_atomic(folder / "card.json", card.to_json())


def model_folder(name: str | os.PathLike[str]) -> Path:
    """The folder of a model given by name, by place on the Hub, or by path, in this order."""
    text = os.fspath(name)
    if text.startswith(PREFIX):
        return hub_folder(text)
    names = list(_folders())
    if text in names:
        return models_root() / text
    folder = Path(text)
    if (folder / "spec.json").is_file():
        return folder
    if folder.is_dir():
        inside = sorted(path.parent.name for path in folder.glob("*/spec.json"))
        hint = f"it holds the models {', '.join(inside)}" if inside else f"expected {', '.join(MODEL_FILES)}"
        raise ValueError(f"{folder} is not a model's folder: {hint}")
    near = difflib.get_close_matches(text, names, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    raise ValueError(f"no model {text!r}{hint}; there are: {', '.join(names) or 'none in ' + str(models_root())}")


def _folders() -> dict[str, Path]:
    return {path.parent.name: path.parent for path in sorted(models_root().glob("*/card.json"))}


def _cards() -> dict[str, Card]:
    return {name: read_card(folder) for name, folder in _folders().items()}


def read_card(folder: Path) -> Card:
    """The card in a model's folder; ValueError where it is missing or damaged."""
    return _read(folder, "card.json", Card.from_json)


def _read(folder: Path, name: str, parse: Callable[[str], T]) -> T:
    if not (folder / name).is_file():
        raise ValueError(f"{folder}: incomplete model, it lacks {name}")
    try:
        return parse((folder / name).read_text(encoding="utf-8"))
    except (ValueError, TypeError) as error:
        raise ValueError(f"{folder / name}: {error}") from error


def _check_replaceable(folder: Path) -> None:
    """Nothing but a model may be replaced: saving must not delete what else a user keeps."""
    if folder.is_file() or folder.is_symlink():
        raise FileExistsError(f"{folder} is a file or a link; give a new folder or one that holds a model")
    found = sorted(path.name for path in folder.iterdir()) if folder.is_dir() else []
    if (strange := [name for name in found if name not in MODEL_FILES]) or (found and "spec.json" not in found):
        raise FileExistsError(f"{folder} holds no model, or more than one ({strange or found}); give a new folder")
