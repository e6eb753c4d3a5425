"""`spar tui`: browse runs and walk through their search trees in the terminal.

    spar tui                        the runs below runs/, where you left
    spar tui DIR                    a run, or the runs below another folder
    spar tui --model DIR            play with a model of your own
    textual serve -c "spar tui DIR"    the same in a web browser

`?` shows the keys of each screen.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import (
    default_recipe,
    model_flags,
    search_flags,
    server_flags,
    settings_of,
    shape_flags,
    takes,
)


@takes(search_flags, shape_flags, model_flags, server_flags)
def tui(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run directories, or folders of them; none: runs."),
    ] = None,
    recipe: Annotated[str | None, typer.Option(help="YAML file or shipped recipe.")] = None,
    **settings: Any,
) -> None:
    """Browse runs and their search trees in the terminal; the other flags are for its play screen."""
    from spar.cli.run_tui import run
    from spar.config import DecodeConfig, load_decode

    given = settings_of(settings, DecodeConfig.model_fields)
    run(tuple(runs or ()), load_decode(recipe or default_recipe(settings), given))
