"""Where a plug-in object is defined, and what it was made with, as far as a record can tell: the arguments of its class
that are plain values or functions, and its code.

    Strict(threshold=0.5, rubric="...")     {"threshold": 0.5, "rubric": "sha256:9f86d081884c", "code (Python 3.11)": ...}

A text is recorded by its digest, since it may be long or secret, and so is code (`spar.plugin_code`). Other objects are
left out. A bound method was made with what its object was made with.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import math
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import CellType, FunctionType
from typing import Any

from spar.errors import UsageError
from spar.plugin_code import CODE_OF_THIS_PYTHON, code_of, is_builtin_function

_ABSENT = object()
_CONSTANTS = (bool, int, float, complex, str, bytes)


@dataclass(frozen=True, slots=True)
class Description:
    """What tells a plug-in object from others that are defined at the same place."""

    parameters: dict[str, Any]
    """Argument to value, as JSON, and the digest of the code, for the record."""
    attributes: dict[str, Any]
    """Other plain attributes of the object when it was passed: they may count, so no record has them."""
    is_whole: bool
    """Whether `parameters` has everything that it was made with."""


def describe(target: object) -> Description:
    """What an object was made with, and its code."""
    code, parameters = code_of(target), plain_parameters(target)
    of_code = {CODE_OF_THIS_PYTHON: code.digest} if code.digest else {}
    if _is_of_code(target):
        return Description(of_code, {}, bool(code.digest) and code.is_whole)
    is_whole = _num_arguments(target) == len(parameters)
    return Description({**parameters, **of_code}, _attributes(target), is_whole)


def require_constructor(kind: type, plugin: str, *parameters: str) -> None:
    """Raise `UsageError` for a class that is not made as spar makes one of its kind, such as one passed for its object.

    Parameters
    ----------
    plugin:
        What it should be, for the message: "engine".
    parameters:
        What spar passes to it, by position.
    """
    try:
        signature = inspect.signature(kind)
    except (TypeError, ValueError):  # a class of an extension module
        return
    try:
        signature.bind(*parameters)
    except TypeError as error:
        raise UsageError(
            f"the {plugin} {kind.__qualname__} is a class that takes {signature}, and spar would call it with "
            f"({', '.join(parameters)}); pass an object of it, {kind.__qualname__}(...)"
        ) from error


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
    """Argument to value, as JSON, of an object's class or of a `functools.partial`; {} for functions, classes and specs."""
    if inspect.ismethod(target):
        return plain_parameters(target.__self__)
    if isinstance(target, functools.partial):
        values = {
            **{str(index): value for index, value in enumerate(target.args)},
            **target.keywords,
        }
    elif _is_of_code(target):
        return {}
    else:
        values = {name: _attribute(target, name) for name in _arguments(target) or ()}
    recorded = {name: _recorded(value) for name, value in values.items()}
    return {name: value for name, value in recorded.items() if value is not _ABSENT}


def _is_of_code(target: object) -> bool:
    """Whether an object was made with nothing but code: a function, a class, or a spec, which holds functions."""
    if inspect.ismethod(target) or isinstance(target, functools.partial):
        return False
    is_spec = type(target).__module__.startswith("spar.") and dataclasses.is_dataclass(target)
    return inspect.isroutine(target) or isinstance(target, type) or is_spec


def _num_arguments(target: object) -> int | None:
    """The arguments of an object's class, or of a partial; None where they, or the partial's function, cannot be named."""
    if inspect.ismethod(target):
        return _num_arguments(target.__self__)
    if isinstance(target, functools.partial):
        named = inspect.isfunction(target.func) and "<" not in target.func.__qualname__
        return len(target.args) + len(target.keywords) if named else None
    arguments = _arguments(target)
    return None if arguments is None else len(arguments)


def _attributes(target: object) -> dict[str, Any]:
    """The plain attributes of an object that are no arguments of its class."""
    if inspect.ismethod(target):
        return _attributes(target.__self__)
    arguments = {*(_arguments(target) or ())}
    names = [name for name in _held(target) if name.removeprefix("_") not in arguments]
    recorded = {name: _recorded(getattr(target, name)) for name in names}
    return {name: value for name, value in recorded.items() if value is not _ABSENT}


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
    if inspect.isfunction(value):
        code = code_of(value)
        return f"code:{code.digest}" if code.is_whole else _ABSENT
    if isinstance(value, type) or is_builtin_function(value):
        return f"{value.__module__}:{value.__qualname__}"
    return _ABSENT
