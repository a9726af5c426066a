"""What is known about a model, as data: card.json."""

import dataclasses
import json
from dataclasses import dataclass, field
from typing import Any

from blurnet.rates import Rate
from blurnet.strict import from_dict, parse_json
from blurnet.zoo.describe import describe_defenses
from blurnet.zoo.spec import FORMAT, DefenseSpec, Fit, drop_format


@dataclass(frozen=True)
class RP2Figures:
    """Success of RP2 over its targets, an attack made on this very model.

    Args:
        average: share of victims whose label changed, in percent, mean over the targets.
        average_low, average_high: its 95 % interval, in percent.
        worst: the rate of the most successful target.
        worst_target: class name of that target.
        dissimilarity: mean of ||x - x_adv|| / ||x_adv|| in L2, mean over the targets.
        targets: number of targets. n: number of victims.
        victims: which victims and mask. settings: ``repr`` of the attack.
    """

    average: float
    average_low: float
    average_high: float
    worst: Rate
    worst_target: str
    dissimilarity: float
    targets: int
    n: int
    victims: str
    settings: str


@dataclass(frozen=True)
class ImageFigures:
    """Robust accuracy under one attack made on this very model, image by image.

    Args:
        attack: name of the attack: "autopatch", "pgd", ...
        robust: images that are answered rightly with and without attack.
        threat: what the attack may change.
        calls: how often the model saw an image under attack, median over those answered rightly.
        images: what was attacked. settings: ``repr`` of the attack.
    """

    attack: str
    robust: Rate
    threat: str
    calls: int
    images: str
    settings: str


@dataclass(frozen=True)
class Published:
    """The figures a paper prints for this row, in percent; None where it prints none."""

    source: str
    accuracy: float | None = None
    average: float | None = None
    worst: float | None = None
    dissimilarity: float | None = None


@dataclass(frozen=True)
class Card:
    """The card of a model.

    Args:
        title: one line for people.
        dataset: key that ``list_models`` filters by: "lisa", "synthetic", "gtsrb", ...
        defense: key that ``list_models`` filters by: "none", "total_variation", ...
        data: what it was trained on, and the split. seed: of the training run.
        command: repeats the training. lineage: "from scratch", or whose weights it was fine-tuned from.
        license: SPDX name, or a sentence.
        clean: accuracy on ``clean_set``. rp2: robustness; None where not measured.
        per_image: robust accuracy under attacks on single images, one entry an attack.
        held_out: the same on held-out images of all classes, which say more about the model than victims of one.
        flags: names of the sanity checks that failed; None where they were not run.
        evaluate_command: repeats the measurements. training_seconds: wall clock of the training.
        objective: what the training minimised, with its settings: "pgd(radius=0.0313725, steps=7)".
        published: figures to compare with. notes: what a user should know.
        defenses, name, net, classes, parameters, sha256, image_size (H, W), fit: filled in by ``save_model`` from what
            it writes. Cards of earlier versions state no defenses, size or fit;
            ``load_model`` takes them from the spec.
    """

    title: str
    dataset: str
    defense: str
    data: str
    seed: int
    command: str
    lineage: str = "from scratch"
    license: str = "Apache-2.0"
    clean: Rate | None = None
    clean_set: str = ""
    rp2: RP2Figures | None = None
    per_image: list[ImageFigures] = field(default_factory=list)
    held_out: list[ImageFigures] = field(default_factory=list)
    flags: list[str] | None = None
    evaluate_command: str = ""
    training_seconds: float | None = None
    objective: str = "natural"
    defenses: list[DefenseSpec] | None = None
    published: Published | None = None
    notes: list[str] = field(default_factory=list)
    name: str = ""
    net: str = ""
    classes: int = 0
    parameters: int = 0
    sha256: str = ""
    image_size: tuple[int, int] | None = None
    fit: Fit | None = None

    def to_json(self) -> str:
        """The text of card.json."""
        return json.dumps({"format": FORMAT, **dataclasses.asdict(self)}, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Inverse of :meth:`to_json`. ValueError or TypeError on unknown or missing keys and wrong types."""
        return from_dict(cls, drop_format(parse_json(text, "card"), "card"), "card")

    def under(self, attack: str) -> ImageFigures | None:
        """The figures under an attack on single images, by its name; None where it was not run."""
        return _of(attack, self.per_image)

    def under_held_out(self, attack: str) -> ImageFigures | None:
        """As :meth:`under`, on held-out images of all classes."""
        return _of(attack, self.held_out)

    def with_report(self, report: dict[str, Any]) -> "Card":
        """The card with the figures of an evaluation report (report.json) of this model.

        Of several targeted RP2 attacks the one with the highest average counts; figures that the report lacks stay.

        Raises:
            ValueError: the report is about other weights, or about the model behind further defenses.
        """
        self._check_about(report)
        changes: dict[str, Any] = {"evaluate_command": report["command"]}
        if report["clean"]:
            changes["clean"] = from_dict(Rate, report["clean"]["accuracy"], "report: clean accuracy")
            changes["clean_set"] = report["data"]["name"]
        targeted = [a for a in report["attacks"] if a["repr"].startswith("RP2(") and None not in a["targets"]]
        if targeted:
            strongest = max(targeted, key=lambda attack: float(attack["average"]["asr"]))
            changes["rp2"] = _rp2_figures(strongest, report["victims"])
        if part := report.get("per_image"):
            changes["per_image"] = _all_image_figures(part)
        if report.get("sanity") is not None:
            changes["flags"] = sorted({flag["name"] for flag in report["flags"]})
        return dataclasses.replace(self, **changes)

    def with_held_out(self, report: dict[str, Any]) -> "Card":
        """The card with the figures of a report whose attacks ran on held-out images (``--on data``).

        Raises:
            ValueError: as :meth:`with_report`, or no attack ran image by image.
        """
        self._check_about(report)
        if not report.get("per_image"):
            raise ValueError("the report has no attacks image by image")
        return dataclasses.replace(self, held_out=_all_image_figures(report["per_image"]))

    def _check_about(self, report: dict[str, Any]) -> None:
        if report["model"]["sha256"] != self.sha256:
            raise ValueError(f"the report is about weights {report['model']['sha256']}, the card {self.sha256}")
        if added := (report.get("defenses") or {}).get("added"):
            front = describe_defenses([from_dict(DefenseSpec, part, "report: defenses") for part in added])
            raise ValueError(f"the report is about the model behind {front}; the card, about the model as it is")


def _of(attack: str, figures: list[ImageFigures]) -> ImageFigures | None:
    return next((found for found in figures if found.attack == attack), None)


def _all_image_figures(part: dict[str, Any]) -> list[ImageFigures]:
    images = f"{part['on']['n']} images of {part['on']['name']}"
    return [_image_figures(attack, images) for attack in part["attacks"]]


def _image_figures(attack: dict[str, Any], images: str) -> ImageFigures:
    return ImageFigures(
        attack=attack["name"],
        robust=from_dict(Rate, attack["robust"], f"report: robust accuracy under {attack['name']}"),
        threat=attack["threat"],
        calls=attack["calls"]["median"],
        images=images,
        settings=attack["repr"],
    )


def _rp2_figures(attack: dict[str, Any], victims: dict[str, Any]) -> RP2Figures:
    average, worst = attack["average"], attack["worst"]
    names = {row["target"]: row["name"] for row in attack["per_target"]}
    return RP2Figures(
        average=average["asr"],
        average_low=average["low"],
        average_high=average["high"],
        worst=from_dict(Rate, worst["asr"], "report: worst"),
        worst_target=names[worst["target"]],
        dissimilarity=average["dissimilarity"],
        targets=len(attack["targets"]),
        n=victims["n"],
        victims=f"{victims['n']} victims of {victims['name']}, mask {victims['mask']}",
        settings=attack["repr"],
    )
