"""``python -m benchmarks.denoise``: the non-local block beside its naive form, which holds all H W x H W weights.

Both run on the same block and the same feature maps, forward and backward, each in a process of its own, whose peak
memory is what the run adds to it. Their outputs are compared too.
"""

import argparse
import multiprocessing
import resource
import statistics
import time
from typing import NamedTuple

import torch
from torch import Tensor, nn

from blurnet.layers.denoise import FeatureDenoise


class Naive(nn.Module):
    """The same block, with an explicit matrix of weights."""

    def __init__(self, block: FeatureDenoise) -> None:
        super().__init__()
        self.block = block

    def forward(self, x: Tensor) -> Tensor:
        block, maps = self.block, x.flatten(2)
        query, key = (block.theta(x), block.phi(x)) if block.embed else (x, x)
        products = query.flatten(2).mT @ key.flatten(2)
        if block.operation == "gaussian":
            weights = (products / query.shape[1] ** 0.5).softmax(dim=2)
        else:
            weights = products / maps.shape[2]
        return x + block.norm(block.conv((maps @ weights.mT).view_as(x)))


class Figures(NamedTuple):
    """Of one entry: median seconds, peak memory it adds in MiB, and its output."""

    seconds: float
    mebibytes: float
    output: Tensor


def problem(arguments: argparse.Namespace) -> tuple[FeatureDenoise, Tensor]:
    """A block that is not the identity, and feature maps (N, C, S, S)."""
    torch.manual_seed(0)
    block = FeatureDenoise(arguments.channels, arguments.operation, not arguments.plain).to(arguments.device)
    nn.init.ones_(block.norm.weight)
    if block.embed:
        for embedding in (block.theta, block.phi):  # as the first steps of training leave them: unequal weights
            nn.init.normal_(embedding.weight, std=0.1)
    side = arguments.size
    return block, torch.randn(arguments.batch, arguments.channels, side, side, device=arguments.device)


def measure(naive: bool, arguments: argparse.Namespace) -> Figures:
    """Run one entry in this process."""
    torch.set_num_threads(arguments.threads)
    block, x = problem(arguments)
    net: nn.Module = Naive(block) if naive else block
    x.requires_grad_()
    before, times, output = _peak(x), [], x
    for _ in range(arguments.rounds + 1):
        start = time.perf_counter()
        output = net(x)
        output.square().sum().backward()
        if x.is_cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return Figures(statistics.median(times[1:]), (_peak(x) - before) / 2**20, output.detach().cpu())


def _peak(x: Tensor) -> float:
    """Most bytes held so far: by the allocator of the GPU, or by this process."""
    if x.is_cuda:
        return float(torch.cuda.max_memory_allocated())
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def main() -> None:
    """Parse the command line, run both entries, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--operation", choices=("gaussian", "dot"), default="gaussian", help="non-local operation")
    parser.add_argument("--plain", action="store_true", help="compare the maps themselves, without embeddings")
    parser.add_argument("--size", type=int, default=56, help="side of the maps")
    parser.add_argument("--channels", type=int, default=256, help="channels of the maps")
    parser.add_argument("--batch", type=int, default=4, help="images")
    parser.add_argument("--rounds", type=int, default=5, help="repeats; the median counts")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--device", default="cpu", help="where the maps are")
    arguments = parser.parse_args()
    figures = {}
    for name in ("naive", "blurnet"):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            figures[name] = pool.apply(measure, (name == "naive", arguments))
    block, x = problem(arguments)
    print(f"FeatureDenoise({block.extra_repr()}) on {tuple(x.shape)}, {arguments.device}, {arguments.threads} threads")
    print(f"forward and backward, median of {arguments.rounds}")
    print("\n| entry   | seconds | peak memory (MiB) |\n|---------|--------:|------------------:|")
    for name, figure in figures.items():
        print(f"| {name:<7} | {figure.seconds:7.3f} | {figure.mebibytes:17.0f} |")
    difference = (figures["naive"].output - figures["blurnet"].output).abs().max()
    print(f"\nlargest difference of the outputs: {difference:.1e}")


if __name__ == "__main__":
    main()
