"""The worst of several attacks, image by image."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Model, prepared
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.engine.search import clearly_fooled
from blurnet.attacks.engine.settings import inside
from blurnet.attacks.record import STANDING, WRONG, Detailed, Record
from blurnet.attacks.wrappers.model import check_attack
from blurnet.masks import Place, mask_boxes, masks_of


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
        object.__setattr__(self, "attacks", tuple(self.attacks))
        if not self.attacks:
            raise ValueError("WorstOf attacks: none given")
        for attack in self.attacks:
            check_attack(attack, "WorstOf attacks")

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The attacks' names, numbered where one comes again."""
        names = [_name(attack) for attack in self.attacks]
        before = [names[:i].count(name) for i, name in enumerate(names)]
        return tuple(f"{name} {n + 1}" if n else name for name, n in zip(names, before, strict=True))

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W); see the class."""
        return self._record(model, images, labels).adversarial

    def detailed(self, model: Model, images: Tensor, labels: Tensor) -> Record:
        """Attack a batch as a call does, and report each image's first successful attack, cost and place.

        An attack that keeps no record of its own is charged its average number of calls an image, rounded up.
        """
        with prepared(model, images, labels) as (x, y):
            return self._record(model, x, y)

    def _record(self, model: Model, images: Tensor, labels: Tensor) -> Record:
        found, least = images.clone(), images.new_full((len(images),), float("inf"))
        stage, calls = torch.full_like(labels, STANDING), torch.ones_like(labels)
        box = torch.full_like(labels, -1)[:, None].repeat(1, 4)
        with torch.no_grad():
            stage[model(images).argmax(dim=1) != labels] = WRONG
        for number, attack in enumerate(self.attacks):
            index = (stage == STANDING).nonzero().squeeze(1) if self.stop else torch.arange(len(labels)).to(labels)
            if not len(index):
                break
            x, y = images[index], labels[index]
            record = _attacked(for_images(attack, index, len(images)), model, x, y)
            with torch.no_grad():
                logits = model(record.adversarial)
            calls[index] += record.calls + 1
            lower = margin(logits, y) < least[index]
            better = index[lower]
            found[better], box[better] = record.adversarial[lower], record.box[lower]
            least[better] = margin(logits, y)[lower]
            broken = clearly_fooled(logits, y) & (stage[index] == STANDING)
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


def _attacked(attack: Attack, model: Model, images: Tensor, labels: Tensor) -> Record:
    """The attack's own record, or what can be said from outside."""
    if isinstance(attack, Detailed):
        return attack.detailed(model, images, labels)
    shown = 0

    def counted(x: Tensor) -> Tensor:
        nonlocal shown
        shown += len(x)
        return model(x)

    adversarial = attack(counted, images, labels)
    box, mask = torch.full_like(labels, -1)[:, None].repeat(1, 4), inside(attack, "mask")
    if isinstance(mask, Tensor | Place):
        box = mask_boxes(masks_of(mask, images))
    return Record(adversarial, torch.zeros_like(labels), torch.full_like(labels, -(-shown // len(images))), box)


def _name(attack: Attack) -> str:
    """PGD, or EOT(PGD) for a wrapper."""
    inner = getattr(attack, "attack", None)
    return f"{type(attack).__name__}({_name(inner)})" if isinstance(inner, Attack) else type(attack).__name__
