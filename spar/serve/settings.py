"""Settings of a server out of one mapping: the search's and the server's own, by their names in a recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spar.config import DecodeConfig, ServeGroup, load_serve
from spar.errors import UsageError
from spar.files import expand_home
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
        An unknown setting, a value out of range, or a budget above the clients' limit.
    """
    own = {name: value for name, value in values.items() if name in ServeGroup.model_fields}
    rest = {name: value for name, value in values.items() if name not in own}
    config, serve = decode_config(recipe, rest), load_serve(recipe, own)
    if "max_budget" not in serve.model_fields_set:
        limit = max(serve.max_budget, config.budget)
        serve = serve.model_copy(update={"max_budget": limit})
    config = _within_limit(config, serve.max_budget, is_chosen=rest.get("budget") is not None)
    folder = expand_home(Path(out)) if out is not None else FOLDER
    return ServerSettings(config, serve, folder if serve.record else None)


def _within_limit(config: DecodeConfig, limit: int, *, is_chosen: bool) -> DecodeConfig:
    """The settings with no larger budget than clients may ask for; one that the caller has chosen is refused instead."""
    if config.budget <= limit:
        return config
    if is_chosen:
        raise UsageError(
            f"--budget {config.budget} is above --max-budget {limit}, the largest that a client may ask for; "
            "lower the one, or raise the other"
        )
    return config.changed({"budget": limit})
