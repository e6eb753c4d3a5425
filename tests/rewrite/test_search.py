"""Properties of rewriting over texts and sets of constraints: honest, deterministic, idempotent, bounded."""

from __future__ import annotations

import re
import time
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar import ifeval_verifiers
from spar.ifeval_verifiers import IFEVAL_TYPES
from spar.own_verifiers import VERIFIERS
from spar.rewrite.search import rewrite
from spar.rewrite.table import FIXES
from spar.types import Prompt
from spar.verifiers import verify_prompt
from tests.rewrite.constraints import OF_IFEVAL, WITHOUT_LM_EVAL, Drawn, prompt_with
from tests.rewrite.texts import CODE, HEADINGS, SENTENCES, english

some_constraints = st.lists(
    st.one_of(*WITHOUT_LM_EVAL.values()), min_size=1, max_size=4, unique_by=lambda drawn: drawn[0]
)
any_constraints = st.lists(
    st.one_of(*OF_IFEVAL.values()), min_size=1, max_size=4, unique_by=lambda drawn: drawn[0]
)


def verdicts(response: str, prompt: Prompt) -> tuple[bool, ...]:
    """Which constraints a response meets."""
    return tuple(finding.met for finding in verify_prompt(response, prompt))


def check(prompt: Prompt, response: str, seed: int) -> None:
    """What holds for every response and every set of constraints."""
    before = verdicts(response, prompt)
    result = rewrite(prompt, response, seed=seed)
    assert result == rewrite(prompt, response, seed=seed)
    assert result.before == before
    assert result.after == verdicts(result.response, prompt)
    assert all(now for was, now in zip(before, result.after, strict=True) if was)
    assert len(result.unfixed) == result.after.count(False)
    assert (result.response == response) is not result.improved
    assert bool(result.summaries) is result.improved
    assert response != response.strip() or result.response == result.response.strip()
    if all(result.after):
        again = rewrite(prompt, result.response, seed=seed + 1)
        assert (again.response, again.summaries) == (result.response, ())


@given(text=english(), constraints=some_constraints, seed=st.integers(0, 99))
def test_rewriting_is_honest_deterministic_and_idempotent(
    text: str, constraints: list[Drawn], seed: int
) -> None:
    """The verdicts are the verifiers', nothing that was met is lost, and a text that passes stays as it is."""
    check(prompt_with(*constraints), text, seed)


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@given(text=english(), constraints=any_constraints, seed=st.integers(0, 99))
@settings(max_examples=30)
def test_all_types_of_ifeval_together(text: str, constraints: list[Drawn], seed: int) -> None:
    """The same for every type that lm-eval checks."""
    check(prompt_with(*constraints), text, seed)


@given(text=st.text(max_size=200), constraints=some_constraints)
def test_any_string_can_be_rewritten(text: str, constraints: list[Drawn]) -> None:
    """Control characters, emoji, other scripts: an honest result, never an error."""
    check(prompt_with(*constraints), text, 0)


def test_every_type_with_a_verifier_has_a_fix() -> None:
    """A new verifier is seen here: it gets a fix, or one that says why there is none."""
    assert FIXES.keys() == IFEVAL_TYPES | VERIFIERS.keys()


@given(text=english(), seed=st.integers(0, 9))
def test_sentences_without_the_word_stay_byte_for_byte(text: str, seed: int) -> None:
    """Taking a word out touches the sentences that have it, and no white space between the others."""
    prompt = prompt_with(("keywords:forbidden_words", {"forbidden_words": ["really", "money"]}))
    result = rewrite(prompt, text, seed=seed)
    assert result.after == (True,)
    clean = Counter(s for s in SENTENCES if "really" not in s and "money" not in s)
    for sentence in clean:
        assert result.response.count(sentence) == text.count(sentence)
    assert [c for c in result.response if c in "\r\n"] == [c for c in text if c in "\r\n"]


@given(text=english(), bound=st.integers(30, 80), seed=st.integers(0, 9))
def test_a_cut_leaves_whole_sentences(text: str, bound: int, seed: int) -> None:
    """What is left of a text that is too long are its own lines and sentences, in their order."""
    prompt = prompt_with(
        ("length_constraints:number_words", {"relation": "less than", "num_words": bound})
    )
    result = rewrite(prompt, text, seed=seed)
    numbers = re.compile(r"^\d+\.", re.MULTILINE)  # those of a list go on after a cut
    remaining, place = numbers.sub("1.", result.response).split(), 0
    words = numbers.sub("1.", text).split()
    for word in remaining:
        place = words.index(word, place) + 1  # a subsequence of the words
    if result.improved:
        before, after = (each.replace("\r\n", "\n") for each in (text, result.response))
        units = (*SENTENCES, *HEADINGS, CODE)
        assert [unit for unit in units if after.count(unit) < before.count(unit)]
        for unit in sorted(units, key=len, reverse=True):
            after = after.replace(unit, "")
        assert re.fullmatch(r"[\s*\d.]*", after)  # bullets and numbers: no unit is left in part


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_a_text_does_not_depend_on_what_the_process_has_loaded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """spar's own verifier and lm-eval's count the sentences of this text differently; the prompt's own one counts."""
    fewer = {"relation": "less than", "num_sentences": 5}
    prompt = prompt_with(("length_constraints:number_sentences", fewer))
    prompt = prompt.model_copy(update={"source": "nano-if"})
    text = "Dr. Weber met Mr. Lee. They had tea at home. It was hot. He liked it."
    with_lm_eval = [rewrite(prompt, text, seed=seed) for seed in range(4)]
    monkeypatch.setattr(ifeval_verifiers, "_LOADED", {})
    assert [rewrite(prompt, text, seed=seed) for seed in range(4)] == with_lm_eval


def test_seeds_choose_where_there_is_freedom() -> None:
    """Different seeds cut different sentences and draw different words; each result passes."""
    text = " ".join(SENTENCES[:6])
    for constraint in (
        ("length_constraints:number_words", {"relation": "less than", "num_words": 50}),
        ("keywords:existence", {"keywords": ["mirror"]}),
        ("keywords:forbidden_words", {"forbidden_words": ["good", "plan"]}),
    ):
        results = [rewrite(prompt_with(constraint), text, seed=seed) for seed in range(12)]
        assert all(all(result.after) for result in results)
        assert len({result.response for result in results}) >= 2


def test_a_long_response_takes_less_than_a_second() -> None:
    """10,000 words with several failing constraints."""
    text = "\n\n".join(" ".join(SENTENCES) for _ in range(60))
    prompt = prompt_with(
        ("punctuation:no_comma", {}),
        ("keywords:forbidden_words", {"forbidden_words": ["really", "money"]}),
        ("keywords:existence", {"keywords": ["mirror"]}),
        ("startend:quotation", {}),
    )
    start = time.process_time()
    result = rewrite(prompt, text, seed=0)
    assert all(result.after)
    assert time.process_time() - start < 1.0


def test_what_cannot_be_fixed_is_named_and_the_rest_is_fixed() -> None:
    """A text that is too short stays so, and its commas go."""
    prompt = prompt_with(
        ("length_constraints:number_words", {"relation": "at least", "num_words": 300}),
        ("punctuation:no_comma", {}),
    )
    result = rewrite(prompt, "Tea, or coffee?", seed=0)
    assert (result.response, result.after) == ("Tea or coffee?", (False, True))
    assert result.reflection == (
        "Removed the comma. Not met yet: length_constraints:number_words at least 300 (the text has 3 words, and a "
        "program cannot invent more)."
    )


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_an_edited_text_has_no_white_space_at_its_ends() -> None:
    """A sentence put before a text that begins with its postscript does not begin with the blank line before it."""
    prompt = prompt_with(
        ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
        ("keywords:existence", {"keywords": ["comfort"]}),
    )
    result = rewrite(prompt, "P.P.S. Please go ahead and make it.", seed=0)
    assert all(result.after)
    assert result.response == result.response.strip()


def test_contradictory_constraints_end_in_an_honest_result() -> None:
    """A closing phrase with a comma and no commas: one of them is met, and the search ends."""
    prompt = prompt_with(
        ("startend:end_checker", {"end_phrase": "Yes, that is it."}), ("punctuation:no_comma", {})
    )
    result = rewrite(prompt, "Tea, or coffee?", seed=0)
    assert sorted(result.after) == [False, True]
    assert "would break another constraint" in result.reflection


@pytest.mark.parametrize("response", ["", "  \n"])
def test_a_blank_response_is_not_rewritten(response: str) -> None:
    """There is nothing to edit."""
    result = rewrite(prompt_with(("startend:quotation", {})), response, seed=0)
    assert (result.response, result.unfixed) == (
        response,
        ("startend:quotation (the response is empty)",),
    )


def test_unusable_arguments_are_a_reason_and_no_error() -> None:
    """A keyword that is no pattern, or a missing argument, cannot be fixed."""
    for name, arguments in (
        ("keywords:existence", {"keywords": ["("]}),
        ("keywords:existence", {}),
    ):
        with pytest.raises(ValueError, match="keywords:existence"):
            rewrite(prompt_with((name, arguments)), "Tea.", seed=0)
