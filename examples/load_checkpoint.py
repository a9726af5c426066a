"""Load a pretrained robust net into plain PyTorch and let it name the signs in images.

python examples/load_checkpoint.py                                  six rendered signs
python examples/load_checkpoint.py --model lisa_cnn-tv sign.jpg ... your own images, one sign filling each
python examples/load_checkpoint.py --model user/repo sign.jpg       a model of the Hugging Face Hub
"""

import argparse
from pathlib import Path

import torch
from torch import Tensor
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms.v2.functional import resize

import blurnet
from blurnet.data.synthetic.dataset import SyntheticSigns


def main() -> None:
    """Load, classify, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path, help="images; none: rendered signs")
    parser.add_argument("--model", default="lisa_cnn-synthetic-linf7", help="a shipped name, a folder, or user/repo")
    arguments = parser.parse_args()

    net = blurnet.from_pretrained(arguments.model)  # an nn.Module in evaluation mode: [0, 1] pixels in, logits out
    names, images = from_files(arguments.files) if arguments.files else rendered()
    with torch.no_grad():
        probabilities = net(images).softmax(1)

    print(f"{net.card.title}: {net.card.parameters:,} parameters, {len(net.classes)} classes")
    print(f"accuracy {net.card.clean}\n" if net.card.clean else "")
    for name, row in zip(names, probabilities, strict=True):
        confidence, best = row.topk(3)
        said = ", ".join(f"{net.classes[i]} {p:.0%}" for i, p in zip(best.tolist(), confidence.tolist(), strict=True))
        print(f"{name:24} {said}")


def from_files(files: list[Path]) -> tuple[list[str], Tensor]:
    """Names and images (N, 3, 32, 32) in [0, 1]; there is no normalisation to remember, it is inside the net."""
    images = [resize(decode_image(str(file), ImageReadMode.RGB), [32, 32], antialias=True) for file in files]
    return [file.name for file in files], torch.stack(images) / 255


def rendered() -> tuple[list[str], Tensor]:
    """Six signs that the net has not seen, under their true names."""
    signs = SyntheticSigns("test", size=60)
    images, labels = zip(*(signs[index] for index in range(0, 60, 10)), strict=True)
    return [f"a rendered {signs.classes[label]}" for label in labels], torch.stack(images)


if __name__ == "__main__":
    main()
