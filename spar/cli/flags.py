"""Command-line options generated from the declared settings, and those that several commands share.

    @with_settings(DecodeConfig)
    def decode(prompts: Annotated[...] = "", *, recipe: Recipe = None, overrides: dict[str, Any]) -> None: ...

`with_settings` adds an option for each setting of a class; the command receives those on the command line as `overrides`,
field name to value, as `spar.config.load_decode` takes them.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from spar import plugins
from spar.cli.parsers import parse_adapters, parse_arguments
from spar.config import EvalConfig, Settings, SettingSpec, refuse_ambiguous, specs
from spar.errors import UsageError
from spar.files import expand_home_in
from spar.rows.read import SUFFIXES

Command = Callable[..., None]


def folder(path: Path | None) -> Path | None:
    """The output directory, unless its name is that of a file of rows, which the caller then expects to be written.

    Raises
    ------
    UsageError
        It ends like a file and does not exist.
    """
    if path is not None and path.suffix.lower() in SUFFIXES and not path.exists():
        raise UsageError(
            f"--out {path} is the name of a file, and the run would be a directory; name a directory, such as "
            f"--out runs/{path.stem} (spar export writes a run's answers to a file)"
        )
    return path


Recipe = Annotated[
    str | None,
    typer.Option(
        help="YAML file or shipped recipe [dim]\\[default: paper, or nano for the embedded model][/dim]"
    ),
]
Out = Annotated[
    Path | None,
    typer.Option(
        callback=folder,
        help="Output directory [dim]\\[default: below runs/, named by the settings][/dim]",
    ),
]
Overwrite = Annotated[
    bool,
    typer.Option(
        "--overwrite", help="Delete what spar has written into the directory, and start over."
    ),
]
DryRun = Annotated[
    bool,
    typer.Option("--dry-run", help="Print what would run and its cost; load and write nothing."),
]
Display = Annotated[
    str,
    typer.Option(metavar="auto|rich|plain|none", help="How progress is shown."),
]
OfficialScoring = Annotated[
    bool,
    typer.Option(
        "--official-scoring",
        help="followbench: count an unreadable grade as -1, as the official code does.",
        rich_help_panel="Benchmark",
    ),
]
Offline = Annotated[
    bool,
    typer.Option(
        "--offline",
        help="Download neither data nor models: what is not on this machine is an error.",
        rich_help_panel="Benchmark",
    ),
]
AllowCode = Annotated[
    bool,
    typer.Option(
        "--allow-code-execution",
        help="Run the code that a model writes (humaneval, table7, recipe autoif).",
    ),
]

RENAMED = {
    "--start": "--continue-from",
    "--from": "--rerun-from",
    "--fresh": "--overwrite",
    "--compat": "--official-scoring",
}
"""Flags of the last version that are no settings, and their new names."""


_Context: Any = TyperCommand.context_class


_PATHS = frozenset({"--out", "--runs", "--judge-outputs"})
"""Flags of paths that are no settings, nor recipes, of both of which a `~` is read where they are."""


class SparContext(_Context):  # type: ignore[misc]  # whose module depends on typer's version
    """The context of a command, which may be a group's default one, without a name."""

    @property
    def command_path(self) -> str:
        """What usage lines begin with, without a blank for the name that is not there."""
        return str(super().command_path).rstrip()


class SparCommand(TyperCommand):
    """A command that accepts the flags of the last version under their old names, with a warning.

    In `--out=~/run`, where bash leaves the tilde as it is, it is the home directory, as it is of settings that are paths.
    """

    context_class = SparContext

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Replace old flags that this command has under a new name."""
        renamed = RENAMED | {old: spec.flag for spec in specs(EvalConfig) for old in spec.old_flags}
        own = {flag for parameter in self.params for flag in parameter.opts}
        takes_value = _flags_with_value(self.params)
        current: list[str] = []
        is_value = False
        for index, arg in enumerate(args):
            if arg == "--" and not is_value:
                return super().parse_args(ctx, [*current, *args[index:]])
            flag, equals, value = arg.partition("=")
            if is_value or not arg.startswith("-"):
                is_value = False
            else:
                new = self._current_flag(flag, renamed, own)
                value = expand_home_in(value) if equals and new in _PATHS else value
                arg, is_value = f"{new}{equals}{value}", not equals and new in takes_value
            current.append(arg)
        return super().parse_args(ctx, current)

    def _current_flag(self, flag: str, renamed: Mapping[str, str], own: Collection[str]) -> str:
        """The name that a flag has now; raises `UsageError` for one whose meaning depends on the command."""
        if flag in own:
            return flag
        if "--max-new-tokens" in own:
            refuse_ambiguous([flag])
        new = renamed.get(flag, flag)
        if new == flag or new not in own:
            return flag
        print(f"{flag} is deprecated; use {new}", file=sys.stderr)
        return new


def _flags_with_value(parameters: Collection[Any]) -> set[str]:
    """The flags whose value is the argument behind them."""
    options = (each for each in parameters if each.param_type_name == "option")
    return {flag for each in options if not (each.is_flag or each.count) for flag in each.opts}


class DefaultGroup(TyperGroup):
    """A group whose default command is run if the first argument names no other command."""

    default = "run"

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Insert the default command's name."""
        if not args or args[0] not in self.commands:
            args = [self.default, *self.without_arguments(args)]
        return super().parse_args(ctx, args)

    def without_arguments(self, args: list[str]) -> list[str]:
        """The arguments to use; a subclass may replace an empty command line."""
        return args

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Leave the default command's name out of the usage line."""
        name, command, rest = super().resolve_command(ctx, args)
        return "" if name == self.default else name, command, rest


class HelpedGroup(DefaultGroup):
    """A group whose default command needs an argument: without any, its help is printed."""

    def without_arguments(self, args: list[str]) -> list[str]:
        """Ask for help."""
        return args or ["--help"]


def with_settings(
    kind: type[Settings], *, panels: Collection[str] = (), leave_out: Collection[str] = ()
) -> Callable[[Command], Command]:
    """Add an option for each setting to a command, which receives those on the command line as `overrides`.

    Parameters
    ----------
    panels:
        Only settings of these groups; () for all.
    leave_out:
        Names of settings, or of settings that hold others, without options.
    """
    chosen = [
        spec
        for spec in specs(kind)
        if spec.flag
        and (not panels or spec.panel in panels)
        and not {spec.name, spec.name.partition(".")[0]} & set(leave_out)
    ]

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            options = {spec.name: values.pop(_identifier(spec)) for spec in chosen}
            command(**values, overrides=overrides(options, chosen))

        signature = inspect.signature(command, eval_str=True)
        own = [p for p in signature.parameters.values() if p.name != "overrides"]
        parameters = [
            p.replace(kind=p.KEYWORD_ONLY) for p in (*own, *(_parameter(spec) for spec in chosen))
        ]
        run.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {p.name: p.annotation for p in parameters} | {"return": None}
        return run

    return decorate


def overrides(values: Mapping[str, Any], chosen: Collection[SettingSpec]) -> dict[str, Any]:
    """Field name to value for options on the command line, by the dotted names of their settings.

    Raises
    ------
    UsageError
        An option is not of the form NAME=VALUE, or an adapter not of the form [ROLE=]FOLDER.
    """
    result: dict[str, Any] = {}
    for spec in chosen:
        value = values[spec.name]
        if value is None or value == []:
            continue
        if spec.name == "adapter":
            value = parse_adapters(value)
        elif spec.kind == "pairs":
            value = parse_arguments(value, spec.flag, dashes=spec.name == "header")
        elif spec.kind == "list":
            value = tuple(value)
        name, _, part = spec.name.partition(".")
        if part:
            result.setdefault(name, {})[part] = value
        else:
            result[name] = value
    return result


def accepted(kind: str) -> str:
    """The names of the plug-ins of a kind, for help: "greedy, best-of-n or module:attribute"."""
    tables: Mapping[str, plugins.PluginTable[Any]] = {
        "strategy": plugins.STRATEGIES,
        "engine": plugins.ENGINES,
        "judge": plugins.JUDGES,
        "refiner": plugins.REFINERS,
        "benchmark": plugins.BENCHMARKS,
    }
    names = [*(["auto"] if kind == "engine" else []), *tables[kind]]
    return f"{', '.join(names)} or module:attribute"


def _identifier(spec: SettingSpec) -> str:
    return spec.name.replace(".", "_")


_TYPES: Mapping[str, Any] = {
    "integer": int | None,
    "number": float | None,
    "switch": bool | None,
    "list": list[str] | None,
    "pairs": list[str] | None,
}


_PAIRS = {"adapter": "[ROLE=]FOLDER", "header": "NAME=env:VARIABLE"}
"""What a pair is, where it is not NAME=VALUE."""


_ITEMS = {"offer": "STRATEGY-BUDGET"}
"""What an item of a list is, where it is not a URL."""


def _parameter(spec: SettingSpec) -> inspect.Parameter:
    """The parameter of a function from which typer makes a setting's option."""
    metavar = None
    if spec.choices:
        metavar = "|".join(spec.choices)
    elif spec.kind == "pairs":
        metavar = _PAIRS.get(spec.name, "NAME=VALUE")
    elif spec.kind == "list":
        metavar = _ITEMS.get(spec.name, "URL")
    flag = spec.flag.removeprefix("--")
    option = typer.Option(
        f"--{flag}/--no-{flag}" if spec.kind == "switch" else f"--{flag}",
        help=_help(spec),
        metavar=metavar,
        rich_help_panel=spec.panel,
        show_default=False,
    )
    return inspect.Parameter(
        _identifier(spec),
        inspect.Parameter.KEYWORD_ONLY,
        default=None,
        annotation=Annotated[_TYPES.get(spec.kind, str | None), option],
    )


def _help(spec: SettingSpec) -> str:
    """The setting's help in rich's markup: meaning, accepted names, default."""
    text = spec.help.replace("[", "\\[")
    if spec.names:
        text = f"{text} Accepted: {accepted(spec.names)}."
    shown = shown_default(spec)
    return f"{text} [dim]\\[default: {shown}][/dim]" if shown else text


def shown_default(spec: SettingSpec) -> str:
    """A setting's default as text, "" where none is worth showing."""
    if spec.kind == "switch":
        return "on" if spec.default else "off"
    return "" if spec.default in (None, "", (), {}) else f"{spec.default}"
