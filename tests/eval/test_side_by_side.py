"""Several runs at the same time, as a listener sees them, and when there may be several."""

from __future__ import annotations

import asyncio

from spar.config import EvalConfig
from spar.eval.side_by_side import OneOfSeveral, SideBySide, may_run_side_by_side
from spar.infer.engines.fake import FakeEngine
from spar.infer.search import run_search
from spar.listener import Activity, Listener, follows
from spar.progress import Progress
from tests.fakes import World, make_prompt, make_settings, real_roles


def test_a_listener_sees_one_run() -> None:
    """Of all their trees; what an earlier start has left does not make it look fast."""
    shown = Progress()
    both = SideBySide(shown)
    one, two = OneOfSeveral(both), OneOfSeveral(both)
    one.started(Activity(total=10, done=4))
    tree = asyncio.run(
        run_search(make_prompt(), real_roles(FakeEngine(World())), make_settings("greedy"))
    )
    one.admitted(tree.prompt)
    one.tree(tree)
    assert (shown.done, shown.total) == (5, 10)
    two.started(Activity(total=6, done=2))
    assert (shown.done, shown.total, shown.running) == (7, 16, 0)
    two.admitted(tree.prompt)
    two.tree(tree)
    assert (shown.done, shown.total) == (8, 16)
    assert shown.status().startswith("8/16 trees, 0 running")
    assert shown.done - shown._first == 2


def test_equal_lines_are_said_once() -> None:
    """Such as that the model is loaded."""
    lines: list[str] = []

    class Noting(Listener):
        def note(self, line: str) -> None:
            lines.append(line)

    both = SideBySide(Noting())
    for run in (OneOfSeveral(both), OneOfSeveral(both)):
        run.note("loading the model ...")
    assert lines == ["loading the model ..."]


def test_replies_stream_only_for_who_follows_them() -> None:
    """A listener that does not want every token does not have the engines send them."""

    class Following(Listener):
        def attempt(self, *_: object) -> None:
            pass

    assert not follows(OneOfSeveral(SideBySide(Progress())))
    assert follows(OneOfSeveral(SideBySide(Following())))


def test_when_strategies_run_at_the_same_time() -> None:
    """Where nobody measures seconds and one model is all that is loaded."""
    assert not may_run_side_by_side(EvalConfig())
    assert may_run_side_by_side(EvalConfig(response_cache="c"))
    assert may_run_side_by_side(EvalConfig(response_cache="c", base_url=("http://one/v1",)))
    assert not may_run_side_by_side(EvalConfig(response_cache="c", actor_model="m"))
