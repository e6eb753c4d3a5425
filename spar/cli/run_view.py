"""Run `spar view`: serve the pages until Ctrl-C."""

from __future__ import annotations

import webbrowser
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from spar.cli.show.run_rows import print_run_table
from spar.errors import UsageError
from spar.record.run_table import RunRow, run_table
from spar.sanitize import printable

DEFAULT = Path("runs")
MOST = 20
"""Runs in the printed table, the newest; the page has all."""
_ONLY_ON_THE_PAGE = ("before", "solved")
"""Columns for which a terminal has no room."""


def run(paths: tuple[Path, ...], port: int | None, *, open_browser: bool = False) -> None:
    """Print the runs side by side where there are several, and serve them until the user interrupts.

    Raises
    ------
    UsageError
        A path does not exist, or the port is taken.
    """
    from spar.export.run import program_annotations
    from tui.web.catalogue import Catalogue
    from tui.web.server import PageServer

    paths = paths or (DEFAULT,)
    for path in paths:
        if not path.exists():
            raise UsageError(
                f"{path} does not exist; pass a run directory or a folder that contains some"
            )
    catalogue = Catalogue(paths, program_annotations)
    server = PageServer(catalogue, port)
    try:
        with suppress(KeyboardInterrupt):
            _print_start(server.url, paths)
            if open_browser:
                webbrowser.open(server.url)
            _print(catalogue.run_rows())
            server.serve_forever()
    finally:
        server.close()


def _print_start(url: str, paths: Sequence[Path]) -> None:
    shown = printable(", ".join(map(str, paths)))
    print(f"{url} shows {shown}; Ctrl-C ends it", flush=True)


def _print(rows: Sequence[RunRow]) -> None:
    if len(rows) < 2:
        return
    all_finished = {row.state for row in rows} == {"finished"}
    leave_out = (*_ONLY_ON_THE_PAGE, "state") if all_finished else _ONLY_ON_THE_PAGE
    print_run_table(run_table(rows[:MOST], leave_out))
    more = f"; {len(rows) - MOST:,} more on the page" if len(rows) > MOST else ""
    print(f"calls and generated tokens are means per prompt{more}", flush=True)
