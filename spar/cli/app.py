"""`spar`: finds the commands, and prints every error as one line with an exit code.

A command's module is imported when the command is called, so that `spar --help` is instant.
Exit codes: 0; 2 for a usage error; 1 for a run that stopped; 130 for Ctrl-C.
"""

from __future__ import annotations

import errno
import gc
import io
import os
import signal
import sys
from contextlib import suppress
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from spar import __version__
from spar.cli.plugin_errors import describe_plugin_error
from spar.errors import SparError
from spar.plugins import load
from spar.sanitize import printable
from spar.shutdown import run_shutdown_callbacks

COMMANDS = {
    "decode": (
        "spar.cli.decode:decode",
        "Search for an answer to every prompt and store every tree.",
    ),
    "eval": ("spar.cli.eval:eval_app", "Measure a model, or a search, on benchmarks."),
    "sweep": ("spar.cli.sweep:sweep", "Plot accuracy against cost for strategies and budgets."),
    "serve": ("spar.cli.serve:serve", "Answer any OpenAI client's requests by searching."),
    "report": ("spar.cli.report:report", "Run experiments of the paper, a page for each."),
    "tui": ("spar.cli.tui:tui", "Browse runs and their search trees in the terminal."),
    "view": ("spar.cli.view:view", "Show runs as pages in a browser on this machine."),
    "export": (
        "spar.cli.export:export",
        "Write a run, or one of its trees, as a page or another file.",
    ),
    "evolve": (
        "spar.cli.evolve:evolve",
        "Make plain prompts complex, by a teacher or by a program.",
    ),
    "bootstrap": ("spar.cli.bootstrap:bootstrap", "Train the first actor and refiner."),
    "train": ("spar.cli.train:train_app", "Train actor and refiner by self-play."),
    "data": ("spar.cli.data:data_app", "Download the benchmarks' data and list it."),
    "models": ("spar.cli.models:models_app", "Fetch models by name and list them."),
    "doctor": ("spar.cli.doctor:doctor", "Print what is installed and which hardware there is."),
}
"""Name to "module:attribute", a function or a typer app, and its line in `spar --help`."""


class LazyGroup(TyperGroup):
    """A group that imports a command when it is called, not to list it."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        for name, (_, summary) in COMMANDS.items():
            self.add_command(TyperCommand(name, help=summary))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Load the command that is called."""
        if args and args[0] in COMMANDS:
            self.add_command(load_command(args[0]))
            signal.signal(signal.SIGINT, signal.default_int_handler)  # see `spar.__main__`
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Print panels in colour on a terminal, else plain text."""
        self.rich_markup_mode = "rich" if sys.stdout.isatty() else None
        super().format_help(ctx, formatter)
        self.rich_markup_mode = None  # errors are plain


def load_command(name: str) -> Any:
    """Import a command."""
    from spar.cli.flags import SparCommand

    target = load(COMMANDS[name][0], "command")
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(add_completion=False, rich_markup_mode="rich")
        target.command(cls=SparCommand)(function)
    command = typer.main.get_command(target)
    command.name = name
    return command


app = typer.Typer(
    cls=LazyGroup,
    help="Inference scaling and self-improvement of instruction following by tree-search refinement.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the `spar` command."""
    _open_closed_streams()
    _escape_unencodable()
    # A search makes millions of small objects and hardly a cycle: looking for those took a tenth of its time.
    gc.set_threshold(5_000, 10, 10)
    try:
        code = app(standalone_mode=False)
        sys.stdout.flush()  # a full disk behind it is an error like any other
        sys.exit(code if isinstance(code, int) else 0)
    except SparError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except _USAGE_ERROR as error:
        error.message = printable(error.message)
        error.show()
        sys.exit(error.exit_code)
    except typer.Abort:
        _fail("aborted", 1)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        _discard_output()
        sys.exit(1)
    except OSError as error:
        _fail_in_plugin(error)
        if error.filename is not None:
            name = str(error.filename)
            name = name if len(name) <= _SHOWN else f"{name[:_SHOWN]}..."
            _fail(f"cannot use {name!r}: {error.strerror}", 2)
        if error.errno not in _UNWRITABLE:
            raise
        _discard_output()
        _fail(f"cannot write to standard output: {error.strerror}", 1)
    except Exception as error:
        _fail_in_plugin(error)
        raise


_USAGE_ERROR: Any = next(
    kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "ClickException"
)
"""The base of typer's errors, whose module depends on typer's version."""
_SHOWN = 200
"""Characters of a file's name in an error."""
_UNWRITABLE = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EFBIG, errno.EBADF)


def _open_closed_streams() -> None:
    """Let a standard stream that was closed (`>&-`) lead nowhere.

    Else the next file that is opened would get its number, and with it what libraries and child processes print.
    """
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            number = os.open(
                os.devnull, os.O_RDWR
            )  # the lowest that is free: that of the closed stream
            os.set_inheritable(number, True)
            setattr(sys, name, os.fdopen(number, mode, encoding="utf-8"))


def _escape_unencodable() -> None:
    """Let standard output escape characters that its encoding lacks, as standard error does.

    A redirected one is in the system's code page on Windows, and in the locale's encoding elsewhere.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _discard_output() -> None:
    """Let what is still to be written go nowhere, so that the interpreter's last flush does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _fail_in_plugin(error: Exception) -> None:
    message = describe_plugin_error(error)
    if message is not None:
        _fail(message, 1)


def _fail(message: str, code: int) -> None:
    with suppress(OSError):
        sys.stdout.flush()
    run_shutdown_callbacks()
    print(f"spar: {printable(message)}", file=sys.stderr)
    sys.stderr.flush()
    if code == 130:
        # A worker thread may be in the middle of a step or a load and must not hold us up; what it
        # has started so far must not outlive us.
        from spar.subprocesses import kill_children

        kill_children()
        os._exit(code)
    sys.exit(code)
