"""`python -m spar` and `spar`: the command line, with Ctrl-C heard from the first moment on."""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Entry point of the `spar` command.

    While the command line is imported, Ctrl-C ends the process at once: libraries turn an interrupt in the middle
    of an import into errors of their own. Nothing has been started by then.
    """
    signal.signal(signal.SIGINT, _interrupted)
    from spar.cli.app import main as run

    run()


def _interrupted(signum: int, frame: FrameType | None) -> None:
    os.write(2, b"spar: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
