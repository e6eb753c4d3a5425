"""How plug-ins are imported by name."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from threading import Event, Thread
from types import SimpleNamespace

import pytest

from spar import plugins
from spar.errors import UsageError


def test_a_plugin_that_another_thread_is_importing_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A module in `sys.modules` may be half imported: its attributes are looked up once it is whole."""
    events = SimpleNamespace(started=Event(), go_on=Event())
    monkeypatch.setitem(sys.modules, "events_of_the_slow_plugin", events)
    (tmp_path / "slow_plugin.py").write_text(
        "from events_of_the_slow_plugin import go_on, started\nstarted.set()\ngo_on.wait()\nSPEC = 1\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    thread = Thread(target=import_module, args=("slow_plugin",), daemon=True)
    thread.start()
    events.started.wait()

    def import_whole(name: str) -> object:
        events.go_on.set()
        return import_module(name)

    monkeypatch.setattr(plugins, "import_module", import_whole)
    try:
        assert plugins.load("slow_plugin:SPEC", "judge") == 1
    finally:
        events.go_on.set()
        thread.join()


@pytest.mark.parametrize(
    ("module", "is_missing"),
    [("absent", True), ("absent.judges", True), ("absent_judge", False)],
)
def test_only_the_module_itself_and_its_packages_are_reported_as_missing(
    module: str, is_missing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plug-in that lacks a package whose name its own begins with is there; the package is what is missing."""
    (tmp_path / "absent_judge.py").write_text("import absent\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = UsageError if is_missing else ModuleNotFoundError
    with pytest.raises(error, match=module if is_missing else "No module named 'absent'"):
        plugins.load(f"{module}:SPEC", "judge")
