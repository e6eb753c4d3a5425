"""The objects of this process that were passed for plug-ins of one kind, each with a name for settings and records."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from spar.plugin_parameters import Description, describe, is_same, path_of


class PluginObjects:
    """Objects by their names: `module:attribute`, with a number where several are defined at one place."""

    def __init__(self) -> None:
        self._objects: dict[str, Any] = {}
        self._descriptions: dict[str, Description] = {}
        """What these were made with; read when they are passed first, since an object may count."""
        self._recorded_names: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._objects

    def __getitem__(self, name: str) -> Any:
        return self._objects[name]

    def name_of(self, target: object) -> str:
        """The name of an object, under which it is registered."""
        same = next(
            (k for k, registered in self._objects.items() if is_same(registered, target)), None
        )
        if same is not None and not inspect.isroutine(target):
            return same
        description = describe(target)
        if same is not None:  # a helper of the function's module may be another one by now
            self._descriptions[same] = description
            return same
        path = path_of(target)
        others = {k: self._descriptions[k] for k in self._objects if k.partition("#")[0] == path}
        # A named function or class that is defined again, as in a notebook, replaces the former one, unless its code
        # differs; two lambdas, two objects of one class, or their methods, are distinguished by a number.
        named = hasattr(target, "__qualname__") and "<" not in path and not inspect.ismethod(target)
        is_repeated = named and others.get(path) == description
        name = path if path not in self._objects or is_repeated else f"{path}#{1 + len(others)}"
        self._objects[name], self._descriptions[name] = target, description
        self._recorded_names[name] = self._name_for_record(name, description, others)
        return name

    def _name_for_record(
        self, name: str, description: Description, others: Mapping[str, Description]
    ) -> str:
        if not description.is_whole:
            return name
        alike = {k: d for k, d in others.items() if d.parameters == description.parameters}
        if not alike:
            return name.partition("#")[0]
        # Parameters do not tell it from these: it is equal to one of them, or another object.
        equal = (k for k, d in alike.items() if d.attributes == description.attributes)
        return self._recorded_names.get(next(equal, name), name)

    def recorded_name(self, name: str) -> str:
        """The name for the record: without its number where a description tells it from others of its place."""
        return self._recorded_names.get(name, name)

    def description(self, name: str) -> Description:
        """What the object of a name was made with."""
        return self._descriptions[name]

    def describe_as(self, name: str, target: object) -> Description:
        """The description of an object that only a name was passed for; that of functions and classes may change."""
        if inspect.isroutine(target) or isinstance(target, type):
            return describe(target)
        if name not in self._descriptions:
            self._descriptions[name] = describe(target)
        return self._descriptions[name]
