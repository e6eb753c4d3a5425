"""Callbacks to run before the program prints its last message and exits.

A module that changes the state of the process, such as an engine that redirects standard output while
it loads, registers a function that restores it; the command line runs all of them before it reports an
error, even while a thread is still loading. Knows none of these modules, and imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Callable

_callbacks: list[Callable[[], None]] = []


def on_shutdown(callback: Callable[[], None]) -> Callable[[], None]:
    """Register a function that is safe to call at any time and more than once; returns it."""
    if callback not in _callbacks:
        _callbacks.append(callback)
    return callback


def run_shutdown_callbacks() -> None:
    """Run the registered functions, the last registered first. They stay registered."""
    for callback in reversed(_callbacks):
        callback()
