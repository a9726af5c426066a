"""How the cost of the input transformations grows: ``python -m benchmarks.transforms --scaling``.

Time is fitted as pixels (or images) to a power, from 64 x 64 to 1024 x 1024 pixels and from 1 to 256 images: a power
of 1 is linear, below 1 a fixed part counts. Memory is the peak besides the images, result included, each time in a
process of its own; what a further image adds is the difference between two batches, and the rest does not grow.
"""

import math
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F

from benchmarks.pictures import pictures
from benchmarks.timing import finished, medians
from blurnet.transforms.base import Transform
from blurnet.transforms.watermark.watermark import DigitalWatermark

SIZES, OF_SIZES = (64, 128, 256, 512, 1024), 4  #: pixels a side, at so many images
COUNTS, OF_COUNTS = (1, 4, 16, 64, 256), 128  #: images, of so many pixels a side
FEW, MANY = 16, 64  #: images of 299 x 299 whose memory is compared

MEMORY = """
import re, sys, torch
from pathlib import Path
from benchmarks.pictures import pictures
from benchmarks.transforms import TABLE
from benchmarks.transforms_scaling import fitted

name, count, device, threads = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])

def status(key):
    return int(re.search(key + r":\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

torch.set_num_threads(threads)
transform, x = fitted(TABLE[name].make(), 299, device), pictures(count, 299, device)
with torch.no_grad():
    fitted(TABLE[name].make(), 64, device)(x[:2, :, :64, :64])
    if x.is_cuda:
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        Path("/proc/self/clear_refs").write_text("5")  # the peak starts anew
        before = status("VmRSS")
    transform(x)
print((torch.cuda.max_memory_allocated() if x.is_cuda else status("VmHWM")) - before)
"""


class Growth(NamedTuple):
    """What is measured of one transformation: seconds at each size and count, bytes at FEW and MANY images."""

    name: str
    sizes: list[float]
    counts: list[float]
    few: float
    many: float


def measure(name: str, make: Callable[[], Transform], rounds: int, device: str, threads: int) -> Growth:
    """Time and memory of one transformation, by its name in the table and how it is made."""

    def seconds(count: int, size: int) -> float:
        transform, x = fitted(make(), size, device), pictures(count, size, device)
        with torch.no_grad():
            return medians({"ours": finished(lambda: transform(x), x)}, rounds, f"{name}, {count} of {size}")["ours"]

    sizes = [seconds(OF_SIZES, size) for size in SIZES]
    counts = [seconds(count, OF_COUNTS) for count in COUNTS]
    return Growth(name, sizes, counts, *(_memory(name, count, device, threads) for count in (FEW, MANY)))


def fitted(transform: Transform, size: int, device: str) -> Transform:
    """A transformation in evaluation mode for images of ``size`` pixels a side; a mask takes the same share of them."""
    transform = transform.eval()
    if isinstance(transform, DigitalWatermark) and transform.mask is not None:
        transform.mask = F.interpolate(transform.mask, (size, size))
    return transform.to(device)


def _memory(name: str, count: int, device: str, threads: int) -> float:
    plain = {key: value for key, value in os.environ.items() if key != "GLIBC_TUNABLES"}  # which keeps freed memory
    command = [sys.executable, "-c", MEMORY, name, str(count), device, str(threads)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, env=plain).stdout)


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """The power of ``x`` that fits ``y`` best, by least squares of the logarithms."""
    a, b = ([math.log(value) for value in values] for values in (x, y))
    middle, level = sum(a) / len(a), sum(b) / len(b)
    products = sum((u - middle) * (v - level) for u, v in zip(a, b, strict=True))
    return products / sum((u - middle) ** 2 for u in a)


def show(growths: Iterable[Growth]) -> None:
    """Print the table, each row when it is there."""
    print(f"Time over pixels at {OF_SIZES} images, over images at {OF_COUNTS} x {OF_COUNTS} pixels,")
    print(f"memory at {FEW} and {MANY} images of 299 x 299 (such an image and its result take 1.02 MiB each)\n")
    print(
        "| transformation | ns a pixel, 64 x 64 | 256 x 256 | 1024 x 1024 | power | ms an image, 1 | 16 | 256 |", end=""
    )
    print(f" power | MiB at {MANY} | MiB a further image |\n|---|{'---:|' * 10}")
    for name, sizes, counts, few, many in growths:
        pixels = [1e9 * s / (OF_SIZES * side**2) for s, side in zip(sizes, SIZES, strict=True)]
        images = [1e3 * s / count for s, count in zip(counts, COUNTS, strict=True)]
        powers = slope([side**2 for side in SIZES], sizes), slope(COUNTS, counts)
        print(f"| {name} | {pixels[0]:.1f} | {pixels[2]:.1f} | {pixels[4]:.1f} | {powers[0]:.2f} |", end="")
        print(f" {images[0]:.3f} | {images[2]:.3f} | {images[4]:.3f} | {powers[1]:.2f} |", end="")
        print(f" {many / 2**20:.0f} | {(many - few) / (MANY - FEW) / 2**20:.2f} |", flush=True)
