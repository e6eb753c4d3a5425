"""Verifiers: hand-picked cases, and equality with lm-eval's on the shared types."""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Iterator
from itertools import repeat
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar import ifbench_verifiers, ifeval_verifiers
from spar.errors import UsageError
from spar.ifeval_verifiers import IFEVAL_TYPES
from spar.infer.verifier_judge import require_verifiable
from spar.instruction_checks import PublishedDraw, TooLong, limited
from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.tasks import sample_task
from spar.nano.teacher import FlawRates, write_draft, write_response
from spar.own_verifiers import EQUAL, VERIFIERS, count_sentences, verify
from spar.prompts import read_prompts
from spar.types import Message, Prompt
from spar.verifiers import passes, unverifiable, verify_prompt

SHARED = sorted(VERIFIERS.keys() & IFEVAL_TYPES)


@pytest.fixture(scope="module")
def nltk_data(data_root: Path) -> Iterator[None]:
    """Point NLTK and spar at the benchmark data folder before the packages look for their tokenizer."""
    nltk = pytest.importorskip("nltk")
    nltk.data.path.insert(0, str(data_root / "nltk_data"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPAR_DATA", str(data_root))
        yield


@pytest.mark.parametrize(
    ("instruction_id", "kwargs", "good", "bad"),
    [
        ("nano:exact_words", {"num_words": 3}, "The fox sees.", "The fox."),
        ("nano:first_word", {"first_word": "today"}, '"TODAY, it rains."', "It rains today."),
        ("nano:character_sequence", {"character": "k", "length": 3}, "kKk", "kkkk"),
        (
            "nano:story",
            {"first_sentence": "A fox runs.", "last_sentence": "It ends."},
            "A fox runs. The owl sees it. It ends.",
            "A fox runs. It ends.",
        ),
        (
            "nano:story",
            {"first_sentence": "It ends.", "last_sentence": "It ends."},
            "It ends. Not yet. It ends.",
            "It ends.",
        ),
        ("keywords:existence", {"keywords": ["fox", "owl"]}, "FOX and owl", "a fox"),
        ("keywords:forbidden_words", {"forbidden_words": ["fox"]}, "foxes", "The Fox!"),
        (
            "keywords:frequency",
            {"keyword": "fox", "frequency": 2, "relation": "at least"},
            "fox fox",
            "fox",
        ),
        (
            "keywords:frequency",
            {"keyword": " fox ", "frequency": 2, "relation": "at least"},
            "A fox, a fox.",
            "a fox",
        ),
        ("startend:end_checker", {"end_phrase": "The end."}, '"so: THE END."', "The end. No."),
        ("startend:quotation", {}, '"yes"', '"'),
        ("change_case:english_capital", {}, "ALL CAPS 1", "All caps"),
        ("punctuation:no_comma", {}, "none here", "one, here"),
        (
            "length_constraints:number_words",
            {"num_words": 2, "relation": "less than"},
            "one",
            "one two",
        ),
        (
            "length_constraints:number_sentences",
            {"num_sentences": 2, "relation": "at least"},
            "A. B!",
            "A.",
        ),
    ],
)
def test_hand_picked_cases(
    instruction_id: str, kwargs: dict[str, Any], good: str, bad: str
) -> None:
    """One response that meets each type and one that does not."""
    assert verify(good, instruction_id, kwargs) is True
    assert verify(bad, instruction_id, kwargs) is False


@pytest.mark.parametrize("instruction_id", sorted(VERIFIERS))
def test_a_blank_response_meets_nothing(instruction_id: str) -> None:
    """White space passes no verifier, not even one that forbids something."""
    assert verify(" \n", instruction_id, {}) is False


def prompt(meta: dict[str, Any], id_: str = "a", source: str = "") -> Prompt:
    return Prompt(
        id=id_, messages=(Message(role="user", content="Do it."),), source=source, meta=meta
    )


def row(*constraints: tuple[str, Any], **more: str) -> Prompt:
    """A prompt with these constraints."""
    meta = {
        "instruction_id_list": [name for name, _ in constraints],
        "kwargs": [arguments for _, arguments in constraints],
    }
    return prompt(meta, **more)


COMMA = "punctuation:no_comma"
TWO_WORDS = {"num_words": 2, "relation": "at least"}


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({}, "no constraints"),
        ({"instruction_id_list": []}, "no constraints"),
        ({"instruction_id_list": 5}, "expected a list of constraint types"),
        ({"instruction_id_list": [[COMMA]]}, "expected a list of constraint types"),
        ({"instruction_id_list": [{}]}, "expected a list of constraint types"),
        ({"instruction_id_list": "punctuation"}, "expected a list of constraint types"),
        ({"instruction_id_list": [COMMA], "kwargs": [[]]}, "expected a list of one object"),
        ({"instruction_id_list": [COMMA], "kwargs": {"a": 1}}, "expected a list of one object"),
        ({"instruction_id_list": [COMMA], "kwargs": "[{"}, "expected a list of one object"),
        ({"instruction_id_list": [COMMA, COMMA], "kwargs": [{}]}, "2 constraint types and 1 sets"),
        ({"instruction_id_list": ["punctuation:no_coma"]}, f"did you mean '{COMMA}'"),
        ({"instruction_id_list": ["a:b"]}, "no verifier knows the constraint type 'a:b'"),
        (
            {"instruction_id_list": ["nano:exact_words"], "kwargs": [{"words": 3}]},
            "num_words is missing",
        ),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"relation": "around", "num_words": 5}],
            },
            "relation is 'around', accepted: at least or less than",
        ),
        (
            {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": "tea"}]},
            "keywords is 'tea', expected a list of words",
        ),
        (
            {"instruction_id_list": ["keywords:forbidden_words"], "kwargs": [{}]},
            "forbidden_words is missing",
        ),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"relation": "at least", "num_words": -5}],
            },
            "num_words is -5, expected 0 or more",
        ),
        (
            {
                "instruction_id_list": ["length_constraints:number_words"],
                "kwargs": [{"relation": "at least", "num_words": True}],
            },
            "num_words is True, expected a number",
        ),
        (
            {
                "instruction_id_list": ["keywords:frequency"],
                "kwargs": [{"relation": "at least", "keyword": " ", "frequency": 2}],
            },
            "keyword is ' ', expected a text that is not empty",
        ),
        (
            {"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["a", ""]}]},
            "keywords is ['a', ''], expected a text that is not empty",
        ),
        (
            {"instruction_id_list": ["startend:end_checker"], "kwargs": [{"end_phrase": 5}]},
            "not take",
        ),
        ({"instruction_id_list": ["nano:first_word"], "kwargs": [{"first_word": 5}]}, "not take"),
        ({"instruction_id_list": ["keywords:existence"], "kwargs": [{"keywords": ["("]}]}, "error"),
    ],
)
def test_what_cannot_be_checked_is_named(meta: dict[str, Any], reason: str) -> None:
    """Malformed rows, unknown types and wrong arguments have no verdict, and one line that says why."""
    assert reason in unverifiable(prompt(meta))
    assert "\n" not in unverifiable(prompt(meta))
    assert passes("text", prompt(meta)) is None
    assert verify_prompt("text", prompt(meta)) == ()


@pytest.mark.parametrize(
    "meta",
    [
        {"instruction_id_list": [COMMA]},
        {"instruction_id_list": [COMMA], "kwargs": None},
        {"instruction_id_list": [COMMA], "kwargs": [None]},
        {"instruction_id_list": [COMMA], "kwargs": [{"num_words": None}]},
        {"instruction_id_list": [COMMA], "kwargs": "[{}]"},
        {"instruction_id_list": f'["{COMMA}"]', "kwargs": "[{}]"},
    ],
)
def test_exports_of_rows_are_read(meta: dict[str, Any]) -> None:
    """Left-out arguments, nulls, and fields that hold JSON in a text are read as they are meant."""
    assert passes("no such mark", prompt(meta)) is True
    assert passes("one, two", prompt(meta)) is False


def test_a_length_without_bound_makes_no_text() -> None:
    """A number of characters beyond any memory is a constraint like another."""
    huge = row(("nano:character_sequence", {"character": "k", "length": 10**15}))
    assert passes("kkk", huge) is False


def test_null_arguments_are_left_out() -> None:
    """Null arguments, as in the hub's rows, are ignored; the name has the others."""
    words = row(("length_constraints:number_words", {**TWO_WORDS, "keyword": None}))
    assert passes("two words", words) is True
    (finding,) = verify_prompt("one", words)
    assert (finding.type, finding.met) == ("length_constraints:number_words", False)


@pytest.mark.parametrize(
    ("name", "missing"),
    [("detectable_format:number_bullet_lists", "num_bullets"), ("count:numbers", "N")],
)
def test_an_argument_that_a_package_would_draw_is_missing(
    nltk_data: None, name: str, missing: str
) -> None:
    """No verdict rests on a number that the packages' verifiers draw where the row has none."""
    if name.startswith("count:"):
        pytest.importorskip("if_verifiable")
    row = prompt({"instruction_id_list": [name], "kwargs": [{missing: None}]})
    assert f"{missing} is missing" in unverifiable(row)
    assert verify_prompt("- One 1.", row) == ()


LETTERS = {"let_relation": "at least", "let_frequency": 4}
PARAGRAPHS = {"num_paragraphs": 2, "first_word": "so"}


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "arguments", "reason"),
    [
        ("keywords:letter_frequency", {**LETTERS, "letter": "#"}, "in place of letter '#'"),
        ("keywords:letter_frequency", {**LETTERS, "letter": "ab"}, "in place of letter 'ab'"),
        ("keywords:letter_frequency", {**LETTERS, "letter": "\u00e9"}, "in place of letter"),
        (
            "keywords:letter_frequency",
            {**LETTERS, "letter": "a", "let_frequency": -2},
            "let_frequency is -2, expected 0 or more",
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {**PARAGRAPHS, "nth_paragraph": 3},
            "its verifier puts a random value in place of",
        ),
        (
            "length_constraints:nth_paragraph_first_word",
            {**PARAGRAPHS, "nth_paragraph": 0},
            "in place of nth_paragraph 0",
        ),
        ("repeat:repeat_span", {"prompt_to_repeat": "a b c", "n_start": 0, "n_end": 1}, "random"),
    ],
)
def test_no_verdict_rests_on_an_argument_that_a_package_replaces(
    nltk_data: None, name: str, arguments: dict[str, Any], reason: str
) -> None:
    """What a verifier draws in place of an argument is no reading of it, also where both are the same by chance."""
    if name.startswith("repeat:"):
        pytest.importorskip("if_verifiable")
    pytest.importorskip("lm_eval")
    assert reason in unverifiable(row((name, arguments)))
    with pytest.raises(UsageError, match="does not take the arguments"):
        require_verifiable([row((name, arguments))])


@pytest.mark.evalharness
@pytest.mark.data
def test_a_verifier_may_strip_sort_and_lower_its_arguments(nltk_data: None) -> None:
    """Only what it draws is replaced."""
    pytest.importorskip("lm_eval")
    rows = row(
        ("keywords:letter_frequency", {**LETTERS, "letter": "E"}),
        ("keywords:forbidden_words", {"forbidden_words": ["b", "a", "b"]}),
        ("length_constraints:nth_paragraph_first_word", {**PARAGRAPHS, "nth_paragraph": 2}),
        ("detectable_format:multiple_sections", {"section_spliter": " Part ", "num_sections": 2}),
    )
    assert unverifiable(rows) == ""


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.parametrize(
    ("file", "package", "drawn"),
    [
        ("ifeval/input_data.jsonl", "lm_eval", ifeval_verifiers.PUBLISHED_DRAWS),
        ("ifbench/IFBench_test.jsonl", "if_verifiable", ifbench_verifiers.PUBLISHED_DRAWS),
    ],
)
def test_the_arguments_of_published_rows_are_taken(
    nltk_data: None, data_root: Path, file: str, package: str, drawn: dict[str, PublishedDraw]
) -> None:
    """Those that a verifier replaces in the benchmark's own scores, too, but not in another row."""
    pytest.importorskip(package)
    for published in read_prompts(str(data_root / file)):
        reason = unverifiable(published)
        assert not reason or "cannot be checked" in reason, published.id
        if published.id in drawn:
            own = published.model_copy(update={"id": "mine"})
            assert "random value in place of" in unverifiable(own)


def test_threads_beside_a_verifier_do_not_use_up_its_time() -> None:
    """The limit is of the thread's own processor time: a model that generates meanwhile is not counted."""
    end = time.monotonic() + 0.4
    busy = [
        Thread(target=lambda: any(time.monotonic() > end for _ in repeat(None))) for _ in range(2)
    ]
    for thread in busy:
        thread.start()
    with limited(0.15):
        for thread in busy:
            thread.join()
    start = time.thread_time()
    with pytest.raises(TooLong), limited(0.1):
        any(False for _ in repeat(None))
    assert time.thread_time() - start < 2


def test_nano_prompts_need_no_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """nano-if's prompts, also those read from a file, are checked here; any other of these types by lm-eval."""
    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {})
    monkeypatch.setitem(sys.modules, "lm_eval.tasks.ifeval.instructions_registry", None)
    monkeypatch.setitem(sys.modules, "nltk.data", None)
    capital: tuple[str, Any] = ("change_case:english_capital", {})
    assert passes("THE FOX RUNS.", row(capital, source="nano-if")) is True
    assert passes("THE FOX RUNS.", row(capital, id_="nano-test-0-17")) is True
    assert passes("THE FOX RUNS.", row(capital)) is None
    assert "needs the package" in unverifiable(row(capital))
    assert passes("no such mark", row((COMMA, {}), ("length_constraints:number_words", TWO_WORDS)))


@pytest.mark.evalharness
@pytest.mark.data
def test_prompts_of_ifeval_get_lm_evals_verdicts(verifiers: None) -> None:
    """Every type of IFEval is checked; a row with one that only lm-eval knows is checked as a whole."""
    titled = row(
        ("detectable_format:title", {}), (COMMA, {}), ("nano:exact_words", {"num_words": 2})
    )
    assert unverifiable(titled) == ""
    assert [(f.type, f.met) for f in verify_prompt("<<Rain>> falls", titled)] == [
        ("detectable_format:title", True),
        (COMMA, True),
        ("nano:exact_words", True),
    ]
    assert passes("Rain, falls", titled) is False
    abbreviated = row(
        ("length_constraints:number_sentences", {"num_sentences": 2, "relation": "less than"})
    )
    assert passes("Dr. Lee came.", abbreviated) is True  # the function here counts two sentences
    wrong = row(("detectable_format:title", {"surplus": 1}))
    assert "detectable_format:title does not take the arguments" in unverifiable(wrong)


def test_rows_that_a_judge_cannot_check_are_listed() -> None:
    """Each of the first reasons comes once, with its first row; prompts that can be checked are not named."""
    rows = [
        row((COMMA, {})),
        *(row(("a:b", {}), id_=f"p{n}") for n in range(5)),
        *(row((f"a:{n}", {}), id_=f"q{n}") for n in range(3)),
    ]
    with pytest.raises(
        UsageError,
        match="cannot check 8 of the prompts: row 2, prompt 'p0' and 4 more: no verifier",
    ) as caught:
        require_verifiable(rows)
    assert "row 7, prompt 'q0': no verifier knows" in str(caught.value)
    assert "and 1 more reasons; accepted" in str(caught.value) and "q2" not in str(caught.value)
    require_verifiable(rows[:1])


def lm_eval_verdict(
    monkeypatch: Any, instruction_id: str, kwargs: dict[str, Any], text: str
) -> bool:
    registry = pytest.importorskip("lm_eval.tasks.ifeval.instructions_registry")
    import langdetect

    # On a few words its answer is chance; see the docstring of spar.verifiers.
    monkeypatch.setattr(langdetect, "detect", lambda _: "en")
    checker = registry.INSTRUCTION_DICT[instruction_id](instruction_id)
    checker.build_description(**kwargs)
    return bool(text.strip()) and bool(checker.check_following(text))


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.parametrize("instruction_id", SHARED)
def test_equal_to_lm_eval_on_generated_responses(
    instruction_id: str, monkeypatch: pytest.MonkeyPatch, nltk_data: None
) -> None:
    """Verdicts on drafts and broken responses of a hundred tasks are equal, met and violated."""
    rng = random.Random(instruction_id)
    verdicts = []
    for index in range(1200):
        task = sample_task("train", 5, index)
        for c in task.constraints:
            if c.id == instruction_id:
                writers = (
                    write_draft(task, FlawRates(), rng),
                    write_response(task, rng, passing=False),
                )
                for text in writers:
                    verdict = verify(text, c.id, c.kwargs)
                    assert verdict == lm_eval_verdict(monkeypatch, c.id, dict(c.kwargs), text), text
                    verdicts.append(verdict)
    assert len(verdicts) >= 100
    assert len(set(verdicts)) == 2


WORDS = st.sampled_from(["fox", "FOX", "cat", "owl", "foxes", ",", ".", "!", '"', "\n", "1"])
ASCII = st.lists(WORDS, max_size=14).flatmap(
    lambda ws: st.sampled_from([" ".join(ws), "".join(ws)])
)


@pytest.mark.evalharness
@pytest.mark.data
@given(text=ASCII, seed=st.integers(0, 10_000))
@settings(max_examples=150, deadline=None)
def test_equal_to_lm_eval_on_arbitrary_text(nltk_data: None, text: str, seed: int) -> None:
    """Verdicts on any text are equal for the types that say so."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        for instruction_id in SHARED:
            if instruction_id in EQUAL:
                kwargs = CONSTRAINT_TYPES[instruction_id].sample(
                    random.Random(seed), ["fox", "cat", "owl"]
                )
                expected = lm_eval_verdict(monkeypatch, instruction_id, kwargs, text)
                assert verify(text, instruction_id, kwargs) == expected


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("हिंदी में यह एक वाक्य है", 6),
        ("สวัสดีครับ", 1),
        ("cafe\u0301 a\u200db", 2),
        ("x² + ½ Ⓐ \u203f", 3),
        ("“Zoë’s” – 東京 ok_1", 4),
    ],
)
def test_word_counts(text: str, count: int) -> None:
    """Vowel signs and accents are part of a word, superscripts and fractions are none; the finding says the same."""
    exact = row(("nano:exact_words", {"num_words": count}), id_="nano-test-0-0")
    (found,) = verify_prompt(text, exact)
    assert (found.met, found.found) == (True, str(count))


SCRIPTS = st.one_of(
    st.sampled_from("ab 1_\u00b2\u00bd\u093f\u0301\u200d\u203f\u24b6"),
    # Which of the unassigned characters are letters depends on the version of Unicode.
    st.characters(exclude_categories=("Cs", "Cn")),
)


@pytest.mark.evalharness
@pytest.mark.data
@given(text=st.text(SCRIPTS, max_size=30), least=st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_equal_word_counts_in_every_script(nltk_data: None, text: str, least: int) -> None:
    """The verdict on the number of words is lm-eval's for texts of any characters."""
    kwargs = {"relation": "at least", "num_words": least}
    with pytest.MonkeyPatch.context() as monkeypatch:
        expected = lm_eval_verdict(monkeypatch, "length_constraints:number_words", kwargs, text)
    assert verify(text, "length_constraints:number_words", kwargs) == expected


def test_sentence_counts() -> None:
    """A closing mark counts once, quoted or not; a trailing one adds nothing."""
    assert count_sentences("") == 0
    assert count_sentences("no stop") == 1
    assert count_sentences('"One. Two! Three?"') == 3
    assert count_sentences("ONE.  TWO.\nTHREE.") == 3
