"""CIIDefence: its five attacks, made on the plain net, and then attackers who know the defense.

    python -m reproduce.ciidefence --data-root DIR [--limit N] [--radius N] [--attacks NAME ...] [--json FILE]

FGSM, I-FGSM, DeepFool, PGD and Carlini & Wagner are made on the plain net and shown to both nets; "transfer" counts the
photos that stand against all five. The others attack the defended net itself, which finds its boxes anew at every step:

- BPDA: PGD with the authors' gradient, as if inpainting, denoising and fusion did nothing.
- exact: PGD with the gradient of the whole chain.
- steered: a patch that is also kept from being a maximum of the class activation maps (timm nets that end in a mean and
  a linear layer).
- AutoPatch: the worst of its stages, by both gradients, by random search and by transfer.
- hard label: a patch found from the answers alone.

The last column counts the photos that stand against all of them. The first line says whether the abstract's claim, that
the defense withstands attacks "including the BPDA", survives; its figures are not at hand. An interrupted run goes on
where it was: finished batches stay in ``--out``.
"""

import argparse
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import Attack
from blurnet.attacks.patch.hard_label import HardLabel
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.published import published_attack
from blurnet.attacks.wrappers.penalty import WithPenalty
from blurnet.balls import Ball
from blurnet.masks import Place
from blurnet.transforms.base import adaptive, identity_bpda
from reproduce._common.answers import correct
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.marks import marks, rate
from reproduce._common.photos import Setup, load_setup, settings, setup_parser
from reproduce._common.tables import markdown, shown, write_rows

#: Photos and steps of PGD by default: what two CPU cores finish in about half an hour.
LIMIT, STEPS = 48, 40

#: The paper's attacks: their column, their name here, and their steps if others than the library's.
MADE_ON_PLAIN: dict[str, tuple[str, int | None]] = {
    "FGSM": ("fgsm", None),
    "I-FGSM": ("bim", None),
    "DeepFool": ("deepfool", 20),
    "PGD": ("pgd-foolbox", None),
    "C&W": ("carlini-wagner", 20),
}

#: The attacks on the defended net itself.
ADAPTIVE = ("BPDA", "exact", "steered", "AutoPatch", "hard label")

#: As the evaluation's command line names it; "exact" is the gradient beside BPDA's identity.
DEFENSE = "class_inpainting:surrogate=exact"

#: Share of the image that a patch covers, 32 x 32 pixels at 224 x 224.
AREA = 0.02


class PatchEvidence:
    """How strong the activation maps of the likeliest classes are under a patch, beside their maxima; the attacker's
    penalty, so that no box comes to lie there.
    """

    def __init__(self, net: nn.Module, place: Place, classes: int = 5) -> None:
        self.normalize, self.net = net[0], net[1]  # type: ignore[index]
        self.place, self.classes = place, classes

    def __call__(self, pictures: Tensor) -> Tensor:
        """Pictures (N, 3, H, W) to (N,), in [0, 1]."""
        features = self.net.forward_features(self.normalize(pictures))
        head = self.net.get_classifier()
        likeliest = head(features.mean((-2, -1))).topk(self.classes).indices
        maps = (head.weight[likeliest] @ features.flatten(2)).relu()
        under = F.adaptive_max_pool2d(self.place.masks(pictures).to(maps), features.shape[-2:]).flatten(2)
        return ((maps * under).amax(2) / maps.amax(2).clamp(min=1e-6)).mean(1)


def attack_of(column: str, setup: Setup, net: nn.Module, options: argparse.Namespace) -> tuple[Attack, nn.Module]:
    """The attack of a column, and the model that it sees."""
    ball, place = Ball("linf", options.radius / 255), Place(AREA, "border", options.seed)
    if column in MADE_ON_PLAIN:
        name, steps = MADE_ON_PLAIN[column]
        return published_attack(name, radius=options.radius / 255, steps=steps, seed=options.seed), setup.net
    if column == "hard label":
        return HardLabel(AREA, steps=options.queries, seed=options.seed), net
    if column == "AutoPatch":
        both = {"source": setup.net, "views": (identity_bpda(net),)}
        return AutoPatch(AREA, budget=options.budget, seed=options.seed, **both), adaptive(net)  # type: ignore[arg-type]
    if column == "steered":
        patch = PatchPGD(place, steps=options.steps, seed=options.seed)
        return WithPenalty(patch, PatchEvidence(setup.net, place)), adaptive(net)
    seen = identity_bpda(net) if column == "BPDA" else adaptive(net)
    return PGD(ball, steps=options.steps, loss="margin", seed=options.seed), seen


def measured(setup: Setup, net: nn.Module, column: str, images: Tensor, labels: Tensor, options: Any) -> dict[str, str]:
    """Marks of the photos that each net still answers correctly, of those it answers without attack."""
    found = {"plain": correct(setup.net, images, labels), "defended": correct(net, images, labels)}
    if column == "clean":
        return {name: marks(flags) for name, flags in found.items()}
    attack, seen = attack_of(column, setup, net, options)
    judged = {"plain": setup.net, "defended": net} if column in MADE_ON_PLAIN else {"defended": net}
    tried = torch.stack([found[name] for name in judged]).any(0)
    if bool(tried.any()):
        adversarial = attack(seen, images[tried], labels[tried])
        for name, model in judged.items():
            found[name][tried] &= correct(model, adversarial, labels[tried])
    return {name: marks(found[name]) for name in judged}


def table(setup: Setup, cells: Cells, options: argparse.Namespace) -> dict[str, dict[str, str]]:
    """Marks by net and column, batch by batch; a finished batch is not attacked again."""
    net = setup.defended(DEFENSE)
    columns = ("clean", *options.attacks)
    found: dict[str, dict[str, str]] = {"plain": {}, "defended": {}}
    with tqdm(total=len(columns) * len(setup.pool), desc="attacks", unit="photo") as bar:
        for column in columns:
            for number in range(setup.pool.shards):
                bar.set_postfix_str(column)

                def look(column: str = column, number: int = number) -> dict[str, str]:
                    return measured(setup, net, column, *setup.batch(number), options)

                part = cells.get(f"{column} | {number}", look)
                for name, text in part.items():
                    found[name][column] = found[name].get(column, "") + text
                bar.update(len(part["defended"]))
    for texts in found.values():
        groups = {"transfer": MADE_ON_PLAIN, "worst of all": (*MADE_ON_PLAIN, *ADAPTIVE)}
        for name, group in groups.items():
            if tried := [texts[column] for column in group if column in texts]:
                texts[name] = _standing(tried)
    return found


def _standing(texts: list[str]) -> str:
    return "".join("1" if set(flags) == {"1"} else "0" for flags in zip(*texts, strict=True))


def verdict(found: dict[str, str]) -> str:
    """Whether "withstands BPDA" survives: more, or fewer, photos stand than half of those without attack."""
    clean, bpda, worst = (rate(found[column]) for column in ("clean", "BPDA", "worst of all"))
    answer = "is neither refuted nor confirmed"
    answer = "does not survive" if bpda.high < clean.value / 2 else answer
    answer = "survives" if bpda.low > clean.value / 2 else answer
    return (
        f'"withstands BPDA" {answer}: of {clean.n} photos the defended net answers {clean.percent} correctly, '
        f"{bpda.percent} [{bpda.low:.0f}, {bpda.high:.0f}] under BPDA with the identity, as the authors ran it, "
        f"{rate(found['exact']).percent} under the exact gradient, {worst.percent} under the worst of all attacks."
    )


def cost(found: dict[str, dict[str, str]]) -> str:
    """What the defense costs without attack, in points."""
    plain, defended = (rate(found[name]["clean"]) for name in ("plain", "defended"))
    return f"Without attack the defense costs {plain.value - defended.value:.1f} points of accuracy."


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=LIMIT, out="runs/ciidefence")
    parser.set_defaults(image_size=224)
    parser.add_argument("--radius", type=float, default=2, help="linf, in 255ths (default: 2, the least in use)")
    parser.add_argument("--steps", type=int, default=STEPS, help=f"of BPDA, exact and steered (default: {STEPS})")
    parser.add_argument("--queries", type=int, default=100, help="of the hard-label attack (default: 100)")
    parser.add_argument("--budget", choices=("quick", "standard"), default="quick", help="of AutoPatch")
    every = (*ADAPTIVE, *MADE_ON_PLAIN)
    help_ = "columns to run (default: all); none, to see what the defense costs on clean photos"
    parser.add_argument("--attacks", nargs="*", metavar="NAME", choices=every, default=every, help=help_)
    return parser.parse_args()


def main() -> None:
    """Print the verdict and the table; write them where asked."""
    arguments = parse()
    setup = load_setup(arguments)
    decided = settings(setup, arguments, "radius", "steps", "queries", "budget")
    decided["defense"] = repr(setup.defended(DEFENSE)[0])  # type: ignore[index]
    found = table(setup, Cells(arguments.out, "ciidefence", decided), arguments)
    said = verdict(found["defended"]) if {"BPDA", "exact"} <= set(arguments.attacks) else cost(found)
    columns = ("clean", *MADE_ON_PLAIN, "transfer", *ADAPTIVE, "worst of all")
    rows = [
        {"net": name, "accuracy": {column: rate(text) for column, text in texts.items()}}
        for name, texts in found.items()
    ]
    columns = tuple(column for column in columns if column in found["defended"])
    lines = [[name, *(shown(rate(texts[c])) if c in texts else "-" for c in columns)] for name, texts in found.items()]
    print(f"{said}\n")
    print(markdown([f"CIIDefence: accuracy, n={len(setup.pool)}", *columns], lines))
    write_rows(arguments.json, rows, verdict=said, settings=decided, command=command("ciidefence"))


if __name__ == "__main__":
    main()
