"""`spar serve`: an OpenAI-compatible server whose answers come from a search.

    spar serve                                                 the embedded model
    spar serve --model DIR --offer bfs-15 --offer greedy
    spar serve --base-url http://host:8000/v1 --port 8100      in front of a running server

Any client of OpenAI's API reaches it at http://127.0.0.1:8100/v1; the models are the searches. Flags override the recipe.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import DryRun, Recipe, with_settings
from spar.config import DecodeConfig, ServeGroup
from spar.errors import MissingExtra
from spar.listener import Listener
from spar.run.resolve import check_combination
from spar.sanitize import printable
from spar.serve.settings import server_settings

PANELS = (*("Server", "Search", "Models", "Engine", "Servers and clusters", "Run", "Sampling"),)
OF_RUNS = ("total_budget", "redo", "limit", "prompt_field")
"""Settings of runs whose prompts are known from the start."""


class ServeFlags(ServeGroup, DecodeConfig):
    """The flags of the command."""


@with_settings(ServeFlags, panels=PANELS, leave_out=OF_RUNS)
def serve(
    *,
    recipe: Recipe = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder of the run directories [dim]\\[default: runs/serve][/dim]"),
    ] = None,
    dry_run: DryRun = False,
    overrides: dict[str, Any],
) -> None:
    """Answer the requests of any OpenAI client by searching, and store every tree."""
    settings = server_settings(recipe, overrides, out)
    try:
        from spar.serve.server import dry_run_text
        from spar.serve.server import serve as run
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package == "spar":
            raise
        raise MissingExtra(package, "serve", "spar serve") from error
    if dry_run:
        check_combination(settings.config)
        print(printable(dry_run_text(settings)))
        return
    run(settings, _Log())


class _Log(Listener):
    """Prints notes on standard error."""

    def note(self, line: str) -> None:
        """Print the line."""
        print(printable(line), file=sys.stderr, flush=True)
