"""Strict reading of data into typed values: JSON that travels names fields and plain values, nothing else.

Unknown names, missing names and wrong types raise and list what is allowed; nothing is guessed.
"""

import dataclasses
import inspect
import json
import types
import typing
from collections.abc import Callable, Iterable
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

T = TypeVar("T")


def parse_json(text: str, where: str) -> Any:
    """The JSON value in text; NaN, infinities and repeated keys, which JSON has not, raise ValueError."""

    def refuse_constant(name: str) -> None:
        raise ValueError(f"{where}: {name} is not JSON")

    def refuse_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if repeated := sorted({key for key in keys if keys.count(key) > 1}):
            raise ValueError(f"{where}: repeated keys {repeated}")
        return dict(pairs)

    try:
        return json.loads(text, parse_constant=refuse_constant, object_pairs_hook=refuse_repeats)
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error})") from error


def from_dict(cls: type[T], data: Any, where: str) -> T:
    """An instance of the dataclass cls from a mapping of its fields; `where` starts every error message."""
    if not isinstance(data, dict):
        raise TypeError(f"{where}: expected an object with the keys {_names(cls)}, got {data!r}")
    return cls(**check_arguments(cls, data, where))


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


def _names(cls: type) -> list[str]:
    return list(inspect.signature(cls).parameters)
