"""Adversarial logit pairing: what it gains under its own short attack, and what a long one leaves of it.

    python -m reproduce.adversarial_logit_pairing --data lisa-crops --root DIR [--pairing W ...] [--json FILE]
    python -m reproduce.adversarial_logit_pairing         # rendered signs, no data needed

LISA-CNN trained naturally, with PGD on mixed minibatches (half clean, half adversarial), and with the same plus
pairing of logits at several weights; all from one start, for the same epochs, in the ball of the paper (linf 16/255).
The attack inside the training is the paper's: 10 steps of 2/255 towards the least likely class. Then, on held-out
tracks:

- "own attack": the one of the training, the target's class the least likely;
- "untargeted" and "random target": PGD with cross-entropy in steps of 1/255, 1 to 1000 of them;
- "worst": what stands after both, and after ``--restarts`` more starts of the longest with the margin loss.

An image that a shorter attack has broken counts as broken under the longer ones, which go on from the same start. The
curves go to ``--out``/curves.png.

Published, ImageNet at 64 x 64, 16/255: the authors' release has the baseline at 60.5 % clean and 1.8 % under 20 steps
of 1/255 towards the least likely class, ALP at 55.7 % and 27.5 %; Engstrom et al.'s code leaves ALP 0.1 %, with 98.6 %
of its targets reached. They stand beside the naturally trained net and the pairing weight of that checkpoint, 0.25.
Another task and net: what can be compared is what is gained under the own attack and lost under the long one.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from tqdm import tqdm

from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.engine.targets import Rule, choose_targets
from blurnet.balls import Ball
from blurnet.training.objectives.table import ObjectiveSpec
from reproduce._common.answers import answers, batched, correct, correct_under, logits
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.marks import marks, paired, rate
from reproduce._common.signs import Signs, load_signs, settings, training_parser
from reproduce._common.tables import markdown, shown, write_rows
from reproduce._common.training import trained

NATURAL, MIXED = "natural", "mixed PGD"

#: Percent, by net: clean, under the authors' own attack, under Engstrom et al.'s, and random targets reached by it.
PUBLISHED: dict[str, dict[str, float]] = {
    NATURAL: {"clean": 60.5, "own attack": 1.8},
    "ALP 0.25": {"clean": 55.7, "own attack": 27.5, "long": 0.1, "reached": 98.6},
}

#: How the long attack aims: its name, and the rule of its target.
AIMS: dict[str, Rule | None] = {"untargeted": None, "random target": "random"}


def net_names(pairing: Sequence[float]) -> dict[str, float | None]:
    """The nets by name with their pairing weights; None: not trained adversarially."""
    return {NATURAL: None, MIXED: 0.0, **{f"ALP {weight:g}": weight for weight in pairing}}


def net_of(signs: Signs, cells: Cells, weight: float | None, arguments: argparse.Namespace) -> nn.Module:
    """A net trained with this pairing weight."""
    if weight is None:
        return trained(cells, "natural", signs, arguments)
    attack = {"radius": arguments.radius / 255, "steps": arguments.train_steps, "step_size": 2 / 255}
    args = {"clean": 0.5, "pairing": weight, "target": "least-likely", **attack}
    return trained(cells, f"pairing-{weight:g}", signs, arguments, objective=ObjectiveSpec("pgd", args))


class Long:
    """Long attacks on one net, an attack a cell: each goes on with the images that the shorter ones left."""

    def __init__(self, signs: Signs, cells: Cells, name: str, net: nn.Module, arguments: argparse.Namespace) -> None:
        self.signs, self.cells, self.name, self.net, self.arguments = signs, cells, name, net, arguments
        self.ball = Ball("linf", arguments.radius / 255)

    def get(self, what: str, compute: Any) -> Any:
        """A cell of this net and these images."""
        return self.cells.get(f"{self.name} | {what} | {len(self.signs.attacked)} images", compute)

    def clean(self) -> str:
        """Marks of correct answers."""
        return self.get("clean", lambda: batched(self.signs.attacked, self.arguments.device, self._correct))

    def _correct(self, images: Tensor, labels: Tensor) -> Tensor:
        return correct(self.net, images, labels)

    def own(self) -> str:
        """Marks under the attack of the training."""
        steps, seed = self.arguments.train_steps, self.arguments.seed
        attack = PGD(self.ball, steps, 2 / 255, target="least-likely", seed=seed)
        look = lambda x, y: correct_under(self.net, attack, x, y)  # noqa: E731
        return self.get(f"own attack {steps}", lambda: batched(self.signs.attacked, self.arguments.device, look))

    def curve(self, aim: str) -> dict[int, dict[str, str]]:
        """Marks by number of steps: "right" under all attacks so far, "reached": the target, by any of them."""
        found = {"right": self.clean(), "reached": "0" * len(self.signs.attacked)}
        curve, done = {}, ""
        for steps in self.arguments.steps:
            done += f" {steps}"  # what a cell holds depends on the shorter attacks before it
            found = self.get(f"{aim}{done}", lambda steps=steps, found=found: self._longer(aim, steps, found))
            curve[steps] = found
        return curve

    def _longer(self, aim: str, steps: int, before: dict[str, str]) -> dict[str, str]:
        """The marks after one more attack on the images that can still fall."""
        rule, seed = AIMS[aim], self.arguments.seed
        attack = PGD(self.ball, steps, 1 / 255, target=rule, seed=seed)
        parts = []
        for _, images, labels, now in self._shards(before):
            standing = now["right"] if rule is None else ~now["reached"]
            chosen = standing.nonzero().squeeze(1)
            if len(chosen):
                x, y = images[chosen], labels[chosen]
                said = answers(self.net, attack(self.net, x, y))
                now["right"][chosen] &= said == y
                now["reached"][chosen] |= said == self._targets(rule, x, y)
            parts.append(now)
        return {key: "".join(marks(part[key]) for part in parts) for key in before}

    def _shards(self, found: dict[str, str]) -> Any:
        pool = self.signs.attacked
        for shard in range(pool.shards):
            places = pool.places(shard)
            images, labels = (part.to(self.arguments.device) for part in pool.read(places))
            now = {k: torch.tensor([text[i] == "1" for i in places], device=labels.device) for k, text in found.items()}
            yield places, images, labels, now

    def _targets(self, rule: Rule | None, images: Tensor, labels: Tensor) -> Tensor:
        """The class that each image was pulled to; -1, which nothing reaches, without a rule."""
        if rule is None:
            return torch.full_like(labels, -1)
        targets = choose_targets(rule, logits(self.net, images), labels, seed=self.arguments.seed, images=images)
        return targets if targets is not None else torch.full_like(labels, -1)

    def worst(self, standing: str) -> str:
        """Marks of the images that stand after more starts of the longest attack."""
        steps, restarts, seed = self.arguments.steps[-1], self.arguments.restarts, self.arguments.seed + 1
        if not restarts:
            return standing
        attack = PGD(self.ball, steps, 1 / 255, restarts=restarts, loss="margin", seed=seed)

        def attacked() -> str:
            parts = []
            for _, images, labels, now in self._shards({"right": standing}):
                chosen = now["right"].nonzero().squeeze(1)
                if len(chosen):
                    now["right"][chosen] = correct_under(self.net, attack, images[chosen], labels[chosen])
                parts.append(marks(now["right"]))
            return "".join(parts)

        every = " ".join(map(str, self.arguments.steps))
        return self.get(f"{restarts} restarts after {every}", attacked)


def measure(
    signs: Signs, cells: Cells, name: str, weight: float | None, arguments: argparse.Namespace
) -> dict[str, Any]:
    """All marks of one net."""
    net = net_of(signs, cells, weight, arguments)
    attacks = Long(signs, cells, name, net, arguments)
    held_out = cells.get(f"{name} | held out", lambda: batched(signs.held_out, arguments.device, attacks._correct))
    curves = {aim: attacks.curve(aim) for aim in AIMS}
    last = [curves[aim][arguments.steps[-1]]["right"] for aim in AIMS]
    standing = "".join("1" if set(each) == {"1"} else "0" for each in zip(*last, strict=True))
    return {"clean": held_out, "own attack": attacks.own(), "curves": curves, "worst": attacks.worst(standing)}


def row_of(signs: Signs, name: str, found: dict[str, Any], steps: int) -> dict[str, Any]:
    """Published beside measured, with n and intervals."""
    end = {aim: found["curves"][aim][steps] for aim in AIMS}
    measured = {
        "clean": signs.rate(found["clean"]),
        "own attack": signs.rate(found["own attack"]),
        "untargeted": signs.rate(end["untargeted"]["right"]),
        "random target": signs.rate(end["random target"]["right"]),
        "reached": signs.rate(end["random target"]["reached"]),
        "worst": signs.rate(found["worst"]),
    }
    curves = {
        aim: {str(s): {k: signs.rate(text) for k, text in at.items()} for s, at in curve.items()}
        for aim, curve in found["curves"].items()
    }
    return {"row": name, "published": PUBLISHED.get(name), "measured": measured, "curves": curves}


def verdict(done: dict[str, dict[str, Any]]) -> list[str]:
    """ALP's gain over mixed minibatches under its own attack and under the worst, a line a pairing weight."""
    said = []
    for name in done:
        if name in (NATURAL, MIXED):
            continue
        parts = []
        for column in ("own attack", "worst"):
            change = paired(done[name][column], done[MIXED][column])
            points = rate(done[name][column]).value - rate(done[MIXED][column]).value
            parts.append(
                f"{points:+.1f} points under the {column.replace('worst', 'worst attack')} "
                f"(+{change['gained']} -{change['lost']}, p {change['p']:.2f})"
            )
        lost = rate(done[name]["own attack"]).value - rate(done[name]["worst"]).value
        said.append(
            f"{name} against {MIXED}: {'; '.join(parts)}. From its own to the worst it loses {lost:.1f} points."
        )
    return said


def print_table(rows: list[dict[str, Any]], steps: int, own: int) -> None:
    """Published beside measured."""
    lines = []
    for row in rows:
        p, m = row["published"] or {}, row["measured"]
        given = " / ".join(f"{p[k]:.1f}" if k in p else "-" for k in ("clean", "own attack", "long", "reached"))
        columns = ("clean", "own attack", "untargeted", "random target", "reached", "worst")
        values = [shown(m[k], n=True) for k in columns]
        lines.append([row["row"], given, *values])
    header = ["training", "published (ImageNet): clean / own attack / long / targets reached", "clean"]
    header += [f"own attack, {own} steps", f"untargeted, {steps}", f"random target, {steps}", "targets reached"]
    print(markdown([*header, "worst"], lines))


def curves_figure(rows: list[dict[str, Any]], arguments: argparse.Namespace) -> Figure:
    """Accuracy over steps, a colour a net; bands are 95 % intervals of the untargeted attack."""
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axis = figure.subplots()
    for number, row in enumerate(rows):
        colour = f"C{number}"
        for aim, style in zip(AIMS, ("-", "--"), strict=True):
            points = [(int(s), at["right"]) for s, at in row["curves"][aim].items()]
            x, y = [s for s, _ in points], [r.value for _, r in points]
            axis.plot(x, y, style, color=colour, marker=".", label=f"{row['row']}, {aim}")
            if aim == "untargeted":
                low, high = [r.low for _, r in points], [r.high for _, r in points]
                axis.fill_between(x, low, high, color=colour, alpha=0.12, linewidth=0)
        own = row["measured"]["own attack"].value
        axis.plot([arguments.train_steps], [own], "o", color=colour, fillstyle="none", label="_own")
    axis.set_xscale("log")
    axis.set_xticks(arguments.steps, [str(steps) for steps in arguments.steps])
    axis.set_xticks([], minor=True)
    axis.set_ylim(0, 100)
    axis.set_xlabel("steps of 1/255 (circles: the training's own attack)")
    axis.set_ylabel(f"accuracy, %, linf {arguments.radius:g}/255")
    axis.legend(fontsize=7)
    return figure


def parse() -> argparse.Namespace:
    """The command line."""
    parser = training_parser(__doc__, "runs/adversarial_logit_pairing", epochs=7, limit=128, radius=16)
    parser.add_argument("--pairing", type=float, nargs="+", default=[0.25, 0.5], help="weights (default: 0.25 0.5)")
    parser.add_argument("--train-steps", type=int, default=10, help="of the training's attack (default: 10)")
    lengths = [1, 3, 10, 30, 100, 300, 1000]
    parser.add_argument("--steps", type=int, nargs="+", default=lengths, help="of the long attacks (1 3 10 ... 1000)")
    parser.add_argument("--restarts", type=int, default=3, help="more starts of the longest (default: 3)")
    arguments = parser.parse_args()
    arguments.steps = sorted(set(arguments.steps))
    if arguments.steps[0] < 1 or arguments.restarts < 0 or min(arguments.pairing) <= 0:
        parser.error("expected steps from 1, restarts from 0 and pairing weights above 0")
    return arguments


def main() -> None:
    """Print the table and what it says, draw the curves; write the rows where asked."""
    arguments = parse()
    signs = load_signs(arguments)
    decided = settings(signs, arguments, "train_steps")
    cells = Cells(arguments.out, "adversarial_logit_pairing", decided)
    nets = net_names(arguments.pairing)
    done = {name: measure(signs, cells, name, weight, arguments) for name, weight in tqdm(nets.items(), unit="net")}
    rows = [row_of(signs, name, found, arguments.steps[-1]) for name, found in done.items()]
    print_table(rows, arguments.steps[-1], arguments.train_steps)
    said = verdict(done)
    print("", *said, sep="\n")
    picture: Path = arguments.out / "curves.png"
    curves_figure(rows, arguments).savefig(picture, dpi=150)
    print(f"\nwritten: {picture}")
    write_rows(arguments.json, rows, verdict=said, settings=decided, command=command("adversarial_logit_pairing"))


if __name__ == "__main__":
    main()
