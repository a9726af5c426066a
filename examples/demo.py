"""The first result: train a BlurNet on the embedded signs, attack it and a shipped baseline, compare.

    python -m examples.demo --out runs/demo

Fine-tunes the shipped baseline with a 7x7 learned low-pass behind its first layer, then attacks both nets with RP2
on 40 rendered stop signs: four stickers, one noise for all signs, each of the other classes as a target, an attacker
who knows the defense; and with AutoPatch: one square of 5 % of each sign, anywhere. A few minutes on two cores. The
sanity checks of ``evaluate.py`` are left out, which saves a minute.
"""

import argparse
from pathlib import Path

from blurnet.cli import evaluate_main, train_main
from blurnet.evaluation.report.report import Report, read_report
from blurnet.zoo.models import models_root

BASELINE = "lisa_cnn-synthetic"
CONFIG = Path(__file__).parent.parent / "configs" / "train" / "lisa_cnn-synthetic-linf7.yaml"


def main() -> None:
    """Train, attack twice, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="where everything goes")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the rendered signs")
    parser.add_argument("--images", type=int, default=5100, help="rendered signs to train on")
    parser.add_argument("--steps", type=int, default=40, help="steps of the attack")
    arguments = parser.parse_args()
    print("1/3  training a BlurNet on rendered signs", flush=True)
    train(arguments.out, arguments.epochs, arguments.images)
    print(f"2/3  RP2 and AutoPatch against the shipped baseline {BASELINE}", flush=True)
    baseline = attack(BASELINE, arguments.out / "baseline", arguments.steps)
    print("3/3  RP2 and AutoPatch against the BlurNet", flush=True)
    defended = attack(str(arguments.out / "train" / "model"), arguments.out / "blurnet", arguments.steps)
    table = render({"baseline (shipped)": baseline, "BlurNet, 7x7 learned low-pass": defended})
    where = "Reports with pictures: `baseline/report.html`, `blurnet/report.html`."
    (arguments.out / "README.md").write_text(f"# Demo\n\n{table}\n\n{where}\n")
    print(f"\n{table}\n\nOpen {arguments.out}/baseline/report.html and {arguments.out}/blurnet/report.html")


def train(out: Path, epochs: int, images: int) -> None:
    """Fine-tune the baseline's weights with the layer inserted; goes on where it was interrupted."""
    if (out / "train" / "model" / "card.json").exists():
        return
    train_main(
        ["fit", "--config", str(CONFIG), "--out", str(out / "train"), "--resume"]
        + ["--model.weights", str(models_root() / BASELINE / "model.safetensors"), "--model.lr", "0.02"]
        + ["--data.train_size", str(images), "--trainer.max_epochs", str(epochs)]
    )


def attack(model: str, out: Path, steps: int) -> Report:
    """Run the evaluation and return its report."""
    evaluate_main(
        ["--model", model, "--data", "synthetic", "--victims", "synthetic", "--attacks", "rp2,autopatch"]
        + ["--steps", str(steps), "--lam", "0.002", "--lr", "0.2", "--chunk", "4", "--out", str(out)]
        + ["--patch", "0.05", "--budget", "quick", "--no-sanity"]
    )
    return read_report(out)


def render(reports: dict[str, Report]) -> str:
    """The reports side by side, in Markdown."""
    lines = [
        "| model | accuracy | altered by RP2, average | worst target | robust to a patch of 5 % |",
        "|---|---:|---:|---:|---:|",
    ]
    for name, report in reports.items():
        rp2 = report.attacks[0]
        rates = report.clean, rp2.average.asr, rp2.worst.asr, report.robust
        lines.append(f"| {name} | {' | '.join('-' if rate is None else rate.percent for rate in rates)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
