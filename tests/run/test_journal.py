"""The journal of calls: a killed run asks again for nothing that was answered, and the file stays small and whole."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import spar
from spar.errors import RunStopped
from spar.infer import journal as module
from spar.infer.engine import PROMPT_ID, Completion, Request, Sampling, TokenLogprobs
from spar.infer.engines.fake import FakeEngine, scripted_reply
from spar.infer.journal import Journal
from spar.store import CALLS, TREES, read_summary, read_trees
from spar.types import Message
from tests.answers import Script
from tests.cli.test_decode import SPAR
from tests.fakes import timeless
from tests.servers import ScriptedServer

ANSWERED = 40
"""Requests that the server answers before it keeps the client waiting."""


def request(text: str, seed: int | None = 0) -> Request:
    """A request of one turn."""
    return Request((Message(role="user", content=text),), Sampling(seed=seed))


def bodies(server: ScriptedServer) -> list[str]:
    """The requests so far."""
    return [json.dumps(seen.body, sort_keys=True) for seen in server.seen]


def trees(directory: Path) -> dict[str, str]:
    """Prompt id to tree, without times."""
    return {tree.prompt.id: timeless(tree).to_json() for tree in read_trees(directory)}


def test_a_killed_run_sends_no_answered_request_again(tmp_path: Path) -> None:
    """After `kill -9` in flight, the resumed run sends the others only; its trees and costs are as if undisturbed."""
    prompts = [f"prompt number {number}" for number in range(12)]
    (tmp_path / "p.txt").write_text("\n".join(prompts))
    settings: dict[str, Any] = {"budget": 7, "strategy": "bfs", "votes": 3}
    flags = ["--budget", "7", "--strategy", "bfs", "--votes", "3", "--display", "none"]
    with ScriptedServer(Script()) as server:
        url = ("--base-url", server.url)

        def slow_down(number: int) -> None:
            if number >= ANSWERED:
                server.script = replace(server.script, seconds=600.0)

        server.on_request = slow_down
        command = [*SPAR, "decode", str(tmp_path / "p.txt"), *flags, *url, "--out", "killed"]
        with subprocess.Popen(command, cwd=tmp_path) as process:
            end = time.monotonic() + 60
            while server.num_requests < ANSWERED + 3 and time.monotonic() < end:
                time.sleep(0.02)
            time.sleep(3 * module.FLUSH_SECONDS)
            process.send_signal(signal.SIGKILL)
        first = bodies(server)
        answered = Counter(first[: ANSWERED - 1])
        assert len(first) > ANSWERED
        assert (tmp_path / "killed" / CALLS).stat().st_size > 0
        with (tmp_path / "killed" / CALLS).open("ab") as calls:
            calls.write(b'["torn", "line')
        server.script, server.seen = Script(), []
        server.on_request = lambda _: None
        spar.decode(tmp_path / "p.txt", out=tmp_path / "killed", base_url=server.url, **settings)
        second = Counter(bodies(server))
        assert not answered & second
        server.seen = []
        spar.decode(tmp_path / "p.txt", out=tmp_path / "whole", base_url=server.url, **settings)
        assert answered + second == Counter(bodies(server))
    assert trees(tmp_path / "killed") == trees(tmp_path / "whole")
    assert not (tmp_path / "killed" / CALLS).exists()
    counts = ("calls", "prompt_tokens", "completion_tokens", "nodes", "solved")
    killed, whole = (read_summary(tmp_path / name) for name in ("killed", "whole"))
    assert [killed[name] for name in counts] == [whole[name] for name in counts]


async def test_replies_are_read_back_as_they_were(tmp_path: Path) -> None:
    """Every field, equal requests in their order, and nothing for another request or a stored tree."""
    completions = [
        Completion("a \ud800 \u2028", "stop", 3, 4, cached_tokens=2),
        Completion("", "length", 1, 2, (TokenLogprobs("x", {"x": -0.5, "y": -2.0}),)),
    ]
    journal = Journal(tmp_path / CALLS, (), print)
    for completion in completions:
        journal.record("one", "key", completion)
    journal.record("done", "key", completions[0])
    journal.close(finished=False)
    again = Journal(tmp_path / CALLS, {"done"}, print)
    assert again.num_stored == 2
    recalled = [again.recall("one", "key") for _ in range(3)]
    assert recalled == [*completions, None]
    assert recalled[0] is not None
    assert recalled[0].cached_tokens == 2
    assert again.recall("one", "other") is None
    assert again.recall("done", "key") is None
    again.close(finished=True)
    assert not (tmp_path / CALLS).exists()


async def test_only_what_is_missing_is_sent(tmp_path: Path) -> None:
    """A request of another text, seed or model is another request; those in the journal are not sent."""
    engine = FakeEngine(lambda request: f"{request.messages[0].content} {request.sampling.seed}")
    PROMPT_ID.set("p")
    journal = Journal(tmp_path / CALLS, (), print)
    first = await journal.wrap(engine).generate([request("a"), request("b", 1)])
    journal.close(finished=False)
    engine.requests.clear()
    journal = Journal(tmp_path / CALLS, (), print)
    asked = [request("a"), request("a", 1), request("b"), request("b", 1)]
    replies = await journal.wrap(engine).generate(asked)
    assert [reply.text for reply in replies] == ["a 0", "a 1", "b 0", "b 1"]
    assert [replies[0], replies[3]] == first
    assert engine.requests == asked[1:3]
    journal.close(finished=True)


async def test_the_file_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trees that end before the next flush are never written, and those of stored trees are left out in time."""
    monkeypatch.setattr(module, "MAX_IDLE_BYTES", 2_000)
    journal = Journal(tmp_path / CALLS, (), print)
    for number in range(100):
        prompt_id = f'p"{number}'
        journal.record(prompt_id, "written", Completion("x" * 100, "stop", 1, 1))
        if number % 2:
            journal.flush()
        if number != 51:
            journal.forget(prompt_id)
    assert (tmp_path / CALLS).stat().st_size < 3_000
    journal.close(finished=False)
    ids = [json.loads(line)[0] for line in (tmp_path / CALLS).read_text().splitlines()]
    assert ids.count('p"51') == 1
    assert not [prompt_id for prompt_id in ids if int(prompt_id[2:]) % 2 == 0]


async def test_a_full_disk_ends_the_journal_and_not_the_run(tmp_path: Path) -> None:
    """The reader is told once; replies come from the engine as before."""
    notes: list[str] = []
    (tmp_path / CALLS).mkdir()
    journal = Journal(tmp_path / CALLS, (), notes.append)
    for key in "ab":
        journal.record("p", key, Completion("x", "stop", 1, 1))
        journal.flush()
    journal.close(finished=True)
    assert len(notes) == 1
    assert "cannot be written" in notes[0]


def test_a_run_that_stops_keeps_the_replies(tmp_path: Path) -> None:
    """An error of the engine, too: the next start sends what was not answered."""
    script = Script()
    with ScriptedServer(script) as server:

        def fail(number: int) -> None:
            if number >= ANSWERED:
                server.script = Script(answer=lambda _: (500, {}))

        server.on_request = fail
        options: dict[str, Any] = {"budget": 7, "votes": 3, "retry_for": 0, "base_url": server.url}
        lines = [f"prompt number {number}" for number in range(12)]
        with pytest.raises(RunStopped):
            spar.decode(lines, out=tmp_path / "run", **options)
        answered = Counter(bodies(server)[: ANSWERED - 1])
        server.script, server.seen, server.on_request = script, [], lambda _: None
        spar.decode(lines, out=tmp_path / "run", **options)
        assert not answered & Counter(bodies(server))
    assert (tmp_path / "run" / TREES).is_file()


def decode_and_die(
    engine: FakeEngine, out: Path, monkeypatch: pytest.MonkeyPatch, **options: Any
) -> None:
    """Decode a, b and c; the journal is left with every reply, as by `kill -9`."""
    close = Journal.close
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "forget", lambda *_: None)
        patch.setattr(Journal, "close", lambda journal, finished: close(journal, finished=False))
        spar.decode(["a", "b", "c"], out=out, engine=engine, **options)


def test_a_prompt_that_is_searched_again_gets_no_reply_of_its_failed_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`redo` sends its requests again, and those of no other prompt."""
    engine, options = FakeEngine(scripted_reply), dict[str, Any](strategy="greedy")
    decode_and_die(engine, tmp_path, monkeypatch, **options)
    first, second, _ = [json.loads(line) for line in (tmp_path / TREES).read_text().splitlines()]
    fault = {"parent": None, "stage": "draft", "reason": "refused"}
    first |= {"nodes": [], "selected": None, "faults": [fault], "stop": "exhausted"}
    stored = (json.dumps(tree) + "\n" for tree in (first, second))  # the third was in flight
    (tmp_path / TREES).write_text("".join(stored))
    engine.requests.clear()
    spar.decode(["a", "b", "c"], out=tmp_path, engine=engine, redo=("unanswered",), **options)
    assert {request.messages[0].content for request in engine.requests} == {"a"}


def test_a_smaller_limit_keeps_the_replies_of_the_prompts_beyond_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether or not a prompt within it is still to be searched; the file is deleted once no such reply is left."""
    engine, options = FakeEngine(scripted_reply), dict[str, Any](strategy="greedy")
    decode_and_die(engine, tmp_path, monkeypatch, **options)
    trees = (tmp_path / TREES).read_text().splitlines(keepends=True)
    (tmp_path / TREES).write_text(trees[0])
    engine.requests.clear()
    for count in (1, 2, 3):
        assert (tmp_path / CALLS).is_file()
        spar.decode(["a", "b", "c"][:count], out=tmp_path, engine=engine, **options)
    assert not (tmp_path / CALLS).exists()
    assert engine.requests == []
    assert [*(tree.prompt.messages[0].content for tree in read_trees(tmp_path))] == ["a", "b", "c"]
