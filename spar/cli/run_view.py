"""Run `spar view`: serve the pages until Ctrl-C."""

from __future__ import annotations

import webbrowser
from contextlib import suppress
from pathlib import Path

from spar.errors import UsageError

DEFAULT = Path("runs")


def run(paths: tuple[Path, ...], port: int | None, *, open_browser: bool = False) -> None:
    """Serve until the user interrupts.

    Raises
    ------
    UsageError
        A path does not exist, or the port is taken.
    """
    from spar.export.run import annotations_for
    from tui.web.catalogue import Catalogue
    from tui.web.server import PageServer

    paths = paths or (DEFAULT,)
    for path in paths:
        if not path.exists():
            raise UsageError(
                f"{path} does not exist; pass a run directory or a folder that contains some"
            )
    server = PageServer(Catalogue(paths, annotations_for), port)
    try:
        with suppress(KeyboardInterrupt):
            print(f"{server.url} shows {', '.join(map(str, paths))}; Ctrl-C ends it", flush=True)
            if open_browser:
                webbrowser.open(server.url)
            server.serve_forever()
    finally:
        server.close()
