"""What there is to do: jobs, each an attack and the images it is run on, and the parts that a process takes whole."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.universal.rp2 import RP2Result
from blurnet.evaluation.attacks import ATTACKS, Choice, make_attack, threat_of
from blurnet.evaluation.context import Context
from blurnet.evaluation.identity import identity
from blurnet.evaluation.images import Pool
from blurnet.evaluation.noise import Target
from blurnet.evaluation.threats import Threat
from blurnet.nets.vision import device_of


@runtime_checkable
class SharedNoise(Protocol):
    """An attack with one noise for all images, on several targets side by side, as RP2's ``against``."""

    def against(self, model: Model, images: Tensor, labels: Tensor, targets: Sequence[Target]) -> RP2Result:
        """Adversarial images (T, N, 3, H, W) and noise (T, 3, h, w) for T targets."""


class Point(NamedTuple):
    """A point on a curve of robust accuracy."""

    attack: str  #: name of the job that the curve varies
    axis: str  #: "area" (share of the image) or "steps"
    value: float


@dataclass(frozen=True)
class Job:
    """One attack and the images it is run on.

    Args:
        name: short, part of file names: "lavan"; several jobs of a shared noise, one a target, have one name.
        attack: an :class:`~blurnet.attacks.base.Attack`, a :class:`SharedNoise`, or None: the clean images are only
            answered. ``repr(attack)`` is its line in the report.
        images: what is attacked.
        threat: what the attack may change; each result is held against it. None with no attack.
        target: of a shared noise, the class it reaches for; None is untargeted.
        source: the model the attack is made on; None: the evaluated model itself (white box).
        source_name: what the report calls ``source``; set for every transfer, a replayed noise included.
        point: set where the job only draws a curve and takes no part in the worst case.
        at: the job's own place on such curves, as (axis, value).
        certify: the images are not attacked, but what no attack can change is proven.
        spare: images that are certified against the threat are not attacked.
    """

    name: str
    attack: Attack | SharedNoise | None
    images: Pool
    threat: Threat | None = None
    target: Target = None
    source: nn.Module | None = field(default=None, repr=False)
    source_name: str | None = None
    point: Point | None = None
    at: tuple[tuple[str, float], ...] = ()
    certify: bool = False
    spare: bool = False

    @property
    def universal(self) -> bool:
        """Whether all images share what the attack makes, and so are attacked in one batch."""
        return isinstance(self.attack, SharedNoise) or getattr(self.attack, "universal", False)

    @property
    def title(self) -> str:
        """Its name in the records: "rp2 from OTHER" for a transfer."""
        return self.name if self.source_name is None else f"{self.name} from {self.source_name}"

    @property
    def seed(self) -> int | None:
        """The attack's."""
        return getattr(self.attack, "seed", None)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of the attack's stages in order; an attack of one stage goes by the job's name."""
        if self.certify:
            return ("not certified",)
        names: tuple[str, ...] = getattr(self.attack, "stage_names", ())
        return names if len(names) > 1 else (self.name,)

    def identity(self, keep: int) -> str:
        """Hex digest of all that the results depend on, but the model, the target and the images' pixels.

        Each part notes the pixels itself.
        """
        pool = self.images
        made_on = self.source if self.source is not None else "itself"
        attack = self.name, repr(self.attack), self.attack, self.threat, made_on
        spared = ("spare",) if self.spare else ()  # folders of earlier versions knew of none
        return identity(pool.name, pool.indices, pool.shard, keep, *attack, *spared)


class Part(NamedTuple):
    """What one process does whole: a shard of a job's images, or jobs of one shared noise side by side."""

    jobs: tuple[int, ...]  #: numbers of the jobs
    shard: int

    def names(self, jobs: Sequence[Job]) -> list[str]:
        """The file of each of its jobs."""
        if not jobs[self.jobs[0]].universal:
            return [f"shard-{self.shard:05d}"]
        targets = [jobs[number].target for number in self.jobs]
        return ["untargeted" if target is None else f"target-{target:03d}" for target in targets]


def parts_of(jobs: Sequence[Job], chunk: int) -> list[Part]:
    """All parts of all jobs, in their order; at most ``chunk`` targets of a shared noise side by side."""
    found: list[Part] = []
    for number, job in enumerate(jobs):
        if not job.universal:
            found += [Part((number,), shard) for shard in range(job.images.shards)]
        elif found and len(found[-1].jobs) < chunk and _side_by_side(jobs[found[-1].jobs[0]], job):
            found[-1] = Part((*found[-1].jobs, number), 0)
        else:
            found.append(Part((number,), 0))
    return found


def _side_by_side(first: Job, job: Job) -> bool:
    return isinstance(job.attack, SharedNoise) and first.attack is job.attack and first.source is job.source


def universal_jobs(
    name: str, attack: SharedNoise, images: Pool, threat: Threat, targets: Sequence[Target],
    source: nn.Module | None = None, source_name: str | None = None,
) -> list[Job]:  # fmt: skip
    """A job for each target.

    Raises:
        ValueError: no targets, or the same one twice.
    """
    if not targets or len(set(targets)) != len(targets):
        raise ValueError(f"{name}: targets must be given and differ, got {list(targets)}")
    return [Job(name, attack, images, threat, target, source, source_name) for target in targets]


def image_jobs(
    choices: Sequence[Choice],
    images: Pool,
    context: Context,
    areas: Sequence[float] = (),
    steps: Sequence[int] = (),
) -> list[Job]:
    """The chosen attacks image by image, and their variations for curves.

    Args:
        choices: what :func:`~blurnet.evaluation.attacks.parse_attacks` gives.
        images: what is attacked.
        context: what they share.
        areas: further patch areas, for attacks that place a patch.
        steps: further numbers of steps, for attacks that have such.

    Raises:
        ValueError: areas where a mask fixes the place; or a value that the attacks refuse.
    """
    if areas and context.area is None:
        raise ValueError("a curve over patch areas needs a patch that is free to be placed, not a mask")
    return [job for choice in choices for job in _with_curves(choice, images, context, areas, steps)]


def _with_curves(
    choice: Choice, images: Pool, context: Context, areas: Sequence[float], steps: Sequence[int]
) -> Iterator[Job]:
    entry = ATTACKS[choice.name]
    at: list[tuple[str, float]] = [] if entry.whole or context.area is None else [("area", context.area)]
    at += [] if entry.steps is None or "steps" in choice.args else [("steps", entry.steps(context))]
    yield _job(choice, choice.title, images, context, at=tuple(at))
    own = dict(at)
    varied = [("area", area, replace(context, area=area)) for area in areas if "area" in own]
    varied += [("steps", step, replace(context, steps=step)) for step in steps if "steps" in own]
    for axis, value, other in varied:
        if value != own[axis]:
            point = Point(choice.title, axis, value)
            yield _job(choice, f"{choice.title} {axis} {value:g}", images, other, point=point)


def _job(
    choice: Choice, title: str, images: Pool, context: Context, point: Point | None = None,
    at: tuple[tuple[str, float], ...] = (),
) -> Job:  # fmt: skip
    attack = make_attack(choice, context)
    return Job(title, attack, images, threat_of(choice.name, context), point=point, at=at)


def check_jobs(jobs: Sequence[Job], net: nn.Module) -> int:
    """Hold net, images, threats and targets against each other before any work; the number of classes.

    Raises:
        TypeError, ValueError: outputs that do not fit the classes, images a threat cannot be judged on, a target that
            is out of range or the true class of an attacked image, a shared noise's images that are none, or two jobs
            of one name and target.
    """
    if not jobs:
        raise ValueError("nothing to do: no attacks and no clean images")
    repeated = [(job.title, job.target) for job in jobs]
    if len(set(repeated)) < len(jobs):
        raise ValueError(f"attacks need different names, got {[name for name, _ in repeated]}")
    classes = 0
    first = {}
    for key, pool in {id(job.images): job.images for job in jobs}.items():
        first[key], _ = pool.read([0])
        classes = _outputs(net, first[key])
        if classes != len(pool.classes):
            raise ValueError(f"the model has {classes} outputs, {pool.name} {len(pool.classes)} classes")
    for job in jobs:
        if job.threat is not None and job.point is None:
            job.threat.broken(first[id(job.images)], first[id(job.images)])
    _check_targets([job for job in jobs if isinstance(job.attack, SharedNoise)])
    return classes


def _outputs(net: nn.Module, images: Tensor) -> int:
    with torch.no_grad():
        logits = net(images.to(device_of(net)))
    if not isinstance(logits, Tensor) or logits.ndim != 2:
        shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(f"the model gives {shape} for {tuple(images.shape)}: expected logits (N, classes)")
    return logits.shape[1]


def _check_targets(jobs: Sequence[Job]) -> None:
    pools = {id(job.images): job.images for job in jobs}
    labels = {key: set(pool.read(range(len(pool)))[1].tolist()) for key, pool in pools.items()}
    for job in jobs:
        classes = job.images.classes
        if job.target is None:
            continue
        if not 0 <= job.target < len(classes):
            raise ValueError(f"target {job.target} is out of range: the model's outputs are 0 to {len(classes) - 1}")
        if job.target in labels[id(job.images)]:
            raise ValueError(f"target {job.target} ({classes[job.target]}) is the true class of some victims")
