"""Every error that spar raises on purpose.

    SparError                     shown as one line; never a traceback
    |-- UsageError              the person can mend it: a wrong flag, file or row      exit code 2
    |   |-- MissingExtra          an optional package is not installed
    |   |-- ServerRefused         a server will not serve us: wrong key, unknown model
    |   `-- ConfigChanged         a run directory was made with another configuration
    |-- RunStopped                the run stopped and can be resumed                     exit code 1
    |   `-- RunLocked             another process is writing to the run directory
    |-- Interrupted               Ctrl-C stopped a command                               exit code 130
    |-- EngineError               a request could not be served; outlives its retries
    |   `-- PromptRefused         the engine serves others, but not this prompt: a fault, not a stop
    |       `-- PromptTooLong     the prompt does not fit in the model's context
    `-- ParseError                a model's text lacks what was asked for: a fault, not a stop

An error message names the thing, the value received, the values accepted and the next step.
"""


class SparError(Exception):
    """Root of the tree; `exit_code` is what the command line returns for it."""

    exit_code: int = 1


class UsageError(SparError):
    """Something the person can mend: a wrong flag, a missing file, a bad row."""

    exit_code = 2


class MissingExtra(UsageError):
    """A command needs a package that is not installed.

    Parameters
    ----------
    package:
        The package that could not be imported.
    extra:
        The extra of spar that brings it.
    purpose:
        What needs it, as the subject of a sentence.
    """

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        super().__init__(
            f"{purpose} needs the package {package!r}, which is not installed; "
            f"in spar's source folder run: pip install '.[{extra}]'"
        )
        self.package = package
        self.extra = extra


class ServerRefused(UsageError):
    """A server will not serve us, and asking again cannot help: a wrong key, an unknown model."""


class ConfigChanged(UsageError):
    """The run directory holds a run with another configuration."""


class RunStopped(SparError):
    """The run stopped before its end; what was written is readable and the run can be resumed."""


class RunLocked(RunStopped):
    """Another process is writing to the run directory."""


class Interrupted(SparError):
    """Ctrl-C stopped a command; what was finished is saved."""

    exit_code = 130


class EngineError(SparError):
    """A request could not be served, even after the engine's own retries."""


class PromptRefused(EngineError):
    """The engine works, but will not serve this prompt: a content filter, a template that refuses it."""


class PromptTooLong(PromptRefused):
    """The rendered prompt leaves no room for a reply in the model's context."""


class ParseError(SparError):
    """A model's text lacks what its role was asked for."""
