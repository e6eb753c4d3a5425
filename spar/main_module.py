"""Scripts without an `if __name__ == "__main__":` guard.

A process that `multiprocessing` spawns imports the script of its parent again, to find what was pickled from
it. A script that calls spar at its top level would then start another model in that process, and so on. The
processes of engines need nothing of the script, so spar hides it from them while they are started.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def hidden_main() -> Iterator[None]:
    """Hide the script from processes that are spawned inside this block, so that none imports it again."""
    main = sys.modules.get("__main__")
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        if main is not None:
            main.__spec__ = None
            if "__file__" in hidden:
                del main.__file__
        yield
    finally:
        for name, value in hidden.items():
            setattr(main, name, value)


def check_not_reimported() -> None:
    """Exit with one line where a spawned process imports a script that calls spar at its top level."""
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise SystemExit(
            "spar: this script is imported again by a process that was started from it; put the calls "
            'under `if __name__ == "__main__":`'
        )
