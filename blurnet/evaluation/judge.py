"""One attack on one batch of images, judged outside the attack: guards, predictions, distances, calls."""

from typing import Protocol

import torch
from torch import Tensor, nn

from blurnet.attacks.base import STANDING, WRONG, Attack, Record
from blurnet.attacks.engine.losses import margin
from blurnet.checks import check_logits
from blurnet.evaluation.shards import LATE, ShardWork
from blurnet.evaluation.threats import Threat, changed_box
from blurnet.modes import attacking


class SingleAttack(Protocol):
    """An attack on each image by itself, as :class:`blurnet.attacks.base.Attack`."""

    def __call__(self, model: nn.Module, images: Tensor, labels: Tensor, /) -> Tensor:
        """Adversarial images (N, 3, H, W) for a model, images and labels (N,)."""


class Counted(nn.Module):
    """A model that counts the images it is shown."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model, self.images = model, 0

    def forward(self, x: Tensor) -> Tensor:
        """The model's logits (N, classes)."""
        self.images += len(x)
        logits: Tensor = self.model(x)
        return logits


def judge(
    net: nn.Module, attacked: nn.Module, attack: SingleAttack, threat: Threat, images: Tensor, labels: Tensor
) -> tuple[ShardWork, Tensor]:
    """Attack a batch and judge it; ``item`` and ``kept`` of the result are left empty.

    Only images that the net answers rightly are attacked: the others count as broken, unchanged, at no cost.

    Args:
        net: the model whose answers count.
        attacked: what the attack sees: the net itself, or one with its values and another gradient.
        attack: called with (model, images, labels); the record of an :class:`~blurnet.attacks.base.Attack` is kept.
        threat: what it may change.
        images: (n, 3, H, W) in [0, 1].
        labels: (n,).

    Returns:
        The shard's work and the adversarial images (n, 3, H, W).

    Raises:
        ValueError: an adversarial image that the threat does not allow, or that is no image.
    """
    clean = _answer(net, images)
    right = clean.argmax(1) == labels
    adversarial, stage = images.clone(), torch.full_like(labels, WRONG)
    calls, box = torch.zeros_like(labels), labels.new_full((len(labels), 4), -1)
    if bool(right.any()):
        record = _record(attacked, attack, images[right], labels[right])
        _check(images[right], record.adversarial, threat, right.nonzero().squeeze(1).tolist())
        adversarial[right], stage[right] = record.adversarial, record.stage.to(stage)
        calls[right], box[right] = record.calls.to(calls), record.box.to(box)
    if threat.local:
        box = torch.where((box < 0).any(1, keepdim=True), changed_box(images, adversarial), box)
    logits = _answer(net, adversarial)
    stage = _final(stage, right, logits.argmax(1) == labels)
    change = (adversarial - images).float()
    work = ShardWork(
        item=labels.new_empty(0),
        label=labels,
        clean_prediction=clean.argmax(1),
        clean_confidence=clean.softmax(1).amax(1),
        prediction=logits.argmax(1),
        confidence=logits.softmax(1).amax(1),
        margin=margin(logits, labels),
        stage=stage,
        calls=calls,
        box=box,
        linf=change.abs().flatten(1).amax(1),
        l2=change.flatten(1).norm(dim=1),
        l0=(change != 0).any(1).flatten(1).sum(1),
        kept=images.new_empty(0),
    )
    return work, adversarial


def stages_of(attack: SingleAttack, name: str) -> tuple[str, ...]:
    """The names that a record's stages point to; an attack of one stage goes by its own name."""
    return tuple(attack.stage_names) if isinstance(attack, Attack) else (name,)


def _record(attacked: nn.Module, attack: SingleAttack, images: Tensor, labels: Tensor) -> Record:
    """The attack's record; of one that keeps none, the images with the average number of calls, rounded up."""
    counted = Counted(attacked)
    with attacking(counted):
        x, y = images.clone(), labels.clone()  # made outside inference mode, which Trainer.test switches on
        if isinstance(attack, Attack):
            return attack.record(counted, x, y)
        adversarial = attack(counted, x, y)
    calls = torch.full_like(labels, -(-counted.images // len(images)))
    return Record(adversarial, torch.zeros_like(labels), calls, labels.new_full((len(labels), 4), -1))


def _check(images: Tensor, adversarial: Tensor, threat: Threat, places: list[int]) -> None:
    if adversarial.shape != images.shape or adversarial.dtype != images.dtype:
        raise ValueError(
            f"the attack returned {tuple(adversarial.shape)} {adversarial.dtype} for {tuple(images.shape)}"
        )
    flat = adversarial.flatten(1)
    wrong = ~((flat >= 0) & (flat <= 1)).all(1)  # NaN fails every comparison
    if bool(wrong.any()):
        raise ValueError(f"the attack left [0, 1] on images {_listed(wrong, places)} of this shard")
    wrong = threat.broken(images, adversarial)
    if bool(wrong.any()):
        raise ValueError(f"the attack changed more than {threat.text} on images {_listed(wrong, places)} of this shard")


def _listed(wrong: Tensor, places: list[int]) -> str:
    found = [place for place, flag in zip(places, wrong.tolist(), strict=True) if flag]
    return ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "")


def _final(stage: Tensor, right: Tensor, robust: Tensor) -> Tensor:
    """Stages as the final judgement sees them, not the attack."""
    found = torch.where(robust, STANDING, torch.where(stage >= 0, stage, LATE))
    return torch.where(right, found, WRONG)


def _answer(net: nn.Module, images: Tensor) -> Tensor:
    with torch.no_grad():
        logits: Tensor = net(images)
    check_logits(logits, n=len(images))
    return logits.float()
