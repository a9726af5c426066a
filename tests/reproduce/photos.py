"""Small photos of several classes in the form that the scripts on photos read."""

from pathlib import Path

import torch
from PIL import Image
from torch.nn.functional import interpolate


def write_photos(root: Path, classes: int, side: int, tinted: bool = False) -> None:
    """Three smooth coloured pictures a class, one folder each; ``tinted``: a class has more of its own colour."""
    g = torch.Generator().manual_seed(0)
    for label in range(classes):
        (root / f"class{label}").mkdir()
        for number in range(3):
            picture = interpolate(torch.rand(1, 3, 6, 6, generator=g), side, mode="bilinear")[0]
            if tinted:
                picture[label] = picture[label] / 2 + 0.5
            pixels = (picture * 255).byte().permute(1, 2, 0).numpy()
            Image.fromarray(pixels).save(root / f"class{label}" / f"{number}.png")
