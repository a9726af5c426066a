"""The RP2 authors' LISA assets: victims, masks, printable colours, weights and published noise.

Read from a clone of evtimovi/robust_physical_perturbations as it is (its root or ``lisa-cnn-attack/``), or from a
converted folder, where ``lisa_cnn.safetensors`` and ``published_noise.safetensors`` stand beside the images.
"""

import re
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from blurnet.checks import check_folder, one_of
from blurnet.data.images import read_image
from blurnet.data.labels import LISA_CLASSES, label_names
from blurnet.data.sources._tf_checkpoint import read_tf_checkpoint
from blurnet.files import read_safetensors

MaskName = Literal["stickers", "octagon"]
RunName = Literal["stickers", "poster"]

#: Our names for the authors' files.
MASKS: dict[MaskName, str] = {"stickers": "mask_l1loss_uniform_rectangles.png", "octagon": "octagon.png"}
RUNS: dict[RunName, str] = {"stickers": "l1basedmask_uniformrectangles", "poster": "noinversemask_second_trial_run"}

#: The victims' label among the net's 18 outputs, and the target of both published runs (speedLimit45).
STOP, PUBLISHED_TARGET = 14, 12


def rp2_folder(root: str | Path) -> Path:
    """The folder that holds ``victim-set/``: ``root`` itself or its ``lisa-cnn-attack/``.

    Raises:
        FileNotFoundError, NotADirectoryError: ``root`` is missing, or neither place has victims.
    """
    base = check_folder(root, "RP2 assets")
    for folder in (base, base / "lisa-cnn-attack"):
        if (folder / "victim-set").is_dir():
            return folder
    raise FileNotFoundError(
        f"{base} holds neither victim-set/ nor lisa-cnn-attack/victim-set/; give a clone of "
        "evtimovi/robust_physical_perturbations or its converted folder"
    )


def victim_images(root: str | Path) -> Tensor:
    """The 40 stop signs of the LISA attack, (40, 3, 32, 32) in [0, 1], in numeric order (1 to 41 without 14).

    Raises:
        ValueError: the folder is empty, an image is corrupt, or sizes differ.
    """
    folder = rp2_folder(root) / "victim-set"
    paths = sorted((p for p in folder.glob("*.png") if p.stem.isdigit()), key=lambda p: int(p.stem))
    if not paths:
        raise ValueError(f"{folder}: no victims; expected 1.png, 2.png, ...")
    images = [read_image(path) for path in paths]
    for path, image in zip(paths, images, strict=True):
        if image.shape != images[0].shape:
            raise ValueError(f"{path}: {tuple(image.shape)}, but {paths[0].name} is {tuple(images[0].shape)}")
    return torch.stack(images).float() / 255


def rp2_mask(root: str | Path, name: MaskName = "stickers", threshold: float = 0.5) -> Tensor:
    """A mask of the authors, (1, 1, 32, 32) in {0, 1}: pixels with any channel above ``threshold`` in [0, 1].

    The sticker image holds 25 stray values of 1 or 2 in 255. With the default 0.5 the mask is the four stickers,
    30 pixels: what new attacks should use. With 0 the strays count too (51 pixels). The published sticker noise
    alters 36 of the 40 victims either way.

    Raises:
        FileNotFoundError, ValueError: unknown name, missing or corrupt file, or no pixel above the threshold.
    """
    path = rp2_folder(root) / "masks" / MASKS[one_of(name, MASKS, "mask")]
    mask = (read_image(path).float() / 255 > threshold).any(0).float()[None, None]
    if not bool(mask.any()):
        raise ValueError(f"{path}: no pixel is above {threshold}")
    return mask


def printable_colours(root: str | Path) -> Tensor:
    """The printable colours of the non-printability score, RGB (30, 3) in [0, 1], from ``npstriplets.txt``.

    Raises:
        FileNotFoundError, ValueError: missing file, a line that is no triplet, or a value out of [0, 1].
    """
    path = rp2_folder(root) / "npstriplets.txt"
    rows = _lines(path)
    try:
        colours = torch.tensor([[float(value) for value in row.split(",")] for row in rows])
    except ValueError as error:
        raise ValueError(f"{path}: expected lines of three numbers: {error}") from error
    if colours.ndim != 2 or colours.shape[1] != 3 or colours.min() < 0 or colours.max() > 1:
        raise ValueError(f"{path}: expected RGB triplets in [0, 1], got shape {tuple(colours.shape)}")
    return colours


def rp2_classes(root: str | Path) -> tuple[str, ...]:
    """Names of the authors' 18 outputs: output 0 unused, then the lines of ``mapping.txt``.

    Raises:
        FileNotFoundError, ValueError: missing file, or names other than the 17 LISA classes.
    """
    path = rp2_folder(root) / "mapping.txt"
    names = tuple(_lines(path))
    if names != LISA_CLASSES:
        raise ValueError(f"{path}: expected the 17 classes {list(LISA_CLASSES)}, got {list(names)}")
    return label_names(18)


def published_noise(root: str | Path, run: RunName = "stickers") -> Tensor:
    """The noise of a published run, (3, 32, 32), not masked: x_adv = clip(x + mask * noise, 0, 1).

    "stickers" goes with the sticker mask, "poster" with the octagon; both aim at class 12.

    Raises:
        FileNotFoundError, ValueError: unknown run, or its file is missing, truncated or altered.
    """
    one_of(run, RUNS, "run")
    folder = rp2_folder(root)
    converted = folder / "published_noise.safetensors"
    if converted.is_file():
        return _named(read_safetensors(converted), f"noise_{run}", converted)
    index = _checkpoint(folder, run)
    return _named(read_tf_checkpoint(index), "noise", index).permute(2, 0, 1).contiguous()


def authors_weights(root: str | Path) -> dict[str, Tensor]:
    """State dict of the authors' LISA-CNN (18 outputs) for ``blurnet.nets.lisa_cnn.LisaCNN``.

    Raises:
        FileNotFoundError, ValueError: no weights in the folder, or the file is truncated or altered.
    """
    folder = rp2_folder(root)
    converted = folder / "lisa_cnn.safetensors"
    if converted.is_file():
        return read_safetensors(converted)
    return lisa_cnn_from_keras(read_tf_checkpoint(_checkpoint(folder, "stickers")))


def lisa_cnn_from_keras(variables: dict[str, Tensor]) -> dict[str, Tensor]:
    """Convert the checkpoint's Keras variables: HWIO kernels to OIHW, dense rows from (h, w, c) to (c, h, w).

    Args:
        variables: ``convolution2d_<i>_W`` / ``_b`` for three layers and ``dense_<i>_W`` / ``_b``, plus any others.

    Raises:
        ValueError: other layers than three convolutions and a dense one.
    """
    layers: dict[tuple[str, int], dict[str, Tensor]] = {}
    for name, tensor in variables.items():
        if match := re.fullmatch(r"(convolution2d|dense)_(\d+)_([Wb])", name):
            layers.setdefault((match[1], int(match[2])), {})[match[3]] = tensor
    kinds = [kind for kind, _ in sorted(layers)]
    if kinds != ["convolution2d"] * 3 + ["dense"] or any(set(v) != {"W", "b"} for v in layers.values()):
        raise ValueError(f"not the authors' LISA-CNN: the checkpoint holds {sorted(variables)}")
    state: dict[str, Tensor] = {}
    for target, key in zip(("conv1", "conv2", "conv3", "fc"), sorted(layers), strict=True):
        weight = layers[key]["W"]
        if target == "fc":
            channels = state["conv3.weight"].shape[0]
            side = round((weight.shape[0] / channels) ** 0.5)
            weight = weight.view(side, side, channels, -1).permute(3, 2, 0, 1).flatten(1)
        else:
            weight = weight.permute(3, 2, 0, 1)
        state[f"{target}.weight"] = weight.contiguous()
        state[f"{target}.bias"] = layers[key]["b"]
    return state


def _checkpoint(folder: Path, run: RunName) -> Path:
    """The index file of a run: in ``optimization_output/<run>/model/`` of a clone, or ``upstream-checkpoint/``."""
    places = [folder / "optimization_output" / RUNS[run] / "model", folder / "upstream-checkpoint"]
    found = [path for place in places for path in sorted(place.glob(f"{RUNS[run]}-*.index"))]
    if not found:
        raise FileNotFoundError(f"no checkpoint of the {run} run: no {RUNS[run]}-*.index in {places[0]} or {places[1]}")
    return found[-1]


def _named(tensors: dict[str, Tensor], name: str, path: Path) -> Tensor:
    if name not in tensors:
        raise ValueError(f"{path}: no tensor {name!r}; there is {sorted(tensors)}")
    return tensors[name]


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    return [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
