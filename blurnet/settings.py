"""A setting is said once: as a field of a frozen dataclass, from which signatures, checks and texts follow.

    @dataclass(frozen=True)
    class MedianSettings(Settings):
        size: Odd = 3

    @takes(MedianSettings)
    def median(x: Tensor, settings: MedianSettings) -> Tensor: ...

    class Median(WithSettings, nn.Module):
        @takes(MedianSettings)
        def __init__(self, settings: MedianSettings) -> None:
            super().__init__()
            self.settings = settings

        def forward(self, x: Tensor) -> Tensor:
            return median(x, self.settings)

``median(x, size=5)`` and ``Median(5)`` are checked against the field's annotation, a type checker and
``inspect.signature`` see ``size: int = 3``, ``Median(5).size`` is 5, and ``repr`` shows "Median(size=5)".
"""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any, ClassVar, Concatenate, Generic, ParamSpec, Protocol, TypeVar, get_args, get_origin, overload

import torch
from torch import Tensor, nn

from blurnet.strict import check_fields, hints_of

P = ParamSpec("P")
A = TypeVar("A")
M = TypeVar("M", bound=nn.Module)
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
S = TypeVar("S")
S_contra = TypeVar("S_contra", contravariant=True)

_PLAIN = (bool, int, float, str, type(None))


class Settings:
    """Base of frozen dataclasses of settings: each field is held against its annotation when one is made.

    ``field(repr=False)`` leaves a setting out of texts; ``metadata={"format": ".4g"}`` says how it is written.
    A program under ``torch.compile`` checks no settings, as it checks no pixels.

    Args:
        owner: how messages call what is set, a keyword of the class; its name without "Settings" where left out.

    Raises:
        ValueError: out of range, or not one of the choices. TypeError: of another type. The message begins with
            ``owner`` and the field's name.
    """

    _owner: ClassVar[str]

    def __init_subclass__(cls, owner: str | None = None) -> None:
        super().__init_subclass__()
        cls._owner = owner or cls.__name__.removesuffix("Settings")

    def __post_init__(self) -> None:
        if not torch.compiler.is_compiling():
            check_fields(self, self._owner)


class Function(Protocol[P, S_contra, R_co]):
    """A function of images and settings: these one by one, or ready in their dataclass."""

    @overload
    def __call__(self, x: Tensor, settings: S_contra, /) -> R_co: ...
    @overload
    def __call__(self, x: Tensor, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class Function2(Protocol[P, S_contra, R_co]):
    """The same with a second tensor."""

    @overload
    def __call__(self, x: Tensor, mask: Tensor, settings: S_contra, /) -> R_co: ...
    @overload
    def __call__(self, x: Tensor, mask: Tensor, *args: P.args, **kwargs: P.kwargs) -> R_co: ...


class takes(Generic[P, S]):  # noqa: N801  a decorator
    """Give a function, or a module's ``__init__``, the fields of a dataclass as its arguments.

    The function's last parameter receives the dataclass. Callers give its fields, by place or by name, behind the
    function's other arguments, or a ready instance, which is not checked again.
    """

    def __init__(self, kind: Callable[P, S]) -> None:
        self.kind = kind

    @overload
    def __call__(self, function: Callable[[M, S], None]) -> Callable[Concatenate[M, P], None]: ...
    @overload
    def __call__(self, function: Callable[[M, A, S], None]) -> Callable[Concatenate[M, A, P], None]: ...
    @overload
    def __call__(self, function: Callable[[Tensor, S], R]) -> Function[P, S, R]: ...
    @overload
    def __call__(self, function: Callable[[Tensor, Tensor, S], R]) -> Function2[P, S, R]: ...
    @overload
    def __call__(self, function: Callable[[A, S], R]) -> Callable[Concatenate[A, P], R]: ...
    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function with the fields in the place of its last parameter, which is named "settings"."""
        kind: Any = self.kind
        *leading, _ = inspect.signature(function).parameters.values()
        names, count = [parameter.name for parameter in leading], len(leading)
        checked_once = functools.lru_cache(maxsize=64, typed=True)(kind)

        def ready(*args: Any, **kwargs: Any) -> Any:
            plain = all(isinstance(value, _PLAIN) for value in (*args, *kwargs.values()))
            return (checked_once if plain and not torch.compiler.is_compiling() else kind)(*args, **kwargs)

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            if len(args) == count + 1 and not kwargs and isinstance(args[count], kind):
                return function(*args)
            first = {name: kwargs.pop(name) for name in names[len(args) :] if name in kwargs}
            return function(*args[:count], **first, settings=ready(*args[count:], **kwargs))

        hints = hints_of(kind)
        fields = [
            parameter.replace(annotation=hints[parameter.name])
            for parameter in inspect.signature(kind).parameters.values()
        ]
        call.__signature__ = inspect.signature(function).replace(parameters=leading + fields)  # type: ignore[attr-defined]
        own = {name: hint for name, hint in function.__annotations__.items() if name in {*names, "return"}}
        call.__annotations__ = own | {field.name: field.annotation for field in fields}
        call.settings = kind  # type: ignore[attr-defined]
        return call


class _Setting:
    """A setting of a module as its attribute; to change it make another module."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __get__(self, module: Any, owner: type) -> Any:
        return self if module is None else getattr(module.settings, self.name)

    def __set__(self, module: Any, value: Any) -> None:
        raise AttributeError(f"{type(module).__name__} {self.name}: fixed when it was made, {value!r} comes too late")


class WithSettings:
    """Mixin of modules whose ``__init__`` :func:`takes` settings and keeps them as ``self.settings``.

    Every field is an attribute to read, unless the class declares one of that name of its own (a setting that is
    learned, or changes); ``print(net)`` shows the fields.
    """

    settings: Any = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        kind = vars(cls.__init__).get("settings")
        declared = {name for base in cls.__mro__ for name in {**vars(base), **vars(base).get("__annotations__", {})}}
        for name in () if kind is None else hints_of(kind):
            if name not in declared:
                setattr(cls, name, _Setting(name))

    def extra_repr(self) -> str:
        """The settings, for ``print(net)``."""
        return self.shown()

    def shown(self, *without: str) -> str:
        """The settings as text, "size=3, mode='soft'", but for some; one that is learned with its present value."""
        fields = () if self.settings is None else dataclasses.fields(self.settings)
        return ", ".join(f"{f.name}={self._text(f)}" for f in fields if f.repr and f.name not in without)

    def _text(self, field: "dataclasses.Field[Any]") -> str:
        value, held = getattr(self.settings, field.name), getattr(self, field.name)
        if not isinstance(held, Tensor) or held.ndim == 0:  # a kernel may be held under the name of its kind
            value = held.item() if isinstance(held, Tensor) else held
        if value is None or isinstance(value, bool | str):
            return repr(value)
        kind: Any = type(self.settings)
        form = "g" if _is_float(hints_of(kind)[field.name]) else ""
        return format(value, field.metadata.get("format", form))


def _is_float(hint: Any) -> bool:
    return hint is float or (get_origin(hint) is not None and any(map(_is_float, get_args(hint))))
