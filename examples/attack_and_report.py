"""Attack a net with patches and more, and write a report to open in a browser.

    python examples/attack_and_report.py                                a shipped net, rendered signs
    python examples/attack_and_report.py --model runs/mine/model --folder DIR --limit 200      one subfolder a class
    python examples/attack_and_report.py --jpeg 50                      put a defense in front and attack through it

The net may be any module that takes images in [0, 1] and gives logits; the images any data set of (image, label). The
report has the headline, pictures, intervals and flags, and ``evaluate.py`` does the same from the command line.
"""

import argparse
from pathlib import Path

import blurnet
from blurnet.data.sources.folder import FolderImages
from blurnet.data.synthetic.dataset import SyntheticSigns


def main() -> None:
    """Attack, report, print the headline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lisa_cnn-synthetic", help="a shipped name or a model's folder")
    parser.add_argument("--folder", type=Path, help="your images, one subfolder a class; none: rendered signs")
    parser.add_argument("--jpeg", type=int, metavar="QUALITY", help="compress images in front of the net")
    parser.add_argument("--attacks", default="autopatch,pgd", help="see evaluate.py --help")
    parser.add_argument("--budget", default="quick", help="quick, standard (to quote) or full")
    parser.add_argument("--limit", type=int, default=16, help="images to attack")
    parser.add_argument("--out", type=Path, default=Path("runs/report"), help="where the report goes")
    arguments = parser.parse_args()

    net = blurnet.load_model(arguments.model)
    classes = net.classes
    images = SyntheticSigns("test", 340)
    if arguments.folder:
        images = FolderImages(arguments.folder, image_size=32, fit="stretch").files("all")
    if arguments.jpeg:
        net = blurnet.defend(net, blurnet.JPEG(quality=arguments.jpeg))

    report = blurnet.evaluate(
        net, images, attacks=arguments.attacks, classes=classes, budget=arguments.budget, limit=arguments.limit,
        out=arguments.out,
    )  # fmt: skip

    print(f"\nanswered correctly before any attack    {report.clean}")
    for attack in report.per_image.attacks:
        print(f"answered correctly under {attack.name:14} {attack.robust}   {attack.threat}")
    print(f"answered correctly under all of them    {report.robust}")
    print(f"\nOpen {arguments.out / 'report.html'}" + ("; it has flags to read first" if report.flags else ""))


if __name__ == "__main__":
    main()
