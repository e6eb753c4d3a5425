"""`spar`: assembles the commands, and turns every error into one line and an exit code.

Exit codes: 0; 2 for a mistake of the user's; 1 for a run that stopped; 130 for Ctrl-C.
"""

from __future__ import annotations

import os
import sys

import typer

from spar import __version__
from spar.cli.bootstrap import bootstrap
from spar.cli.data import data_app
from spar.cli.decode import decode
from spar.cli.doctor import doctor
from spar.cli.eval import eval_app
from spar.cli.evolve import evolve
from spar.cli.export import export
from spar.cli.flags import SparCommand
from spar.cli.sweep import sweep
from spar.cli.train import train_app
from spar.cli.tui import tui
from spar.errors import SparError
from spar.process_tree import kill_children
from spar.shutdown import run_shutdown_callbacks

app = typer.Typer(
    help="Inference scaling and self-improvement of instruction following by tree-search refinement.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command(cls=SparCommand)(decode)
app.command(cls=SparCommand)(doctor)
app.add_typer(eval_app, name="eval")
app.command(cls=SparCommand)(sweep)
app.command(cls=SparCommand)(tui)
app.command(cls=SparCommand)(export)
app.command(cls=SparCommand)(evolve)
app.command(cls=SparCommand)(bootstrap)
app.add_typer(data_app, name="data")
app.add_typer(train_app, name="train")


@app.callback(invoke_without_command=True)
def _root(
    version: bool = typer.Option(False, "--version", help="Print the version and stop."),
) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def main() -> None:
    """Entry point of the `spar` command."""
    try:
        app(standalone_mode=True)
    except SparError as error:
        _fail(str(error), error.exit_code)
    except KeyboardInterrupt:
        _fail("interrupted", 130)
    except BrokenPipeError:  # the reader of our output has gone, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str, code: int) -> None:
    sys.stdout.flush()
    run_shutdown_callbacks()
    print(f"spar: {message}".encode("utf-8", "backslashreplace").decode(), file=sys.stderr)
    sys.stderr.flush()
    if code == 130:
        # A worker thread may be in the middle of a step or a load and must not hold us up; what it
        # has started so far must not outlive us.
        kill_children()
        os._exit(code)
    sys.exit(code)
