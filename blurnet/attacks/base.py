"""One entrance for every attack: guard once, pose the problem, search, report; the model is left as it was."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from blurnet.attacks.engine.asking import Counted, Model, Precision, at_least_float32
from blurnet.attacks.engine.clean import CleanPass
from blurnet.attacks.engine.goal import Goal, Wins
from blurnet.attacks.engine.targets import Target, choose_targets
from blurnet.checks import check_images, check_labels, check_logits
from blurnet.modes import attacking
from blurnet.strict import check_fields

STANDING = -1  #: in ``Record.stage``: no stage broke the image
WRONG = -2  #: in ``Record.stage``: the model was wrong before any attack


class Record(NamedTuple):
    """Which stage broke each of N images, at what cost, and where its patch lies."""

    adversarial: Tensor  #: (N, 3, H, W) in [0, 1]
    stage: Tensor  #: (N,) int64, index into ``stage_names``; -1 still standing, -2 wrong before any attack
    #: (N,) int64: how often the model saw the image, forward and backward as one. The clean image counts once, whoever
    #: sent it and however many gradients are taken there; what ``search`` gives leaves it out. An attack that keeps no
    #: count of its own says its batch's average.
    calls: Tensor
    box: Tensor  #: (N, 4) int64: the patch, half-open (top, bottom, left, right) in pixels; -1 where there is none


class Attack(ABC):
    """An attack as a value: its settings are frozen, the model is an argument.

    ``attack(model, images, labels)`` returns adversarial images of the same shape, :meth:`record` also which images
    fell to what; ``repr(attack)`` is its line in a report. Subclasses are frozen dataclasses that implement
    :meth:`search`; their settings are held against the fields' annotations (:func:`~blurnet.strict.check_fields`).
    """

    #: True: one noise for the whole batch, so that an image's result depends on its companions.
    universal: ClassVar[bool] = False

    def __init_subclass__(cls, **settings: Any) -> None:
        """See to it that ``@dataclass`` leaves the representation as it is here."""
        super().__init_subclass__(**settings)
        if "__repr__" not in cls.__dict__:
            cls.__repr__ = cls.__repr__  # type: ignore[method-assign]

    def __post_init__(self) -> None:
        check_fields(self)

    def __repr__(self) -> str:
        """``Name(setting=value, ...)``, without tensors; functions by their name."""
        shown = []
        for f in fields(self):  # type: ignore[arg-type]
            value = getattr(self, f.name)
            if f.repr and f.name not in self._unsaid and not isinstance(value, Tensor):
                text = value.__qualname__ if hasattr(value, "__qualname__") else repr(value)
                shown.append(f"{f.name}={text}")
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The stages in the order they run; ``Record.stage`` points into it. One with the attack's name by default."""
        return (type(self).__name__,)

    @property
    def clean_gradients(self) -> int:
        """How often :meth:`search` asks for :meth:`Problem.clean_gradient`, at most."""
        return 0

    @property
    def _unsaid(self) -> Collection[str]:
        """Settings that say nothing beside the others, left out of the representation."""
        return ()

    @final
    def __call__(self, model: Model, images: Tensor, labels: Tensor) -> Tensor:
        """Attack a batch.

        Works under ``torch.inference_mode``, ``no_grad`` and autocast too. While it runs, a module is in evaluation
        mode and its parameters take no gradient; both are restored.

        Args:
            model: images in [0, 1] to logits (N, classes); a module or any callable.
            images: (N, 3, H, W) in [0, 1]. Of half precision they are attacked in float32, the model sees them in
                their own precision, and the result is rounded to it.
            labels: true classes (N,), integers.

        Returns:
            Adversarial images (N, 3, H, W) in [0, 1], detached.

        Raises:
            TypeError, ValueError: bad images, labels or logits; the message shows what came.
            RuntimeError: an attack by gradients on a model that gives none.
        """
        return self.record(model, images, labels).adversarial

    @final
    def record(self, model: Model, images: Tensor, labels: Tensor, *, clean: Tensor | None = None) -> Record:
        """Attack a batch as a call does, and report each image's stage, cost and place.

        Args:
            model: as for a call.
            images: as for a call.
            labels: as for a call.
            clean: the model's logits (N, classes) of these very images, where the caller has them. Else one pass gives
                them, and all gradients at the clean images as well.

        Raises:
            TypeError, ValueError, RuntimeError: as a call does.
        """
        with Problem.of(model, images, labels, clean, self.clean_gradients) as problem:
            found = self.search(problem)
        return found._replace(adversarial=found.adversarial.detach().to(images.dtype), calls=found.calls + 1)

    @abstractmethod
    def search(self, problem: "Problem") -> Record:
        """The attack itself, on checked input, with gradients enabled and the model in evaluation mode."""


@dataclass(frozen=True)
class Problem:
    """What an attack is given: a model, checked images that it may keep, and what the model says of them.

    ``problem.at(rows)`` is the problem of some of its images, ``problem.on(model)`` that of another model.

    Args:
        model: images to logits; it counts the images it is shown since this problem was posed.
        images: (N, 3, H, W) in [0, 1], float32 or float64.
        labels: (N,) int64.
        clean: the model's logits of the images, (N, classes).
        precision: of the caller.
        shown: the pass of the clean images, of which these are the ``rows``.
        rows: (N,) int64.
        notes: what attacks have found out about the images of the whole batch, each under a key of its own; shared by
            the problems of some of them, so that it is found once whoever asks.
    """

    model: Counted
    images: Tensor
    labels: Tensor
    clean: Tensor
    precision: Precision
    shown: CleanPass
    rows: Tensor
    notes: dict[Any, dict[int, Any]] = field(default_factory=dict)

    @classmethod
    @contextmanager
    def of(
        cls, model: Model, images: Tensor, labels: Tensor, clean: Tensor | None = None, gradients: int = 0
    ) -> "Iterator[Problem]":
        """The border, where everything is checked and never again: copies of images and labels, under `attacking`.

        For attacks that have a second way in, such as :meth:`blurnet.RP2.against`.

        Args:
            model: as for :meth:`Attack.record`.
            images: likewise.
            labels: likewise.
            clean: likewise.
            gradients: how often :meth:`clean_gradient` will be asked; so long the graph of the clean pass is kept.

        Raises:
            TypeError, ValueError: bad images, labels or logits; the message shows what came.
        """
        check_images(images)
        check_labels(labels, n=len(images))
        with attacking(model), Precision.of(images) as precision:
            # Copies: tensors made in inference mode cannot be saved for a backward pass.
            x = at_least_float32(images.detach().clone())
            y = labels.to(images.device, torch.int64, copy=True)
            shown = CleanPass(Counted(model, precision), x, gradients)
            logits = shown.logits() if clean is None else clean.detach().to(x.device, copy=True)
            check_logits(logits, n=len(x))
            check_labels(y, n=len(x), classes=logits.shape[1])
            rows = torch.arange(len(x), device=x.device)
            yield cls(Counted(model, precision), x, y, at_least_float32(logits), precision, shown, rows)

    def __len__(self) -> int:
        return len(self.images)

    def at(self, rows: Tensor) -> "Problem":
        """The problem of the images at some indices; passes count for this one too."""
        return replace(
            self,
            model=Counted(self.model),
            images=self.images[rows],
            labels=self.labels[rows],
            clean=self.clean[rows],
            rows=self.rows[rows],
        )

    def on(self, model: Model, clean: Tensor | None = None, gradients: int = 0) -> "Problem":
        """The same images for another model, already under `attacking`.

        Args:
            model: images to logits.
            clean: its logits of the images; None: a pass gives them.
            gradients: as for :meth:`of`.

        Raises:
            TypeError, ValueError: bad logits.
        """
        shown = CleanPass(Counted(model, self.precision), self.images, gradients)
        if clean is None:
            clean = shown.logits()
            check_logits(clean, n=len(self))
        rows = torch.arange(len(self), device=self.rows.device)
        return replace(self, model=Counted(model, self.precision), clean=clean, shown=shown, rows=rows, notes={})

    def clean_gradient(self, objective: Callable[[Tensor], Tensor]) -> Tensor:
        """The gradient of an objective in the pixels of the clean images, (N, 3, H, W), from their one pass.

        Args:
            objective: logits (N, classes) to (N,), each of its image alone.

        Raises:
            RuntimeError: the model gives no gradient.
        """
        return self.shown.gradient(self.rows, objective)

    @property
    def wrong(self) -> Tensor:
        """Where the model's answer is wrong before any attack, (N,) bool."""
        return self.clean.argmax(dim=1) != self.labels

    def goal(self, target: Target, *, seed: int = 0, name: str = "target", wins: Wins = "target") -> Goal:
        """The goal of an attack with this target; see :func:`~blurnet.attacks.engine.targets.choose_targets`."""
        targets = choose_targets(target, self.clean, self.labels, seed=seed, images=self.images, name=name)
        return Goal(self.labels, targets, wins)

    def stages(self, fooled: Tensor) -> Tensor:
        """Stages (N,) of an attack that has one: 0 where ``fooled``, else standing; wrong where the model was."""
        return torch.where(fooled, 0, STANDING).where(~self.wrong, WRONG)

    def no_box(self) -> Tensor:
        """Boxes (N, 4) where there is no patch."""
        return torch.full((len(self), 4), -1, device=self.images.device)

    def average_calls(self) -> Tensor:
        """How often the model has seen an image since this problem was posed, on average, rounded up, (N,)."""
        return torch.full_like(self.labels, -(-self.model.seen // len(self)))

    def record(self, adversarial: Tensor, fooled: Tensor | None = None, box: Tensor | None = None) -> Record:
        """The record of an attack of one stage, with the average calls.

        Args:
            adversarial: what it found.
            fooled: which images fell, (N,) bool; None: any wrong answer, at one more pass.
            box: where its patches lie; None: it has none.
        """
        if fooled is None:
            with torch.no_grad():
                fooled = Goal(self.labels).altered(self.model(adversarial.detach()))
        box = self.no_box() if box is None else box
        return Record(adversarial, self.stages(fooled), self.average_calls(), box)
