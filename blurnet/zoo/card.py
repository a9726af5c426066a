"""What is known about a model, as data: card.json."""

import json
from dataclasses import dataclass, field, replace

from blurnet.rates import Rate
from blurnet.strict import JSON, from_dict, parse_json, plain
from blurnet.zoo.spec import DefenseSpec, Fit

FORMAT = 2


@dataclass(frozen=True)
class RP2Figures:
    """Success of RP2 over its targets, an attack made on this very model.

    Args:
        average: victims whose label changed, over all targets.
        worst: the rate of the most successful target.
        worst_target: class name of that target.
        dissimilarity: mean of ||x - x_adv|| / ||x_adv|| in L2, mean over the targets.
        targets: number of targets. n: number of victims.
        victims: which victims and mask. settings: ``repr`` of the attack.
    """

    average: Rate
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
        robust: images that are answered correctly with and without attack.
        threat: what the attack may change.
        calls: how often the model saw an image under attack, median over those answered correctly.
        images: what was attacked. settings: ``repr`` of the attack.
    """

    attack: str
    robust: Rate
    threat: str
    calls: int
    images: str
    settings: str


@dataclass(frozen=True)
class CertifiedFigures:
    """What is proven of single images: the lower edge of what attacks leave.

    Args:
        certified: images that are answered correctly whatever a patch of the threat shows, wherever it lies.
        clean: images that the defended model answers correctly.
        threat: what the certificate holds against, in pixels and percent.
        calls: views of an image that the model was shown to certify it, median.
        images: what was certified.
    """

    certified: Rate
    clean: Rate
    threat: str
    calls: int
    images: str


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
        certified: what is proven of this very model, one entry for each set of images.
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
    certified: list[CertifiedFigures] = field(default_factory=list)
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
        return json.dumps({"format": FORMAT, **plain(self)}, indent=2, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Card":
        """Inverse of :meth:`to_json`; reads format 1 of earlier versions too.

        Raises:
            ValueError, TypeError: unknown or missing keys and wrong types.
        """
        data = parse_json(text, "card")
        found = data.get("format") if isinstance(data, dict) else data
        if type(found) is not int or found not in (1, FORMAT):
            raise ValueError(f'card: expected an object with "format": 1 or {FORMAT}, got {found!r}')
        fields = {key: value for key, value in data.items() if key != "format"}
        return from_dict(cls, _from_format_1(fields) if found == 1 else fields, "card")._by_victims()

    def _by_victims(self) -> "Card":
        """Cards of earlier versions: the interval of RP2's average took each victim for one trial per target."""
        if self.rp2 is None or self.rp2.average.groups is not None or self.rp2.average.n == self.rp2.n:
            return self
        average = Rate.pooled(self.rp2.average.count, self.rp2.average.n, self.rp2.n)
        return replace(self, rp2=replace(self.rp2, average=average))

    def under(self, attack: str) -> ImageFigures | None:
        """The figures under an attack on single images, by its name; None where it was not run."""
        return _of(attack, self.per_image)

    def under_held_out(self, attack: str) -> ImageFigures | None:
        """As :meth:`under`, on held-out images of all classes."""
        return _of(attack, self.held_out)


def _of(attack: str, figures: list[ImageFigures]) -> ImageFigures | None:
    return next((found for found in figures if found.attack == attack), None)


def _from_format_1(data: dict[str, JSON]) -> dict[str, JSON]:
    """Cards of earlier versions: the average of RP2 was a value with its interval, without a count."""
    if not (rp2 := data.get("rp2")):
        return data
    value, low, high = (rp2[key] for key in ("average", "average_low", "average_high"))
    n = rp2["n"] * rp2["targets"]
    average = {"value": value, "n": n, "count": round(value * n / 100), "low": low, "high": high}
    kept = {key: rp2[key] for key in rp2 if key not in ("average_low", "average_high")}
    return data | {"rp2": kept | {"average": average}}
