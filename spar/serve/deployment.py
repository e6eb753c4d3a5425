"""Several servers behind Ray Serve, where one machine or one process is outgrown.

    serve run spar.serve.deployment:application model=Qwen/Qwen2.5-7B-Instruct replicas=4 gpus=1
    serve deploy examples/ray_serve.yaml

Each replica is a whole server: it loads the models, has its own queue, and writes to a folder of its own below `out`. Ray
Serve listens, balances requests and restarts replicas. Arguments are settings by their names in a recipe, as those of
`spar serve`; host and port are Ray Serve's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from spar.errors import MissingExtra, UsageError
from spar.listener import LogListener
from spar.serve.settings import server_settings

OWN = ("replicas", "gpus", "recipe", "out")
"""Arguments that are no settings."""


def application(arguments: Mapping[str, Any]) -> Any:
    """The application that Ray Serve runs.

    Parameters
    ----------
    arguments:
        `replicas`: copies of the server. `gpus`: GPUs of each. `recipe`: as `--recipe`. `out`: folder of the run
        directories, which all machines share or each has; runs/serve by default. Everything else is a setting.

    Raises
    ------
    UsageError
        A wrong setting, or no Ray Serve.
    """
    own = {name: value for name, value in arguments.items() if name in OWN}
    values = {name: value for name, value in arguments.items() if name not in OWN}
    settings = server_settings(own.get("recipe"), values, own.get("out"))
    serve = _ray_serve()

    def build() -> Any:
        """The ASGI application of one replica, in its own process."""
        from ray.serve import get_replica_context

        from spar.serve.app import create_app
        from spar.serve.searching import SearchService

        name = f"replica-{get_replica_context().replica_id.unique_id}"
        mine = replace(settings, out=settings.out and settings.out / name)
        return create_app(SearchService.open(mine, LogListener()))

    deployment = serve.deployment(
        serve.ingress(build)(),
        name="spar",
        num_replicas=_count(own, "replicas", 1),
        ray_actor_options={"num_gpus": _count(own, "gpus", 0)},
        max_ongoing_requests=10_000,  # a replica's own queue refuses, with when to come back
        graceful_shutdown_timeout_s=settings.serve.drain_seconds,
    )
    return deployment.bind()


def _count(arguments: Mapping[str, Any], name: str, default: int) -> int:
    value = arguments.get(name, default)
    if not str(value).isdecimal():
        raise UsageError(f"{name} is {value!r}; expected a whole number")
    return int(value)


def _ray_serve() -> Any:
    try:
        from ray import serve
    except ModuleNotFoundError as error:
        raise MissingExtra(error.name or "ray", "ray-serve", "a deployment on Ray Serve") from error
    return serve
