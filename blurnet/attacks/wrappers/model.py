"""Attacks around attacks: made on another model, in expectation over a random one, with another gradient."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.goal import Goal
from blurnet.attacks.engine.losses import margin
from blurnet.bounds import Count
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
        super().__post_init__()
        _keep_name(self, self.source, "Transfer source")

    def search(self, problem: Problem) -> Record:
        """See the class; the model is asked once, and the box is that of the attack inside."""
        with attacking(self.source):
            made = self.attack.search(problem.on(self.source, gradients=self.attack.clean_gradients))
        adversarial, goal = made.adversarial.detach(), Goal(problem.labels)
        with torch.no_grad():
            logits = problem.model(adversarial)
        helps = margin(logits, problem.labels) < margin(problem.clean, problem.labels)
        kept = torch.where(helps.view(-1, 1, 1, 1), adversarial, problem.images)
        return problem.record(kept, goal.altered(logits) & helps, made.box)


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
    samples: Count = 10
    batched: bool = False

    @property
    def clean_gradients(self) -> int:
        """Those of the attack inside where it sees the model itself."""
        return self.attack.clean_gradients if self.samples == 1 else 0

    def search(self, problem: Problem) -> Record:
        """The record of the attack inside, by the mean logits; each look counts as ``samples`` calls."""
        if self.samples == 1:
            return self.attack.search(problem)
        mean = problem.on(self.seen(problem.model), gradients=self.attack.clean_gradients)
        record = self.attack.search(mean)
        return record._replace(calls=(record.calls + 1) * self.samples)  # one for the clean images' mean

    def seen(self, model: Model) -> Model:
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
        super().__post_init__()
        _keep_name(self, self.surrogate, "BPDA surrogate")

    def search(self, problem: Problem) -> Record:
        """The record of the attack inside."""

        def seen(x: Tensor) -> Tensor:
            with torch.no_grad():
                value = problem.model(x)
            return bpda(value, self.surrogate(x)) if torch.is_grad_enabled() else value

        with attacking(self.surrogate):
            return self.attack.search(problem.on(seen, problem.clean, self.attack.clean_gradients))


@dataclass(frozen=True)
class MadeOn(Attack):
    """An attack whose every look goes to another model; whoever calls asks the model what comes of it.

    The clean images are not shown to the other one: the model's own logits of them stand for its.

    Args:
        attack: what is run; one without a target where the other model has other values.
        view: the model it looks at: another gradient of the same values, or another net of the same classes.
    """

    attack: Attack
    view: Model = field(repr=False, compare=False)

    @property
    def stage_names(self) -> tuple[str, ...]:
        """Those of the attack inside."""
        return self.attack.stage_names

    def search(self, problem: Problem) -> Record:
        """The record of the attack inside; its calls are those of the view, one for the clean image if it is asked."""
        gradients = self.attack.clean_gradients
        with attacking(self.view):
            record = self.attack.search(problem.on(self.view, problem.clean, gradients))
        return record._replace(calls=record.calls + (gradients > 0))


def _keep_name(wrapper: Transfer | BPDA, model: object, what: str) -> None:
    """Require a callable, and name it by its class where it has no name."""
    if not callable(model):
        raise TypeError(f"{what}: expected a model, images to logits, got {type(model).__name__}")
    if not wrapper.name:
        object.__setattr__(wrapper, "name", getattr(model, "__name__", type(model).__name__))
