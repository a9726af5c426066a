"""The worst of several attacks, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blurnet.attacks.base import STANDING, WRONG, Attack, Problem, Record
from blurnet.attacks.engine.goal import Goal
from blurnet.attacks.engine.losses import margin


@dataclass(frozen=True)
class WorstOf(Attack):
    """The worst of several attacks for each image: the first that breaks it, else the one that comes closest.

    With ``stop`` only images that still stand go on to the next attack, and images that are wrong before any attack
    are returned as they are. Closest is the smallest margin of the label's logit, whatever targets the attacks have.
    An attack whose noise is shared by its batch, such as RP2, sees a smaller batch than it would alone.

    Args:
        attacks: in the order they run; the cheap ones first save time. A mask of their own for each image follows
            its image.
        stop: False lets every attack see every image, and the smallest margin counts.

    Raises:
        ValueError: no attacks. TypeError: something else than an attack.
    """

    attacks: Sequence[Attack]
    stop: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "attacks", tuple(self.attacks))
        if not self.attacks:
            raise ValueError("WorstOf attacks: none given")
        for attack in self.attacks:
            if not isinstance(attack, Attack):
                raise TypeError(f"WorstOf attacks: expected an attack, got {type(attack).__name__}")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The attacks' names, numbered where one comes again."""
        names = [_name(attack) for attack in self.attacks]
        before = [names[:i].count(name) for i, name in enumerate(names)]
        return tuple(f"{name} {n + 1}" if n else name for name, n in zip(names, before, strict=True))

    @property
    def clean_gradients(self) -> int:
        """Those of all attacks."""
        return sum(attack.clean_gradients for attack in self.attacks)

    def search(self, problem: Problem) -> Record:
        """See the class; the stage is the first attack that broke the image, each one's result at one more pass."""
        images, labels, clean = problem.images, problem.labels, problem.clean
        found, least = images.clone(), clean.new_full((len(images),), float("inf"))
        stage, calls = torch.where(problem.wrong, WRONG, STANDING), torch.zeros_like(labels)
        box = problem.no_box()
        for number, attack in enumerate(self.attacks):
            index = (stage == STANDING).nonzero().squeeze(1) if self.stop else torch.arange(len(labels)).to(labels)
            if not len(index):
                break
            record = for_images(attack, index, len(images)).search(problem.at(index))
            adversarial, goal = record.adversarial.detach(), Goal(labels[index])
            with torch.no_grad():
                logits = problem.model(adversarial)
            calls[index] += record.calls + 1
            left = margin(logits, goal.labels)
            lower = left < least[index]
            better = index[lower]
            found[better], box[better] = adversarial[lower], record.box[lower]
            least[better] = left[lower].to(least)
            broken = goal.clearly_reached(logits) & (stage[index] == STANDING)
            stage[index[broken]] = number
        return Record(found, stage, calls, box)


def for_images(attack: Attack, index: Tensor, count: int) -> Attack:
    """The attack for some images of a batch: a mask (N, 1, H, W) follows them, however deep it is wrapped.

    Args:
        attack: as given for the whole batch.
        index: numbers of the images (n,).
        count: N, images in the whole batch.
    """
    if isinstance(attack, WorstOf):
        return replace(attack, attacks=[for_images(one, index, count) for one in attack.attacks])
    held = getattr(attack, "attack", None)
    if isinstance(held, Attack):
        return replace(attack, attack=for_images(held, index, count))  # type: ignore[type-var]
    mask = getattr(attack, "mask", None)
    if isinstance(mask, Tensor) and mask.ndim == 4 and len(mask) == count > 1:
        return replace(attack, mask=mask[index.to(mask.device)])  # type: ignore[type-var]
    return attack


def _name(attack: Attack) -> str:
    """PGD, or EOT(PGD) for a wrapper."""
    inner = getattr(attack, "attack", None)
    return f"{type(attack).__name__}({_name(inner)})" if isinstance(inner, Attack) else type(attack).__name__
