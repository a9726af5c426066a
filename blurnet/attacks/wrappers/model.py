"""Attacks around attacks: made on another model, in expectation over a random one, with another gradient."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Model
from blurnet.attacks.engine.losses import margin
from blurnet.attacks.record import Detailed, Record
from blurnet.bpda import bpda
from blurnet.modes import attacking


@dataclass(frozen=True)
class Transfer(Attack):
    """An attack made on one model and used on another, which is asked only once at the end.

    Where the transferred image does not lower the margin of the label's logit on the model, the clean one is
    returned. An attack that stops at its first success on the source transfers worse: give it ``stop=False``.

    Args:
        attack: run on the source.
        source: images in [0, 1] to logits, with the model's classes, on the images' device.
        name: of the source in reports; its class where none is given.

    Raises:
        TypeError: no attack, or a source that cannot be called.
    """

    attack: Attack
    source: Model = field(repr=False, compare=False)
    name: str = ""

    def __post_init__(self) -> None:
        check_attack(self.attack, "Transfer attack")
        _keep_name(self, self.source, "Transfer source")

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W); see the class."""
        adversarial = self.attack(self.source, images, labels)
        with torch.no_grad():
            helps = margin(model(adversarial), labels) < margin(model(images), labels)
        return torch.where(helps.view(-1, 1, 1, 1), adversarial, images)


@dataclass(frozen=True)
class EOT(Attack):
    """An attack on the mean logits of a model that is random itself.

    Each time the attack looks, it sees the mean over ``samples`` passes and its gradient. Mean logits and mean
    log-probabilities differ by one number an image, which no loss or answer depends on. One sample is the plain
    attack.

    Args:
        attack: what is run; for random views of the image, its own ``transformations`` serve.
        samples: passes a look, from 1.
        batched: repeat the rows in one pass instead of one pass after the other: faster on large devices, but right
            only for a model that draws for each row. This package's transformations draw once for a batch.

    Raises:
        TypeError: no attack. ValueError: fewer than one sample.

    Source: Athalye et al. 2018 (Synthesizing robust adversarial examples), for a model's own randomness.
    """

    attack: Attack
    samples: int = 10
    batched: bool = False

    def __post_init__(self) -> None:
        check_attack(self.attack, "EOT attack")
        if self.samples < 1:
            raise ValueError(f"EOT samples: expected from 1, got {self.samples!r}")

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W); see the class."""
        return self.attack(self.seen(model), images, labels)

    def seen(self, model: Model) -> Callable[[Tensor], Tensor]:
        """The model as the attack sees it."""
        if self.samples == 1:
            return model

        def mean(x: Tensor) -> Tensor:
            if self.batched:
                return model(x.repeat(self.samples, 1, 1, 1)).view(self.samples, len(x), -1).mean(dim=0)
            return torch.stack([model(x) for _ in range(self.samples)]).mean(dim=0)

        return mean


@dataclass(frozen=True)
class BPDA(Attack):
    """An attack that sees the model's logits with the gradient of another model.

    The gradient is the surrogate's at the same image. For a transformation in front of a net, whose gradient is to
    be taken behind the transformation, attack :func:`blurnet.adaptive` of the model instead.

    Args:
        attack: what is run.
        surrogate: images in [0, 1] to logits, with the model's classes, differentiable.
        name: of the surrogate in reports; its class where none is given.

    Raises:
        TypeError: no attack, or a surrogate that cannot be called.

    Source: Athalye et al. 2018 (Obfuscated gradients), section 4.1.
    """

    attack: Attack
    surrogate: Model = field(repr=False, compare=False)
    name: str = ""

    def __post_init__(self) -> None:
        check_attack(self.attack, "BPDA attack")
        _keep_name(self, self.surrogate, "BPDA surrogate")

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W); see the class."""

        def seen(x: Tensor) -> Tensor:
            with torch.no_grad():
                value = model(x)
            return bpda(value, self.surrogate(x)) if torch.is_grad_enabled() else value

        with attacking(self.surrogate):
            return self.attack(seen, images, labels)


@dataclass(frozen=True)
class MadeOn(Attack):
    """An attack whose every look goes to another model; whoever calls judges what comes back.

    Args:
        attack: one that keeps a record.
        view: the model it looks at: another gradient of the same values, or another net.
    """

    attack: Attack
    view: Model = field(repr=False, compare=False)

    def run(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Adversarial images (N, 3, H, W) for the view."""
        return self.attack(self.view, images, labels)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Those of the attack inside."""
        return self.attack.stage_names if isinstance(self.attack, Detailed) else (type(self.attack).__name__,)

    def detailed(self, model: Model, images: Tensor, labels: Tensor) -> Record:
        """The record of the attack inside; its calls are those of the view."""
        if not isinstance(self.attack, Detailed):
            raise TypeError(f"MadeOn: {type(self.attack).__name__} keeps no record")
        return self.attack.detailed(self.view, images, labels)


def check_attack(attack: object, what: str) -> None:
    """Require an attack.

    Raises:
        TypeError: something else; the message begins with ``what``.
    """
    if not isinstance(attack, Attack):
        raise TypeError(f"{what}: expected an attack, got {type(attack).__name__}")


def _keep_name(wrapper: Transfer | BPDA, model: object, what: str) -> None:
    """Require a callable, and name it by its class where it has no name."""
    if not callable(model):
        raise TypeError(f"{what}: expected a model, images to logits, got {type(model).__name__}")
    if not wrapper.name:
        object.__setattr__(wrapper, "name", getattr(model, "__name__", type(model).__name__))
