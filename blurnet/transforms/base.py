"""Transformations of images, their chains, and which gradient an attacker sees through them."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Literal

import torch
from torch import Tensor, nn

from blurnet.bpda import bpda
from blurnet.settings import WithSettings

Gradient = Literal["own", "surrogate", "identity"]

# A context variable is private to its thread, so two models may be attacked side by side. torch.compile guards on it.
_GRADIENT: ContextVar[Gradient] = ContextVar("gradient of transformations", default="own")

_STEP = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio: neighbouring calls get seeds far apart


class Transform(WithSettings, nn.Module, ABC):
    """An image-to-image defense: exact in the forward pass, with a differentiable stand-in for the attacker.

    A subclass implements :meth:`forward`, the exact transformation of images (N, C, H, W) in [0, 1], and says in
    class attributes what it is. One that is not differentiable implements :meth:`surrogate` too.

    Called in the ordinary way its gradient is its own, and where it has none the backward pass raises: a gradient
    of zero would look like robustness. Inside :func:`adaptive` and :func:`identity_bpda` the numbers stay the same,
    bit for bit, and the gradient is the surrogate's or the identity's.

    A random transformation takes its numbers from :meth:`generator`, which is fresh at every call and depends on
    ``seed`` and on how many calls went before (:meth:`reset` forgets them); the surrogate of a call sees the same
    numbers as its forward pass. The draws are the same for all images of a batch, so that an image's result does
    not depend on its companions. The global random state is neither read nor written.

    Its settings are a frozen dataclass, which its constructor takes field by field: see :mod:`blurnet.settings`.

    Args:
        seed: of a random transformation; without meaning for others.

    Source of the method: Athalye et al. 2018 (BPDA).
    """

    differentiable: bool  #: forward has a useful gradient of its own almost everywhere
    random: bool = False  #: forward draws random numbers, in evaluation mode too
    seed: int  #: of the present sequence of calls

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if not hasattr(cls, "differentiable"):
            raise TypeError(f"{cls.__name__}: say whether it is differentiable, in a class attribute of that name")
        if not cls.differentiable and cls.surrogate is Transform.surrogate:
            raise TypeError(f"{cls.__name__} is not differentiable: implement surrogate(x)")

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        self.seed, self._calls = seed, 0

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """The exact transformation of images (N, C, H, W) in [0, 1]; the result is in [0, 1] too."""

    def surrogate(self, x: Tensor) -> Tensor:
        """A differentiable stand-in of the same output shape; forward itself where that is differentiable."""
        return self.forward(x)

    def attach(self, model: nn.Module) -> None:
        """Told by :func:`defend` which model follows; few transformations need to know."""

    def generator(self) -> torch.Generator:
        """The random numbers of the present call, from their beginning, on the CPU."""
        return torch.Generator().manual_seed((self.seed + _STEP * self._calls) % 2**63)

    def reset(self, seed: int | None = None) -> None:
        """Begin the sequence of calls anew, with another seed if one is given; repeats a random evaluation."""
        self.seed, self._calls = self.seed if seed is None else seed, 0

    def __call__(self, x: Tensor) -> Tensor:
        """Transform; which gradient the result has is described at the class."""
        result: Tensor = self._drawn(x) if self.random else self._ruled(x)
        return result

    # The number of the call changes: a compiler would begin anew at each.
    @torch.compiler.disable  # type: ignore[untyped-decorator]
    def _drawn(self, x: Tensor) -> Tensor:
        self._calls += 1
        return self._ruled(x)

    def _ruled(self, x: Tensor) -> Tensor:
        gradient = _GRADIENT.get()
        if self._goes_straight(gradient) or not self._records(x):
            return self._exact(x)
        with torch.no_grad():
            value = self._exact(x)
        if gradient == "own":
            return _refuse_gradient(value, x, type(self).__name__)
        identity = gradient == "identity" and value.shape == x.shape
        return bpda(value, x if identity else self.surrogate(x))

    def _exact(self, x: Tensor) -> Tensor:
        result: Tensor = super().__call__(x)
        return result

    def _goes_straight(self, gradient: Gradient) -> bool:
        """Whether forward itself has the gradient that the rule asks for."""
        same = gradient == "surrogate" and type(self).surrogate is Transform.surrogate
        return self.differentiable and (gradient == "own" or same)

    def _records(self, x: Tensor) -> bool:
        """Whether anything here can take a gradient."""
        return torch.is_grad_enabled() and (x.requires_grad or any(p.requires_grad for p in self.parameters()))


class Pipeline(Transform):
    """Transformations one after another, as one.

    Each stage keeps its own gradient rule, at the exact values that reach it: the gradient of a chain is the chain
    of the stages' gradients.

    Args:
        transforms: in the order of their application; none is the identity.

    Raises:
        TypeError: something else than a transformation.
    """

    differentiable = True

    def __init__(self, *transforms: Transform) -> None:
        super().__init__()
        _check_transforms("Pipeline", transforms)
        self.stages = nn.ModuleList(transforms)
        self.differentiable = all(transform.differentiable for transform in transforms)
        self.random = any(transform.random for transform in transforms)

    def forward(self, x: Tensor) -> Tensor:
        """Images (N, C, H, W) in [0, 1] through all stages."""
        for stage in self.stages:
            x = stage(x)
        return x

    def surrogate(self, x: Tensor) -> Tensor:
        """The same numbers with each stage's surrogate gradient."""
        with _gradient("surrogate"):
            return self.forward(x)

    def reset(self, seed: int | None = None) -> None:
        """Reset every stage; a seed given goes to all of them."""
        for stage in transforms_of(self):
            stage.reset(seed)

    def _goes_straight(self, gradient: Gradient) -> bool:
        return True  # the stages read the rule themselves


def transforms_of(model: nn.Module) -> list[Transform]:
    """Every transformation anywhere in a model, in order of registration; of chains, their stages."""
    return [m for m in model.modules() if isinstance(m, Transform) and not isinstance(m, Pipeline)]


def reset_transforms(*models: nn.Module) -> None:
    """Begin the random sequence of every transformation in these models anew, so that what follows repeats."""
    for transform in [stage for model in models for stage in transforms_of(model)]:
        transform.reset()


def defend(model: nn.Module, *transforms: Transform) -> nn.Sequential:
    """A model behind transformations: ``Sequential(*transforms, model)``, which shares the model's parameters.

    Args:
        model: images in [0, 1] to logits, its normalisation inside.
        transforms: applied to the images in the order given.

    Raises:
        TypeError: something else than a transformation. ValueError: none given.
    """
    if not transforms:
        raise ValueError("defend: no transformations given")
    _check_transforms("defend", transforms)
    for stage in (stage for transform in transforms for stage in transforms_of(transform)):
        stage.attach(model)
    return nn.Sequential(*transforms, model)


def adaptive(model: nn.Module) -> nn.Module:
    """The model as an attacker who knows its defenses sees it: the same numbers, the surrogates' gradients.

    Args:
        model: any module with transformations in front, chained or nested anywhere inside. It is left as it is.

    Returns:
        A module that shares everything with ``model``, its child "model"; an adaptive model itself is returned.

    Raises:
        TypeError: not a module. ValueError: it holds ``nn.DataParallel``, whose threads would not see the rule.
    """
    return _with_gradient(model, "surrogate")


def identity_bpda(model: nn.Module) -> nn.Module:
    """As :func:`adaptive`, but the gradient passes every transformation unchanged: BPDA as LGS's paper runs it.

    Where a transformation changes the image's size there is no identity; its surrogate's gradient is taken.
    """
    return _with_gradient(model, "identity")


class _WithGradient(nn.Module):
    """A model run under another rule for the gradient of its transformations."""

    def __init__(self, model: nn.Module, gradient: Gradient) -> None:
        super().__init__()
        self.model, self.gradient = model, gradient
        self.training = model.training  # train() would reach into the model

    def forward(self, x: Tensor) -> Any:
        with _gradient(self.gradient):
            return self.model(x)


def _with_gradient(model: nn.Module, gradient: Gradient) -> nn.Module:
    if not isinstance(model, nn.Module):
        raise TypeError(f"expected a module, whose transformations can be found, got {type(model).__name__}")
    if isinstance(model, _WithGradient):
        return model if model.gradient == gradient else _WithGradient(model.model, gradient)
    if any(isinstance(m, nn.DataParallel) for m in model.modules()):
        raise ValueError("nn.DataParallel runs threads of its own; attack its .module, or use DistributedDataParallel")
    return _WithGradient(model, gradient)


@contextmanager
def _gradient(rule: Gradient) -> Iterator[None]:
    token = _GRADIENT.set(rule)
    try:
        yield
    finally:
        _GRADIENT.reset(token)


class _Refuse(torch.autograd.Function):
    """The value; a backward pass through it raises."""

    @staticmethod
    def forward(ctx: Any, value: Tensor, x: Tensor, name: str) -> Tensor:
        ctx.name = name
        return value.view_as(value)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        raise RuntimeError(
            f"{ctx.name} has no gradient of its own: attack blurnet.adaptive(model), or blurnet.identity_bpda(model)"
        )


def _refuse_gradient(value: Tensor, x: Tensor, name: str) -> Tensor:
    result: Tensor = _Refuse.apply(value, x, name)
    return result


def _check_transforms(where: str, transforms: tuple[Transform, ...]) -> None:
    for transform in transforms:
        if not isinstance(transform, Transform):
            raise TypeError(f"{where}: expected transformations, got {type(transform).__name__}")
