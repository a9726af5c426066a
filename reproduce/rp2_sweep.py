"""How strong RP2 gets: one setting varied at a time, on nets that stand for the others.

    python -m reproduce.rp2_sweep --root DIR [--models NAME ...] [--json FILE]

The white-box tables are taken at the strongest setting found here. "rp2_authors" is the RP2 authors' net as released;
any shipped model or model folder goes too. Every figure is the share of (victim, target) pairs altered, in percent.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from blurnet.data.sources.victims import load_victims
from blurnet.rates import Rate
from blurnet.zoo.models import load_model
from reproduce._common.arguments import command, root_parser, victims_folder
from reproduce._common.rp2 import attack_victims, authors_net
from reproduce._common.tables import markdown, write_rows

AUTHORS = "rp2_authors"

#: RP2's settings: more steps, then one change each of the second row, then both ways to try harder.
SETTINGS: tuple[dict[str, Any], ...] = (
    {"steps": 60},
    {"steps": 150},
    {"steps": 150, "lam": 0.0},
    {"steps": 150, "lam": 0.02},
    {"steps": 150, "lr": 0.05},
    {"steps": 150, "loss": "margin"},
    {"steps": 150, "loss": "margin", "restarts": 3},
    {"steps": 600, "loss": "margin"},
)


def sweep_net(name: str, root: Path) -> nn.Module:
    """A net by name, in the memory format that is fastest on a CPU."""
    net = authors_net(root) if name == AUTHORS else load_model(name)
    return net.to(memory_format=torch.channels_last)


def main() -> None:
    """Run every setting on every model; print and write the table."""
    parser = root_parser(__doc__)
    parser.add_argument("--models", nargs="+", default=[AUTHORS, "lisa_cnn", "lisa_cnn-linf5"], help="nets to attack")
    parser.add_argument("--settings", type=int, nargs="+", default=range(len(SETTINGS)), help="rows to run, from 0")
    arguments = parser.parse_args()
    root = victims_folder(arguments.root)
    victims = load_victims(f"rp2:{root}")
    rows: list[dict[str, Any]] = []
    for setting in (SETTINGS[i] for i in arguments.settings):
        for name in arguments.models:
            found = attack_victims(sweep_net(name, root), victims, **setting)
            n = len(victims.labels) * len(found["altered"])
            rows.append(
                {
                    "row": ", ".join(f"{key} {value}" for key, value in setting.items()),
                    "model": name,
                    "published": None,
                    "measured": {
                        "asr": Rate.of(sum(found["altered"]), n).value,
                        "asr_last_step": Rate.of(sum(found["altered_last"]), n).value,
                        "worst": 100 * max(found["altered"]) / len(victims.labels),
                        "dissimilarity": round(found["dissimilarity"], 3),
                        "n": n,
                        "attack": found["attack"],
                        "seconds": found["seconds_attack"],
                    },
                }
            )
            print(rows[-1]["row"], name, rows[-1]["measured"], flush=True)
    print(_table(rows))
    write_rows(arguments.json, rows, command=command("rp2_sweep"))


def _table(rows: list[dict[str, Any]]) -> str:
    lines = []
    for row in rows:
        m = row["measured"]
        numbers = [f"{m[key]:.1f}" for key in ("asr", "asr_last_step", "worst")]
        lines.append([row["row"], row["model"], *numbers, f"{m['dissimilarity']:.3f}"])
    header = ["RP2 setting (else lr 0.2, lambda 0.002)", "model", "average altered, strongest step", "last step"]
    return markdown([*header, "worst target", "dissimilarity"], lines)


if __name__ == "__main__":
    main()
