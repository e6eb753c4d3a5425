"""Thousands of faulty requests and ten kills: every prompt is answered once, as if nothing had happened."""

from __future__ import annotations

import json
import random
import re
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spar.store import TREES
from tests.answers import TRANSIENT_FAULTS, Script, error_body
from tests.infer.test_openai_faults import WORLD, differences, search, written
from tests.servers import ScriptedServer

NUM_PROMPTS, NUM_REQUESTS, NUM_KILLS = 240, 10_000, 10
REFUSALS = (400, 403, 404, 405, 413, 422, 451)
CALL = {"function": {"name": "search", "arguments": "{}"}}
EMPTY: tuple[tuple[dict[str, Any], str], ...] = (
    ({"content": None, "tool_calls": [CALL]}, "tool_calls"),
    ({"content": None, "refusal": "I cannot."}, "stop"),
    ({"content": ""}, "content_filter"),
    ({"content": None, "reasoning": "Final Judgement: Yes"}, "stop"),
    ({"content": [{"type": "reasoning", "text": "Final Judgement: Yes"}]}, "stop"),
    ({"content": 5}, "stop"),
)
LINE = re.compile(r"Write line (\d+)\.")


def by_prompt(body: dict[str, Any]) -> tuple[int, Any] | None:
    """Some prompts are always refused, some always get an empty reply, some n equal samples."""
    match = LINE.search("|".join(turn["content"] for turn in body["messages"]))
    number = int(match[1]) if match else -1
    if number % 10 == 0:
        return REFUSALS[number // 10 % len(REFUSALS)], error_body("seed top_p: flagged")
    if number % 10 == 5:
        message, finish = EMPTY[number // 10 % len(EMPTY)]
        choice = {"message": message, "finish_reason": finish}
        return 200, {"choices": [{**choice, "index": i} for i in range(body.get("n", 1))]}
    if number % 10 == 7:
        body["seed"] = 1
    return None


@pytest.mark.slow
async def test_every_prompt_is_answered_once_in_spite_of_faults_and_kills(tmp_path: Path) -> None:
    """The trees are those of a server without passing faults and of a run that is not killed."""
    dice = random.Random(0)
    with ScriptedServer(Script(WORLD, answer=by_prompt)) as server:
        undisturbed = await search(tmp_path / "undisturbed", [server], num_prompts=NUM_PROMPTS)
        server.script = Script(
            WORLD, answer=by_prompt, fault_share=0.35, faults=TRANSIENT_FAULTS, retry_after="0.01"
        )
        server.seen.clear()
        server.num_requests = 0
        run, kills = tmp_path / "disturbed", 0
        while finish(server, run, dice.randrange(100, 1200) if kills < NUM_KILLS else 10**9):
            kills += 1
    ids = [json.loads(line)["prompt"]["id"] for line in (run / TREES).read_bytes().splitlines()]
    assert sorted(ids, key=int) == [str(i) for i in range(NUM_PROMPTS)]
    assert not differences(written(run), undisturbed)
    faults = Counter(seen.fault for seen in server.seen)
    assert kills == NUM_KILLS
    assert len(server.seen) >= NUM_REQUESTS
    assert set(faults) == {None, *TRANSIENT_FAULTS}
    reasons = " ".join(fault["reason"] for tree in undisturbed for fault in tree["faults"])
    for words in ("HTTP 451", "too long", "called a tool", "refused: I cannot", "content filter"):
        assert words in reasons


def finish(server: ScriptedServer, folder: Path, num_requests: int) -> bool:
    """Run until the end or until the server has got so many requests; returns whether it was killed."""
    command = [sys.executable, "-m", "tests.infer.faulty_run", server.url, str(folder)]
    due = threading.Event()
    last = server.num_requests + num_requests
    server.on_request = lambda number: due.set() if number >= last else None
    with subprocess.Popen([*command, str(NUM_PROMPTS)], stderr=subprocess.PIPE) as process:
        while process.poll() is None:
            if due.wait(0.05):
                process.kill()
                break
        _, errors = process.communicate(timeout=60)
    assert process.returncode in (0, -9), errors.decode()
    return process.returncode != 0
