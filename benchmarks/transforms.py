"""``python -m benchmarks.transforms``: each input transformation beside what a user would otherwise pick, in one run.

All entries of a transformation get the same images and are timed in interleaved rounds; figures are medians, per
image. Peers that are not installed are left out. Set the allocator as ``make bench`` does.

To add a transformation write a line in TABLE; to add a peer, a function that takes the images (N, 3, H, W) and
returns what is timed (it imports its library itself), and its line in the entry.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import geometric_mean
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from benchmarks import transforms_peers as peers
from benchmarks import transforms_scaling as growth
from benchmarks.pictures import pictures
from benchmarks.timing import finished, medians
from blurnet.masks import rectangles
from blurnet.transforms.base import Transform
from blurnet.transforms.bilateral import Bilateral
from blurnet.transforms.bit_depth import BitDepth
from blurnet.transforms.gaussian import Gaussian
from blurnet.transforms.jpeg.jpeg import JPEG
from blurnet.transforms.lgs.lgs import LGS
from blurnet.transforms.median import Median
from blurnet.transforms.non_local_means import NonLocalMeans
from blurnet.transforms.random_resize_pad import RandomResizePad
from blurnet.transforms.total_variation import TotalVariationMin
from blurnet.transforms.watermark.watermark import DigitalWatermark
from blurnet.transforms.wavelet import Wavelet

Peer = Callable[[Tensor], Callable[[], object]]

SECONDS = 5.0  #: of rounds for each transformation, at least


@dataclass(frozen=True)
class Entry:
    """A transformation and its peers: name to (peer, the most that ours may take of its time; None: only shown)."""

    make: Callable[[], Transform]
    peers: dict[str, tuple[Peer, float | None]] = field(default_factory=dict)
    images: int = 64  #: fewer where a peer takes long


class Row(NamedTuple):
    """One comparison, in seconds an image."""

    what: str
    ours: float
    peer: str
    theirs: float
    limit: float | None  #: of ours / theirs


def copy_of_the_batch(x: Tensor) -> Callable[[], object]:
    """A fresh copy of the images, the least that any transformation does."""
    return x.clone


def numpy_lgs(x: Tensor) -> Callable[[], object]:
    """Eq. 5-8 of LGS as one writes them down in NumPy: image by image, window by window."""

    def one(image: np.ndarray, block: int = 15, stride: int = 10) -> np.ndarray:
        gray = image.mean(axis=0)
        across, down = np.diff(gray, axis=1), np.diff(gray, axis=0)
        across, down = np.hstack([across, across[:, -1:]]), np.vstack([down, down[-1:]])
        g = np.sqrt(across**2 + down**2)
        g = (g - g.min()) / (g.max() - g.min())
        padded = np.pad(g, [(0, -(side - block) % stride) for side in g.shape], mode="reflect")
        kept = np.zeros_like(padded)
        for top in range(0, padded.shape[0] - block + 1, stride):
            for left in range(0, padded.shape[1] - block + 1, stride):
                window = np.s_[top : top + block, left : left + block]
                if padded[window].mean() > 0.1:
                    kept[window] = padded[window]
        return image * (1 - np.clip(2.3 * kept[: g.shape[0], : g.shape[1]], 0, 1))

    images = x.cpu().numpy()
    return lambda: np.stack([one(image) for image in images])


TABLE: dict[str, Entry] = {
    "lgs": Entry(LGS, {"copy of the batch": (copy_of_the_batch, 10.0), "NumPy reading": (numpy_lgs, 1 / 5)}),
    "median": Entry(
        Median,
        {
            "scipy": (peers.scipy_median, 1.0),
            "torch, unfolded": (peers.torch_unfold_median, None),
            "kornia": (peers.kornias("median_blur", (3, 3)), None),
            "ART": (peers.arts("SpatialSmoothing", window_size=3), None),
        },
    ),
    "gaussian": Entry(
        Gaussian,
        {
            "scipy": (peers.scipy_gaussian, 1.0),
            "kornia": (peers.kornias("gaussian_blur2d", (9, 9), (1.0, 1.0), "replicate"), None),
        },
    ),
    "bilateral": Entry(
        Bilateral,
        {
            "scikit-image": (peers.skimage_bilateral, 1.0),
            "OpenCV, 8 bits": (peers.opencv_bilateral, None),
            "kornia": (peers.kornias("bilateral_blur", (5, 5), 0.05, (1.0, 1.0)), None),
        },
    ),
    "non_local_means": Entry(NonLocalMeans, {"OpenCV, 8 bits": (peers.opencv_nlm, 1.0)}, 16),
    "non_local_means, RGB": Entry(
        lambda: NonLocalMeans(11, 3, 0.1, "scikit-image"), {"scikit-image": (peers.skimage_nlm, 1.0)}, 16
    ),
    "jpeg": Entry(
        lambda: JPEG(30),
        {"Pillow": (peers.pillow_jpeg, 1.0), "ART": (peers.arts("JpegCompression", quality=30), None)},
    ),
    "bit_depth": Entry(
        BitDepth,
        {"NumPy": (peers.numpy_bits, 1.0), "ART": (peers.arts("FeatureSqueezing", bit_depth=3), None)},
    ),
    "total_variation_min": Entry(
        TotalVariationMin,
        {
            "scikit-image": (peers.skimage_tv, 1.0),
            "scikit-image, together": (peers.skimage_tv_together, None),
        },
        16,
    ),
    # ART's is Guo et al.'s reading, and takes most of a second an image.
    "total_variation_min, drop": Entry(
        lambda: TotalVariationMin(33.0, drop=0.5), {"ART": (peers.arts("TotalVarMin"), None)}, 2
    ),
    "wavelet": Entry(Wavelet, {"scikit-image": (peers.skimage_wavelet, 1.0)}),
    "digital_watermark": Entry(
        lambda: DigitalWatermark(mask=rectangles((299, 299), [(20, 62, 30, 72)])),
        {"OpenCV, 8 bits": (peers.opencv_telea, 1.0)},
    ),
    "random_resize_pad": Entry(RandomResizePad, {"Pillow, 8 bits": (peers.pillow_resize_pad, 1.0)}),
}


def compare(name: str, rounds: int, images: Tensor) -> list[Row]:
    """The rows of one transformation, all its peers in interleaved rounds."""
    entry = TABLE[name]
    x = images[: entry.images]
    transform = entry.make().eval().to(x.device)
    entries: dict[str, Callable[[], object]] = {"ours": lambda: transform(x)}
    for peer, (make, _) in entry.peers.items():
        try:
            entries[peer] = make(x)
        except ImportError as error:
            print(f"{name}: without {peer} ({error})", file=sys.stderr)
    entries = {key: finished(run, x) for key, run in entries.items()}
    with torch.no_grad():
        times = {key: seconds / len(x) for key, seconds in medians(entries, rounds, name, SECONDS).items()}
    return [Row(name, times["ours"], peer, times[peer], entry.peers[peer][1]) for peer in entries if peer != "ours"]


def show(rows: list[Row], title: str = "transformation") -> None:
    """Print a table; a ratio below 1 means that blurnet is faster."""
    print(f"| {title:<25} | blurnet (ms) | {'beside':<28} | it (ms) | ratio | at most |")
    print(f"|{'-' * 27}|---:|{'-' * 30}|---:|---:|---:|")
    for row in rows:
        limit = "" if row.limit is None else f"{row.limit:.2f}"
        ratio = f"{row.ours / row.theirs:5.3f} | {limit:>7}"
        print(f"| {row.what:<25} | {1e3 * row.ours:12.3f} | {row.peer:<28} | {1e3 * row.theirs:7.3f} | {ratio} |")
    speedups = [row.theirs / row.ours for row in rows if row.limit == 1]
    if speedups:
        print(f"\nGeometric mean of {len(speedups)} speed-ups, each beside the library of limit 1: ", end="")
        print(f"{geometric_mean(speedups):.2f}")


def main() -> None:
    """Parse the command line, run the chosen transformations, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=TABLE, nargs="+", default=list(TABLE), help="transformations to run")
    parser.add_argument("--images", type=int, default=64, help="at most so many images")
    parser.add_argument("--size", type=int, default=299, help="their height and width in pixels")
    rounds = f"interleaved repeats at least; a transformation gets more until {SECONDS:g} seconds are over"
    parser.add_argument("--rounds", type=int, default=7, help=rounds)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--device", default="cpu", help="where blurnet runs; libraries of the CPU stay there")
    parser.add_argument("--scaling", action="store_true", help="time over sizes and batches, and memory, instead")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    times = f"median of {arguments.rounds} interleaved rounds or more"
    print(f"torch {torch.__version__}, {arguments.threads} threads, {times}\n")
    if arguments.scaling:
        device, threads = arguments.device, arguments.threads
        growth.show(growth.measure(n, TABLE[n].make, arguments.rounds, device, threads) for n in arguments.only)
        return
    images = pictures(arguments.images, arguments.size, arguments.device)
    show([row for name in arguments.only for row in compare(name, arguments.rounds, images)])


if __name__ == "__main__":
    main()
