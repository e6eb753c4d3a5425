"""File descriptors: every connection takes one, and a process may have only so many.

Shells often start programs with a limit of 1,024 though they may have far more, so the limit is raised
as far as is useful. Where a process still runs out of them the server is not to blame.
"""

from __future__ import annotations

import errno
import sys

_WANTED = 65_536
_FOR_OTHERS = 64
_SHARE = 0.5
_ERRORS = (errno.EMFILE, errno.ENFILE)


def raise_limit() -> int:
    """Raise how many files this process may have open; returns the limit, 0 for none or not known."""
    if sys.platform == "win32":
        return 0
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return 0
    wanted = _WANTED if hard == resource.RLIM_INFINITY else min(hard, _WANTED)
    if soft >= wanted:
        return soft
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError):  # a system may allow less than it says
        return soft
    return wanted


def most_connections(wanted: int, limit: int, num_servers: int) -> int:
    """Connections to each server: as many as are wanted, if half of what is free holds them.

    Parameters
    ----------
    limit:
        Most open files, 0 for no limit.
    """
    if not limit:
        return wanted
    return max(1, min(wanted, int((limit - _FOR_OTHERS) * _SHARE) // num_servers))


def is_shortage(error: BaseException | None) -> bool:
    """Whether an error, or what it came from, is that no more files can be opened."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in _ERRORS:
            return True
        if isinstance(error, BaseExceptionGroup):
            return any(is_shortage(part) for part in error.exceptions)
        error = error.__cause__ or error.__context__
    return False
