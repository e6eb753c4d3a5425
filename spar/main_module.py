"""Scripts without an `if __name__ == "__main__":` guard.

A process that `multiprocessing` spawns imports the script of its parent again, to find what was pickled from
it. A script that calls spar at its top level would then start another model in that process, and so on. The
processes of engines need nothing of the script, so they import `spar.spawned_main` in its place, which ends
them when their parent dies.
"""

from __future__ import annotations

import multiprocessing
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

_SUBSTITUTE = "spar.spawned_main"


@contextmanager
def hidden_main() -> Iterator[None]:
    """Have processes that are spawned inside this block import `spar.spawned_main`, not the script."""
    main = sys.modules.get("__main__")
    hidden = {name: getattr(main, name) for name in ("__file__", "__spec__") if hasattr(main, name)}
    try:
        if main is not None:
            main.__spec__ = find_spec(_SUBSTITUTE)
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
