"""What a user names on the command line, as values: classes, targets, transformations, masks, saved noise."""

import math
from pathlib import Path
from typing import TypeVar

import torch

from blurnet.attacks.engine.views import TRANSFORMATIONS, Transformation
from blurnet.data.sources.victims import Victims
from blurnet.evaluation.campaign import Campaign, ReplayNoise, Target
from blurnet.files import read_safetensors

T = TypeVar("T", int, float)


def match_classes(victims: Victims, classes: tuple[str, ...]) -> Victims:
    """Victims with their labels as this model numbers its classes, found by name."""
    if victims.classes == classes:
        return victims
    names = [victims.classes[label] for label in victims.labels.tolist()]
    if missing := sorted(set(names) - set(classes)):
        raise ValueError(
            f"the model has no class {', '.join(missing)} of the victims ({victims.name}): it has {classes}"
        )
    labels = torch.tensor([classes.index(name) for name in names])
    return Victims(victims.images, labels, victims.masks, classes, victims.name)


def parse_targets(text: str, victims: Victims) -> tuple[Target, ...]:
    """ "all" but the victims' own classes, "untargeted", or numbers with commas."""
    if text == "untargeted":
        return (None,)
    if text == "all":
        return tuple(sorted(set(range(len(victims.classes))) - set(victims.labels.tolist())))
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--targets: expected all, untargeted, or numbers such as 12,3; got {text!r}") from None


def parse_area(text: str) -> float | None:
    """ "0.05", a patch's share of the image; or "mask", None.

    Raises:
        ValueError: something else, or a share outside (0, 1].
    """
    if text == "mask":
        return None
    area = parse_fraction(text, "--patch")
    if not 0 < area <= 1:
        raise ValueError(f"--patch: expected a share of the image above 0 and at most 1, or mask; got {text!r}")
    return area


def parse_fraction(text: str, option: str) -> float:
    """ "0.03" or "8/255"; ValueError names the option."""
    above, slash, below = text.partition("/")
    try:
        value = float(above) / (float(below) if slash else 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{option}: expected a number such as 0.03 or 8/255; got {text!r}")
    return value


def parse_numbers(text: str, kind: type[T], option: str) -> list[T]:
    """Numbers with commas, such as "0.01,0.05"; none where the text is empty. ValueError names the option."""
    try:
        return [kind(part) for part in text.split(",")] if text else []
    except ValueError:
        raise ValueError(f"{option}: expected numbers with commas, got {text!r}") from None


def parse_eot(text: str) -> tuple[Transformation, ...]:
    """Transformations such as "rotation,brightness=0.7:1.3": names with the values of their arguments in order."""
    moves = []
    for part in filter(None, text.split(",")):
        name, _, values = part.partition("=")
        if name not in TRANSFORMATIONS:
            raise ValueError(f"--eot: unknown transformation {name!r}; there are: {', '.join(TRANSFORMATIONS)}")
        try:
            moves.append(TRANSFORMATIONS[name](*(float(value) for value in values.split(":") if value)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"--eot: {part!r}: {error}") from error
    return tuple(moves)


def replay(text: str, target: Target, mask: torch.Tensor) -> Campaign:
    """A saved noise (3, h, w) from "FILE" or "FILE:KEY" (safetensors), made for ``target``; None: untargeted."""
    file, _, key = text.partition(":")
    tensors = read_safetensors(file)
    keys = [key] if key else [name for name in tensors if name.startswith("noise")]
    if len(keys) != 1 or keys[0] not in tensors:
        raise ValueError(f"--noise: {file} holds {', '.join(sorted(tensors))}; write {file}:KEY with one of them")
    noise, name = tensors[keys[0]], f"{Path(file).name}:{keys[0]}"
    noise = noise[None] if noise.ndim == 3 else noise
    return Campaign("replay", ReplayNoise(noise, mask, name, (target,)), (target,), source_name=name)


def choose_mask(name: str, victims: Victims) -> torch.Tensor:
    """A mask of the victims by its name."""
    if name not in victims.masks:
        raise ValueError(f"--mask: unknown {name!r}; these victims have: {', '.join(victims.masks)}")
    return victims.masks[name]
