"""IFEval: verdicts equal to lm-eval's own, aggregates worked out by hand, and nothing left to chance."""

from __future__ import annotations

import json
import logging
import random
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar import ifeval_verifiers, instruction_checks
from spar.config import EvalConfig
from spar.errors import MissingExtra, UsageError
from spar.eval.benchmark import ANSWERS, Answer
from spar.eval.ifeval import FAULTY, IFEval, load_verifiers
from spar.eval.statistics import metrics
from spar.ifeval_verifiers import IFEVAL_TYPES, LANGUAGE_TYPES, check, checkers
from spar.instruction_checks import variants
from spar.record.evaluation import Scored
from spar.run.job import Job
from spar.types import Message, Prompt, SearchTree, Usage

pytestmark = [pytest.mark.data, pytest.mark.evalharness]


@pytest.fixture(scope="module", autouse=True)
def ready(data_root: Path) -> Iterator[None]:
    """lm-eval's verifiers, with NLTK's data out of the data folder."""
    pytest.importorskip("lm_eval")
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("NLTK_DATA", raising=False)
        load_verifiers(str(data_root))
        yield


@pytest.fixture(scope="module")
def examples(data_root: Path) -> list[Prompt]:
    """The 541 prompts."""
    return IFEval().load(EvalConfig(data=str(data_root)))


class Given:
    """External answers: texts by id."""

    directory = None

    def __init__(self, texts: Mapping[str, str | None]) -> None:
        self.texts = texts

    def trees(self, job: str) -> Sequence[SearchTree]:
        return ()

    def answers(self, job: str = ANSWERS) -> Mapping[str, Answer]:
        return {id_: Answer(text, Usage(calls=1)) for id_, text in self.texts.items()}

    def grader_replies(self, job: str = "") -> Mapping[str, tuple[str, ...]]:
        return {}


Pair = tuple[str, dict[str, Any]]
"""An instruction's type and arguments."""


def prompt(id_: str, *pairs: Pair) -> Prompt:
    """An example with instructions."""
    meta = {"instruction_id_list": [name for name, _ in pairs], "kwargs": [a for _, a in pairs]}
    return Prompt(id=id_, messages=(Message(role="user", content="Do it."),), meta=meta)


ENGLISH = "the children walked to the old house by the river and talked about the summer"
GERMAN = "Die Kinder gingen am Abend zum alten Haus am Fluss und sprachen dort über den Sommer"

TABLE: list[tuple[str, dict[str, Any], str, str]] = [
    ("keywords:existence", {"keywords": ["river", "boat"]}, "A Boat on the river", "a river"),
    (
        "keywords:frequency",
        {"keyword": "red", "frequency": 2, "relation": "at least"},
        "Red and hundred",
        "red only",
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["cat"]}, "a catalogue", "a Cat sat"),
    (
        "keywords:letter_frequency",
        {"letter": "E", "let_frequency": 3, "let_relation": "less than"},
        "even",
        "eleven",
    ),
    ("language:response_language", {"language": "de"}, GERMAN, ENGLISH),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        "Dr. Lee came. He left.",
        "Dr. Lee came",
    ),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 2}, "one\n***\ntwo", "one\n\ntwo"),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "less than"},
        "two words",
        "three words here",
    ),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "then"},
        "First this.\n\nThen, that.",
        "First this.\n\nNow that.",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] [b]", "[a]"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "Bye.\nP.S. Hi", "Bye. PS Hi"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* a\n- b", "- a"),
    ("detectable_format:constrained_response", {}, "My answer is no.", "My answer is nothing"),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* *b*", "*a* b"),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "SECTION", "num_sections": 2},
        "SECTION 1 a SECTION 2 b",
        "Section 1 a Section 2 b",
    ),
    ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', '{"a": 1'),
    ("detectable_format:title", {}, "<<Rain>>\nIt rains", "<< >> rain"),
    ("combination:two_responses", {}, "one\n******\ntwo", "one\n******\none"),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Say hi to Ann."},
        "say hi to Ann. Hi!",
        "Hi! Say hi to Ann.",
    ),
    (
        "startend:end_checker",
        {"end_phrase": "That is all."},
        'So "THAT is all."',
        "That is all. No",
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        "NO WAY out",
        "NO way out",
    ),
    ("change_case:english_capital", {}, ENGLISH.upper(), ENGLISH.title()),
    ("change_case:english_lowercase", {}, ENGLISH, ENGLISH.title()),
    ("punctuation:no_comma", {}, "no such mark", "one, two"),
    ("startend:quotation", {}, '"all of it"', '"not all" of it'),
]
"""Type, arguments, a response that follows, and one that does not."""

MORE = [
    "",
    " \n\t",
    "123 456",
    "**Bold** start\n* a\n* b\n***\nLast, line",
    "Sure, here it is:\n\n<<Title>>\n\n*one* and **two**\n\nP.S. bye",
    f"Here you are:\n{GERMAN}\nI hope that helps.",
    f'*"{ENGLISH}"*',
    "Note:\n{}\nDone",
    "Then\n\n***\n\nThen",
    "\ud800 lone, \u202e turned \x1b[31m red",
]
TEXTS = [text for row in TABLE for text in row[2:]] + MORE
"""60 responses, each of which every type is checked against."""


@pytest.mark.parametrize(("name", "kwargs", "good", "bad"), TABLE, ids=[row[0] for row in TABLE])
def test_passing_and_failing_response(
    name: str, kwargs: dict[str, Any], good: str, bad: str
) -> None:
    """Each type has a response that follows it and one that does not, strictly and loosely."""
    for text, expected in ((good, True), (bad, False)):
        (checked,) = check(text, [name], [kwargs], seed="1")
        assert (checked.name, checked.strict, checked.loose) == (name, expected, expected)
        assert 0 < len(checked.why) <= 170


def test_table_has_every_type(examples: list[Prompt]) -> None:
    """All 25 types of the data are in the table, and 60 responses."""
    used = {name for example in examples for name in example.meta["instruction_id_list"]}
    assert {row[0] for row in TABLE} == used == set(checkers()) == IFEVAL_TYPES
    assert (len(used), len(TEXTS)) == (25, 60)


@pytest.mark.parametrize(("name", "kwargs"), [row[:2] for row in TABLE], ids=[r[0] for r in TABLE])
def test_equal_to_lm_eval(
    name: str, kwargs: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On sixty responses the strict and the loose verdicts are those of lm-eval's own task."""
    import langdetect
    from lm_eval.tasks.ifeval.utils import process_results

    monkeypatch.setattr(langdetect.DetectorFactory, "seed", 0)
    doc = {"key": 7, "prompt": "Do it.", "instruction_id_list": [name], "kwargs": [kwargs]}
    for text in TEXTS:
        theirs = process_results(doc, [text])
        (ours,) = check(text, [name], [kwargs], seed=7)
        if ours.undecided:
            continue
        assert [ours.strict] == theirs["inst_level_strict_acc"], text
        assert [ours.loose] == theirs["inst_level_loose_acc"], text
        assert ours.error == ""


def test_equal_to_lm_eval_on_the_data(
    examples: list[Prompt], monkeypatch: pytest.MonkeyPatch
) -> None:
    """On every prompt of the data, both agree about a response of many kinds; two draw a letter."""
    import langdetect
    from lm_eval.tasks.ifeval.utils import process_results

    for number, example in enumerate(examples):
        if example.id in ("1122", "1129"):
            continue
        repeated = example.meta["kwargs"][0].get("prompt_to_repeat", "")
        text = f"{repeated}\n{TEXTS[number % len(TEXTS)]}\n\n{TEXTS[(7 * number) % len(TEXTS)]}"
        monkeypatch.setattr(langdetect.DetectorFactory, "seed", 0)
        theirs = process_results({**example.meta, "prompt": ""}, [text])
        meta = example.meta
        ours = check(text, meta["instruction_id_list"], meta["kwargs"], seed=example.id)
        if any(result.undecided for result in ours):
            continue
        assert [result.strict for result in ours] == theirs["inst_level_strict_acc"], example.id
        assert [result.loose for result in ours] == theirs["inst_level_loose_acc"], example.id


def test_variants_by_hand() -> None:
    """The eight texts of loose scoring: four cuts, each with and without asterisks."""
    assert variants("*Sure*:\n*one*\n two\n*Bye*") == (
        "*Sure*:\n*one*\n two\n*Bye*",
        "*one*\n two\n*Bye*",
        "*Sure*:\n*one*\n two",
        "*one*\n two",
        "Sure:\none\n two\nBye",
        "one\n two\nBye",
        "Sure:\none\n two",
        "one\n two",
    )


@pytest.mark.parametrize(
    ("text", "strict", "loose"),
    [
        ('"yes"', True, True),
        ('**"yes"**', False, True),
        ('Sure:\n"yes"', False, True),
        ('"yes"\nBye', False, True),
        ('Sure:\n"yes"\nBye', False, True),
        ('Sure:\n*"yes"*', False, True),
        ('*"yes"*\nBye', False, True),
        ('Sure:\n*"yes"*\nBye', False, True),
        ('Sure:\nHere:\n"yes"', False, False),
        ('"yes"\nBye\nBye', False, False),
    ],
)
def test_loose_takes_any_variant(text: str, strict: bool, loose: bool) -> None:
    """Each of the eight variants can be the one that passes, and nothing further is cut off."""
    (result,) = check(text, ["startend:quotation"], [{}], seed="1")
    assert (result.strict, result.loose) == (strict, loose)


@pytest.mark.parametrize("text", ["", " ", "\n\n", "one, two", "one, two\n", "a, b\nc, d"])
def test_blank_variant_never_passes(text: str) -> None:
    """Where only a blank rest would follow an instruction, nothing follows it."""
    (result,) = check(text, ["punctuation:no_comma"], [{}], seed="1")
    assert (result.strict, result.loose) == (False, False)


@given(st.text(alphabet="a,*\n\"' [].<>#", max_size=40), st.sampled_from(TABLE))
def test_strict_implies_loose(text: str, row: tuple[str, dict[str, Any], str, str]) -> None:
    """Whatever follows an instruction as it is also follows it loosely."""
    (result,) = check(text, [row[0]], [row[1]], seed="1")
    assert result.loose or not result.strict


@given(st.text(alphabet="ab*\n ", max_size=30))
def test_variants_of_any_text(text: str) -> None:
    """At most eight texts, all different, the response first, no character that it lacks."""
    texts = variants(text)
    assert texts[0] == text
    assert len(set(texts)) == len(texts) <= 8
    assert all(set(variant) <= set(text) for variant in texts)
    assert text.replace("*", "") in texts


def test_load(examples: list[Prompt]) -> None:
    """541 prompts with 834 instructions, ids are the keys, and the noisy label of key 1174 stays."""
    by_id = {example.id: example for example in examples}
    assert len(by_id) == len(examples) == 541
    assert sum(len(example.meta["kwargs"]) for example in examples) == 834
    assert examples[0].id == str(examples[0].meta["key"]) == "1000"
    first = by_id["1174"].meta["kwargs"][0]
    assert first == {"let_relation": "less than", "letter": "o", "let_frequency": 6}
    assert "at least 3 placeholders" in by_id["2785"].messages[0].content


def damaged(data_root: Path, folder: Path, change: dict[str, Any]) -> str:
    """A copy of the data whose first row is changed."""
    lines = (data_root / "ifeval" / "input_data.jsonl").read_text(encoding="utf-8").splitlines()
    lines[0] = json.dumps(json.loads(lines[0]) | change)
    (folder / "ifeval").mkdir()
    (folder / "ifeval" / "input_data.jsonl").write_text("\n".join(lines), encoding="utf-8")
    return str(folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"instruction_id_list": ["punctuation:no_coma"], "kwargs": [{}]}, "punctuation:no_comma"),
        ({"kwargs": [{}]}, "3 instruction types and 1 sets of arguments"),
        ({"kwargs": [{}, {}, 5]}, "expected one object of arguments a type"),
    ],
)
def test_load_refuses_wrong_rows(
    data_root: Path, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    """A row whose types and arguments do not fit is named by its key in one line."""
    with pytest.raises(UsageError, match="key 1000") as caught:
        IFEval().load(EvalConfig(data=damaged(data_root, tmp_path, change)))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


async def test_responds_in_one_job(examples: list[Prompt]) -> None:
    """Every example is answered in the benchmark's own directory, by the run's own settings."""
    jobs: list[Job] = []

    class ListJobRunner:
        config, outputs = EvalConfig(), Given({})

        async def run(self, job: Job) -> None:
            jobs.append(job)

    await IFEval().respond(ListJobRunner(), examples)
    await IFEval().grade(ListJobRunner(), examples)
    assert jobs == [Job(ANSWERS, examples)]


def scored_by_hand() -> Scored:
    """Four examples: half followed, followed loosely, followed, unanswered."""
    words: Pair = ("length_constraints:number_words", {"num_words": 9, "relation": "at least"})
    comma: Pair = ("punctuation:no_comma", {})
    quoted: Pair = ("startend:quotation", {})
    rows = [prompt("a", comma, words), prompt("b", quoted), prompt("c", quoted), prompt("d", comma)]
    texts = {"a": "no mark", "b": 'Sure:\n"yes"', "c": '"yes"', "d": None}
    return IFEval().score(rows, Given(texts))


def test_aggregates_by_hand() -> None:
    """The four metrics, their mean, families and types of four examples, worked out by hand."""
    values = {name: metric.value for name, metric in metrics(scored_by_hand()).items()}
    assert [*values][:4] == [
        "prompt_level_strict_acc",
        "inst_level_strict_acc",
        "prompt_level_loose_acc",
        "inst_level_loose_acc",
    ]
    assert values == pytest.approx(
        {
            "prompt_level_strict_acc": 1 / 4,
            "inst_level_strict_acc": 2 / 5,
            "prompt_level_loose_acc": 2 / 4,
            "inst_level_loose_acc": 3 / 5,
            "inst_level_strict_acc/punctuation": 1 / 2,
            "inst_level_strict_acc/punctuation:no_comma": 1 / 2,
            "inst_level_strict_acc/length_constraints": 0,
            "inst_level_strict_acc/length_constraints:number_words": 0,
            "inst_level_strict_acc/startend": 1 / 2,
            "inst_level_strict_acc/startend:quotation": 1 / 2,
            "inst_level_loose_acc/punctuation": 1 / 2,
            "inst_level_loose_acc/punctuation:no_comma": 1 / 2,
            "inst_level_loose_acc/length_constraints": 0,
            "inst_level_loose_acc/length_constraints:number_words": 0,
            "inst_level_loose_acc/startend": 1,
            "inst_level_loose_acc/startend:quotation": 1,
            "average": (1 / 4 + 2 / 5 + 2 / 4 + 3 / 5) / 4,
            "seq_rep_4": 0,
            "repetitive": 0,
            "prompt_level_strict_acc_without_repetition": 1 / 4,
        }
    )


def test_examples_by_hand() -> None:
    """Each example has its verdicts, strict then loose, with the reason in words, and what it cost."""
    scored = scored_by_hand()
    half, loosely, followed, unanswered = scored.examples
    assert [example.passed for example in scored.examples] == [False, False, True, False]
    assert [(verdict.name, verdict.passed) for verdict in half.verdicts] == [
        ("punctuation:no_comma", True),
        ("length_constraints:number_words", False),
        ("punctuation:no_comma (loose)", True),
        ("length_constraints:number_words (loose)", False),
    ]
    assert half.verdicts[0].why.endswith(" [found: 0]")
    assert "at least 9 words" in half.verdicts[1].why
    assert all(" [found: " in verdict.why for verdict in half.verdicts[:2])
    assert not any("found" in verdict.why for verdict in half.verdicts[2:])
    assert unanswered.verdicts[0].why.endswith(" [found: the response is empty]")
    assert [verdict.passed for verdict in loosely.verdicts] == [False, True]
    assert (followed.response, followed.usage) == ('"yes"', Usage(calls=1))
    assert (unanswered.response, unanswered.verdicts[0].passed) == (None, False)
    assert scored.counts == {"unanswered": 1, "verifier_errors": 0}


def test_missing_answer_counts_as_unanswered() -> None:
    """An example without an answer follows no instruction."""
    scored = IFEval().score([prompt("a", ("punctuation:no_comma", {}))], Given({}))
    assert scored.counts["unanswered"] == 1
    assert metrics(scored)["prompt_level_strict_acc"].value == 0


def test_two_prompts_draw_a_letter(examples: list[Prompt]) -> None:
    """Keys 1122 and 1129 score alike in any order and beside any other draw, and a note says so."""
    chosen = [example for example in examples if example.id in ("1122", "1129", "1000")]
    texts = {example.id: "#one #two #three #four and some more words" for example in chosen}
    first = IFEval().score(chosen, Given(texts))
    random.seed(5)
    again = IFEval().score(chosen[::-1], Given(texts))
    assert again.examples[::-1] == first.examples
    assert any(note.startswith("1122, 1129: ") for note in first.notes)
    assert "1000" not in " ".join(first.notes)


def test_faulty_items_are_noted_and_left_out_of_a_second_average() -> None:
    """All items count in the published metrics; the average without the faulty ones is beside them."""
    quoted: Pair = ("startend:quotation", {})
    rows = [prompt("a", quoted), prompt("b", quoted), prompt("30", quoted), prompt("337", quoted)]
    scored = IFEval().score(rows, Given({"a": '"x"', "b": "x", "30": '"x"', "337": '"x"'}))
    values = {name: metric.value for name, metric in metrics(scored).items()}
    assert (values["average"], values["average_sound"]) == (3 / 4, 1 / 2)
    assert metrics(scored)["average_sound"].n == 2
    (note,) = [note for note in scored.notes if "faulty" in note]
    assert "30 checks the quotation marks twice" in note and "337 asks for 400 words" in note
    assert "average_sound" not in metrics(IFEval().score(rows[:2], Given({})))


def test_faulty_items_are_as_described(examples: list[Prompt]) -> None:
    """What the notes say of the five items is so in the data."""
    by_id = {example.id: example for example in examples if example.id in FAULTY}
    assert by_id.keys() == FAULTY.keys()
    assert by_id["30"].meta["instruction_id_list"].count("startend:quotation") == 2
    assert "400 words" in by_id["337"].messages[0].content
    assert by_id["337"].meta["kwargs"][0]["num_words"] == 336
    assert [by_id[key].meta["kwargs"][n]["letter"] for key, n in (("1122", 1), ("1129", 0))] == [
        "#",
        "!",
    ]
    assert "a few bullet points" in by_id["2078"].messages[0].content


CHANCE = "A TALL TREE"
"""langdetect calls it English with some seeds and not with others."""


def test_a_language_is_not_drawn_by_the_row() -> None:
    """A text too short to tell gets the same verdict in every row, from most of the draws, and says so."""
    name = "change_case:english_capital"
    checked = {check(CHANCE, [name], [{}], seed=seed)[0] for seed in range(10)}
    (only,) = checked
    assert only.undecided and "most of 5 draws decide" in only.reason
    scored = IFEval().score([prompt("a", (name, {}))], Given({"a": CHANCE}))
    assert scored.counts["undecided_languages"] == 1
    assert any(
        note.startswith("answers too short to tell their language, 1 (a)") for note in scored.notes
    )
    decided = IFEval().score([prompt("a", (name, {}))], Given({"a": ENGLISH.upper()}))
    assert "undecided_languages" not in decided.counts


def test_types_with_a_language_are_those_that_ask_for_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exactly the listed types call langdetect, on any of the responses."""
    import langdetect

    calls: list[str] = []
    monkeypatch.setattr(langdetect, "detect", lambda text: calls.append(text) or "en")  # type: ignore[func-returns-value]
    asked = set()
    for name, kwargs, good, bad in TABLE:
        calls.clear()
        for text in (good, bad):
            check(text, [name], [kwargs], seed=1)
        asked |= {name} if calls else set()
    assert asked == LANGUAGE_TYPES


def test_draws_follow_from_the_seed_alone() -> None:
    """The drawn letter is the same for a seed, strict and loose, and differs between seeds."""
    name, kwargs = "keywords:letter_frequency", {"letter": "#", "let_frequency": 1}
    drawn = {seed: check("x", [name], [kwargs], seed=seed)[0].why for seed in range(30)}
    assert len(set(drawn.values())) > 5
    for seed in range(30):
        (checked,) = check("x", [name], [kwargs], seed=str(seed))
        assert checked.why == drawn[seed]


def test_leaves_no_trace() -> None:
    """Python's and langdetect's random state, and lm-eval's log, are afterwards as before."""
    import langdetect

    random.seed(3)
    before = random.getstate(), langdetect.DetectorFactory.seed
    check("1 2", ["keywords:letter_frequency"], [{"letter": "!"}], seed=1)
    assert (random.getstate(), langdetect.DetectorFactory.seed) == before
    assert not logging.getLogger("lm_eval.tasks.ifeval.instructions").disabled


def test_responses_are_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    """A text without any language passes, as in lm-eval, and is not printed."""
    (checked,) = check("1 2 3", ["language:response_language"], [{"language": "de"}], seed=1)
    assert checked.strict
    assert caplog.text == ""


def test_nulls_in_arguments_are_dropped() -> None:
    """Rows padded with nulls, as on the hub, verify as those without."""
    padded = {"num_words": 2, "relation": "at least", "keywords": None, "letter": None}
    name = "length_constraints:number_words"
    assert check("two words", [name], [padded], seed=1)[0].strict
    assert not check("one", [name], [padded], seed=1)[0].strict


@pytest.mark.parametrize(
    ("name", "kwargs", "text", "error"),
    [
        ("keywords:existence", {"keywords": ["("]}, "(", "re."),
        ("detectable_format:json_format", {}, "[" * 100_000, "RecursionError"),
        ("punctuation:no_comma", {"surplus": 1}, "x", "TypeError"),
        ("keywords:existence", {"keywords": ["(a+)+$"]}, "a" * 60 + "b", "more than 0.1 s"),
        ("detectable_content:number_placeholders", {}, "[" * 200_000, "more than 0.1 s"),
    ],
    ids=["pattern", "nested", "arguments", "backtracking", "quadratic"],
)
def test_failing_verifier_is_data(
    monkeypatch: pytest.MonkeyPatch, name: str, kwargs: dict[str, Any], text: str, error: str
) -> None:
    """A verifier that raises or hangs counts as not followed and is named; the others still count."""
    monkeypatch.setattr(instruction_checks, "LIMIT_SECONDS", 0.1)
    other = ("keywords:forbidden_words", {"forbidden_words": ["cat"]})
    scored = IFEval().score([prompt("a", (name, kwargs), other)], Given({"a": text}))
    (example,) = scored.examples
    assert [verdict.passed for verdict in example.verdicts] == [False, True, False, True]
    assert error in example.verdicts[0].why
    assert example.facts["verifier_errors"][0].startswith(f"{name}: ")
    assert scored.counts["verifier_errors"] == 1


def test_verifier_that_asks_for_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    """A verifier with an argument named prompt gets the prompt's text."""

    class Echo:
        def __init__(self, name: str) -> None:
            self.id, self.prompt = name, ""

        def build_description(self, prompt: str = "") -> str:
            self.prompt = prompt
            return f"say {prompt}"

        def get_instruction_args(self) -> dict[str, str]:
            return {"prompt": self.prompt}

        def check_following(self, text: str) -> bool:
            return text == self.prompt

    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {"echo": Echo})
    (checked,) = check("hi", ["echo"], [{}], seed=1, prompt="hi")
    assert (checked.strict, checked.why) == (True, "say hi")


def test_missing_tokenizer_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without NLTK's data a line says where it was looked for, and nothing is downloaded."""
    nltk = pytest.importorskip("nltk")

    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {})
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setattr(nltk, "download", lambda *_: pytest.fail("a download"))
    monkeypatch.setenv("NLTK_DATA", str(tmp_path))
    with pytest.raises(UsageError, match="nltk_data") as caught:
        load_verifiers(str(tmp_path / "none"))
    assert "NLTK_DATA" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tokenizer_of_the_variable_comes_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, data_root: Path
) -> None:
    """NLTK_DATA is used where it has the tokenizer, whatever the data folder is."""
    nltk = pytest.importorskip("nltk")

    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {})
    monkeypatch.setattr(nltk.data, "path", [])
    monkeypatch.setenv("NLTK_DATA", str(data_root / "nltk_data"))
    assert len(load_verifiers(str(tmp_path / "none"))) == 25
    assert nltk.data.path == [str(data_root / "nltk_data")]


def test_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch, data_root: Path) -> None:
    """Without lm-eval the line says which extra brings it."""
    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {})
    monkeypatch.setitem(sys.modules, "lm_eval.tasks.ifeval.instructions_registry", None)
    with pytest.raises(MissingExtra, match=r"\[eval\]"):
        load_verifiers(str(data_root))


def test_whole_benchmark_in_time(examples: list[Prompt]) -> None:
    """541 responses of 600 words score in under 20 seconds."""
    text = "Here is *my answer*, in full. " + f"{ENGLISH} [name]. " * 40
    started = time.monotonic()
    scored = IFEval().score(examples, Given({example.id: text for example in examples}))
    assert time.monotonic() - started < 20
    assert len(scored.examples) == 541
    assert metrics(scored)["inst_level_strict_acc"].n == 541
