"""Types as the truth: settings held against their annotations, and data read strictly into typed values.

A frozen dataclass calls :func:`check_fields` in ``__post_init__``; a range belongs to the annotation
(``steps: Annotated[int, at_least(0)]``). Unknown names, missing names and wrong types raise and list what is allowed;
nothing is guessed.
"""

import dataclasses
import functools
import inspect
import json
import math
import types
import typing
from collections.abc import Callable, Iterable
from typing import Annotated, Any, Literal, NoReturn, TypeAlias, TypeVar, Union, get_args, get_origin

from blurnet.bounds import Bounds
from blurnet.checks import one_of

T = TypeVar("T")

#: What a text on a command line can give.
Setting = bool | int | float | str | None

#: A type as annotations have it: a class, a union, Literal[...], Annotated[...].
Hint: TypeAlias = Any

#: What JSON holds: None, bool, int, finite float, str, and lists and string-keyed dicts of these.
JSON: TypeAlias = Any

#: ``field(metadata=NOT_STORED)``: belongs to the value, but is neither written to JSON nor read from it.
NOT_STORED = types.MappingProxyType({"stored": False})


@functools.cache
def hints_of(cls: type) -> dict[str, Any]:
    """The annotations of a class by name, with their ranges."""
    return typing.get_type_hints(cls, include_extras=True)


def check_fields(value: Any, owner: str = "", *, option: bool = False) -> None:
    """Hold every field of a dataclass against its annotation; call it in ``__post_init__``.

    Looked at are numbers, text, ``Literal``, ``Annotated`` with :class:`Bounds`, unions, tuples and classes; a
    protocol or a callable is not. An int passes for a float, a bool for neither.

    Args:
        value: the dataclass instance.
        owner: how messages call it; its class where left out.
        option: call a field by its option on a command line, "--image-steps", without an owner.

    Raises:
        ValueError: not one of the choices, or out of range. TypeError: of another type. The message begins with
            ``owner`` and the field's name.
    """
    hints = hints_of(type(value))  # type: ignore[arg-type, unused-ignore]
    for field in dataclasses.fields(value):
        name = f"--{field.name.replace('_', '-')}" if option else f"{owner or type(value).__name__} {field.name}"
        _check(getattr(value, field.name), hints[field.name], name)


def _check(value: Any, hint: Any, what: str) -> None:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        _check(value, args[0], what)
        for bounds in args[1:]:
            if isinstance(bounds, Bounds) and isinstance(value, int | float) and not bounds.hold(value):
                raise ValueError(f"{what}: expected {bounds.text}, got {value!r}")
    elif origin is Literal:
        one_of(value, args, what)
    elif origin in (Union, types.UnionType):
        _check_union(value, args, what)
    elif origin is tuple and isinstance(value, tuple):
        for item, kind in zip(value, args[:1] * len(value) if args[-1:] == (Ellipsis,) else args, strict=False):
            _check(item, kind, what)
    elif not _is_a(value, origin or hint):
        raise TypeError(f"{what}: expected {_name(hint)}, got {value!r}")


def _check_union(value: Any, hints: tuple[Any, ...], what: str) -> None:
    """One of the kinds must do; where the value is of one of them, its own complaint is what is said."""
    errors: list[Exception] = []
    for hint in hints:
        try:
            return _check(value, hint, what)
        except (TypeError, ValueError) as error:
            errors.append(error)
    texts = [error for error in errors if isinstance(error, ValueError)]
    if len(texts) == 1 or (texts and not isinstance(value, str)):
        raise texts[0]
    raise TypeError(f"{what}: expected {' or '.join(map(_name, hints))}, got {value!r}")


def _is_a(value: Any, kind: Any) -> bool:
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if not inspect.isclass(kind) or getattr(kind, "_is_protocol", False) or kind.__module__ == "collections.abc":
        return True
    return isinstance(value, kind)


def _name(hint: Any) -> str:
    if get_origin(hint) is Annotated:
        return f"{_name(get_args(hint)[0])} {next(b.text for b in get_args(hint)[1:])}"
    if get_origin(hint) is Literal:
        return f"one of {list(get_args(hint))}"
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def parse_json(text: str, where: str) -> Any:
    """The JSON value in text; NaN, infinities (1e999) and repeated keys, which JSON has not, raise ValueError."""

    def refuse_constant(name: str) -> NoReturn:
        raise ValueError(f"{where}: {name} is not JSON")

    def finite(digits: str) -> float:
        return float(digits) if math.isfinite(float(digits)) else refuse_constant(digits)

    def refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if repeated := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"{where}: repeated keys {repeated}")
        return dict(pairs)

    try:
        return json.loads(text, parse_constant=refuse_constant, parse_float=finite, object_pairs_hook=refuse_repeats)
    except (json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{where}: not JSON ({error})") from error


def plain(value: Any) -> JSON:
    """A dataclass as what JSON holds: the inverse of :func:`from_dict`.

    Fields are keys, in order, save those of :data:`NOT_STORED`; tuples become lists; a value with a method ``as_dict``
    is what that gives.
    """
    if hasattr(value, "as_dict"):
        return plain(value.as_dict())
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value) if _stored(f)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def from_dict(cls: type[T], data: Any, where: str) -> T:
    """An instance of the dataclass cls from a mapping of its fields; `where` starts every error message.

    Fields of :data:`NOT_STORED` keep their defaults.
    """
    left_out = [field.name for field in dataclasses.fields(cls) if not _stored(field)]  # type: ignore[arg-type]
    if not isinstance(data, dict):
        allowed = [name for name in inspect.signature(cls).parameters if name not in left_out]
        raise TypeError(f"{where}: expected an object with the keys {allowed}, got {data!r}")
    return cls(**check_arguments(cls, data, where, given=left_out))


def _stored(field: "dataclasses.Field[Any]") -> bool:
    return field.init and bool(field.metadata.get("stored", True))


def check_arguments(
    function: Callable[..., Any], data: dict[str, Any], where: str, *, given: Iterable[str] = ()
) -> dict[str, Any]:
    """The keyword arguments `data` checked against the annotated signature of function (or of a class).

    Args:
        function: what will be called.
        data: argument names and plain values (as JSON or YAML holds them).
        where: starts every error message.
        given: parameters the caller fills in itself; `data` may not name them.

    Returns:
        The arguments in the annotated types (a JSON list for a tuple becomes a tuple).

    Raises:
        ValueError: an unknown or a missing name, listing the allowed ones. TypeError: a wrong type.
    """
    parameters = {n: p for n, p in inspect.signature(function).parameters.items() if n not in set(given)}
    allowed = [n for n, p in parameters.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if unknown := sorted(map(str, set(data) - set(allowed))):
        raise ValueError(f"{where}: unknown {unknown}; allowed are {allowed}")
    if missing := [n for n in allowed if parameters[n].default is inspect.Parameter.empty and n not in data]:
        raise ValueError(f"{where}: missing {missing}; allowed are {allowed}")
    hints = typing.get_type_hints(function.__init__ if inspect.isclass(function) else function)
    return {name: coerce(value, hints.get(name, Any), f"{where}: {name}") for name, value in data.items()}


def coerce(value: Any, hint: Any, where: str) -> Any:
    """The value as the type `hint`, or TypeError.

    Knows plain types, Literal, unions, lists, tuples, dicts and dataclasses. An int passes for a float, a
    bool for neither; a list passes for a tuple.
    """
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return coerce(value, args[0], where)  # its range is judged where the value is used
    if origin in (Union, types.UnionType):
        return _coerce_union(value, args, where)
    if origin is Literal:
        if any(value == allowed and type(value) is type(allowed) for allowed in args):
            return value
        raise TypeError(f"{where}: expected one of {list(args)}, got {value!r}")
    if origin in (list, tuple, dict):
        return _coerce_container(value, origin, args, where)
    if dataclasses.is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else from_dict(hint, value, where)
    if hint is float and type(value) is int:
        return float(value)
    if hint is Any or (value is None and hint in (None, type(None))) or type(value) is hint:
        return value
    raise TypeError(f"{where}: expected {getattr(hint, '__name__', hint)}, got {value!r}")


def _coerce_union(value: Any, hints: tuple[Any, ...], where: str) -> Any:
    errors = []
    for hint in sorted(hints, key=lambda hint: type(value) is not hint):  # exact first: 1 stays an int
        try:
            return coerce(value, hint, where)
        except (TypeError, ValueError) as error:
            errors.append(str(error))
    raise TypeError(" or ".join(errors))


def _coerce_container(value: Any, origin: type, args: tuple[Any, ...], where: str) -> Any:
    if origin is dict:
        if not isinstance(value, dict):
            raise TypeError(f"{where}: expected an object, got {value!r}")
        key, item = args
        return {coerce(k, key, where): coerce(v, item, f"{where}: {k}") for k, v in value.items()}
    if not isinstance(value, list | tuple):
        raise TypeError(f"{where}: expected a list, got {value!r}")
    hints = args if origin is tuple and args[-1] is not Ellipsis else args[:1] * len(value)
    if len(hints) != len(value):
        raise TypeError(f"{where}: expected {len(hints)} values, got {value!r}")
    return origin(coerce(v, h, f"{where}[{i}]") for i, (v, h) in enumerate(zip(value, hints, strict=True)))


def is_plain(hint: Any) -> bool:
    """Whether a text can give a value of this type: numbers, text, bool, None, choices, and unions of them."""
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return is_plain(args[0])
    if origin in (Union, types.UnionType):
        return any(is_plain(arg) for arg in args if arg is not type(None))
    return origin is Literal or hint in (int, float, str, bool)


def parse_call(text: str, where: str) -> tuple[str, dict[str, Setting]]:
    """A name with its arguments as one writes them on a command line: "jpeg:quality=30" -> ("jpeg", {"quality": 30}).

    Numbers, true, false and null are read as such, everything else as text.

    Raises:
        ValueError: an argument without "=", or one given twice; ``where`` starts the message.
    """
    name, *settings = text.split(":")
    args: dict[str, Setting] = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not (key and equals and value):
            raise ValueError(f"{where} {text!r}: expected name:argument=value, got {setting!r}")
        if key in args:
            raise ValueError(f"{where} {text!r}: {key!r} is given twice")
        args[key] = _plain_value(value)
    return name, args


def _plain_value(text: str) -> Setting:
    """A JSON number or constant as such, else the text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if value is None or isinstance(value, bool | int | float) else text
