"""Contamination: the rules by hand, on small made-up benchmarks and on the real ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from spar.errors import UsageError
from spar.evolve.benchmarks import load_benchmark_prompts
from spar.evolve.contamination import BenchmarkIndex
from spar.nano.tasks import prompts as nano_prompts
from spar.types import Message
from tests.evolve.worlds import benchmarks, write_ifeval

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
            "13 consecutive words",
        ),
        ("Please name the ninth king of the old river town and say in a word why.", None, ""),
        (LONG.replace("two lines", "three verses"), None, ""),
        (f"As a sailor tell me: {NINE} Use one word.", "1", "contains all of it"),
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
def test_rules_on_worked_examples(text: str, item: str | None, why: str) -> None:
    """Same words; 13 consecutive ones but not 12; a whole short prompt; a near duplicate: each with its item."""
    alphabet = " ".join("abcdefghijklmnopqrst")
    overlap = benchmarks(LONG, NINE, FIVE, alphabet, "...").find(text)
    assert (overlap.item if overlap else None) == item
    if overlap is not None:
        assert overlap.benchmark == "toy"
        assert why in overlap.why


SYSTEM = Message(
    role="system", content="You answer in verse, with many words, and never twice alike."
)
EARLIER = (
    Message(role="user", content="Good morning to you."),
    Message(role="assistant", content="And to you, my friend. What shall I write?"),
)


@pytest.mark.parametrize("before", [(), (SYSTEM,), EARLIER, (SYSTEM, *EARLIER)])
@pytest.mark.parametrize(
    ("text", "why"),
    [
        (FIVE, "the same words"),
        (f"Please {LONG[:-4]} everything.", "13 consecutive words"),
        (f"As a sailor tell me: {NINE}", "contains all of it"),
        (" ".join([*"abcdefghij", "X", *"klmnopqrst"]), "nearly the same words"),
        ("Write about a small boat in Spanish.", ""),
    ],
)
def test_every_rule_holds_for_each_turn_of_the_user(
    before: tuple[Message, ...], text: str, why: str
) -> None:
    """Other turns around a benchmark's prompt hide it from no rule, whether it is the last turn or one before."""
    index = benchmarks(LONG, NINE, FIVE, " ".join("abcdefghijklmnopqrst"))
    user = Message(role="user", content=text)
    reply = Message(role="assistant", content="Here it is.")
    last = Message(role="user", content="Now in another language.")
    for messages in ((*before, user), (*before, user, reply, last)):
        overlap = index.find_in(messages)
        assert bool(overlap) == bool(why)
        assert overlap is None or why in overlap.why


def test_what_only_another_role_says_counts_together_with_the_rest() -> None:
    """A short prompt that a system turn equals is no prompt of the user; 13 words of one count anywhere."""
    index = benchmarks(LONG, FIVE)
    last = Message(role="user", content="Go on.")
    assert index.find_in((Message(role="system", content=FIVE), last)) is None
    assert index.find_in((Message(role="system", content=LONG), last)) is not None


def test_whole_only_ignores_partial_overlaps() -> None:
    """With `whole_only` a shared part does not count, and the same words do."""
    toy = benchmarks(LONG, whole_only=True)
    assert toy.find(f"{LONG} Rhyme it.") is None
    assert toy.find(LONG.lower()) is not None


def test_a_data_folder_with_one_benchmark_is_read(tmp_path: Path) -> None:
    """Present benchmarks are read, absent ones are named, and nano-if is always included."""
    loaded, absent = load_benchmark_prompts(str(write_ifeval(tmp_path / "data", LONG)))
    assert [benchmark.name for benchmark in loaded] == ["ifeval", "nano-if"]
    assert absent == ("ifbench", "followbench", "llmbar", "gsm8k", "mmlu", "triviaqa", "humaneval")
    assert loaded[0].texts["0"] == LONG
    assert len(loaded[0].digest) == 16
    in_nano = BenchmarkIndex(loaded).find(next(nano_prompts("test")).messages[-1].content)
    assert in_nano is not None and (in_nano.benchmark, in_nano.item) == ("nano-if", "nano-test-0-0")


def test_a_truncated_benchmark_is_an_error(tmp_path: Path) -> None:
    """A truncated file is an error, not an absent benchmark."""
    folder = write_ifeval(tmp_path / "data", LONG)
    path = folder / "ifeval" / "input_data.jsonl"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UsageError, match="input_data"):
        load_benchmark_prompts(str(folder))


@pytest.mark.data
def test_real_benchmark_prompts_are_found(data_root: Path) -> None:
    """Every prompt of every benchmark is found, as it is and within a longer prompt."""
    loaded, absent = load_benchmark_prompts(str(data_root))
    assert absent == ()
    sizes = {benchmark.name: len(benchmark.texts) for benchmark in loaded}
    assert sizes == {
        "ifeval": 541,
        "ifbench": 300,
        "followbench": 944,
        "llmbar": 419,
        "gsm8k": 1319,
        "humaneval": 164,
        "mmlu": 14042,
        "triviaqa": 11313,
        "nano-if": 500,
    }
    index = BenchmarkIndex(loaded)
    for name in ("ifeval", "followbench"):
        (texts,) = (benchmark.texts for benchmark in loaded if benchmark.name == name)
        missed = [item for item, text in texts.items() if text.strip() and index.find(text) is None]
        assert missed == []
    (prompts,) = (benchmark.texts for benchmark in loaded if benchmark.name == "ifeval")
    extended = [f"You are a pilot. {text} Answer in German." for text in prompts.values()]
    assert sum(index.find(text) is not None for text in extended) >= 0.99 * len(extended)


@pytest.mark.data
def test_few_plain_prompts_are_contaminated(data_root: Path) -> None:
    """Of 1,002 human-written prompts only two share 13 consecutive words with LLMBar."""
    loaded, _ = load_benchmark_prompts(str(data_root))
    index = BenchmarkIndex(loaded)
    rows = (data_root / "seed_prompts" / "prompts.jsonl").read_text().splitlines()
    hits = {
        row["id"]: f"{overlap.benchmark}/{overlap.item}"
        for row in map(json.loads, rows)
        if (overlap := index.find(row["prompt"])) is not None
    }
    assert hits == {"seed_task_62": "llmbar/Manual/24", "mt_bench_134": "llmbar/Natural/18"}
