"""What an evaluation does, each setting said once: command line, Python arguments, checks and report follow from it."""

import math
from dataclasses import asdict, dataclass, field
from typing import Literal, TypeVar

from blurnet.attacks.engine.views import TRANSFORMATIONS, Transformation
from blurnet.bounds import Count, Steps
from blurnet.evaluation.images import Pool
from blurnet.evaluation.noise import Target
from blurnet.strict import JSON, Setting, check_fields

Budget = Literal["quick", "standard", "full"]
T = TypeVar("T", int, float)


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig:
    """The settings of an evaluation, whatever is evaluated.

    Args:
        attacks: Attacks, with commas; settings of their own behind colons, as in lavan:lr=0.1:steps=300.
        patch: A square patch's share of the image, free to be placed; or mask: write into the mask.
        budget: How hard the attacks image by image try.
        image_steps: Their steps or queries; none: by the budget.
        eps: linf radius of attacks on the whole image, in pixel units.
        curve_areas: Also attack with patches of these shares of the image, for a curve.
        curve_steps: Also attack with these numbers of steps, for a curve.
        limit: Attack at most so many images, from one seeded shuffle.
        shard: Images attacked side by side, and lost at most when a run is killed.
        keep_images: Adversarial images of the first so many are kept for the report.
        targets: Classes for rp2 to reach: all (but the victims' own), untargeted, or numbers such as 12,3.
        chunk: Targets attacked side by side in one batch.
        eot: Random transformations in rp2, with values as in rotation=20,brightness=0.7:1.3.
        restarts: Independent starts of the attacks that have such.
        seed: Of every attack.
        adaptive: Attacks see the surrogate gradients of the model's transformations.
        certify: Prove which images no patch can break, where the model is a certified defense.
        attack_certified: Attack what is certified against the attack too; a proof needs no trial, but takes time.
        sanity: Check for masked gradients; the report says where that was left out.
        rp2: Settings of rp2, by name.

    Raises:
        ValueError, TypeError: a value that is not what its annotation says.
    """

    attacks: str = "rp2"
    patch: str = "0.05"
    budget: Budget = "standard"
    image_steps: Count | None = None
    eps: str = "8/255"
    curve_areas: str = ""
    curve_steps: str = ""
    limit: Count | None = None
    shard: Count = 32
    keep_images: Steps = 12
    targets: str = "all"
    chunk: Count = 4
    eot: str = ""
    restarts: Count = 1
    seed: int = 0
    adaptive: bool = True
    certify: bool = False
    attack_certified: bool = True
    sanity: bool = True
    rp2: dict[str, Setting] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self, option=True)
        _ = self.area, self.radius, self.areas, self.step_counts  # what cannot be read is said before any work

    @property
    def area(self) -> float | None:
        """The free patch's share of the image; None: the mask."""
        if self.patch == "mask":
            return None
        area = parse_fraction(self.patch, "--patch")
        if not 0 < area <= 1:
            raise ValueError(
                f"--patch: expected a share of the image above 0 and at most 1, or mask; got {self.patch!r}"
            )
        return area

    @property
    def radius(self) -> float:
        """``eps`` as a number."""
        return parse_fraction(self.eps, "--eps")

    @property
    def areas(self) -> list[float]:
        """``curve_areas`` as numbers."""
        return parse_numbers(self.curve_areas, float, "--curve-areas")

    @property
    def step_counts(self) -> list[int]:
        """``curve_steps`` as numbers."""
        return parse_numbers(self.curve_steps, int, "--curve-steps")

    def to_dict(self) -> dict[str, JSON]:
        """Plain data, for the report."""
        return asdict(self)


def parse_fraction(text: str, option: str) -> float:
    """ "0.03" or "8/255"; ValueError names the option."""
    above, slash, below = text.partition("/")
    try:
        value = float(above) / (float(below) if slash else 1)
    except (ValueError, ZeroDivisionError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{option}: expected a number such as 0.03 or 8/255; got {text!r}")
    return value


def parse_numbers(text: str, kind: type[T], option: str) -> list[T]:
    """Numbers with commas, such as "0.01,0.05"; none where the text is empty. ValueError names the option."""
    try:
        return [kind(part) for part in text.split(",")] if text else []
    except ValueError:
        raise ValueError(f"{option}: expected numbers with commas, got {text!r}") from None


def parse_targets(text: str, images: Pool) -> tuple[Target, ...]:
    """ "all" but the images' own classes, "untargeted", or numbers with commas.

    Raises:
        ValueError: something else, or no class left to reach.
    """
    if text == "untargeted":
        return (None,)
    if text == "all":
        _, labels = images.read(range(len(images)))
        left = tuple(sorted(set(range(len(images.classes))) - set(labels.tolist())))
        if not left:
            raise ValueError("--targets all: the images are of every class, so none is left to reach; name one class's")
        return left
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise ValueError(f"--targets: expected all, untargeted, or numbers such as 12,3; got {text!r}") from None


def parse_eot(text: str) -> tuple[Transformation, ...]:
    """Transformations such as "rotation,brightness=0.7:1.3": names with the values of their arguments in order."""
    moves = []
    for part in filter(None, text.split(",")):
        name, _, values = part.partition("=")
        if name not in TRANSFORMATIONS:
            raise ValueError(f"--eot: unknown transformation {name!r}; there are: {', '.join(TRANSFORMATIONS)}")
        try:
            moves.append(TRANSFORMATIONS[name](*(float(value) for value in values.split(":") if value)))
        except (TypeError, ValueError) as error:
            raise ValueError(f"--eot: {part!r}: {error}") from error
    return tuple(moves)
