"""An exception that a plug-in's own code raised, as one line.

    the plug-in mine:is_json raised KeyError: 'title' (/home/me/mine.py, line 11); correct it and run the same command again

A Python caller gets the exception itself. On the command line the traceback would be thirty frames of spar above
the one line that matters to the plug-in's author. An exception from spar's own code has no plug-in's frame below
the last one of spar: that is a fault of spar, and keeps its traceback. A call that a plug-in's function does not take,
such as one with more parameters than it has, fails before its frame begins; Python's message has its name.
"""

from __future__ import annotations

import operator
import re
import sys
import traceback
from pathlib import Path

import spar
from spar.plugins import LOADED_MODULES
from spar.rows.row import error_line

_PACKAGE = Path(spar.__file__).parent


def describe_plugin_error(error: Exception) -> str | None:
    """What to print of an exception that left a plug-in; None for any other exception."""
    packages = {_package(module) for module in LOADED_MODULES}
    last: tuple[str, str, int] | None = None  # below the last frame of spar
    for frame, line in traceback.walk_tb(error.__traceback__):
        path, module = frame.f_code.co_filename, frame.f_globals.get("__name__", "")
        if _PACKAGE in Path(path).parents:
            last = None
        elif _package(module) in packages:
            name = frame.f_code.co_qualname
            last = module if name == "<module>" else f"{module}:{name}", path, line
    last = last or _refused_call(error)
    if last is None:
        return None
    name, path, line = last
    kind, text = type(error).__name__, error_line(error)
    what = kind if text == kind else f"{kind}: {text}"
    return (
        f"the plug-in {name} raised {what} ({path}, line {line}); correct it and run the same "
        "command again"
    )


def _refused_call(error: Exception) -> tuple[str, str, int] | None:
    """Name, file and line of the plug-in's function that does not take the parameters of a call."""
    message = re.match(r"([\w.]+)\(\) (?:takes|missing|got) ", str(error))
    if not isinstance(error, TypeError) or message is None:
        return None
    for module in sorted(LOADED_MODULES):
        try:
            function = operator.attrgetter(message[1])(sys.modules.get(module))
            code = function.__code__
        except AttributeError:
            continue
        if function.__module__ == module:
            return f"{module}:{message[1]}", code.co_filename, code.co_firstlineno
    return None


def _package(module: str) -> str:
    return module.partition(".")[0]
