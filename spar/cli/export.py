"""`spar export`: a run as a page for a browser or as a table, or one tree as a document, a drawing or JSON.

spar export runs/mine --format html --out mine.html
spar export runs/a runs/b runs/c --format html --out compared.html
spar export runs/mine --format html --id prompt-7 --out tree.html
spar export runs/mine --format markdown --id prompt-7 | less
spar export runs/mine --format parquet --out trees.parquet
spar export runs/mine --format csv --rows nodes --out nodes.csv
spar export runs/mine --format otlp --out http://localhost:4318
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    runs: Annotated[
        list[Path],
        typer.Argument(
            metavar="RUN",
            help="A run directory, or its trees.jsonl; several with html: a page that compares them.",
            show_default=False,
        ),
    ],
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="The whole run: html, jsonl, csv, parquet or otlp. One tree: html, otlp, markdown, svg, dot, mermaid or json.",
            show_default=False,
        ),
    ],
    prompt_id: Annotated[
        str, typer.Option("--id", help="The tree's prompt id, or a unique prefix of it.")
    ] = "",
    rows: Annotated[
        str,
        typer.Option(
            help="jsonl, csv, parquet: trees, nodes, faults or examples. Default: trees; examples where an "
            "evaluation has no trees.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        str | None,
        typer.Option(
            help="File to write; otlp: or the URL of a collector. Default: standard output.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Export a run as a page or a table, or one of its trees."""
    from spar.cli.run_export import Export
    from spar.cli.run_export import run as run_export

    is_url = out is not None and out.startswith(("http://", "https://"))
    place = None if out is None or is_url else Path(out)
    url = out if out is not None and is_url else ""
    run, *others = runs
    run_export(Export(run, file_format, prompt_id, rows, out=place, others=tuple(others), url=url))
