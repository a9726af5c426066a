"""Certified masking on traffic signs: what is proven, and what the strongest attacks leave of the same images.

    python -m reproduce.certified_masking --root DIR [--model NAME] [--limit N] [--budget NAME] [--json FILE]

A shipped net behind double masking, on held-out LISA crops of all classes (whole tracks, on which nobody trained or
chose) and on the 40 stop signs of RP2's authors. One table line for each set of images and threat:

- plain: right without the defense; defended: right behind it;
- certified: right whatever the patch shows, wherever it lies: the lower edge;
- AutoPatch: what it leaves of the same images when it attacks the defense itself, through its masks: the upper edge. It
  runs on images that are not certified, and on ``--proven`` of those that are, where it must fail;
- transfer: what it leaves when it attacks the plain net and its images are shown to the defense.

RP2's four stickers are another threat than one patch: they have masks of their own, and AutoPatch paints the stickers.
An interrupted run goes on where it was: finished batches stay in ``--out``.
"""

import argparse
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from blurnet.attacks.autopatch import BUDGETS, AutoPatch
from blurnet.attacks.base import Attack
from blurnet.certified.base import CertifiedModel
from blurnet.certified.double_masking import DoubleMasking
from blurnet.certified.mask_set import MaskSet
from blurnet.data.module import LisaCropsData
from blurnet.data.sources.victims import load_victims
from blurnet.evaluation.images import Pool
from blurnet.masks import rp2_stickers
from blurnet.zoo.models import load_model
from reproduce._common.answers import correct
from reproduce._common.arguments import (
    add_json,
    add_machine,
    add_out,
    command,
    crops_folder,
    new_parser,
    set_threads,
    victims_folder,
)
from reproduce._common.cells import Cells
from reproduce._common.marks import marks, rate
from reproduce._common.tables import markdown, shown, write_rows

MODEL = "resnet_32-masked"

#: Images of one cell: what is lost when a run is interrupted.
BATCH = 8

#: Not attacked, in marks.
SKIPPED = "-"


@dataclass(frozen=True, eq=False)
class Subject:
    """One line of the table: images, a certified model that knows the threat, and AutoPatch with the same threat."""

    name: str
    images: Tensor
    labels: Tensor
    groups: Sequence[str] | None
    model: CertifiedModel
    attack: Attack | None  #: None: only certified

    @property
    def plain(self) -> nn.Module:
        """The net without the defense."""
        return self.model.model  # type: ignore[return-value]

    def proofs(self, cells: Cells) -> dict[str, Any]:
        """Marks of all images: "plain" and "defended" right, "certified"; and the median of "views" an image."""

        def look() -> dict[str, Any]:
            found = self.model.certify(self.images, self.labels)
            return {
                "plain": marks(correct(self.plain, self.images, self.labels)),
                "defended": marks(found.prediction == self.labels),
                "certified": marks(found.certified),
                "views": int(found.passes.median()),
            }

        result: dict[str, Any] = cells.get(f"{self.name} | proofs", look)
        return result

    def under(self, cells: Cells, proven: int, bar: tqdm) -> dict[str, str]:  # type: ignore[type-arg]
        """Marks of all images: right under "AutoPatch" and under "transfer"; "-" where an image was not attacked.

        Certified images are attacked up to ``proven``, evenly spaced; of the rest those that are answered correctly.
        """
        proofs = self.proofs(cells)
        certified = [place for place, mark in enumerate(proofs["certified"]) if mark == "1"]
        every = max(1, len(certified) // proven) if proven else len(certified) + 1
        chosen = set(certified[::every][:proven] if proven else [])
        chosen |= {place for place, mark in enumerate(proofs["certified"]) if mark == "0"}
        places = sorted(place for place in chosen if proofs["defended"][place] == "1")
        found = {name: [SKIPPED] * len(self.labels) for name in ("AutoPatch", "transfer")}
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            done = cells.get(f"{self.name} | {self.attack!r} | {part}", lambda part=part: self._attacked(part))
            for name, text in done.items():
                for place, mark in zip(part, text, strict=True):
                    found[name][place] = mark
            bar.update(len(part))
        return {name: "".join(text) for name, text in found.items()}

    def _attacked(self, places: list[int]) -> dict[str, str]:
        if self.attack is None:
            raise ValueError(f"{self.name}: only certified")
        images, labels = self.images[places], self.labels[places]
        adaptive = self.attack(self.model, images, labels)
        transfer = self.attack(self.plain, images, labels)
        return {
            "AutoPatch": marks(correct(self.model, adaptive, labels)),
            "transfer": marks(correct(self.model, transfer, labels)),
        }


def subjects(options: argparse.Namespace) -> list[Subject]:
    """The lines of the table."""
    model = load_model(options.model, options.device)
    if not isinstance(model, DoubleMasking):
        raise ValueError(f"--model: expected a net behind double masking, got {options.model}, {type(model).__name__}")
    plain, masks = model.model, model.settings.masks
    area = model.settings.area
    data = LisaCropsData(crops_folder(options.root))
    data.setup("test")
    patch = None if area is None else AutoPatch(area, budget=options.budget, seed=options.seed)
    made = [
        _crops(f"{len(pool)} held-out crops, {model.threat((32, 32))}", pool, model, attack, options.device)
        for pool, attack in (
            (Pool(data.split("test"), data.classes, "crops"), None),
            (Pool(data.split("test"), data.classes, "crops", limit=options.limit), patch),
        )
    ]
    victims = load_victims(f"rp2:{victims_folder(options.root)}").numbered_as(data.classes)
    images, labels = victims.images.to(options.device), victims.labels.to(options.device)
    made.append(Subject(f"stop signs, {model.threat((32, 32))}", images, labels, None, model, patch))
    painted = AutoPatch(mask=rp2_stickers(32), budget=options.budget, seed=options.seed)
    for reach in options.reach:
        stickers = MaskSet.rp2(32, masks, reach=reach)
        behind = DoubleMasking(plain, mask_set=stickers, fill=model.settings.fill).eval()
        made.append(Subject(f"stop signs, {stickers.threat}", images, labels, None, behind, painted))
    return made


def _crops(name: str, pool: Pool, model: CertifiedModel, attack: Attack | None, device: str) -> Subject:
    images, labels = pool.read(range(len(pool)))
    return Subject(name, images.to(device), labels.to(device), pool.groups, model, attack)


def row(subject: Subject, cells: Cells, proven: int, bar: tqdm) -> dict[str, Any]:  # type: ignore[type-arg]
    """One line, as written to JSON."""
    proofs = subject.proofs(cells)
    measured: dict[str, Any] = {name: rate(proofs[name], subject.groups) for name in ("plain", "defended", "certified")}
    found: dict[str, Any] = {"row": subject.name, "measured": measured, "views": proofs["views"]}
    if subject.attack is None:
        return found
    under = subject.under(cells, proven, bar)
    for name, text in under.items():
        # What was not attacked stands where it is certified, and else was wrong from the start.
        whole = [proof if mark == SKIPPED else mark for mark, proof in zip(text, proofs["certified"], strict=True)]
        measured[name] = rate("".join(whole), subject.groups)
    open_ = [mark for mark, proof in zip(under["AutoPatch"], proofs["certified"], strict=True) if proof == "0"]
    sure = [mark for mark, proof in zip(under["AutoPatch"], proofs["certified"], strict=True) if proof == "1"]
    found["attacked"] = {
        "not certified": len(open_) - open_.count(SKIPPED),
        "of these broken": open_.count("0"),
        "of these broken by transfer": sum(
            mark == "0" for mark, proof in zip(under["transfer"], proofs["certified"], strict=True) if proof == "0"
        ),
        "certified": len(sure) - sure.count(SKIPPED),
        "of those broken": sure.count("0"),
    }
    return found


def verdict(rows: list[dict[str, Any]]) -> list[str]:
    """What was attacked, a sentence a line of the table."""
    return [
        f"{found['row']}: of {counts['not certified']} images answered correctly but not certified AutoPatch breaks "
        f"{counts['of these broken']}, by transfer {counts['of these broken by transfer']}; of {counts['certified']} "
        f"certified ones {counts['of those broken']}."
        for found in rows
        if (counts := found.get("attacked"))
    ]


COLUMNS = ("plain", "defended", "certified", "AutoPatch", "transfer")


def parse() -> argparse.Namespace:
    """The command line."""
    parser = new_parser(__doc__)
    parser.add_argument("--root", required=True, type=Path, help="folder that holds lisa-crops/ and rp2-lisa/")
    parser.add_argument("--model", default=MODEL, help=f"a shipped model behind double masking (default: {MODEL})")
    parser.add_argument("--limit", type=int, default=100, help="held-out crops under attack (default: 100)")
    parser.add_argument("--proven", type=int, default=16, help="certified images attacked nevertheless (default: 16)")
    parser.add_argument("--budget", choices=tuple(BUDGETS), default="standard", help="of AutoPatch (default: standard)")
    parser.add_argument(
        "--reach", type=int, nargs="*", default=[0, 2], help="pixels by which RP2's stickers may move (default: 0 2)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the attacks (default: 0)")
    add_machine(parser)
    add_out(parser, "runs/certified_masking", "finished batches")
    add_json(parser)
    return parser.parse_args()


def main() -> None:
    """Print the table and what it says; write the rows where asked."""
    options = parse()
    set_threads(options)
    listed = subjects(options)
    sha256 = listed[0].model.card.sha256  # type: ignore[union-attr]
    digest = hashlib.sha256(b"".join(one.images.cpu().numpy().tobytes() for one in listed)).hexdigest()[:16]
    decided = {"model": options.model, "sha256": sha256, "proven": options.proven, "fingerprint": digest}
    cells = Cells(options.out, "certified_masking", decided)
    with tqdm(desc="images attacked", unit="image") as bar:
        rows = [row(subject, cells, options.proven, bar) for subject in listed]
    body = [
        [found["row"], *(shown(found["measured"].get(name)) for name in COLUMNS), str(found["views"])] for found in rows
    ]
    print(markdown(["certified masking", *COLUMNS, "views"], body))
    said = verdict(rows)
    print("", *said, sep="\n")
    write_rows(options.json, rows, verdict=said, settings=decided, command=command("certified_masking"))


if __name__ == "__main__":
    main()
