"""An independent reading of the paper, and images to hold it against."""

import itertools
from typing import Any

import numpy as np
import scipy.ndimage
import torch
from torch import nn


def image(*shape: int, seed: int = 0) -> torch.Tensor:
    """Smooth double images in (0, 1) with a noisy corner, so that some windows are kept and some are not."""
    g = torch.Generator().manual_seed(seed)
    smooth = nn.functional.interpolate(torch.rand(*shape[:2], 3, 3, generator=g).double(), shape[2:], mode="bilinear")
    noise = torch.rand(*shape[:2], shape[2] // 3, shape[3] // 3, generator=g).double()
    smooth[..., : shape[2] // 3, -(shape[3] // 3) :] = noise
    return smooth * 0.9 + 0.05


def slopes(plane: np.ndarray, stencil: str) -> np.ndarray:
    """Eq. 5 of one plane (H, W) by numpy and scipy."""
    if stencil == "central":
        return np.hypot(*np.gradient(plane))
    if stencil == "sobel":
        return np.hypot(scipy.ndimage.sobel(plane, 0), scipy.ndimage.sobel(plane, 1))
    across, down = np.diff(plane, axis=1), np.diff(plane, axis=0)
    return np.hypot(np.hstack([across, across[:, -1:]]), np.vstack([down, down[-1:]]))


def reading(x: np.ndarray, merge: str = "union", **settings: Any) -> np.ndarray:
    """Eq. 5-8 for one image (C, H, W), window by window."""
    block, stride = settings["block"], settings["block"] - settings["overlap"]
    planes = [x.mean(0)] if settings.get("maps", "gray") == "gray" else list(x)
    size = np.stack([slopes(plane, settings.get("stencil", "forward")) for plane in planes])
    g = (size - size.min()) / (size.max() - size.min())
    if settings.get("padding", "reflect") == "reflect":
        missing = [-(length - block) % stride for length in g.shape[1:]]
        g = np.pad(g, [(0, 0), *((0, m) for m in missing)], mode="reflect")
    total, count, windows = np.zeros_like(g), np.zeros_like(g), 0
    for top in range(0, g.shape[1] - block + 1, stride):
        for left in range(0, g.shape[2] - block + 1, stride):
            window = np.s_[:, top : top + block, left : left + block]
            windows += 1
            if g[window].mean() > settings["threshold"]:
                total[window] += g[window]
                count[window] += 1
    kept = np.where(count > 0, g, 0) if merge == "union" else total / np.maximum(count, 1)
    kept = kept[:, : x.shape[1], : x.shape[2]]
    return x * (1 - np.clip(settings["smoothing"] * kept, 0, 1))


SETTINGS = [
    {"smoothing": 2.3, "block": 15, "overlap": 5, "threshold": 0.1},
    {"smoothing": 1.5, "block": 7, "overlap": 2, "threshold": 0.3},
    {"smoothing": 2.3, "block": 8, "overlap": 0, "threshold": 0.2},
    {"smoothing": 0.7, "block": 5, "overlap": 4, "threshold": 0.15},
]
READINGS = [
    {"maps": maps, "stencil": stencil, "padding": padding}
    for maps, stencil, padding in itertools.product(
        ("gray", "channel"), ("forward", "central", "sobel"), ("reflect", "none")
    )
]
