"""Settings of `spar serve` that are the server's own: where it listens, what it offers, what a client may ask for.

What is searched, and with which models, are the settings of a decode run.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from spar.config.fields import Settings, setting
from spar.config.groups import MAX_BUDGET
from spar.config.keys import check_key_name
from spar.config.loading import explain, override, section
from spar.errors import UsageError


class ServeGroup(Settings):
    """What the server offers and allows."""

    panel = "Server"

    host: str = setting("127.0.0.1")
    """Address to listen on; by default only this machine reaches the server. 0.0.0.0 is every address."""
    port: int = setting(8100, ge=0, le=65535)
    """Port to listen on; 0 takes a free one."""
    offer: tuple[str, ...] = setting(())
    """A search to list as a model: STRATEGY-BUDGET, such as bfs-15, or STRATEGY alone. Repeatable; the first is the
    default. Default: the strategy and budget of the settings, then every other strategy."""
    served_name: str = setting("")
    """Name of the model in the ids that clients see, if not its own."""
    client_key_env: str = setting("")
    """Environment variable with the key that clients must send as a bearer token; empty asks for none."""
    max_budget: int = setting(64, ge=1, le=MAX_BUDGET)
    """Largest budget that a client may ask for; a larger --budget raises it where it is not set."""
    max_choices: int = setting(8, ge=1, le=128)
    """Most answers to one request (n)."""
    max_body_mb: float = setting(4.0, gt=0, le=1024)
    """Largest body of a request in megabytes."""
    max_queue: int = setting(256, ge=0)
    """Requests that wait while as many trees as --concurrency allows are in flight; further ones are answered 429."""
    request_timeout: float = setting(600.0, gt=0)
    """Seconds until the search of a request is cancelled and answered with an error; --max-seconds ends it earlier, with
    the best answer so far."""
    drain_seconds: float = setting(600.0, ge=0)
    """Seconds that requests in flight get to finish after SIGTERM or Ctrl-C."""
    keep_alive: float = setting(10.0, gt=0)
    """Seconds of silence after which a streamed reply carries a comment, so that proxies keep the connection."""
    record: bool = setting(True)
    """Store the tree of every request in a run directory."""
    rotate_mb: float = setting(512.0, ge=0)
    """Start a new run directory once the trees of one reach so many megabytes; 0 never does."""
    rotate_daily: bool = setting(True)
    """Start new run directories each day (UTC)."""

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server."""
        return self.host in ("localhost", "::1") or self.host.startswith("127.")


def load_serve(recipe: str | None, overrides: Mapping[str, Any]) -> ServeGroup:
    """The server's own settings: the section `serve` of a recipe, and overrides as `spar.config.load_decode` takes them.

    Raises
    ------
    UsageError
        An unknown setting, a value out of range, or a key in place of the name of its variable.
    """
    values = section(recipe, "serve", optional=True) if recipe else {}
    try:
        serve = ServeGroup.model_validate(override(ServeGroup, values, overrides))
    except ValidationError as error:
        raise UsageError(explain(error, recipe, ServeGroup, overrides)) from error
    check_key_name(serve.client_key_env, flag="--client-key-env")
    return serve
