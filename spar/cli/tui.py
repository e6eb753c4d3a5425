"""`spar tui`: browse runs and walk through their search trees in the terminal.

    spar tui                        the runs below runs/, where you left
    spar tui DIR                    a run, or the runs below another folder
    spar tui --model DIR            play with a model of your own
    textual serve -c "spar tui DIR"    the same in a web browser

`?` shows the keys of each screen; your own are read from ~/.config/spar/keys.toml, which the command `:` Edit the key map
writes with every action in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from spar.cli.flags import Recipe, with_settings
from spar.config import DecodeConfig, default_recipe, load_decode

PANELS = ("Search", "Models", "Engine", "Servers and clusters", "Sampling")


@with_settings(DecodeConfig, panels=PANELS)
def tui(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="RUN", help="Run directories, or folders of them; default: runs."),
    ] = None,
    *,
    recipe: Recipe = None,
    overrides: dict[str, Any],
) -> None:
    """Browse runs and their search trees in the terminal; the settings are for its play screen.

    ? lists the keys. Your own are read from ~/.config/spar/keys.toml; the browser's command "Edit the key map" writes it.
    """
    from spar.cli.run_tui import run

    def config_of(changes: Mapping[str, Any]) -> DecodeConfig:
        values = {**overrides, **changes}
        return load_decode(recipe or default_recipe(values), values)

    run(tuple(runs or ()), config_of({}), config_of)
