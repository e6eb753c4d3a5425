"""`spar data`: download the benchmarks' data, list it, print its folder.

spar data fetch ifeval nltk_data
spar data list
spar data where
"""

from __future__ import annotations

import sys

import typer

from spar.plugins import check_name
from spar.sanitize import printable

data_app = typer.Typer(
    help="Download the benchmarks' data and list it.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="rich",
)

ALL = "all"
"""Every data set."""
FOLDER = typer.Option("", "--data", help="Folder of the data; default: $SPAR_DATA or the cache.")


@data_app.command()
def fetch(
    names: list[str] = typer.Argument(
        ..., metavar="NAME", help="Names of data sets (spar data list), or all."
    ),
    data: str = FOLDER,
) -> None:
    """Download data sets from their public origins; each file is checked."""
    from spar.eval.datasets.local import open_data
    from spar.eval.datasets.registry import data_set, data_sets

    accepted = dict.fromkeys([*(each.name for each in data_sets()), ALL])
    for name in names:
        check_name(accepted, "data set", name)
    chosen = data_sets() if ALL in names else [data_set(name) for name in names]
    for dataset in chosen:
        print(f"{dataset.name}: {dataset.description}; licence {dataset.licence}")
        count = _download(dataset.name, data)
        folder = open_data(dataset.name, data)
        print(
            f"{dataset.name}: {count} of {len(dataset.files)} files downloaded, in {printable(str(folder.root))}"
        )


@data_app.command("list")
def list_sets(data: str = FOLDER) -> None:
    """List the data sets, their licences, and which of them are downloaded."""
    from rich.console import Console
    from rich.table import Table

    from spar.eval.datasets.registry import data_sets

    table = Table("data set", "content", "licence", "downloaded")
    for dataset in data_sets():
        table.add_row(
            dataset.name, dataset.description, dataset.licence, _state(dataset.name, data)
        )
    Console().print(table)


@data_app.command()
def where(data: str = FOLDER) -> None:
    """Print the data's folder."""
    from spar.data_folder import data_root

    root = str(data_root(data))
    print(printable(root) if sys.stdout.isatty() else root)


def _download(name: str, data: str) -> int:
    """Download what is missing; returns the number of files."""
    from rich.console import Console
    from rich.progress import track

    from spar.eval.datasets import download as fetch
    from spar.eval.datasets.registry import data_set

    dataset = data_set(name)
    total = len(fetch.missing(dataset, data))
    steps = fetch.fetch(dataset, data, base=fetch.BASE)
    console = Console(stderr=True)
    shown = track(steps, name, total, console=console, transient=True)
    return sum(1 for _ in (shown if total and sys.stderr.isatty() else steps))


def _state(name: str, data: str) -> str:
    from spar.data_folder import data_root
    from spar.errors import UsageError
    from spar.eval.datasets.local import open_data
    from spar.eval.datasets.registry import data_set

    try:
        return "altered" if open_data(name, data).altered else "yes"
    except UsageError:
        folder = data_root(data) / name
        some = any((folder / path).exists() for path in data_set(name).files)
        return "damaged" if some else "no"
