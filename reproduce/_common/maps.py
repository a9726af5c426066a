"""Pieces of maps with the ink of their words, rendered or cut out of scanned maps, and how masks of text score."""

import csv
import hashlib
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw
from torch import Tensor

from blurnet.checks import check_folder
from blurnet.data.images import read_image
from blurnet.data.synthetic.maps import render_map
from blurnet.rates import Rate
from reproduce._common.marks import marks, rate

#: A word is found where at least this share of its ink is marked.
ENOUGH = 0.5

#: Places that a mask is moved to, for what it would find by chance.
MOVES = 16


@dataclass(frozen=True)
class Piece:
    """A square piece of a map.

    Args:
        image: (3, S, S) in [0, 1].
        words: the ink of each word, (n, S, S) bool, n from 1.
        text: all ink of words, (S, S) bool; None where some text of the map is not among the words.
    """

    image: Tensor
    words: Tensor
    text: Tensor | None = None


def rendered(seeds: Sequence[int], size: int) -> list[Piece]:
    """One rendered map a seed; a map without a word is left out. ValueError where none has one."""
    pieces = []
    for seed in seeds:
        one = render_map(size, seed)
        inside = torch.zeros(len(one.words), size, size, dtype=torch.bool)
        for number, (_, (top, bottom, left, right)) in enumerate(one.words):
            inside[number, top:bottom, left:right] = True
        if len(inside):
            pieces.append(Piece(one.image, inside & one.text, one.text[0]))
    if not pieces:
        raise ValueError(f"no word fits on a rendered map of {size} pixels: take larger ones")
    return pieces


def fingerprint(kinds: dict[str, list[Piece]]) -> str:
    """Changes with the pixels of the pieces and the ink of their words."""
    digest = hashlib.sha256()
    for piece in itertools.chain.from_iterable(kinds.values()):
        digest.update(piece.image.numpy().tobytes() + piece.words.numpy().tobytes())
    return digest.hexdigest()[:16]


def maps_folder(root: Path) -> Path:
    """The folder with words.csv at ``root`` or in it as maps/.

    Raises:
        FileNotFoundError: neither has it.
    """
    check_folder(root, "--root")
    for folder in (root, root / "maps"):
        if (folder / "words.csv").is_file():
            return folder
    raise FileNotFoundError(f"--root: neither {root} nor {root / 'maps'} holds a words.csv")


def scanned(folder: Path, size: int, scale: float, limit: int, seed: int) -> dict[str, list[Piece]]:
    """Pieces around words of each map that words.csv names, at most ``limit`` of each, drawn by the seed.

    words.csv has the columns file, text and polygon ("x,y x,y ..", pixels of the file, y downwards). A map is scaled,
    then pieces are cut around words that no earlier piece holds whole; words larger than a piece are never counted.
    """
    with (folder / "words.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    if not rows or not {"file", "polygon"} <= set(rows[0]):
        raise ValueError(f"{folder / 'words.csv'}: expected columns file and polygon and a word at least")
    polygons: dict[str, list[np.ndarray]] = {}
    for row in rows:
        points = [[float(v) for v in point.split(",")] for point in row["polygon"].split()]
        polygons.setdefault(row["file"], []).append(np.array(points) * scale)
    rng = np.random.default_rng(seed)
    pieces = {name: list(_cut(folder / name, found, size, scale, limit, rng)) for name, found in polygons.items()}
    if empty := [name for name, found in pieces.items() if not found]:
        raise ValueError(f"{folder / empty[0]}: no word fits into {size} pixels at scale {scale:g}; take larger pieces")
    return pieces


def _cut(
    file: Path, polygons: list[np.ndarray], size: int, scale: float, limit: int, rng: np.random.Generator
) -> Iterator[Piece]:
    """Pieces of one map, polygons (n, 2) in its pixels after scaling."""
    image = read_image(file)
    height, width = (round(side * scale) for side in image.shape[-2:])
    if min(height, width) < size:
        raise ValueError(f"{file}: {width} x {height} pixels at scale {scale:g} are less than a piece of {size}")
    image = F.interpolate(image[None].float() / 255, (height, width), mode="bilinear", antialias=True)[0].clamp(0, 1)
    size_xy = np.array((width, height))
    low, high = (np.stack([end(points, axis=0) for points in polygons]) for end in (np.min, np.max))
    left = ((high - low < size) & (low >= 0) & (high <= size_xy)).all(1)
    made = 0
    for word in rng.permutation(len(polygons)):
        if made == limit or not left[word]:
            continue
        # Anywhere that holds the word whole.
        first = np.maximum(np.ceil(high[word]) - size, 0).astype(int)
        last = np.minimum(np.floor(low[word]), size_xy - size).astype(int)
        corner = rng.integers(first, np.maximum(first, last) + 1)
        whole = np.flatnonzero(left & (low >= corner).all(1) & (high <= corner + size).all(1))
        left[whole] = False
        if len(whole):
            made += 1
            x, y = corner.tolist()
            part = image[:, y : y + size, x : x + size].contiguous()
            yield Piece(part, torch.stack([_ink(part, polygons[i] - corner) for i in whole]))


def _ink(part: Tensor, polygon: np.ndarray) -> Tensor:
    """What is darker than Otsu's threshold of the pixels in a polygon: (S, S) bool. Print is darker than paper."""
    sheet = Image.new("1", (part.shape[-1], part.shape[-2]))
    ImageDraw.Draw(sheet).polygon([(float(x), float(y)) for x, y in polygon], fill=1)
    inside = torch.from_numpy(np.array(sheet))
    gray = part.mean(0)
    values = gray[inside].sort().values
    if len(values) < 2:
        raise ValueError(f"words.csv: a polygon of {polygon.round().tolist()} holds no pixels at this scale")
    # Between-class variance after each value; the largest parts ink from paper.
    count = torch.arange(1, len(values))
    below = values.cumsum(0)[:-1]
    between = (below - values.mean() * count) ** 2 / (count * (len(values) - count))
    return inside & (gray <= values[between.argmax()])


def score(mask: Tensor, piece: Piece, seed: int = 0, moves: int = MOVES) -> dict[str, Any]:
    """What a mask (S, S) bool finds of a piece's words, by itself and moved elsewhere, and its pixels right and wrong.

    Moved cyclically to random places the mask keeps its share of the image and its shapes, and knows nothing of the
    words: what it finds then is chance.
    """
    size, rng = mask.shape[-1], np.random.default_rng(seed)
    moved = [
        mask.roll(tuple(int(v) for v in rng.integers(size // 8, size - size // 8, 2)), (0, 1)) for _ in range(moves)
    ]
    result = {
        "found": marks(_found(mask, piece)),
        "chance": sum(int(_found(other, piece).sum()) for other in moved) / max(moves, 1),
        "marked": int(mask.sum()) / mask.numel(),
    }
    if piece.text is not None:
        result["right"], result["ink"], result["set"] = (int(m.sum()) for m in (mask & piece.text, piece.text, mask))
    return result


def _found(mask: Tensor, piece: Piece) -> Tensor:
    """Which of a piece's words are found, (n,) bool."""
    ink = piece.words.flatten(1).float()
    return (ink @ mask.flatten().float()) >= ENOUGH * ink.sum(1)


def summary(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of the scores of several pieces, in percent.

    "recall" of words, those of a piece resampled together; "chance", of the moved masks; "marked", the share of the
    image; "f1" of the pixels where all ink is known.
    """
    found, n = "".join(score["found"] for score in scores), len(scores)
    groups = [str(number) for number, score in enumerate(scores) for _ in score["found"]]
    result: dict[str, Any] = {
        "recall": rate(found, groups),
        "chance": 100 * sum(score["chance"] for score in scores) / len(found),
        "marked": 100 * sum(score["marked"] for score in scores) / n,
    }
    if "ink" in scores[0]:
        result["f1"] = f1(scores)
    return result


def f1(scores: Sequence[dict[str, Any]]) -> float:
    """F1 of the pixels of all pieces, in percent: twice those right over those marked and those of ink."""
    right, ink, marked = (sum(score[key] for score in scores) for key in ("right", "ink", "set"))
    return 200 * right / (ink + marked)


def recall_of(scores: Sequence[dict[str, Any]]) -> Rate:
    """Recall of the words of all pieces."""
    return rate("".join(score["found"] for score in scores))
