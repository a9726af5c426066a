"""The nets behind BlurNet's white-box table: every row, in two lineages, over several seeds.

    python -m reproduce.lineages --root DIR --out runs/lineages

Lineage "a" is fine-tuned from the RP2 authors' weights, the layer inserted or the penalty added; "b" is trained from
scratch. Each net is trained with ``train.py`` on the LISA crops, then attacked with RP2 on the 40 victims, all
targets side by side. A finished net leaves ``result.json`` and is not repeated; ``--part 1/2`` and ``--part 2/2``
share the work between two processes. ``reproduce.blurnet_table2`` reads the results.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from blurnet.cli import train_main
from blurnet.data.sources.rp2 import authors_weights
from blurnet.data.sources.victims import Victims, load_victims
from blurnet.files import write_atomic
from blurnet.zoo.models import load_model
from reproduce._common.arguments import add_out, new_parser
from reproduce._common.rp2 import ATTACKS, strongest
from reproduce._common.table2 import RESULTS

CONFIGS = Path(__file__).parent.parent / "configs" / "train"

#: Table 2 of BlurNet, in its order, then what its arXiv text and this project add.
TABLE = ("lisa_cnn", "lisa_cnn-linf3", "lisa_cnn-linf5", "lisa_cnn-linf7", "lisa_cnn-tv", "lisa_cnn-tv1e-5")
MORE = ("lisa_cnn-tikhonov-hf", "lisa_cnn-tikhonov-pinv", "lisa_cnn-gaussian")
FIXED = ("lisa_cnn-input3", "lisa_cnn-input5", "lisa_cnn-lowpass3", "lisa_cnn-lowpass5")
PLAIN = ("--model.net_args", "{}", "--model.label_smoothing", "0")  # neither is in the table's recipe
#: The table starts every filter from a box; the 7x7 config starts from the identity.
BOX = {
    "lisa_cnn-linf7": ("--model.defenses=[{name: learned_low_pass, after: relu1, args: {kernel_size: 7, linf: 0.1}}]",)
}
RECIPES = {"a": (6, 0.02), "b": (15, 0.02)}  # epochs and the highest learning rate of the one cycle


@dataclass(frozen=True)
class Job:
    """One net: a recipe, a lineage, a seed, and options of ``train.py`` that differ from the config."""

    row: str
    lineage: str
    seed: int
    options: tuple[str, ...] = ()
    name: str = ""

    @property
    def folder(self) -> str:
        """Where it lives below the output folder."""
        return f"{self.lineage}/{self.name or self.row}-seed{self.seed}"


def main() -> None:
    """Train and attack what is missing."""
    parser = new_parser(__doc__)
    parser.add_argument("--root", type=Path, required=True, help="folder that holds rp2-lisa/ and lisa-crops/")
    add_out(parser, "runs/lineages", "where the runs go")
    parser.add_argument("--rows", nargs="+", default=[*TABLE, *MORE, *FIXED], help="configs by name")
    parser.add_argument("--lineages", nargs="+", choices=["a", "b"], default=["a", "b"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--part", default="1/1", help="i/n: take every n-th net, starting from the i-th")
    parser.add_argument("--name", default="", help="name of the runs, where --set makes them another row")
    parser.add_argument(
        "--set", nargs="*", default=[], help="options of train.py for all rows, as --set=--model.lr=0.1"
    )
    arguments = parser.parse_args()
    jobs = [
        Job(row, lineage, seed, tuple(arguments.set), arguments.name)
        for lineage in arguments.lineages
        for row in arguments.rows
        for seed in arguments.seeds
    ]
    first, count = (int(text) for text in arguments.part.split("/"))
    victims = load_victims(f"rp2:{arguments.root / 'rp2-lisa'}")
    for job in jobs[first - 1 :: count]:
        folder = arguments.out / job.folder
        if not (folder / "result.json").exists():
            train(job, folder, arguments.root, arguments.out)
            result = asdict(job) | measure(folder / "model", victims)
            write_atomic(folder / "result.json", json.dumps(result, indent=1).encode())
        print(job.folder, summary(json.loads((folder / "result.json").read_text())), flush=True)
    collect(arguments.out)


def collect(out: Path) -> None:
    """Gather every finished net's result into ``results/lineages.json``, which travels with the project.

    Nets measured elsewhere keep their place; the same row, lineage and seed is replaced.
    """
    found = [json.loads(file.read_text()) for file in sorted(out.glob("*/*/result.json"))]
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    results = {(r["lineage"], r["name"] or r["row"], r["seed"]): r for r in [*before, *found]}
    RESULTS.parent.mkdir(exist_ok=True)
    write_atomic(RESULTS, json.dumps([results[key] for key in sorted(results)], indent=1) + "\n")


def train(job: Job, folder: Path, root: Path, out: Path) -> None:
    """Run ``train.py`` for one net; goes on where it was killed."""
    if (folder / "model" / "card.json").exists():
        return
    epochs, lr = RECIPES[job.lineage]
    start = ["--model.weights", str(start_weights(root, out))] if job.lineage == "a" else []
    train_main(
        ["fit", "--config", str(CONFIGS / f"{job.row}.yaml"), "--data.root", str(root / "lisa-crops")]
        + ["--out", str(folder), "--seed_everything", str(job.seed), "--resume"]
        + ["--trainer.max_epochs", str(epochs), "--model.lr", str(lr), "--trainer.enable_progress_bar", "false"]
        + ["--trainer.enable_model_summary", "false", *PLAIN, *start, *BOX.get(job.row, ()), *job.options]
    )


def start_weights(root: Path, out: Path) -> Path:
    """The authors' weights as a file that ``--model.weights`` takes."""
    from safetensors.torch import save

    file = out / "rp2_authors.safetensors"
    if not file.exists():
        out.mkdir(parents=True, exist_ok=True)
        write_atomic(file, save({k: v.contiguous() for k, v in authors_weights(root / "rp2-lisa").items()}))
    return file


def measure(model: Path, victims: Victims) -> dict[str, Any]:
    """Accuracy from the card, and RP2 against every target at its strongest setting."""
    net = load_model(model).to(memory_format=torch.channels_last)
    return {"accuracy": net.card.clean.value} | strongest(net, victims, ATTACKS)


def summary(result: dict[str, Any]) -> str:
    """One line for the log."""
    best, last = result["altered"], result["altered_last"]
    return (
        f"accuracy {result['accuracy']:.2f}, victims {result['victims']}/40, "
        f"altered {2.5 * sum(best) / len(best):.2f} average {2.5 * max(best):.1f} worst "
        f"(last step {2.5 * sum(last) / len(last):.2f}, {2.5 * max(last):.1f}), {result['dissimilarity']:.3f}"
    )


if __name__ == "__main__":
    main()
