"""Train a robust net on a folder of your own images, one subfolder a class, and get a model that loads anywhere.

    python examples/train_on_your_folder.py --folder DIR                DIR/stop/*.png, DIR/yield/*.png, ...
    python examples/train_on_your_folder.py                             without one: a folder of rendered signs

The net sees adversarial images beside clean ones (PGD) and has a learned low-pass behind its first layer. All of it is
``python train.py fit``, whose command is printed: change anything there, or put it into a YAML as in configs/train.
"""

import argparse
import shlex
from pathlib import Path

from torchvision.utils import save_image

import blurnet
from blurnet.cli import train_main
from blurnet.data.module import FolderData
from blurnet.data.synthetic.dataset import SyntheticSigns


def main() -> None:
    """Train, then ask the finished model for its classes and its robustness."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="your images; none: rendered signs")
    parser.add_argument("--out", type=Path, default=Path("runs/folder"), help="where everything goes")
    parser.add_argument("--epochs", type=int, default=10, help="passes over the images")
    parser.add_argument("--images", type=int, default=2550, help="signs to render where no folder is given")
    parser.add_argument("--eps", type=float, default=4 / 255, help="how far a pixel may be moved, in [0, 1]")
    arguments = parser.parse_args()
    folder = arguments.folder or rendered(arguments.out / f"signs-{arguments.images}", arguments.images)

    command = ["fit", "--data", "FolderData", "--data.root", str(folder), "--data.image_size", "32"]
    command += ["--data.fit", "stretch", "--data.in_memory", "true", "--data.batch_size", "64"]
    command += ["--model.net", "lisa_cnn", "--defenses", "learned_low_pass:kernel_size=5:linf=0.1:after=relu1"]
    command += ["--model.objective.name", "pgd", "--model.objective.args.radius", f"{arguments.eps:.6f}"]
    command += ["--model.objective.args.steps", "3", "--model.objective.args.clean", "0.5"]
    command += ["--trainer.max_epochs", str(arguments.epochs), "--out", str(arguments.out / "run"), "--overwrite"]
    print("python train.py", shlex.join(command), flush=True)
    train_main(command)

    net = blurnet.load_model(arguments.out / "run" / "model")
    images, labels = FolderData(folder, image_size=32, fit="stretch").split("test").tensors()
    images, labels = images[:200], labels[:200]
    attack = blurnet.PGD(blurnet.Ball("linf", arguments.eps), steps=20)
    report = blurnet.evaluate(net, images, labels, attacks=attack, sanity=False)
    print(f"\nclasses: {', '.join(net.classes)}")
    print(f"answered correctly: {report.clean}; under PGD of radius {arguments.eps:.3f}: {report.robust}")
    print(f"\nnet = blurnet.load_model({str(arguments.out / 'run' / 'model')!r})")


def rendered(folder: Path, count: int) -> Path:
    """Rendered signs as files, one subfolder a class."""
    signs = SyntheticSigns("train", size=count, outputs=17)
    images, labels = signs.tensors()
    for number, (image, label) in enumerate(zip(images, labels.tolist(), strict=True)):
        place = folder / signs.classes[label]
        place.mkdir(parents=True, exist_ok=True)
        save_image(image, place / f"{number:05}.png")
    return folder


if __name__ == "__main__":
    main()
