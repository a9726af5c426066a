"""``python -m benchmarks.patch``: a step of the universal patch beside a bare loop and, where installed, beside ART.

The bare loop draws poses, warps patch and mask with ``affine_grid`` and ``grid_sample``, and follows the gradient by
Adam: the least that an expectation over transformations can do. ART (``pip install adversarial-robustness-toolbox``)
is optional and not one of our dependencies.
"""

import argparse
import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.timing import medians
from blurnet.attacks.universal.adversarial_patch import AdversarialPatch
from blurnet.attacks.universal.patch import disc
from blurnet.attacks.universal.poses import Poses
from blurnet.nets.lisa_cnn import LisaCNN

BATCH, SIZE, STEPS, TARGET = 16, 32, 25, 12
SCALE = (0.1, 1.0)


def bare_patch(net: nn.Module, images: Tensor, target: int, steps: int) -> Tensor:
    """Brown et al.'s patch in plain PyTorch: rotation, scale and shift for each image, one warp for the batch."""
    n, size = len(images), images.shape[-1]
    patch, mask = torch.full((3, size, size), 0.5, requires_grad=True), disc(size)
    adam, goals = torch.optim.Adam([patch], lr=0.05), torch.full((n,), target)
    for _ in range(steps):
        angle = (2 * torch.rand(n) - 1) * math.radians(22.5)
        scale = SCALE[0] + torch.rand(n) * (SCALE[1] - SCALE[0])
        shift = (2 * torch.rand(n, 2) - 1) * (1 - scale)[:, None]
        cos, sin = angle.cos() / scale, angle.sin() / scale
        x, y = shift.unbind(1)
        rows = [torch.stack([cos, -sin, sin * y - cos * x], 1), torch.stack([sin, cos, -sin * x - cos * y], 1)]
        grid = F.affine_grid(torch.stack(rows, 1), [n, 3, size, size], align_corners=False)
        color = F.grid_sample(patch.expand(n, -1, -1, -1), grid, align_corners=False)
        cover = F.grid_sample(mask.expand(n, -1, -1, -1), grid, align_corners=False)
        loss = F.cross_entropy(net((images * (1 - cover) + color * cover).clamp(0, 1)), goals)
        adam.zero_grad()
        loss.backward()
        adam.step()
        with torch.no_grad():
            patch.clamp_(0, 1)
    return patch.detach()


def our_patch(net: nn.Module, images: Tensor, labels: Tensor, steps: int) -> Callable[[], object]:
    """The same with our attack, its checks of the best patch so far included."""
    # A disc as wide as the image at scale 1, as in the bare loop and in ART.
    area = float(disc(SIZE).mean())
    attack = AdversarialPatch(
        TARGET, area=area, size=SIZE, poses=Poses(scale=SCALE), steps=steps, batch=len(images), loss="cross-entropy"
    )
    return lambda: attack.train(net, images, labels)


def art_patch(net: nn.Module, images: Tensor, steps: int) -> Callable[[], object] | None:
    """The same with ART's AdversarialPatchPyTorch; None where ART is not installed."""
    try:
        from art.attacks.evasion import AdversarialPatchPyTorch
        from art.estimators.classification import PyTorchClassifier
    except ImportError:
        return None
    shape = tuple(images.shape[1:])
    classifier = PyTorchClassifier(net, nn.CrossEntropyLoss(), shape, 18, clip_values=(0.0, 1.0), device_type="cpu")
    goals = F.one_hot(torch.full((len(images),), TARGET), 18).numpy()

    def run() -> object:
        attack = AdversarialPatchPyTorch(
            classifier,
            rotation_max=22.5,
            scale_min=SCALE[0],
            scale_max=SCALE[1],
            learning_rate=0.05,
            max_iter=steps,
            batch_size=len(images),
            patch_shape=shape,
            patch_type="circle",
            verbose=False,
        )
        return attack.generate(images.numpy(), goals)

    return run


def times(rounds: int, peers: bool = True) -> dict[str, float]:
    """Median seconds a step: "bare", "ours" and, with ``peers`` and where it is installed, "art"."""
    torch.manual_seed(0)
    net = LisaCNN().eval().requires_grad_(False)
    images, labels = torch.rand(BATCH, 3, SIZE, SIZE), torch.full((BATCH,), 14)
    entries: dict[str, Callable[[], object]] = {
        "bare": lambda: bare_patch(net, images, TARGET, STEPS),
        "ours": our_patch(net, images, labels, STEPS),
    }
    if peers and (art := art_patch(LisaCNN().eval(), images, STEPS)) is not None:
        entries["art"] = art
    return {name: time / STEPS for name, time in medians(entries, rounds, "patch step").items()}


def main() -> None:
    """Print milliseconds a step and their ratios to the bare loop."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7, help="interleaved repeats; the median counts")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    found = times(arguments.rounds)
    print(f"torch {torch.__version__}, {arguments.threads} threads, median of {arguments.rounds} interleaved rounds")
    print(f"LISA-CNN, batch {BATCH}, {STEPS} steps; ours at most 1.2\n\n| what | ms a step | ratio |\n|---|---:|---:|")
    for name, seconds in found.items():
        print(f"| {name} | {1e3 * seconds:.2f} | {seconds / found['bare']:.3f} |")
    if "art" not in found:
        print("\nART is not installed: no row for it")


if __name__ == "__main__":
    main()
