"""The first result: three nets on the embedded signs, attacked and compared; one holds, with a proof.

    python -m examples.demo --out runs/demo

Fine-tunes the shipped baseline with a 7x7 learned low-pass behind its first layer (BlurNet), and takes a shipped net
that was trained on masked signs and answers behind double masking. Then it attacks all three with RP2 on 40 rendered
stop signs: four stickers, one noise for all signs, each of the other classes as a target, an attacker who knows the
defense; and with AutoPatch: one square of 5 % of each sign, anywhere. Of the masked net it proves which signs no
such square can turn. A few minutes on two cores; the sanity checks of ``evaluate.py`` are left out.
"""

import argparse
from pathlib import Path

from matplotlib.figure import Figure

from blurnet.cli import evaluate_main, train_main
from blurnet.evaluation.render.figures import ADDED, ATTACKED, CLEAN, SMALL, TEXT, new_figure, plain, png_bytes
from blurnet.evaluation.report.report import Report, read_report
from blurnet.files import write_atomic
from blurnet.rates import Rate
from blurnet.zoo.models import models_root

BASELINE, MASKED = "lisa_cnn-synthetic", "resnet_32-synthetic-masked"
CONFIG = Path(__file__).parent.parent / "configs" / "train" / "lisa_cnn-synthetic-linf7.yaml"


def main() -> None:
    """Train, attack twice, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="where everything goes")
    parser.add_argument("--epochs", type=int, default=6, help="passes over the rendered signs")
    parser.add_argument("--images", type=int, default=5100, help="rendered signs to train on")
    parser.add_argument("--steps", type=int, default=25, help="steps of RP2")
    arguments = parser.parse_args()
    out = arguments.out
    print("1/4  training a BlurNet on rendered signs", flush=True)
    train(out, arguments.epochs, arguments.images)
    nets = {
        "baseline (shipped)": (BASELINE, "baseline"),
        "BlurNet, 7x7 learned low-pass": (str(out / "train" / "model"), "blurnet"),
        "masked net, behind double masking (shipped)": (MASKED, "masked"),
    }
    reports = {}
    for number, (name, (model, folder)) in enumerate(nets.items(), start=2):
        print(f"{number}/4  RP2 and AutoPatch against the {name}", flush=True)
        reports[name] = attack(model, out / folder, arguments.steps, certify=model == MASKED)
    table = render(reports)
    write_atomic(out / "demo.png", png_bytes(picture(reports)))
    where = ", ".join(f"`{folder}/report.html`" for _, folder in nets.values())
    write_atomic(out / "README.md", f"# Demo\n\n{table}\n\n![The table as a picture](demo.png)\n\nReports: {where}.\n")
    print(f"\n{table}\n\nOpen {out}/demo.png and the reports in {out}: {where}")


def train(out: Path, epochs: int, images: int) -> None:
    """Fine-tune the baseline's weights with the layer inserted; goes on where it was interrupted."""
    if (out / "train" / "model" / "card.json").exists():
        return
    train_main(
        ["fit", "--config", str(CONFIG), "--out", str(out / "train"), "--resume"]
        + ["--model.weights", str(models_root() / BASELINE / "model.safetensors"), "--model.lr", "0.02"]
        + ["--data.train_size", str(images), "--trainer.max_epochs", str(epochs)]
    )


def attack(model: str, out: Path, steps: int, *, certify: bool) -> Report:
    """Run the evaluation and return its report."""
    proof = ["--certify", "--no-attack-certified"] if certify else []
    evaluate_main(
        ["--model", model, "--data", "synthetic", "--victims", "synthetic", "--attacks", "rp2,autopatch", *proof]
        + ["--steps", str(steps), "--lam", "0.002", "--lr", "0.2", "--chunk", "4", "--out", str(out)]
        + ["--patch", "0.05", "--budget", "quick", "--no-sanity"]
    )
    return read_report(out)


def figures(report: Report) -> list[Rate | None]:
    """Clean accuracy, RP2's success on average and at its worst, what AutoPatch leaves, and what is proven."""
    rp2 = report.attacks[0]
    proven = report.certified.certified if report.certified else None
    return [report.clean, rp2.average.asr, rp2.worst.asr, report.robust, proven]


def render(reports: dict[str, Report]) -> str:
    """The reports side by side, in Markdown."""
    lines = [
        "| model | accuracy | altered by RP2, average | worst target | left by AutoPatch, 5 % | certified, 5 % |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for name, report in reports.items():
        cells = ("-" if rate is None else rate.percent for rate in figures(report))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


def picture(reports: dict[str, Report]) -> Figure:
    """What stands of each net: clean, under RP2's worst target, under AutoPatch, and what is proven."""
    figure = new_figure(8.5, 3.6, "Rendered signs: what stands under attack, and what is proven")
    ax = figure.subplots()
    kinds = (
        *("clean accuracy, all classes", "stop signs: unaltered by RP2, worst target"),
        *("left by AutoPatch", "certified"),
    )
    for place, (kind, color) in enumerate(zip(kinds, (CLEAN, "#edae49", ATTACKED, ADDED), strict=True)):
        heights = [standing(report)[place] for report in reports.values()]
        xs = [number + 0.2 * place - 0.3 for number in range(len(heights))]
        bars = ax.bar(xs, [height or 0 for height in heights], 0.18, color=color, label=kind)
        ax.bar_label(bars, ["none" if height is None else f"{height:.0f}" for height in heights], fontsize=SMALL)
    ax.set_xticks(range(len(reports)), list(reports), fontsize=TEXT)
    plain(ax, "", "signs, %")
    ax.tick_params(axis="x", labelsize=SMALL)
    ax.set_ylim(0, 112)
    figure.legend(loc="outside lower center", ncols=4, fontsize=SMALL, frameon=False)
    return figure


def standing(report: Report) -> list[float | None]:
    """The bars of one net, in percent; None where nothing is proven."""
    clean, _, worst, robust, proven = figures(report)
    rates = (clean, None if worst is None else Rate.of(worst.n - worst.count, worst.n), robust, proven)
    return [None if rate is None else rate.value for rate in rates]


if __name__ == "__main__":
    main()
