"""The parts of a report, typed: what report.json holds, key by key."""

from dataclasses import dataclass

from blurnet.evaluation.threats import NEAREST
from blurnet.rates import Rate
from blurnet.strict import JSON
from blurnet.zoo.spec import DefenseSpec


@dataclass(frozen=True)
class ModelPart:
    """The evaluated model.

    Args:
        name: of a zoo model, a folder, or the class.
        sha256: of its weights, in hex. parameters: their number.
        spec: content of spec.json, of a zoo model.
        image_size: height and width in pixels that it was evaluated at.
        fit: how images came to this size; None where they had it.
    """

    name: str
    sha256: str
    parameters: int
    spec: dict[str, JSON] | None = None
    image_size: tuple[int, int] | None = None
    fit: str | None = None


@dataclass(frozen=True)
class DataPart:
    """The set of clean accuracy: ``n`` images, in ``groups`` tracks where it has any."""

    name: str
    n: int
    groups: int | None = None


@dataclass(frozen=True)
class VictimsPart:
    """The ``n`` victims that share one noise, and the mask it lies in."""

    name: str
    n: int
    mask: str


@dataclass(frozen=True)
class DefensesPart:
    """The model's ``own`` defenses, those ``added`` in front of it for this evaluation, and both in a sentence."""

    own: list[DefenseSpec]
    added: list[DefenseSpec]
    note: str


@dataclass(frozen=True)
class AdaptivePart:
    """Whether attacks saw the surrogate gradients of the model's transformations (their ``repr``), in a sentence."""

    used: bool
    transforms: list[str]
    note: str


@dataclass(frozen=True)
class ImagesOn:
    """The attacked images: ``n`` of the set's ``of``, (height, width) in pixels, in ``groups`` where it has any."""

    name: str
    n: int
    of: int
    size: tuple[int, int]
    groups: int | None = None


@dataclass(frozen=True)
class ThreatRate:
    """The worst case of each image over the attacks of one threat."""

    threat: str
    attacks: list[str]
    robust: Rate


@dataclass(frozen=True)
class Calls:
    """How often the model saw an image: median over those answered correctly, most, and total over all."""

    median: int
    most: int
    total: int


@dataclass(frozen=True)
class Distance:
    """Means over the broken images; None where none is broken. ``l0`` counts pixels."""

    linf: float | None
    l2: float | None
    l0: float | None


@dataclass(frozen=True)
class StageCount:
    """How many images a stage of an attack broke; the first is "wrong before any attack", the last those left."""

    name: str
    n: int


@dataclass(frozen=True)
class ImageAttack:
    """One attack on single images.

    Args:
        name: "autopatch". repr: its settings. seed: of its draws.
        threat: what it may change.
        robust: images answered correctly before and after.
        success: images broken, of those answered correctly before; None where there are none.
    """

    name: str
    repr: str
    seed: int | None
    threat: str
    robust: Rate
    success: Rate | None
    calls: Calls
    distance: Distance
    stages: list[StageCount]


@dataclass(frozen=True)
class Bracket:
    """Where the truth lies for one threat: at least what is proven, at most what attacks leave.

    Args:
        threat: what may be changed. attacks: those that were tried.
        certified: images that no such change can break. attacked: images that no attack broke.
    """

    threat: str
    attacks: list[str]
    certified: Rate
    attacked: Rate


@dataclass(frozen=True)
class CertifiedPart:
    """What is proven of single images.

    Args:
        threat: what the certificate holds against, in pixels and percent.
        certified: images answered correctly whatever such a patch shows.
        clean: images answered correctly by the defended model. plain: by the model without its defense.
        calls: how many views of an image the model was shown to certify it.
        brackets: one for each threat that was attacked and that the certificate covers.
        spared: certified images were not attacked by what the certificate covers.
    """

    on: ImagesOn
    threat: str
    certified: Rate
    clean: Rate
    plain: Rate
    calls: Calls
    brackets: list[Bracket]
    spared: bool = False


@dataclass(frozen=True)
class CurvePoint:
    """Robust accuracy at one value of the axis; ``certified``: what is proven there, None where nothing is."""

    value: float
    robust: Rate
    certified: Rate | None = None


@dataclass(frozen=True)
class Curve:
    """Robust accuracy of one attack over an axis: "area" (shares of the image) or "steps"."""

    attack: str
    axis: str
    points: list[CurvePoint]


@dataclass(frozen=True)
class ImagesPart:
    """Attacks on single images.

    Args:
        clean: images answered correctly before any attack. wrong_before: the others, a count.
        robust: images answered correctly before and after every attack in ``bound``: the worst case of each.
        places: share of the patches that broke an image over each cell of the image, rows from the top.
        shard: images attacked side by side.
    """

    on: ImagesOn
    clean: Rate
    wrong_before: int
    robust: Rate
    by_threat: list[ThreatRate]
    attacks: list[ImageAttack]
    curves: list[Curve]
    places: list[list[float]] | None
    shard: int

    @property
    def bound(self) -> list[ImageAttack]:
        """The attacks of the worst case: those bound to a patch, a mask or a ball; all of them where none is."""
        return [attack for attack in self.attacks if attack.threat != NEAREST] or self.attacks

    @property
    def beside(self) -> list[ImageAttack]:
        """The attacks that went any distance and count for no worst case."""
        return [attack for attack in self.attacks if attack not in self.bound]


@dataclass(frozen=True)
class TargetRow:
    """One target over all victims.

    Args:
        target: class aimed at, and its name; None: "untargeted".
        asr: victims whose predicted label changed. targeted: those that reached the target.
        dissimilarity: mean of ||x - x_adv|| / ||x_adv|| in L2.
    """

    target: int | None
    name: str
    asr: Rate
    targeted: Rate | None
    dissimilarity: float


@dataclass(frozen=True)
class Average:
    """All targets and victims together; ``targeted`` is None where no run has a target."""

    asr: Rate
    targeted: Rate | None
    dissimilarity: float


@dataclass(frozen=True)
class WorstTarget:
    """The target whose attack changed most labels, the first of equals."""

    target: int | None
    name: str
    asr: Rate


@dataclass(frozen=True)
class UniversalAttack:
    """One noise shared by all victims, for each target; ``source``: the model it was made on, None for this one."""

    name: str
    repr: str
    seed: int | None
    source: str | None
    targets: list[int | None]
    per_target: list[TargetRow]
    average: Average
    worst: WorstTarget

    @property
    def title(self) -> str:
        """ "rp2, made on this model", or "rp2, transferred from NAME"."""
        where = "made on this model" if self.source is None else f"transferred from {self.source}"
        return f"{self.name}, {where}"


@dataclass(frozen=True)
class SanityRow:
    """One threat: on how many images the checks looked, and the names of the flags they raised."""

    threat: str
    images: int
    flags: list[str]


@dataclass(frozen=True)
class FlagPart:
    """A reason to doubt the numbers: what it may come from, what to do, what was seen, under which threat."""

    name: str
    cause: str
    cure: str
    evidence: dict[str, JSON]
    threat: str | None = None
