"""How a setting is declared: once, as a field. Flags, help, docs and the stored form are derived from it.

    class SearchGroup(Settings):
        panel = "Search"

        beam_width: int = setting(2, ge=1, stored_as="keep")
        '''Nodes of a level that are expanded further (paper: 2).'''

The docstring is the help text. `specs(DecodeConfig)` lists the settings of a class with all that was declared.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union

from pydantic import BaseModel, ConfigDict, Field, model_validator

from spar.files import expand_home_in


class Settings(BaseModel):
    """Base of all settings: frozen, no unknown fields, finite numbers, documented by docstrings."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )

    panel: ClassVar[str] = ""
    """Title of the group that the fields belong to, in help and docs."""

    def stored(self) -> dict[str, Any]:
        """The form on disk: plain JSON values by stored name.

        A setting declared with `omit_default` is left out while it has its default.
        """
        return self.model_dump(mode="json")

    @classmethod
    def from_stored(cls, values: Mapping[str, Any]) -> Self:
        """The settings of a stored form.

        Raises
        ------
        pydantic.ValidationError
            An unknown setting, or a value out of range.
        """
        return cls.model_validate(values)

    @classmethod
    def stored_names(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` with each field's name replaced by the name it is stored under."""
        fields = cls.model_fields
        return {
            (fields[name].serialization_alias or name) if name in fields else name: value
            for name, value in values.items()
        }

    @classmethod
    def field_names(cls, values: Mapping[str, Any]) -> dict[str, Any]:
        """`values` with stored names replaced by the fields' names; if both are given, the later one wins."""
        names = _names_by_stored(cls)
        return {names.get(name, name): value for name, value in values.items()}

    @model_validator(mode="before")
    @classmethod
    def _accept_stored_names(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        known = {spec.name: spec for spec in specs(cls)}
        return {
            name: _as_given(value, known[name], cls.model_fields[name].annotation)
            if name in known and name in cls.model_fields
            else value
            for name, value in cls.field_names(values).items()
        }


def _as_given(value: Any, spec: SettingSpec, annotation: Any) -> Any:
    """A value as its setting takes it; where that is a list of texts, a single text is a list of one."""
    item = next(iter(typing.get_args(annotation)), None)
    if isinstance(value, str) and spec.kind == "list":
        return (value,) if item is str or typing.get_origin(item) is Literal else value
    if isinstance(value, bool) and spec.kind in ("integer", "number"):
        return str(value).lower()  # pydantic takes true for 1
    return _without_tilde(value) if spec.is_path else value


def _without_tilde(value: Any) -> Any:
    """A path, or a mapping to paths, with the home directory in place of `~/`."""
    if isinstance(value, Mapping):
        return {key: _without_tilde(path) for key, path in value.items()}
    return expand_home_in(value) if isinstance(value, str) else value


@cache
def _names_by_stored(kind: type[Settings]) -> Mapping[str, str]:
    aliases = ((field.serialization_alias, name) for name, field in kind.model_fields.items())
    return {alias: name for alias, name in aliases if alias}


def setting(
    default: Any = ...,
    *,
    stored_as: str = "",
    flag: str | None = None,
    old_flags: Sequence[str] = (),
    may_change: bool | Sequence[str] = False,
    names: str = "",
    is_path: bool = False,
    omit_default: bool = False,
    **constraints: Any,
) -> Any:
    """Declare a field of `Settings`.

    Parameters
    ----------
    stored_as:
        The name on disk and in older recipes, where the field's name is another. Its flag stays accepted.
    flag:
        The flag without its dashes, where it is not the field's name; "" for none. For a field that holds
        settings of its own, the prefix of their flags.
    old_flags:
        Flags of earlier versions, without their dashes, that are still accepted.
    may_change:
        Whether the setting may differ when a run is resumed; for a dictionary, the keys that may.
    names:
        The kind of plug-in that the setting names, such as "strategy"; help lists the accepted names.
    is_path:
        Whether the setting names a file or folder, or may do so, as that of a model: a `~/` at its start, or at
        that of a value of a dictionary, is the home directory.
    omit_default:
        Leave the setting out of the stored form while it has its default, so that runs of versions without
        it keep the same digest.
    constraints:
        Passed to `pydantic.Field`: `ge`, `gt`, `le`, `lt`.
    """
    facts: dict[str, Any] = {
        "flag": flag,
        "old_flags": [*old_flags, *([stored_as.replace("_", "-")] if stored_as else [])],
        "may_change": may_change if isinstance(may_change, bool) else list(may_change),
        "names": names,
        "is_path": is_path,
    }
    if omit_default:
        constraints["exclude_if"] = lambda value: value == default
    return Field(
        default=default,
        serialization_alias=stored_as or None,
        json_schema_extra={"setting": facts},
        **constraints,
    )


Kind = Literal["text", "integer", "number", "switch", "choice", "list", "pairs"]
"""How a value is written on the command line."""


@dataclass(frozen=True, slots=True)
class SettingSpec:
    """A setting as it is declared."""

    name: str
    """The field's name; dotted for a field of a field, such as `draft.temperature`."""
    panel: str
    """Title of its group."""
    flag: str
    """Its flag with dashes; "" where it has none."""
    old_flags: tuple[str, ...]
    """Flags of earlier versions."""
    kind: Kind
    choices: tuple[str, ...]
    """What a choice, or each item of a list, accepts."""
    default: Any
    """None for a required setting, too."""
    help: str
    """Its docstring as a single line."""
    stored_as: str
    """Its dotted name on disk."""
    may_change: bool | tuple[str, ...]
    """Whether it, or which of its keys, may differ when a run is resumed."""
    names: str
    """The kind of plug-in it names, "" for none."""
    is_path: bool
    """Whether it names a file or folder, or may do so."""


@cache
def specs(kind: type[Settings]) -> tuple[SettingSpec, ...]:
    """The settings of a class in the order of their declaration, nested settings by dotted name."""
    result: list[SettingSpec] = []
    for name, field in kind.model_fields.items():
        facts = _facts(kind, name)
        stored = field.serialization_alias or name
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Settings):
            result += _inner(name, stored, annotation, field.default, facts)
            continue
        flag = facts.get("flag")
        text = (name if flag is None else flag).replace("_", "-")
        value_kind, choices = _kind(annotation)
        may_change = facts.get("may_change", False)
        result.append(
            SettingSpec(
                name=name,
                panel=facts["panel"],
                flag=f"--{text}" if text else "",
                old_flags=tuple(f"--{old}" for old in facts.get("old_flags", ())),
                kind=value_kind,
                choices=choices,
                default=None
                if field.is_required()
                else field.get_default(call_default_factory=True),
                help=facts["help"],
                stored_as=stored,
                may_change=may_change if isinstance(may_change, bool) else tuple(may_change),
                names=facts.get("names", ""),
                is_path=facts.get("is_path", False),
            )
        )
    return tuple(result)


def _facts(kind: type[Settings], name: str) -> dict[str, Any]:
    """What `setting` was called with; a class that only changes a default inherits the rest."""
    facts: dict[str, Any] = {"panel": "", "help": ""}
    for base in reversed(kind.__mro__):
        if not (issubclass(base, Settings) and name in inspect.get_annotations(base)):
            continue
        field = base.model_fields[name]
        extra = field.json_schema_extra
        if isinstance(extra, dict) and "setting" in extra:
            facts |= typing.cast("dict[str, Any]", extra["setting"])
        if field.description:
            facts["help"] = " ".join(field.description.split())
        facts["panel"] = facts["panel"] or vars(base).get("panel", "")
    return facts


def _inner(
    name: str, stored: str, kind: type[Settings], value: Any, facts: Mapping[str, Any]
) -> list[SettingSpec]:
    """The settings of the field `name`, whose type is `kind`."""
    prefix = facts.get("flag")
    prefix = name if prefix is None else prefix
    dashed = f"--{prefix.replace('_', '-')}-" if prefix else "--"
    return [
        replace(
            spec,
            name=f"{name}.{spec.name}",
            panel=facts["panel"],
            flag=dashed + spec.flag.removeprefix("--") if spec.flag else "",
            default=getattr(value, spec.name, None),
            help=f"{facts['help'].partition('.')[0]}: {spec.help[:1].lower()}{spec.help[1:]}",
            stored_as=f"{stored}.{spec.stored_as}",
        )
        for spec in specs(kind)
    ]


def _kind(annotation: Any) -> tuple[Kind, tuple[str, ...]]:
    if typing.get_origin(annotation) in (Union, UnionType):
        annotation, *_ = (arg for arg in typing.get_args(annotation) if arg is not NoneType)
    origin = typing.get_origin(annotation) or annotation
    if origin is Literal:
        return "choice", tuple(map(str, typing.get_args(annotation)))
    if isinstance(origin, type) and issubclass(origin, Settings):
        return "pairs", ()
    if origin is tuple:
        return "list", _kind(typing.get_args(annotation)[0])[1]
    kinds: Mapping[Any, Kind] = {
        bool: "switch",
        int: "integer",
        float: "number",
        dict: "pairs",
    }
    return kinds.get(origin, "text"), ()


def accepts_none(kind: type[Settings], name: str) -> bool:
    """Whether None is a value of a setting, such as the seed of an unseeded run."""
    field = kind.model_fields.get(name)
    return field is not None and NoneType in typing.get_args(field.annotation)


def changeable(kind: type[Settings]) -> tuple[str, ...]:
    """Dotted stored names of the settings that may differ when a run is resumed."""
    names: list[str] = []
    for spec in specs(kind):
        if spec.may_change is True:
            names.append(spec.stored_as)
        elif spec.may_change:
            names += [f"{spec.stored_as}.{key}" for key in spec.may_change]
    return tuple(names)
