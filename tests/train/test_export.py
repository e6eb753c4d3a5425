"""Files for trainers: their columns, and that nothing is lost or torn on the way."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from spar.errors import RunStopped, UsageError
from spar.record.training_data import (
    EXPORT_FORMATS,
    ExportFormat,
    Pair,
    RefinerExample,
    is_encodable,
)
from spar.train.data.export import export, read_examples, read_pairs
from spar.types import Message
from tests.strategies import any_text

SYSTEM, USER = Message(role="system", content="Be brief."), Message(role="user", content="Say it.")
PAIR = Pair(
    run="search",
    prompt_id="p1",
    chosen_node=3,
    rejected_node=0,
    prompt=(SYSTEM, USER),
    chosen="good",
    rejected="bad",
)
EXAMPLE = RefinerExample(
    kind="tree",
    verdict=False,
    run="search",
    prompt_id="p1",
    node=2,
    score=0.4,
    messages=(USER, Message(role="assistant", content="Final Judgement: No")),
)
PAIR_ORIGIN = {
    "run": "search",
    "prompt_id": "p1",
    "chosen_node": 3,
    "rejected_node": 0,
    "swapped": False,
}
EXAMPLE_ORIGIN = {
    "kind": "tree",
    "verdict": False,
    "run": "search",
    "prompt_id": "p1",
    "node": 2,
    "score": 0.4,
}


def rows(path: Path) -> list[dict[str, Any]]:
    """The objects of a file of lines."""
    return [json.loads(line) for line in path.read_text("ascii").splitlines()]


EXPECTED: dict[ExportFormat, tuple[dict[str, Any], dict[str, Any]]] = {
    "trl": (
        {
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Say it."},
            ],
            "chosen": [{"role": "assistant", "content": "good"}],
            "rejected": [{"role": "assistant", "content": "bad"}],
        },
        {
            "messages": [
                {"role": "user", "content": "Say it."},
                {"role": "assistant", "content": "Final Judgement: No"},
            ]
        },
    ),
    "llamafactory": (
        {
            "conversations": [
                {"from": "system", "value": "Be brief."},
                {"from": "human", "value": "Say it."},
            ],
            "chosen": {"from": "gpt", "value": "good"},
            "rejected": {"from": "gpt", "value": "bad"},
        },
        {
            "conversations": [
                {"from": "human", "value": "Say it."},
                {"from": "gpt", "value": "Final Judgement: No"},
            ]
        },
    ),
    "jsonl": (
        {
            "prompt": [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Say it."},
            ],
            "chosen": "good",
            "rejected": "bad",
        },
        {
            "messages": [
                {"role": "user", "content": "Say it."},
                {"role": "assistant", "content": "Final Judgement: No"},
            ]
        },
    ),
}


@pytest.mark.parametrize("form", EXPORT_FORMATS)
def test_columns(tmp_path: Path, form: ExportFormat) -> None:
    """What each trainer reads, and beside it where the line came from."""
    written = export(form, tmp_path, pairs=[PAIR], examples=[EXAMPLE])
    pair, example = EXPECTED[form]
    assert rows(tmp_path / "dpo.jsonl") == [{**pair, **PAIR_ORIGIN}]
    assert rows(tmp_path / "rft.jsonl") == [{**example, **EXAMPLE_ORIGIN}]
    for name, digest in written.items():
        assert hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() == digest
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(written)


def test_llamafactory_describes_both_files(tmp_path: Path) -> None:
    """Every column that the description names is there; entries of others stay."""
    (tmp_path / "dataset_info.json").write_text('{"theirs": {"file_name": "x.json"}}')
    export("llamafactory", tmp_path, pairs=[PAIR], examples=[EXAMPLE])
    info = json.loads((tmp_path / "dataset_info.json").read_text())
    assert info.keys() == {"theirs", "spar_dpo", "spar_rft"}
    assert info["spar_dpo"]["ranking"] is True
    assert "ranking" not in info["spar_rft"]
    for name in ("spar_dpo", "spar_rft"):
        assert info[name]["formatting"] == "sharegpt"
        (row,) = rows(tmp_path / info[name]["file_name"])
        assert set(info[name]["columns"].values()) <= row.keys()


@pytest.mark.parametrize("text", ["[]", "{"])
def test_a_foreign_description_is_not_overwritten(tmp_path: Path, text: str) -> None:
    """What cannot be read is left as it is."""
    (tmp_path / "dataset_info.json").write_text(text)
    with pytest.raises(UsageError, match=r"dataset_info\.json is no"):
        export("llamafactory", tmp_path, pairs=[PAIR], examples=[])
    assert (tmp_path / "dataset_info.json").read_text() == text
    assert [path.name for path in tmp_path.iterdir()] == ["dataset_info.json"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(any_text, min_size=2, max_size=2))
def test_any_text_round_trips(tmp_path: Path, sides: list[str]) -> None:
    """What `jsonl` writes is read as it was, a line an example."""
    pair = PAIR.model_copy(update={"chosen": sides[0], "rejected": sides[1]})
    message = Message(role="assistant", content=sides[0])
    example = EXAMPLE.model_copy(update={"messages": (USER, message)})
    export("jsonl", tmp_path, pairs=[pair, PAIR], examples=[example])
    assert list(read_pairs(tmp_path / "dpo.jsonl")) == [pair, PAIR]
    assert list(read_examples(tmp_path / "rft.jsonl")) == [example]


@given(any_text)
def test_encodable_texts(text: str) -> None:
    """Exactly the texts that have a UTF-8 form."""
    surrogate = any("\ud800" <= c <= "\udfff" for c in text)
    assert is_encodable(PAIR.model_copy(update={"rejected": text})) is not surrogate
    message = Message(role="assistant", content=text)
    assert is_encodable(EXAMPLE.model_copy(update={"messages": (USER, message)})) is not surrogate


def test_a_full_disk_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A write that fails says so, and what was there before is whole."""
    export("trl", tmp_path, pairs=[PAIR], examples=[])
    before = (tmp_path / "dpo.jsonl").read_bytes()

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("spar.files.os.fsync", full)
    with pytest.raises(RunStopped, match=r"dpo\.jsonl: No space left.*build again"):
        export("trl", tmp_path, pairs=[PAIR, PAIR], examples=[])
    assert (tmp_path / "dpo.jsonl").read_bytes() == before
    assert [path.name for path in tmp_path.glob("*.part")] == []


@pytest.mark.model
def test_trl_accepts_the_columns(tmp_path: Path) -> None:
    """TRL takes both files for conversations, and the columns of preference and of language modelling."""
    datasets = pytest.importorskip("datasets")
    trl = pytest.importorskip("trl.data_utils")
    export("trl", tmp_path, pairs=[PAIR, PAIR], examples=[EXAMPLE])
    columns = {"dpo.jsonl": {"prompt", "chosen", "rejected"}, "rft.jsonl": {"messages"}}
    for name, needed in columns.items():
        loaded = datasets.load_dataset(
            "json",
            data_files=str(tmp_path / name),
            split="train",
            cache_dir=str(tmp_path / f"cache-{name}"),
        )
        assert trl.is_conversational(loaded[0])
        assert needed <= set(loaded.column_names)
        assert not {"prompt", "completion"} & (set(loaded.column_names) - needed)
