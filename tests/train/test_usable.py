"""Examples that teach nothing are left out and counted, and a file of them is refused."""

from __future__ import annotations

import json
import sys
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from spar.errors import UsageError
from spar.train.context import GROUP_SECONDS, init_process_group
from spar.train.encode import IGNORED, Encoded
from spar.train.usable import (
    EQUAL,
    EQUAL_AFTER_CUT,
    NO_REPLY,
    conversation_problem,
    pair_problem,
    select_usable,
)
from tests.requires import requires

from .training import dpo_settings, quiet, sft_settings, write_rows


@pytest.mark.parametrize(
    ("prompt", "chosen", "rejected", "cutoff", "problem"),
    [
        (2, (1, 2, 3), (1, 2, 4), 8, ""),
        (2, (1, 2, 3), (1, 2, 3), 8, EQUAL),
        (2, (1, 2, 3), (1, 2, 3), 2, EQUAL),
        (2, (1, 2, 3), (1, 2, 4), 2, NO_REPLY),
        (2, (1, 2, 3, 4), (1, 2, 3, 5), 3, EQUAL_AFTER_CUT),
        (2, (1, 2, 3, 4), (1, 2, 3), 3, EQUAL_AFTER_CUT),
        (2, (1, 2, 3, 4), (1, 2, 3), 4, ""),
    ],
)
def test_pairs_that_teach_nothing(
    prompt: int, chosen: tuple[int, ...], rejected: tuple[int, ...], cutoff: int, problem: str
) -> None:
    """What counts is what is left within the cutoff."""
    assert pair_problem(prompt, chosen, rejected, cutoff) == problem


def test_conversations_that_teach_nothing() -> None:
    """A label within the cutoff suffices, whichever turn it belongs to."""
    example = Encoded([1, 2, 3, 4], [IGNORED, IGNORED, 3, 4])
    assert conversation_problem(example, 2) == NO_REPLY
    assert conversation_problem(example, 3) == ""


def test_half_of_the_examples_may_be_left_out() -> None:
    """Their positions and reasons are known; above a half the data are refused, in one line."""
    usable = select_usable(["", EQUAL, "", NO_REPLY], "d.jsonl")
    assert usable.indexes == (0, 2) and usable.dropped == {EQUAL: 1, NO_REPLY: 1}
    assert str(usable) == f"left out, since they teach nothing: 1 where {EQUAL}, 1 where {NO_REPLY}"
    with pytest.raises(
        UsageError,
        match=r"d\.jsonl: too many of its 3 examples .*2 where both sides are equal; .*50%",
    ):
        select_usable(["", EQUAL, EQUAL], "d.jsonl")


LONG = "the fox sees the owl " * 30
PAIRS: list[dict[str, Any]] = [
    *({"chosen": f"The owl {n}.", "rejected": f"the fox {n}."} for n in range(5)),
    {"chosen": "The owl.", "rejected": "The owl."},
    {"chosen": " ", "rejected": "The owl."},
    {"chosen": LONG + "1", "rejected": LONG + "2"},
    {"prompt": [{"role": "user", "content": LONG}], "chosen": "The owl.", "rejected": "The fox."},
]


def pairs(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with a prompt."""
    return [{"prompt": [{"role": "user", "content": "Write."}], **row} for row in rows]


@pytest.mark.model
@requires("trl")
class TestTrainings:
    """What the trainers make of such rows."""

    pytestmark = quiet()

    def test_pairs_are_left_out_and_reported(
        self, tiny_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Five of nine are trained on; the report and the output have the reasons of the others."""
        from spar.train.dpo import train

        data = write_rows(tmp_path / "pairs.jsonl", pairs(PAIRS))
        changes = {"cutoff": 60, "max_truncated": 1.0, "batch": 1, "epochs": 1}
        settings = dpo_settings(tiny_model, tmp_path, data=data, **changes)
        train(settings)
        report = json.loads((Path(settings.out) / "report.json").read_text())
        assert (report["examples"], report["steps"], report["truncated"]) == (9, 5, 0)
        assert sorted(report["dropped"].values()) == [1, 1, 1, 1]
        assert "left out, since they teach nothing: 1 where" in capsys.readouterr().out

    def test_pairs_of_which_none_is_left_are_refused(
        self, tiny_model: Path, tmp_path: Path
    ) -> None:
        """In one line, before anything is trained."""
        from spar.train.dpo import train

        data = write_rows(tmp_path / "pairs.jsonl", pairs(PAIRS[8:]))
        settings = dpo_settings(tiny_model, tmp_path, data=data, cutoff=60, max_truncated=1.0)
        with pytest.raises(UsageError, match="too many of its 1 examples would be left out"):
            train(settings)

    def test_conversations_of_which_none_is_left_are_refused(
        self, tiny_model: Path, tmp_path: Path
    ) -> None:
        """The same for supervised training; too many to be cut are said with the way to go on."""
        from spar.train.sft import train

        turns = [{"role": "user", "content": LONG}, {"role": "assistant", "content": "The owl."}]
        data = write_rows(tmp_path / "sft.jsonl", [{"messages": turns}] * 2)
        with pytest.raises(UsageError, match=r"set max_truncated to 1 ") as caught:
            train(sft_settings(tiny_model, tmp_path, data=data, cutoff=60))
        assert caught.value.change == "max_truncated=1"
        with pytest.raises(UsageError, match="2 where the prompt fills the cutoff"):
            train(sft_settings(tiny_model, tmp_path, data=data, cutoff=60, max_truncated=1.0))

    @pytest.mark.parametrize("what", ["data", "settings"])
    def test_json_nested_too_deeply_is_refused(
        self, tiny_model: Path, tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """One line that names the file."""
        from spar.train.dpo import main

        deep = tmp_path / "deep.json"
        deep.write_text("[" * 100_000)
        path = deep
        if what == "data":
            path = tmp_path / "settings.json"
            path.write_text(dpo_settings(tiny_model, tmp_path, data=deep).model_dump_json())
        assert main([str(path)]) == 2
        printed = capsys.readouterr().err
        assert "deep.json" in printed and printed.count("\n") == 1

    def test_the_processes_wait_as_long_as_the_papers(
        self, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """torch's ten minutes would end a training while the main process stores the weights of a large model."""
        from trl import DPOConfig, SFTConfig

        from spar.train.common import trainer_arguments
        from spar.train.context import TrainingContext

        context = TrainingContext(tmp_path, 0, 1, on_gpu=False, bf16=False)
        arguments = trainer_arguments(dpo_settings(tiny_model, tmp_path), context)
        for config in (DPOConfig, SFTConfig):
            assert config(**arguments).ddp_timeout == GROUP_SECONDS == 180_000_000
        waits: list[timedelta] = []
        fake = SimpleNamespace(init_distributed=lambda **options: waits.append(options["timeout"]))
        monkeypatch.setitem(sys.modules, "deepspeed", fake)
        monkeypatch.setitem(sys.modules, "deepspeed.comm.torch", SimpleNamespace())
        for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
            monkeypatch.setenv(name, "0")
        init_process_group(on_gpu=False)
        assert waits == [timedelta(seconds=GROUP_SECONDS)]
