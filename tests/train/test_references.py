"""Replies that came with the prompts: where they are found, and what is refused before anything runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from spar.errors import ConfigChanged, UsageError
from spar.nano.tasks import prompts as nano_prompts
from spar.prompts import read_prompts
from spar.train.pipeline import StageSelection
from spar.train.recipe import load_train
from spar.train.references import with_references
from spar.train_runner import plan_train
from spar.verifiers import passes
from tests.train.test_loop import Script, go, script, settings

__all__ = ["script"]

ROWS: list[dict[str, object]] = [
    {
        "id": "a",
        "messages": [{"role": "user", "content": "Hi."}, {"role": "assistant", "content": "Ho."}],
    },
    {"id": "b", "prompt": "Hi.", "output": "Hum."},
    {"id": "c", "prompt": "Hi."},
]


def write(path: Path, *rows: Mapping[str, object]) -> str:
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return str(path)


def test_a_prompts_own_reply_goes_before_that_of_the_file(tmp_path: Path) -> None:
    """The last turn or the field `output`; the file has those of the others."""
    prompts = read_prompts(write(tmp_path / "p.jsonl", *ROWS))
    texts = [{"id": "b", "response": "Not this."}, {"id": "c", "response": "This."}]
    file = write(tmp_path / "r.jsonl", *texts)
    assert [p.meta["output"] for p in with_references(prompts, file)] == ["Ho.", "Hum.", "This."]


def test_the_replies_of_nano_if_meet_its_constraints() -> None:
    """They are the same whenever they are made, and every other field of the prompt stays."""
    prompts = list(nano_prompts("train", limit=40))
    replied = list(with_references(prompts))
    assert all(passes(prompt.meta["output"], prompt) for prompt in replied)
    assert replied == list(with_references(prompts))
    assert [(p.id, p.messages) for p in replied] == [(p.id, p.messages) for p in prompts]


@pytest.mark.parametrize(
    ("sets", "message"),
    [
        ([], "prompt 'c' has no reply of its own"),
        (["references={}"], "r.jsonl:1: expected the fields 'id' and 'response'"),
        (["by_iteration=[{{pairs: independent}}, {{}}]"], "prompt 'c' has no reply of its own"),
    ],
)
def test_missing_replies_are_reported_before_anything_runs(
    sets: list[str], message: str, tmp_path: Path
) -> None:
    """In a file of prompts, in the file of replies, and where only a later iteration needs them."""
    prompts = write(tmp_path / "p.jsonl", *ROWS)
    replies = write(tmp_path / "r.jsonl", {"id": "c", "text": "?"})
    changes = ["benchmarks=[]", *(each.format(replies) for each in sets)]
    config = load_train("spin", {"prompts": prompts}, changes)
    with pytest.raises(UsageError) as caught:
        plan_train(config, out=tmp_path / "run")
    assert message in str(caught.value)


def test_replies_are_not_asked_of_prompts_that_were_written_without(
    tmp_path: Path, script: Script
) -> None:
    """Of drafts that stay; nothing is moved, and from the drafts on the prompts have replies."""
    run = tmp_path / "run"
    go(script, run, settings())
    replies = settings(pairs="reference")
    with pytest.raises(UsageError, match=r"1/draft drafted, .*: --rerun-from 1/draft$"):
        go(script, run, replies, rerun_from="build")
    with pytest.raises(UsageError, match=r"--rerun-from 1/draft$"):
        plan_train(replies, out=run, selection=StageSelection(rerun_from="1/search"))
    assert not (run / "replaced").exists()
    go(script, run, replies, rerun_from="1/draft")
    rows = (run / "iteration-1" / "prompts.jsonl").read_text().splitlines()
    assert rows and all(json.loads(row)["output"] for row in rows)
    go(script, run, settings(pairs="reference", shuffle_labels=True), rerun_from="build")


def test_prompts_with_replies_of_their_own_need_no_other_drafts(
    tmp_path: Path, script: Script
) -> None:
    """They were stored with them; a file of replies may be added with other drafts."""
    prompts, run = write(tmp_path / "p.jsonl", *ROWS[:2]), tmp_path / "run"
    go(script, run, settings(prompts=prompts))
    go(script, run, settings(prompts=prompts, pairs="reference"), rerun_from="build")
    assert script.specs["1/build"]["pairs"] == "reference"
    file = write(tmp_path / "r.jsonl", {"id": "c", "response": "This."})
    more = settings(prompts=prompts, pairs="reference", references=file)
    with pytest.raises(ConfigChanged, match=r"(?s)references: .*--rerun-from 1/draft"):
        go(script, run, more)
    go(script, run, more, rerun_from="1/draft")


def test_prompts_that_the_loop_makes_need_witnesses(tmp_path: Path) -> None:
    """Their texts are the replies; without them the settings are refused."""
    config = load_train("spin", {}, ["checkable={n: 4}", "benchmarks=[]"])
    with pytest.raises(UsageError, match=r"add --set checkable\.witnesses=true"):
        plan_train(config, out=tmp_path / "run")
