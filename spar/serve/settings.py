"""Settings of a server out of one mapping: the search's and the server's own, by their names in a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig, ServeGroup, load_serve
from spar.run.keywords import decode_config

FOLDER = Path("runs/serve")
"""Where the run directories go by default."""


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Everything about a server."""

    config: DecodeConfig
    """Of the searches."""
    serve: ServeGroup
    """Of the server."""
    out: Path | None
    """Folder of the run directories; None stores nothing."""


def server_settings(
    recipe: str | None, values: Mapping[str, Any], out: str | Path | None = None
) -> ServerSettings:
    """The settings that a recipe and further values make.

    Parameters
    ----------
    values:
        Settings of `DecodeConfig` and `ServeGroup` by name; plug-ins as in `spar.search`.
    out:
        Folder of the run directories; None for `FOLDER`.

    Raises
    ------
    UsageError
        An unknown setting, or a value out of range.
    """
    own = {name: value for name, value in values.items() if name in ServeGroup.model_fields}
    if isinstance(own.get("offer"), str):
        own["offer"] = (own["offer"],)
    rest = {name: value for name, value in values.items() if name not in own}
    serve = load_serve(recipe, own)
    folder = Path(out) if out is not None else FOLDER
    return ServerSettings(decode_config(recipe, rest), serve, folder if serve.record else None)
