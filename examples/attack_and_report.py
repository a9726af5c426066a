"""Attack a model with stickers and patches, and write a report to open in a browser.

    python examples/attack_and_report.py                                a shipped net, rendered stop signs
    python examples/attack_and_report.py --model runs/mine/model --data folder:DIR --limit 200
    python examples/attack_and_report.py --defenses jpeg:quality=50     put a defense in front and attack through it

It is ``evaluate.py`` with few of its options; the report has the headline, pictures, intervals, flags, and the command.
"""

import argparse
from pathlib import Path

from blurnet.cli import evaluate_main
from blurnet.evaluation.report import read_report


def main() -> None:
    """Attack, report, print the headline."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="lisa_cnn-synthetic", help="a shipped name or a model's folder")
    parser.add_argument("--data", default="synthetic", help="images to attack: synthetic, folder:DIR, lisa-crops:DIR")
    parser.add_argument("--defenses", default="", help="transformations to put in front, such as lgs,jpeg:quality=50")
    parser.add_argument("--attacks", default="autopatch,pgd", help="see evaluate.py --help")
    parser.add_argument("--budget", default="quick", help="quick, standard (to quote) or full")
    parser.add_argument("--limit", type=int, default=16, help="images")
    parser.add_argument("--out", type=Path, default=Path("runs/report"), help="where the report goes")
    arguments = parser.parse_args()

    command = ["--model", arguments.model, "--data", arguments.data, "--on", "data", "--limit", str(arguments.limit)]
    command += ["--attacks", arguments.attacks, "--budget", arguments.budget, "--out", str(arguments.out)]
    command += ["--defenses", arguments.defenses] if arguments.defenses else []
    status = evaluate_main(command)

    report = read_report(arguments.out)
    print(f"\ncorrect before any attack   {report.clean.percent:>7}   on the whole test split")
    for attack in report.per_image.attacks:
        print(f"correct under {attack.name:13} {attack.robust.percent:>7}   {attack.threat}")
    print(
        f"correct under all of them   {report.robust.percent:>7}   ({report.robust.interval}, {report.robust.trials})"
    )
    print(f"\nOpen {arguments.out / 'report.html'}" + ("; it has flags to read first" if status else ""))


if __name__ == "__main__":
    main()
