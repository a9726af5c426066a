"""Any attack of foolbox, ART or torchattacks under our interface, its result checked."""

import importlib
import io
import random
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from blurnet.attacks.base import Attack, Problem, Record
from blurnet.attacks.engine.asking import Model
from blurnet.attacks.engine.goal import Goal
from blurnet.attacks.engine.targets import Rule
from blurnet.balls import Ball
from blurnet.masks import mask_boxes, masks_of

Library = Literal["foolbox", "art", "torchattacks"]

#: What a result may leave [0, 1] by through the rounding of float32; it is clipped. More raises.
_ROUNDING = 1e-5


@dataclass(frozen=True)
class External(Attack):
    """An attack of another library as one of ours: the model is an argument, its result is checked.

    ::

        External("foolbox", foolbox.attacks.LinfPGD(steps=40), ball=Ball("linf", 8 / 255))
        External("torchattacks", partial(torchattacks.PGD, eps=8 / 255), ball=Ball("linf", 8 / 255))
        External("art", partial(ProjectedGradientDescent, eps=8 / 255, verbose=False), ball=Ball("linf", 8 / 255))

    The library sees the model as its own wrapper over pixels in [0, 1], and without a target only the images that it
    answers correctly: the others are fooled as they are. Its random numbers come from ``seed``, and global random
    states are put back after; most libraries draw them for the whole batch. A result that breaks what it was asked
    to keep raises: clipping it would hide a wrong setting, and a clipped attack is another attack.

    Args:
        library: "foolbox", "art" or "torchattacks" (extra ``blurnet[foolbox]`` or ``blurnet[peers]``).
        attack: foolbox: the attack, which takes its radius from ``ball``. ART: a callable that takes the classifier
            and returns the attack. torchattacks: one that takes the model.
        ball: what the result must keep to; None checks no distance.
        mask: the only pixels that may change, as for :func:`~blurnet.checks.check_mask`; None checks none.
        target: class to reach, or its rule on the clean image; None is untargeted.
        seed: of the library's random numbers and of "random" targets.

    Raises:
        ValueError: bad settings; from the call: a result of another shape, not finite, outside [0, 1], the ball or
            the mask, or an ART attack that has no targeted form.
        ImportError: the library is not installed.
    """

    library: Library
    attack: Callable[..., Any] = field(repr=False)
    ball: Ball | None = None
    mask: Tensor | None = field(default=None, repr=False, compare=False)
    target: int | Rule | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not callable(self.attack):
            raise TypeError(f"External attack: expected a callable, see the class; got {self.attack!r}")

    def __repr__(self) -> str:
        rest = f"ball={self.ball!r}, target={self.target!r}, seed={self.seed!r}"
        return f"External({self.library!r}, {_shown(self.attack)}, {rest})"

    def search(self, problem: Problem) -> Record:
        """See the class; an image has fallen where the answer is wrong, or with a target the target."""
        images = problem.images
        mask = None if self.mask is None else masks_of(self.mask, images, "External mask")
        goal = problem.goal(self.target, seed=self.seed, name=f"{self._name()} target")
        todo = ~problem.wrong if goal.targets is None else torch.ones_like(problem.wrong)
        rows = todo.nonzero().squeeze(1)
        adversarial = images.clone()
        if len(rows):
            adversarial[rows] = self._made(problem.at(rows), goal.at(rows), None if mask is None else mask[rows])
        with torch.no_grad():
            fooled = goal.reached(problem.model(adversarial))
        return problem.record(adversarial, fooled, None if mask is None else mask_boxes(mask))

    def _made(self, problem: Problem, goal: Goal, mask: Tensor | None) -> Tensor:
        """What the library makes of images, checked."""
        net, classes = _Module(problem.model, problem.images).eval(), problem.clean.shape[1]
        job = _Job(net, problem.images.clone(), goal.labels.clone(), goal.targets, classes)
        with _seeded(self.seed, problem.images.device):
            result = {"foolbox": self._foolbox, "art": self._art, "torchattacks": self._torchattacks}[self.library](job)
        return self._checked(result, problem.images, mask)

    def _name(self) -> str:
        return f"External {self.library}"

    def _foolbox(self, job: "_Job") -> object:
        foolbox = library("foolbox")
        model = foolbox.PyTorchModel(job.net, bounds=(0, 1), device=job.images.device)
        if job.targets is None:
            criterion = foolbox.criteria.Misclassification(job.labels)
        else:
            criterion = foolbox.criteria.TargetedMisclassification(job.targets)
        radius = None if self.ball is None else self.ball.radius
        return self.attack(model, job.images, criterion, epsilons=radius)[1]  # raw, clipped, success

    def _art(self, job: "_Job") -> object:
        classifiers = library("art.estimators.classification")
        kind, shape = "gpu" if job.images.is_cuda else "cpu", tuple(job.images.shape[1:])
        classifier = classifiers.PyTorchClassifier(
            job.net, nn.CrossEntropyLoss(), shape, nb_classes=job.classes, clip_values=(0, 1), device_type=kind
        )
        attack = self.attack(classifier)
        if job.targets is not None:
            attack.set_params(targeted=True)
        elif getattr(attack, "targeted", False):
            raise ValueError(f"{self._name()}: {_shown(self.attack)} is targeted; give External a target")
        goals = job.labels if job.targets is None else job.targets
        return attack.generate(x=job.images.cpu().numpy(), y=goals.cpu().numpy())

    def _torchattacks(self, job: "_Job") -> object:
        library("torchattacks")
        attack = self.attack(job.net)
        if job.targets is not None:
            targets = job.targets
            with redirect_stdout(io.StringIO()):  # it prints its change of mode
                attack.set_mode_targeted_by_function(lambda images, labels: targets)
        return attack(job.images, job.labels)

    def _checked(self, result: object, images: Tensor, mask: Tensor | None) -> Tensor:
        """The result as images like ours; raises where it is none, or not within what was asked."""
        if isinstance(result, np.ndarray):
            result = torch.from_numpy(result)
        if not isinstance(result, Tensor) or result.shape != images.shape:
            got = tuple(result.shape) if isinstance(result, Tensor) else type(result).__name__
            raise ValueError(f"{self._name()}: expected images {tuple(images.shape)}, got {got}")
        adversarial = result.detach().to(images)
        if not bool(adversarial.isfinite().all()):
            raise ValueError(f"{self._name()}: its result holds NaN or infinite values")
        low, high = float(adversarial.min()), float(adversarial.max())
        if low < -_ROUNDING or high > 1 + _ROUNDING:
            raise ValueError(f"{self._name()}: expected pixels in [0, 1], got [{low:g}, {high:g}]")
        adversarial = adversarial.clamp(0, 1)
        self._check_ball(adversarial, images)
        return adversarial if mask is None else self._under_mask(adversarial, images, mask)

    def _check_ball(self, adversarial: Tensor, images: Tensor) -> None:
        if self.ball is not None and not bool((inside := self.ball.contains(adversarial, images)).all()):
            far = float(self.ball.distance(adversarial, images).max())
            raise ValueError(
                f"{self._name()}: {int((~inside).sum())} of {len(images)} images lie outside {self.ball!r}, the "
                f"farthest at {far:g}; set the attack's own radius and norm to the ball's"
            )

    def _under_mask(self, adversarial: Tensor, images: Tensor, mask: Tensor) -> Tensor:
        """The result with the image itself outside the mask, where it may differ by rounding only."""
        outside = ~mask
        changed = (((adversarial - images).abs() > _ROUNDING) & outside).flatten(1).any(dim=1)
        if bool(changed.any()):
            raise ValueError(f"{self._name()}: {int(changed.sum())} of {len(images)} images change outside the mask")
        return torch.where(outside, images, adversarial)


@dataclass
class _Job:
    """One call, as every library needs it."""

    net: nn.Module
    images: Tensor
    labels: Tensor
    targets: Tensor | None
    classes: int


class _Module(nn.Module):
    """Any model as the module with parameters that the libraries ask for."""

    def __init__(self, model: Model, images: Tensor) -> None:
        super().__init__()
        self.model = model
        # They read the device from a parameter; a callable has none.
        self.place = nn.Parameter(images.new_empty(0), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.model(x)


def library(name: str) -> Any:
    """The module of another library; ImportError says what to install."""
    try:
        with warnings.catch_warnings():  # foolbox 3.3.4 imports from a place that SciPy has deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            return importlib.import_module(name)
    except ImportError as error:
        root = name.split(".")[0]
        extra = "foolbox" if root == "foolbox" else "peers"
        raise ImportError(f"External {root}: cannot import {name} ({error}); pip install 'blurnet[{extra}]'") from error


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Global random states from ``seed`` inside, as they were after: the libraries draw from them."""
    numpy_state, python_state = np.random.get_state(), random.getstate()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            yield
    finally:
        np.random.set_state(numpy_state)  # noqa: NPY002
        random.setstate(python_state)


def _shown(attack: Callable[..., Any]) -> str:
    """A short text for reports: no addresses."""
    if isinstance(attack, partial):
        settings = [*map(repr, attack.args), *(f"{k}={v!r}" for k, v in attack.keywords.items())]
        return f"{_shown(attack.func)}({', '.join(settings)})"
    if hasattr(attack, "__qualname__"):
        return str(attack.__qualname__)
    text = repr(attack)
    return type(attack).__name__ if " at 0x" in text else text
