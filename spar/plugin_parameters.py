"""Where a plug-in object is defined, and what it was made with, as far as a record can tell: the arguments of its class
that are plain values.

    Strict(threshold=0.5, rubric="...")     {"threshold": 0.5, "rubric": "sha256:9f86d081884c"}

A text is recorded by its digest, since it may be long or secret. Functions and objects are left out. A bound method was
made with what its object was made with.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import math
import sys
from collections.abc import Iterator, Mapping
from types import CellType, FunctionType
from typing import Any

_ABSENT = object()
_CONSTANTS = (bool, int, float, complex, str, bytes)


def path_of(target: object) -> str:
    """The module and name where an object is defined, or the function that a spec or a `functools.partial` is made of."""
    owner: Any = target
    form = "{}"
    if isinstance(target, functools.partial) and not hasattr(target, "__qualname__"):
        # Not the function's own name, under which it may be passed as well.
        owner, form = target.func, "partial({})"
    if not hasattr(owner, "__qualname__"):
        inner = [getattr(owner, name) for name in ("plan", "open", "make") if hasattr(owner, name)]
        owner = next((part for part in inner if hasattr(part, "__qualname__")), type(owner))
    module = sys.modules.get(owner.__module__)
    names = [name for name, value in vars(module).items() if value is target] if module else []
    return f"{owner.__module__}:{names[0] if names else form.format(owner.__qualname__)}"


def is_same(one: object, other: object, above: frozenset[tuple[int, int]] = frozenset()) -> bool:
    """Whether two objects are one, or do the same: functions that one piece of code made twice, with the same values.

    Each look-up of a bound method makes another object, too. Values that can change are the same only if they are one
    object: two lists that are equal now may be what two functions collect.

    Parameters
    ----------
    above:
        Pairs that are being compared: a function may hold itself.
    """
    if one is other or (id(one), id(other)) in above:
        return True
    if type(one) is not type(other):
        return False
    if inspect.ismethod(one) or isinstance(one, _CONSTANTS):
        return one == other
    above |= {(id(one), id(other))}
    if isinstance(one, tuple) and isinstance(other, tuple):
        return len(one) == len(other) and all(
            is_same(mine, its, above) for mine, its in zip(one, other, strict=True)
        )
    if inspect.isfunction(one) and inspect.isfunction(other):
        same_code = one.__code__ is other.__code__ and one.__globals__ is other.__globals__
        return same_code and is_same(_values(one), _values(other), above)
    if isinstance(one, functools.partial) and isinstance(other, functools.partial):
        return is_same(_values(one), _values(other), above)
    return False


def _values(target: FunctionType | functools.partial[Any]) -> tuple[Any, ...]:
    """All that tells a function, or a partial, from another of the same code."""
    if isinstance(target, functools.partial):
        return target.func, target.args, *sorted(target.keywords.items())
    cells = tuple(map(_content, target.__closure__ or ()))
    named = sorted((target.__kwdefaults__ or {}).items())
    return cells, target.__defaults__, *named


def _content(cell: CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # a variable without a value yet
        return _ABSENT


def plain_parameters(target: object) -> dict[str, Any]:
    """Argument to value, as JSON, of an object's class or of a `functools.partial`; {} for functions and classes."""
    if inspect.ismethod(target):
        return plain_parameters(target.__self__)
    if isinstance(target, functools.partial):
        values = {
            **{str(index): value for index, value in enumerate(target.args)},
            **target.keywords,
        }
    elif inspect.isroutine(target) or isinstance(target, type):
        return {}
    else:
        values = {name: _attribute(target, name) for name in _arguments(target) or ()}
    recorded = {name: _recorded(value) for name, value in values.items()}
    return {name: value for name, value in recorded.items() if value is not _ABSENT}


def has_plain_parameters(target: object) -> bool:
    """Whether `plain_parameters` has all that an object holds, so that it tells objects of the class apart."""
    if inspect.ismethod(target):
        return has_plain_parameters(target.__self__)
    if isinstance(target, functools.partial):
        num_arguments = len(target.args) + len(target.keywords)
        named = inspect.isfunction(target.func) and "<" not in target.func.__qualname__
        return named and len(plain_parameters(target)) == num_arguments
    if isinstance(target, type) or inspect.isroutine(target):
        return False
    arguments = _arguments(target)
    if arguments is None or len(plain_parameters(target)) != len(arguments):
        return False
    return {name.removeprefix("_") for name in _held(target)} <= {*arguments}


def _held(target: object) -> Iterator[str]:
    """Names of the attributes that an object itself has."""
    yield from vars(target) if hasattr(target, "__dict__") else ()
    slots = (getattr(base, "__slots__", ()) for base in type(target).__mro__)
    for names in slots:
        listed = (names,) if isinstance(names, str) else names
        yield from (name for name in listed if name != "__weakref__" and hasattr(target, name))


def _arguments(target: object) -> list[str] | None:
    """The arguments of an object's class; None for a class of an extension module."""
    if dataclasses.is_dataclass(target):
        return [field.name for field in dataclasses.fields(target) if field.init]
    try:
        signature = inspect.signature(type(target))
    except (TypeError, ValueError):
        return None
    return list(signature.parameters)


def _attribute(target: object, name: str) -> Any:
    """An argument as an object usually stores it."""
    return getattr(target, name, getattr(target, f"_{name}", _ABSENT))


def _recorded(value: Any) -> Any:
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, str):
        digest = hashlib.sha256(value.encode("utf-8", "backslashreplace")).hexdigest()
        return f"sha256:{digest[:12]}"
    if isinstance(value, list | tuple):
        items = [_recorded(item) for item in value]
        return _ABSENT if any(item is _ABSENT for item in items) else items
    if isinstance(value, Mapping):
        pairs = {str(key): _recorded(item) for key, item in value.items()}
        return _ABSENT if any(item is _ABSENT for item in pairs.values()) else pairs
    return _ABSENT
