"""``python -m benchmarks.class_inpainting``: class activation maps beside pytorch-grad-cam, and what the rest costs.

The maps of five classes, of the same net and images, in interleaved rounds: pytorch-grad-cam goes through the net,
forwards and backwards, once a class. And ClassInpainting at boxes that are known, without its pass of the net, beside
the wavelet denoising that it contains. Set the allocator as ``make bench`` does.
"""

import argparse
import sys
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.pictures import pictures
from benchmarks.timing import finished, medians
from benchmarks.transforms import Row, show
from blurnet.nets.lisa_cnn import LisaCNN
from blurnet.nets.vision import torchvision_net
from blurnet.transforms.class_inpainting.boxes import box_mask
from blurnet.transforms.class_inpainting.cam import class_activation_maps
from blurnet.transforms.class_inpainting.fusion import inpaint_and_denoise
from blurnet.transforms.wavelet import wavelet_denoise


class Net(NamedTuple):
    """A net, its last maps as pytorch-grad-cam asks for them, and the side of its images."""

    make: Callable[[], nn.Module]
    layer: str
    side: int = 224


#: Whose maps are the weighted last ones (a mean and a linear layer), and two that need gradients.
NETS = {
    "resnet18": Net(lambda: torchvision_net("resnet18"), "net.layer4"),
    "mobilenet_v2": Net(lambda: torchvision_net("mobilenet_v2"), "net.features"),
    "vgg11": Net(lambda: torchvision_net("vgg11"), "net.avgpool"),
    "lisa_cnn": Net(LisaCNN, "relu3", 32),
}

CLASSES = range(5)
CAM_LIMIT, REST_LIMIT = 1 / 3, 3.0  #: of ours / theirs

SECONDS = 5.0  #: of rounds for each entry, at least


def peer(net: nn.Module, layer: str, x: Tensor) -> Callable[[], object]:
    """pytorch-grad-cam's maps of the classes."""
    from pytorch_grad_cam import GradCAM
    from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget

    def run() -> object:
        with GradCAM(net, [net.get_submodule(layer)]) as cam:
            return [cam(x, [ClassifierOutputTarget(c)] * len(x)) for c in CLASSES]

    return run


def maps(name: str, arguments: argparse.Namespace) -> list[Row]:
    """The row of one net; none where pytorch-grad-cam is missing."""
    net = NETS[name].make().eval().to(arguments.device)
    x = pictures(arguments.batch, NETS[name].side, arguments.device)
    try:
        entries = {"ours": lambda: class_activation_maps(net, x, CLASSES), "theirs": peer(net, NETS[name].layer, x)}
    except ImportError as error:
        print(f"{name}: without pytorch-grad-cam ({error})", file=sys.stderr)
        return []
    times = medians({key: finished(run, x) for key, run in entries.items()}, arguments.rounds, name, SECONDS)
    ours, theirs = times["ours"] / len(x), times["theirs"] / len(x)
    return [Row(f"maps of {len(CLASSES)} classes, {name}", ours, "pytorch-grad-cam", theirs, CAM_LIMIT)]


def rest(arguments: argparse.Namespace) -> Row:
    """Inpainting, denoising and fusion of boxes at random places: fifteen an image, as many as by default at most."""
    x = pictures(arguments.batch, arguments.size, arguments.device)
    draw = torch.Generator().manual_seed(0)
    middles = torch.randint(arguments.size, (len(x), 15, 2), generator=draw).to(x.device)
    mask = box_mask(middles, max(1, round(3 * arguments.size / 224)), (arguments.size, arguments.size))
    entries = {"ours": lambda: inpaint_and_denoise(x, mask), "theirs": lambda: wavelet_denoise(x)}
    with torch.no_grad():
        times = medians({key: finished(run, x) for key, run in entries.items()}, arguments.rounds, "rest", SECONDS)
    return Row("all but the maps", times["ours"] / len(x), "wavelet alone", times["theirs"] / len(x), REST_LIMIT)


def main() -> None:
    """Parse the command line, run the comparisons, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", choices=NETS, nargs="*", default=list(NETS), help="nets whose maps are timed")
    parser.add_argument("--batch", type=int, default=16, help="images")
    parser.add_argument("--size", type=int, default=224, help="their height and width in pixels, without a net")
    rounds = f"interleaved repeats at least; an entry gets more until {SECONDS:g} seconds are over"
    parser.add_argument("--rounds", type=int, default=5, help=rounds)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads of torch")
    parser.add_argument("--device", default="cpu", help="where the nets and images are")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    times = f"median of {arguments.rounds} interleaved rounds or more"
    print(f"torch {torch.__version__}, {arguments.threads} threads, batches of {arguments.batch}, {times}\n")
    rows = [*(row for name in arguments.only for row in maps(name, arguments)), rest(arguments)]
    show(rows, "class inpainting")


if __name__ == "__main__":
    main()
