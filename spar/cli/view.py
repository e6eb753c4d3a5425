"""`spar view`: runs as pages in a browser on this machine.

spar view runs/mine
spar view runs --port 8771
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def view(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run directories, or folders of them; default: runs."),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0,
            max=65_535,
            help="Port to listen on, 0 for any free one. Default: the first free one from 8770.",
            show_default=False,
        ),
    ] = None,
    open_browser: Annotated[
        bool, typer.Option("--open", help="Open the page in the default browser.")
    ] = False,
) -> None:
    """Show runs as pages in a browser; they are read, never changed, and this machine alone can reach them."""
    from spar.cli.run_view import run

    run(tuple(runs or ()), port, open_browser=open_browser)
