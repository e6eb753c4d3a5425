"""Contamination: the rules by hand, on made-up benchmarks and on the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar.errors import UsageError
from spar.evolve.benchmarks import open_benchmarks
from spar.evolve.contamination import Benchmarks
from spar.nano.tasks import prompts as nano_prompts
from tests.evolve.worlds import benchmarks, made_up_ifeval

LONG = "Name the ninth king of the old river town and say in two lines how he lost it."
NINE = "Which bird of the northern sea sleeps in flight?"
FIVE = "Write about a small boat."


@pytest.mark.parametrize(
    ("text", "item", "why"),
    [
        (LONG.upper().replace(" ", "  "), "0", "the same words"),
        (
            "Please name the ninth king of the old river town and say in two words why.",
            "0",
            "13 words",
        ),
        ("Please name the ninth king of the old river town and say in a word why.", None, ""),
        (LONG.replace("two lines", "three verses"), None, ""),
        (f"As a sailor tell me: {NINE} Use one word.", "1", "has all of it"),
        ("As a sailor tell me: which bird of the northern sea sleeps at night?", None, ""),
        ("write, about a small boat", "2", "the same words"),
        ("Write about a small boat in Spanish.", None, ""),
        (
            " ".join([*"abcdefghij", "X", *"klmnopqrst"]),
            "3",
            "nearly the same words (similarity 0.76)",
        ),
        ("", None, ""),
        ("?!", None, ""),
    ],
)
def test_the_rules_by_hand(text: str, item: str | None, why: str) -> None:
    """Same words; 13 in a row but not 12; a short one whole; nearly the same: each said with its item."""
    alphabet = " ".join("abcdefghijklmnopqrst")
    found = benchmarks(LONG, NINE, FIVE, alphabet, "...").find(text)
    assert (found.item if found else None) == item
    if found is not None:
        assert found.benchmark == "toy"
        assert why in found.why


def test_of_a_benchmark_of_templates_only_whole_texts_count() -> None:
    """With `whole_only` a shared part is nothing, and the same words are."""
    toy = benchmarks(LONG, whole_only=True)
    assert toy.find(f"{LONG} Rhyme it.") is None
    assert toy.find(LONG.lower()) is not None


def test_a_made_up_folder_is_a_benchmark(tmp_path: Path) -> None:
    """What is in the folder is read, what is not is named, and nano-if is always there."""
    found, absent = open_benchmarks(str(made_up_ifeval(tmp_path / "data", LONG)))
    assert [one.name for one in found] == ["ifeval", "nano-if"]
    assert absent == ("followbench", "llmbar", "gsm8k", "humaneval", "mmlu", "triviaqa")
    assert found[0].texts["0"] == LONG
    assert len(found[0].digest) == 16
    in_nano = Benchmarks(found).find(next(nano_prompts("test")).messages[-1].content)
    assert in_nano is not None and (in_nano.benchmark, in_nano.item) == ("nano-if", "nano-test-0-0")


def test_a_damaged_benchmark_is_no_absent_one(tmp_path: Path) -> None:
    """A cut file is an error: what is compared with half a benchmark is not checked."""
    folder = made_up_ifeval(tmp_path / "data", LONG)
    path = folder / "ifeval" / "input_data.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match="input_data"):
        open_benchmarks(str(folder))


@pytest.mark.data
def test_the_real_benchmarks(data_root: Path) -> None:
    """Every prompt of every benchmark is found in it, whole and with something asked besides."""
    found, absent = open_benchmarks(str(data_root))
    assert absent == ()
    sizes = {one.name: len(one.texts) for one in found}
    assert sizes == {
        "ifeval": 541,
        "followbench": 944,
        "llmbar": 419,
        "gsm8k": 1319,
        "humaneval": 164,
        "mmlu": 14042,
        "triviaqa": 11313,
        "nano-if": 500,
    }
    index = Benchmarks(found)
    for name in ("ifeval", "followbench"):
        (texts,) = (one.texts for one in found if one.name == name)
        missed = [item for item, text in texts.items() if text.strip() and index.find(text) is None]
        assert missed == []
    (prompts,) = (one.texts for one in found if one.name == "ifeval")
    extended = [f"You are a pilot. {text} Answer in German." for text in prompts.values()]
    assert sum(index.find(text) is not None for text in extended) >= 0.99 * len(extended)


@pytest.mark.data
def test_few_plain_prompts_are_taken_for_a_benchmarks(data_root: Path) -> None:
    """Of 1,002 prompts of people, cleaned before, the two that hold 13 words of LLMBar's in a row."""
    found, _ = open_benchmarks(str(data_root))
    index = Benchmarks(found)
    rows = (data_root / "seed_prompts" / "prompts.jsonl").read_text().splitlines()
    hits = {
        row["id"]: f"{where.benchmark}/{where.item}"
        for row in map(json.loads, rows)
        if (where := index.find(row["prompt"])) is not None
    }
    assert hits == {"seed_task_62": "llmbar/Manual/24", "mt_bench_134": "llmbar/Natural/18"}
