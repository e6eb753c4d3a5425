"""Every error that spar raises on purpose.

    SparError                     shown as one line; never a traceback
    |-- UsageError              the user can fix it: a wrong argument, file or row       exit code 2
    |   |-- MissingExtra          an optional package is not installed
    |   |-- ServerRefused         a server rejects every request: wrong key, unknown model
    |   `-- ConfigChanged         a run directory was made with another configuration
    |-- RunStopped                the run stopped and can be resumed                     exit code 1
    |   `-- RunLocked             another process is writing to the run directory
    |-- Interrupted               Ctrl-C stopped a command                               exit code 130
    |-- EngineError               a request failed, retries included
    |   `-- PromptRefused         the engine rejects this prompt only: a fault, not a stop
    |       `-- PromptTooLong     the prompt does not fit in the model's context
    `-- ParseError                a model's reply lacks a required part: a fault, not a stop

A message says what happened, where, what is accepted and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

SOURCE_FOLDER = Path(__file__).parents[1]
"""The folder that contains the package."""
IS_SOURCE = (SOURCE_FOLDER / "pyproject.toml").is_file()
"""Whether spar runs from a source checkout."""


class SparError(Exception):
    """Base class of spar's errors."""

    exit_code: int = 1
    """Exit code of the command line."""
    change: str = ""
    """Where a stage of a pipeline failed: the setting of its own that would let it go on, as `NAME=VALUE`; "" for none. The
    pipeline adds the command that sets it, since only it knows its folder and what its recipe calls the setting."""

    def __init__(self, *args: object, change: str = "") -> None:
        super().__init__(*args)
        if change:
            self.change = change

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process gets the message as it is: subclasses make theirs of other arguments.
        return _restore, (type(self), self.args, self.__dict__)


def _restore(kind: type[SparError], args: tuple[Any, ...], state: dict[str, Any]) -> SparError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(state)
    return error


class UsageError(SparError):
    """A mistake that the user can fix: a wrong argument, a missing file, a bad row."""

    exit_code = 2


class MissingExtra(UsageError):
    """An optional package is not installed.

    Parameters
    ----------
    package:
        The package that could not be imported.
    extra:
        The extra of spar that installs it; "" for a plain installation.
    purpose:
        What needs it, as the subject of a sentence, such as "the hf engine".
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"run: {install_command(extra)}" + (f" (in {SOURCE_FOLDER})" if IS_SOURCE else "")
        )
        self.package = package
        self.extra = extra


class ServerRefused(UsageError):
    """A server rejects requests for a reason that retries cannot change: a wrong key, an unknown model."""


class ConfigChanged(UsageError):
    """The run directory has a run with another configuration.

    Parameters
    ----------
    problem:
        What the directory holds, and what differs.
    advice:
        The end of the message, with flags of the command line; a caller without these puts its own words behind `problem`.
    """

    def __init__(self, problem: str, advice: str = "") -> None:
        super().__init__(f"{problem}{advice}")
        self.problem = problem


class RunStopped(SparError):
    """A run stopped before its end; what it wrote can be read, and the run can be resumed."""


class RunLocked(RunStopped):
    """Another process is writing to the run directory."""


class Interrupted(SparError):
    """Ctrl-C stopped a command; finished work is saved."""

    exit_code = 130


class EngineError(SparError):
    """A request failed, including the engine's retries."""


class PromptRefused(EngineError):
    """The engine rejects one prompt and serves others: a content filter, or a chat template that raises."""


class PromptTooLong(PromptRefused):
    """The rendered prompt leaves no room for a reply in the model's context."""


class ParseError(SparError):
    """A model's reply lacks a part that its role requires."""


def install_command(extra: str = "") -> str:
    """The pip command that installs spar with an extra; in a source checkout, to run in `SOURCE_FOLDER`."""
    name = "." if IS_SOURCE else "spar"
    return f"pip install '{name}[{extra}]'" if extra else f"pip install {name}"


def did_you_mean(name: str, accepted: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The part of a message that names the accepted name most like an unknown one; "" where none is like it.

    Parameters
    ----------
    cutoff:
        Likeness that a name needs at least, from 0 to 1.
    """
    close = difflib.get_close_matches(name, list(accepted), n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


def first_line(error: BaseException) -> str:
    """The first line of what an exception says; the name of its type where it says nothing."""
    return str(error).strip().split("\n", 1)[0] or type(error).__name__
