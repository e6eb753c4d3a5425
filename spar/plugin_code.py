"""A digest of the code of a function or a class of one's own, so that a run is not resumed with a judge that was edited.

    def polite(prompt, response):                 changes with this function, its defaults and the values that it
        return "please" in words(response)        encloses, and with `words`, a function of the same module

Plain values and functions of other modules are what they are called: their own code does not count. The digest is one of
byte code, which another version of Python compiles otherwise, so its name in a record has the version.
"""

from __future__ import annotations

import dis
import functools
import hashlib
import inspect
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from enum import Enum
from pathlib import PurePath
from types import CellType, CodeType, FunctionType
from typing import Any

CODE_OF_THIS_PYTHON = f"code (Python {sys.version_info.major}.{sys.version_info.minor})"
"""The name of a digest in a record. It has a space, so no argument of a class has it."""

_PLAIN = (bool, int, float, complex, str, bytes, type(None), type(...))
_LOADS = ("LOAD_GLOBAL", "LOAD_NAME")
_STORES = ("STORE_GLOBAL", "DELETE_GLOBAL")


@dataclass(frozen=True, slots=True)
class Code:
    """The code of an object, as far as it can be read."""

    digest: str
    """Of its functions; "" where there is none in Python."""
    is_whole: bool
    """Whether all values that tell it from another object of the same code are in the digest."""


def code_of(target: object) -> Code:
    """The code of a function, of a class, of the class of an object, or of the functions that a spec holds."""
    reader = _Reader(_module_of(target))
    text = json.dumps(reader.read_object(target), sort_keys=True)
    digest = hashlib.sha256(text.encode("ascii")).hexdigest()[:12]
    return Code(digest if reader.num_functions else "", not reader.has_opaque)


def is_code(name: str) -> bool:
    """Whether a name in a record is that of a digest of code, by any version of Python."""
    return name.startswith("code (")


def is_builtin_function(value: object) -> bool:
    """Whether a value is a function of a module that is not written in Python; a method of an object is none."""
    return inspect.isbuiltin(value) and inspect.ismodule(value.__self__)


def _module_of(target: object) -> str:
    if isinstance(target, functools.partial):
        return _module_of(target.func)
    if not hasattr(target, "__qualname__") and is_dataclass(target):
        functions = (getattr(target, each.name) for each in fields(target))
        of_functions = (f.__module__ for f in functions if isinstance(f, FunctionType))
        return next(of_functions, type(target).__module__)
    owner: Any = target if hasattr(target, "__qualname__") else type(target)
    return str(owner.__module__)


@dataclass(slots=True)
class _Reader:
    """Turns functions and what they hold into JSON."""

    module: str
    """Where helpers are read, too."""
    num_functions: int = 0
    has_opaque: bool = False
    """Whether a value was met of which only the class is known."""
    above: set[int] = field(default_factory=set)
    """Functions and classes that are read or being read."""

    def read_object(self, target: object) -> Any:
        if inspect.ismethod(target):
            return [target.__name__, self._read_class(type(target.__self__))]
        if isinstance(target, FunctionType | functools.partial | type):
            return self.read(target)
        if type(target).__module__.partition(".")[0] == "spar" and is_dataclass(target):
            return self._read_fields(target)
        return self._read_class(type(target))

    def _read_fields(self, target: Any) -> dict[str, Any]:
        return {each.name: self.read(getattr(target, each.name)) for each in fields(target)}

    def read(self, value: Any) -> Any:
        """The JSON of a value."""
        if isinstance(value, _PLAIN):
            return [type(value).__name__, repr(value)]
        if isinstance(value, tuple):
            return [self.read(item) for item in value]
        if isinstance(value, frozenset):
            return sorted(json.dumps(self.read(item)) for item in value)
        if isinstance(value, CodeType):
            return self._read_code(value)
        if isinstance(value, FunctionType):
            return self._read_function(value)
        if isinstance(value, functools.partial):
            given = (value.func, value.args, *sorted(value.keywords.items()))
            return ["partial", self.read(given)]
        if isinstance(value, type):
            return self._read_class(value)
        if is_builtin_function(value):
            return [value.__module__, value.__qualname__]
        if isinstance(value, Enum | PurePath):
            return [type(value).__qualname__, str(value)]
        if hasattr(value, "model_dump_json"):  # a pydantic model, which is not imported for this
            return [type(value).__qualname__, value.model_dump_json()]
        if getattr(getattr(value, "__dataclass_params__", None), "frozen", False):
            return self._read_fields(value)
        self.has_opaque = True
        return [type(value).__module__, type(value).__qualname__]

    def _read_code(self, code: CodeType) -> Any:
        return [
            code.co_code.hex(),
            code.co_exceptiontable.hex(),
            [self.read(value) for value in code.co_consts],
            [*code.co_names, *code.co_varnames, *code.co_freevars],
            [code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags],
        ]

    def _read_function(self, function: FunctionType) -> Any:
        name = f"{function.__module__}.{function.__qualname__}"
        if id(function) in self.above or function.__module__ != self.module:
            return name
        self.above.add(id(function))
        self.num_functions += 1
        return {
            "code": self._read_code(function.__code__),
            "defaults": self.read(function.__defaults__),
            "keywords": {
                each: self.read(value) for each, value in (function.__kwdefaults__ or {}).items()
            },
            "cells": [self._read_cell(cell) for cell in function.__closure__ or ()],
            "globals": dict(self._globals(function)),
        }

    def _read_cell(self, cell: CellType) -> Any:
        try:
            return self.read(cell.cell_contents)
        except ValueError:  # a variable without a value yet
            return None

    def _globals(self, function: FunctionType) -> Iterator[tuple[str, Any]]:
        """The helpers and plain constants of its module that a function uses; what it sets itself is no constant."""
        loaded, stored = set[str](), set[str]()
        for code in _codes(function.__code__):
            for step in dis.get_instructions(code):
                if step.opname in _LOADS:
                    loaded.add(step.argval)
                elif step.opname in _STORES:
                    stored.add(step.argval)
        for name in sorted(loaded - stored):
            value = function.__globals__.get(name)
            is_helper = getattr(value, "__module__", None) == self.module
            if name in function.__globals__ and (
                isinstance(value, _PLAIN) or (is_helper and isinstance(value, FunctionType | type))
            ):
                yield name, self.read(value)

    def _read_class(self, kind: type) -> Any:
        name = f"{kind.__module__}.{kind.__qualname__}"
        if id(kind) in self.above or kind.__module__ != self.module:
            return name
        self.above.add(id(kind))
        members = {each: _function_in(value) for each, value in vars(kind).items()}
        read = {each: self.read(f) for each, f in members.items() if f is not None}
        read |= {
            each: self.read(value)
            for each, value in vars(kind).items()
            if isinstance(value, _PLAIN) and not each.startswith("__")
        }
        return [name, [self._read_class(base) for base in kind.__bases__], read]


def _function_in(member: object) -> FunctionType | None:
    """The function of a class's member: itself, or what a property, a class method or a static method is made of."""
    if isinstance(member, staticmethod | classmethod):
        member = member.__func__
    if isinstance(member, property):
        member = member.fget
    return member if isinstance(member, FunctionType) else None


def _codes(code: CodeType) -> Iterator[CodeType]:
    """A code object and those nested in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)
