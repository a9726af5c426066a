"""What a report carries beside its JSON: one row for each attacked image, images to show, pictures to draw."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor, nn

from blurnet.evaluation.report.parts import UniversalAttack


@dataclass(frozen=True, slots=True)
class RecordRow:
    """What one attack did to one image: a line of ``samples.jsonl``.

    Args:
        attack: name of the attack, as the report has it; a transferred one "rp2 from NAME".
        target: class that the attack aims at; None: untargeted, or of the attack's own choice.
        index: of the image in its data set. group: what images of one kind share, such as a track.
        label: true class. clean_prediction: answer before the attack. prediction, confidence: after it.
        margin: the true logit less the largest other one, after the attack.
        robust: answered correctly before and after.
        stage: the part of the attack that succeeded, None where none did.
        calls: how often the model saw the image under this attack.
        box: rows and columns of the patch, [top, bottom, left, right] in pixels, bottom and right exclusive; None where
            there is none.
        linf, l2: distances in pixel units. l0: number of changed pixels.
        dissimilarity: ||x - x_adv|| / ||x_adv|| in L2.
    """

    attack: str
    target: int | None
    index: int
    group: str | None
    label: int
    clean_prediction: int
    prediction: int
    confidence: float
    margin: float
    robust: bool
    stage: str | None
    calls: int
    box: list[int] | None
    linf: float
    l2: float
    l0: int
    dissimilarity: float


@dataclass(frozen=True)
class AttackLine:
    """An attack in the first line of ``samples.jsonl``; ``curve``: it is a point of a curve."""

    name: str
    repr: str
    seed: int | None
    threat: str
    curve: bool = False


class Shown(NamedTuple):
    """One picture with its caption."""

    name: str  #: "original", or the attack's
    image: Tensor  #: (3, H, W) in [0, 1]
    call: str  #: what the model answers, with its confidence
    detail: str
    fell: bool | None  #: whether the attack broke it; None for an original


#: The pictures of one image: its title, and the original followed by what the attacks made of it.
Strip = tuple[str, list[Shown]]


@dataclass(frozen=True, eq=False)
class VictimPictures:
    """What the pictures of an attack with one noise for all victims are drawn from.

    Args:
        net: the evaluated model.
        clean, adversarial: the victims before and after the attack at its worst target, (N, 3, H, W) in [0, 1].
        before, before_confidence: the model's answers and confidences (N,) before. after, confidence: after.
        classes: class names in output order.
        title: of the pictures: "rp2, worst target: stop".
        attack: its rates, target by target.
    """

    net: nn.Module
    clean: Tensor
    adversarial: Tensor
    before: Tensor
    before_confidence: Tensor
    after: Tensor
    confidence: Tensor
    classes: tuple[str, ...]
    title: str
    attack: UniversalAttack
