"""Deep Protection attacked by someone who knows it; the poster has no such attack.

    python -m reproduce.deep_protection_adaptive --data-root DIR [--limit N] [--image-size S] [--iterations N]

Photos that the plain net answers correctly, with the prior's last output in front of it. Within linf ``--radius``:

- "plain": PGD on the margin, made on the plain net and used on the defended one, all steps climbed;
- "low-frequency": the same on a coarse grid of changes (``--cells`` along a side), for an untrained net draws low
  frequencies first;
- "identity": PGD that draws forward and takes the gradient of the identity backward (BPDA), another draw at each step;
- "eot": the same on the mean logits of ``--samples`` draws a step;
- "unrolled": PGD with the gradient through the last ``--unroll`` steps of the prior's fit.

And with a square of 2 % of the image, at the place that AutoPatch's quick budget finds on the plain net:

- "patch": PatchPGD made on the plain net, all steps climbed;
- "patch, identity": that patch, driven on through the defense as in "identity";
- "AutoPatch": its quick budget, likewise through the defense, for photos that stand against both; hundreds of runs.

An attack looks at the photos that the defended net answers correctly without one; every picture is judged by a draw
that no attack has seen. An attack's step costs a whole run of the prior: by default 500 iterations, ten steps, two
samples and 8 photos, of which about 5 are answered correctly at 128 pixels; two CPU cores take about half an hour, and
as long again for each photo that is left to AutoPatch. Finished parts stay in ``--out``, with the pictures.
"""

import argparse
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from blurnet.attacks.autopatch import AutoPatch
from blurnet.attacks.ball.pgd import PGD
from blurnet.attacks.base import Attack
from blurnet.attacks.patch.pgd import PatchPGD
from blurnet.attacks.wrappers.model import EOT
from blurnet.balls import Ball
from blurnet.masks import box_masks
from blurnet.transforms.base import adaptive, defend, identity_bpda
from blurnet.transforms.deep_image_prior.deep_image_prior import DeepImagePrior
from reproduce._common.answers import correct
from reproduce._common.arguments import command
from reproduce._common.cells import Cells
from reproduce._common.coarse import Coarse
from reproduce._common.marks import marks, rate, rate_among
from reproduce._common.photos import Setup, load_setup, settings, setup_parser
from reproduce._common.prior import prior_arguments
from reproduce._common.tables import markdown, shown, write_rows

AREA = 0.02

#: Photos and the prior's iterations by default.
LIMIT, ITERATIONS = 8, 500

#: Steps of attacks on the plain net, which cost next to nothing here.
PLAIN_STEPS = 100

NONE = "no attack"

#: The attacks by threat, in their order; a patch that is driven on needs those before.
THREATS: dict[str, tuple[str, ...]] = {
    "linf": ("plain", "low-frequency", "identity", "eot", "unrolled"),
    "patch": ("patch", "patch, identity", "AutoPatch"),
}

Tensors = dict[str, Tensor]


class Subject:
    """The plain net, the same behind the prior, and the attacks on them; finished parts are kept.

    Args:
        setup: photos and the plain net.
        cells: where parts are kept.
        options: of the command line.
    """

    def __init__(self, setup: Setup, cells: Cells, options: argparse.Namespace) -> None:
        self.setup, self.cells, self.options, self.plain = setup, cells, options, setup.net
        self.prior = DeepImagePrior(options.iterations, net=options.net, seed=options.seed)
        self.defended = defend(self.plain, self.prior).eval()

    def photos(self, number: int) -> tuple[Tensor, Tensor, dict[str, str]]:
        """Of one batch the attacked photos, their labels, and marks of all photos: "plain" right, "defended" right."""
        images, labels = self.setup.batch(number)

        def look() -> dict[str, str]:
            plain = correct(self.plain, images, labels)
            both = plain.clone()
            if bool(plain.any()):
                both[plain] = self.judged(images[plain], labels[plain])
            return {"plain": marks(plain), "defended": marks(both)}

        found = self.cells.get(f"{NONE} | {number}", look)
        kept = torch.tensor([mark == "1" for mark in found["defended"]], device=labels.device)
        return images[kept], labels[kept], found

    def judged(self, images: Tensor, labels: Tensor) -> Tensor:
        """Where the defended net answers correctly, (n,) bool, in a draw that no attack has seen."""
        self.prior.reset(self.options.seed)
        return correct(self.defended, images, labels)

    def under(self, name: str, number: int) -> dict[str, str]:
        """Marks of the attacked photos of one batch: "plain" and "defended" right, under an attack by its name."""
        images, labels, _ = self.photos(number)
        if not len(images):
            return {"plain": "", "defended": ""}

        def look() -> dict[str, str]:
            made = self.made(name, number, images, labels)["images"].to(images)
            plain, defended = correct(self.plain, made, labels), self.judged(made, labels)
            return {"plain": marks(plain), "defended": marks(defended)}

        return self.cells.get(f"{name} | {number}", look)

    def made(self, name: str, number: int, images: Tensor, labels: Tensor) -> Tensors:
        """The adversarial "images", and of a patch its "box"."""

        def make() -> Tensors:
            self.prior.reset(self.options.seed + 1)  # other draws than the judge's
            if name in THREATS["patch"]:
                return self._patch(name, number, images, labels)
            net, attack = self._within(name)
            return {"images": attack(net, images, labels)}

        return self.cells.tensors(f"{name.replace(', ', '-')}-{number}", make)

    def _within(self, name: str) -> tuple[nn.Module, Attack]:
        """The net that an attack in the ball is made on, and the attack."""
        o = self.options
        ball = Ball("linf", o.radius / 255)
        if name == "low-frequency":
            return self.plain, Coarse(ball.radius, o.cells, PLAIN_STEPS)
        steps = PLAIN_STEPS if name == "plain" else o.steps
        climb = PGD(ball, steps, loss="margin", stop=False, seed=o.seed)
        if name == "plain":
            return self.plain, climb
        if name == "unrolled":
            prior = DeepImagePrior(o.iterations, net=o.net, unroll=o.unroll, seed=o.seed + 1)
            return adaptive(defend(self.plain, prior).eval()), climb
        return identity_bpda(self.defended), EOT(climb, o.samples) if name == "eot" else climb

    def _patch(self, name: str, number: int, images: Tensor, labels: Tensor) -> Tensors:
        """A patch made on the plain net at AutoPatch's place, that one driven on through the defense, or AutoPatch."""
        size, seed = (images.shape[-2], images.shape[-1]), self.options.seed
        if name == "patch":
            record = AutoPatch(AREA, budget="quick", seed=seed).record(self.plain, images, labels)
            attack = PatchPGD(box_masks(size, record.box), steps=PLAIN_STEPS, stop=False, seed=seed)
            return {"images": attack(self.plain, images, labels), "box": record.box}
        before = self.made("patch", number, images, labels)
        start, box = before["images"].to(images), before["box"].to(labels.device)
        if name == "AutoPatch":
            return {"images": self._autopatch(number, images, labels)}
        # The clean pixels under the patch are of no use to it: it starts from the patch that is there.
        attack = PatchPGD(box_masks(size, box), steps=self.options.steps, start="image", stop=False, seed=seed)
        return {"images": attack(identity_bpda(self.defended), start, labels), "box": box}

    def _autopatch(self, number: int, images: Tensor, labels: Tensor) -> Tensor:
        """The patches before, and where both left a photo standing AutoPatch's."""
        made, stands = images.clone(), torch.ones(len(labels), dtype=torch.bool, device=labels.device)
        for name in THREATS["patch"][:-1]:
            made[stands] = self.made(name, number, images, labels)["images"].to(images)[stands]
            right = [mark == "1" for mark in self.under(name, number)["defended"]]
            stands &= torch.tensor(right, device=labels.device)
        if bool(stands.any()):
            self.prior.reset(self.options.seed + 1)  # judging may have drawn
            attack = AutoPatch(AREA, budget="quick", seed=self.options.seed)
            made[stands] = attack(identity_bpda(self.defended), images[stands], labels[stands])
        return made


def table(subject: Subject) -> list[dict[str, Any]]:
    """A row for no attack, each attack and the worst of each threat."""
    shards, pool = range(subject.setup.pool.shards), len(subject.setup.pool)
    names = [name for listed in THREATS.values() for name in listed]
    done: dict[str, dict[str, str]] = {name: {"plain": "", "defended": ""} for name in (NONE, *names)}
    with tqdm(total=(1 + len(names)) * pool, desc="attacks", unit="photo") as bar:
        for number in shards:
            for name in (NONE, *names):
                found = subject.photos(number)[2] if name == NONE else subject.under(name, number)
                done[name] = {key: text + found[key] for key, text in done[name].items()}
                bar.update(len(subject.setup.pool.places(number)))
    rows = [_clean_row(done[NONE])]
    for threat, listed in THREATS.items():
        rows += [_row(name, threat, done[name]["plain"], done[name]["defended"]) for name in listed]
        worst = {key: _worst([done[name][key] for name in listed]) for key in ("plain", "defended")}
        rows.append(_row(f"worst, {threat}", threat, worst["plain"], worst["defended"]))
    return rows


def _clean_row(found: dict[str, str]) -> dict[str, Any]:
    """Of all photos: the plain net's answers; of those that it answers correctly, the defended one's."""
    among = rate_among(found["defended"], found["plain"])
    return {"row": NONE, "threat": "", "measured": {"plain": rate(found["plain"]), "defended": among}}


def _row(name: str, threat: str, plain: str, defended: str) -> dict[str, Any]:
    measured = {key: rate(text) if text else None for key, text in (("plain", plain), ("defended", defended))}
    return {"row": name, "threat": threat, "measured": measured}


def _worst(texts: list[str]) -> str:
    return "".join("1" if set(each) == {"1"} else "0" for each in zip(*texts, strict=True))


def verdict(rows: list[dict[str, Any]]) -> list[str]:
    """What stands, a line a threat."""
    worst = [(row["threat"], row["measured"]["defended"]) for row in rows if row["row"].startswith("worst")]
    return [
        f"Of {found.n} photos that the defended net answers correctly, {found.count} stand against {threat} attacks "
        "that know the prior."
        for threat, found in worst
        if found is not None
    ]


def parse() -> argparse.Namespace:
    """The command line."""
    parser = setup_parser(__doc__, limit=LIMIT, batch=4, image_size=128, out="runs/deep_protection_adaptive")
    prior_arguments(parser, ITERATIONS)
    parser.add_argument("--radius", type=float, default=8.0, help="linf, in 1/255 (default: 8)")
    parser.add_argument("--steps", type=int, default=10, help="of attacks through the prior (default: 10)")
    parser.add_argument("--samples", type=int, default=2, help="draws a step of eot (default: 2)")
    parser.add_argument("--unroll", type=int, default=5, help="steps of the fit in the unrolled gradient (default: 5)")
    parser.add_argument("--cells", type=int, default=8, help="of the coarse grid along a side (default: 8)")
    return parser.parse_args()


def main() -> None:
    """Print the table and what it says; write the rows where asked."""
    arguments = parse()
    setup = load_setup(arguments)
    decided = settings(setup, arguments, "net", "iterations", "radius", "steps", "samples", "unroll", "cells")
    rows = table(Subject(setup, Cells(arguments.out, "adaptive", decided), arguments))
    said = verdict(rows)
    shown_rows = [[r["row"], *(shown(r["measured"][k], n=True) for k in ("plain", "defended"))] for r in rows]
    print(markdown(["Deep Protection, adaptive", "plain net right", "defended net right"], shown_rows))
    print("", *said, sep="\n")
    write_rows(arguments.json, rows, verdict=said, settings=decided, command=command("deep_protection_adaptive"))


if __name__ == "__main__":
    main()
