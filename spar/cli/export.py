"""`spar export`: a run as a page for a browser or as a table, or one tree as a document, a drawing or JSON.

spar export runs/mine --format html --out mine.html
spar export runs/mine --format html --id prompt-7 --out tree.html
spar export runs/mine --format markdown --id prompt-7 | less
spar export runs/mine --format parquet --out trees.parquet
spar export runs/mine --format csv --rows nodes --out nodes.csv
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[
        Path, typer.Argument(help="A run directory, or its trees.jsonl.", show_default=False)
    ],
    file_format: Annotated[
        str,
        typer.Option(
            "--format",
            help="The whole run: html, parquet or csv. One tree: html, markdown, svg, dot, mermaid or json.",
            show_default=False,
        ),
    ],
    prompt_id: Annotated[
        str, typer.Option("--id", help="The tree's prompt id, or a unique prefix of it.")
    ] = "",
    rows: Annotated[
        str,
        typer.Option(
            help="parquet, csv: trees, nodes, faults or examples. Default: trees; examples where an "
            "evaluation has no trees.",
            show_default=False,
        ),
    ] = "",
    out: Annotated[
        Path | None,
        typer.Option(help="File to write. Default: standard output.", show_default=False),
    ] = None,
) -> None:
    """Export a run as a page or a table, or one of its trees."""
    from spar.cli.run_export import Export
    from spar.cli.run_export import run as run_export

    run_export(Export(run=run, file_format=file_format, prompt_id=prompt_id, rows=rows, out=out))
