"""What programs found: in words for every type, and never against the verdict."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spar import ifbench_verifiers, ifeval_verifiers
from spar.findings import critique, finding
from spar.ifbench_observations import FOUND
from spar.ifeval_verifiers import IFEVAL_TYPES
from spar.keyword_observations import pattern_of, plain_text
from spar.observations import COUNTED, DESCRIBE, EMPTY, Observation, observe
from spar.own_verifiers import VERIFIERS, verify
from spar.templates.verdicts import parse_verdict
from spar.types import Message, Prompt
from spar.verifiers import verify_prompt

CASES: list[tuple[str, dict[str, Any], str, str]] = [
    ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "a b", "at least 3 words: 2"),
    ("length_constraints:number_words", {"relation": "less than", "num_words": 1}, "a b", "less than 1 word: 2"),
    ("length_constraints:number_sentences", {"relation": "at least", "num_sentences": 3}, "A. B.", "at least 3 sentences: 7"),
    ("change_case:capital_word_frequency", {"capital_relation": "less than", "capital_frequency": 2}, "A", "less than 2 words in capital letters: 7"),
    ("keywords:existence", {"keywords": ["river"]}, "a sea", 'contains "river": missing'),
    ("keywords:existence", {"keywords": ["river", "sea"]}, "a sea", 'contains "river", "sea": missing "river"'),
    ("keywords:existence", {"keywords": ["river", "sea"]}, "sea, river", 'contains "river", "sea": all there'),
    ("keywords:existence", {"keywords": ["C++"]}, "a cat sat", 'matches the pattern "C++": matched "c"'),
    ("keywords:existence", {"keywords": ["$100"]}, "it costs $100", 'matches the pattern "$100": no match'),
    ("keywords:existence", {"keywords": ["C++", "sat"]}, "we sat", 'matches the pattern "C++", "sat": no match of the pattern "C++"'),
    ("keywords:existence", {"keywords": [r"C\+\+"]}, "I write C++", 'contains "C++": there'),
    ("keywords:existence", {"keywords": ["C#"]}, "C", 'contains "C#": missing'),
    ("keywords:frequency", {"keyword": "Mr. Fox", "frequency": 2, "relation": "at least"}, "Mrs Fox", 'the pattern "Mr. Fox" at least 2 times: 1'),
    ("keywords:frequency", {"keyword": r"Mr\. Fox", "frequency": 2, "relation": "at least"}, "Mrs Fox", '"Mr. Fox" at least 2 times: 0'),
    ("keywords:forbidden_words", {"forbidden_words": ["C#"]}, "I love C# code", r'forbidden the pattern "\bC#\b": no match'),
    ("keywords:forbidden_words", {"forbidden_words": ["what?", "so"]}, "wha", r'forbidden the pattern "\bwhat?\b", "so": found the pattern "\bwhat?\b" once'),
    ("keywords:forbidden_words", {"forbidden_words": ["C#|(?!)"]}, "I love C# code", 'forbidden "C#": found once'),
    ("keywords:frequency", {"keyword": "sea", "frequency": 2, "relation": "at least"}, "sea", '"sea" at least 2 times: 1'),
    ("keywords:frequency", {"keyword": " sea ", "frequency": 2, "relation": "at least"}, "A sea, a sea.", '"sea" at least 2 times: 2'),
    ("keywords:forbidden_words", {"forbidden_words": ["good"]}, "good, Good", 'forbidden "good": found 2 times'),
    ("keywords:forbidden_words", {"forbidden_words": ["good", "bad"]}, "bad", 'forbidden "good", "bad": found "bad" once'),
    ("keywords:letter_frequency", {"letter": "A", "let_frequency": 3, "let_relation": "at least"}, "aA b", 'the letter "a" at least 3 times: 2'),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 3}, "a\n***\nb", "exactly 3 paragraphs separated by ***: 2"),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "so"},
        "a\n\n'But, b",
        "exactly 2 paragraphs separated by blank lines, paragraph 2 starting with \"so\": 2 paragraphs, paragraph 2 starts with \"'But,\"",
    ),
    ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a]", "at least 2 placeholders in [square brackets]: 1"),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, "so", "a postscript starting with P.S.: none"),
    ("detectable_format:number_bullet_lists", {"num_bullets": 3}, "* a\n- b", "exactly 3 bullet points (lines starting with * or -): 2"),
    ("detectable_format:constrained_response", {}, "so", 'contains one of "My answer is yes.", "My answer is no.", "My answer is maybe.": none'),
    ("detectable_format:number_highlighted_sections", {"num_highlights": 2}, "*a* b", "at least 2 sections *highlighted*: 1"),
    ("detectable_format:multiple_sections", {"section_spliter": "Part", "num_sections": 2}, "Part 1 a", 'at least 2 sections marked "Part 1", "Part 2", ...: 1'),
    ("detectable_format:json_format", {}, "{", "the whole response is JSON: not JSON (expecting property name enclosed in double quotes)"),
    ("detectable_format:json_format", {}, "```json\n{}```", "the whole response is JSON: valid JSON"),
    ("detectable_format:title", {}, "<< >>", "a title in <<double angular brackets>>: none"),
    ("detectable_format:title", {}, "<<Rain>> fell", 'a title in <<double angular brackets>>: "<<Rain>>"'),
    ("combination:two_responses", {}, "a******a", "two different responses separated by ******: 2 equal responses"),
    ("combination:repeat_prompt", {"prompt_to_repeat": "Say it."}, "No.", 'starts by repeating the request word for word, "Say it.": starts with "No."'),
    ("startend:end_checker", {"end_phrase": "Any questions?"}, "Yes " * 15, 'ends with "Any questions?": ends with "...' + "Yes " * 9 + 'Yes"'),
    ("startend:quotation", {}, '"a', "the whole response in double quotation marks: none at the end"),
    ("change_case:english_capital", {}, "RAIN falls", "all capital letters, in English: 5 lower-case letters"),
    ("change_case:english_lowercase", {}, "Rain", "all lower case, in English: 1 capital letter"),
    ("change_case:english_lowercase", {}, "1 2", "all lower case, in English: no letters"),
    ("punctuation:no_comma", {}, "a, b, c", "no commas: 2"),
    ("nano:exact_words", {"num_words": 3}, "a b", "exactly 3 words: 2"),
    ("nano:first_word", {"first_word": "so"}, "a b", 'first word "so": "a"'),
    ("nano:character_sequence", {"character": "k", "length": 3}, "kxk", '"k" 3 times and nothing else: 3 characters, 2 of them "k"'),
    ("nano:story", {"first_sentence": "A.", "last_sentence": "Z."}, "A. B.", 'starts with "A.", ends with "Z.", with text between: ends with "A. B."'),
    ("quality:no_repetition", {}, "We go on. " * 4, "no repetition: 67% of its word 4-grams occurred before"),
]  # fmt: skip
"""Type, arguments, response, and the line; the tokenizer counts 7."""


@pytest.mark.parametrize(("type_", "arguments", "text", "line"), CASES)
def test_what_was_found(type_: str, arguments: dict[str, Any], text: str, line: str) -> None:
    """The constraint in words, and the count or the place that decides it."""
    observed = observe(text, type_, arguments, 7)
    assert observed is not None
    assert f"{observed.constraint}: {observed.found}" == line
    blank = observe(" \n", type_, arguments, 7)
    assert blank == Observation(observed.constraint, EMPTY, False)


@pytest.mark.parametrize(
    "text", ["C++", "$100", "C#", "Mr. Fox", "(a|b)", "so", "#tag!", "a{2}", "x\\y"]
)
@pytest.mark.parametrize("as_word", [True, False])
def test_a_keyword_can_be_written_as_the_pattern_of_its_text(text: str, *, as_word: bool) -> None:
    """It then matches this text alone, also at the ends of a response, and is shown as the text."""
    pattern = pattern_of(text, as_word=as_word)
    assert plain_text(pattern, as_word=as_word) == text
    type_, name = ("forbidden_words", "forbidden_words") if as_word else ("existence", "keywords")
    for response, is_there in (
        (text, True),
        (f"see {text} here", True),
        ("Mrs Fox a b c aa", False),
    ):
        assert verify(response, f"keywords:{type_}", {name: [pattern]}) is (is_there != as_word)


def test_words_in_capital_letters_are_listed() -> None:
    """Those that were counted, each once with its number, the first of them where there are many."""
    arguments = {"capital_relation": "less than", "capital_frequency": 4}
    words = ("I", "A", "I", "NASA")
    observed = observe("x", "change_case:capital_word_frequency", arguments, words)
    assert observed is not None
    assert (observed.found, observed.met) == ("4 (I 2 times, A, NASA)", False)
    many = observe("x", "change_case:capital_word_frequency", arguments, [*"ABCDEFGH"])
    assert many is not None and many.found == "8 (A, B, C, D, E, F, ...)"
    none = observe("x", "change_case:capital_word_frequency", arguments, ())
    assert none is not None and (none.found, none.met) == ("0", True)


def test_every_type_is_described() -> None:
    """All of IFEval's but the language, which no count tells, and all of nano-if's; each has a case."""
    described = IFEVAL_TYPES - {"language:response_language"} | VERIFIERS.keys()
    assert DESCRIBE.keys() == described == {case[0] for case in CASES}


@pytest.mark.parametrize(
    ("type_", "arguments"),
    [
        ("language:response_language", {"language": "kn"}),
        ("keywords:existence", {"keywords": ["("]}),
        ("keywords:letter_frequency", {"letter": "#", "let_frequency": 1, "let_relation": "at least"}),
        ("length_constraints:number_words", {"num_words": -1, "relation": "at least"}),
        ("length_constraints:number_words", {"num_words": 3}),
        ("startend:end_checker", {"end_phrase": 5}),
    ],
)  # fmt: skip
def test_what_only_the_verifier_understands(type_: str, arguments: dict[str, Any]) -> None:
    """What lm-eval draws, refuses or asks another package has no observation of ours."""
    assert observe("a b", type_, arguments) is None


def test_a_finding_never_contradicts_its_verdict() -> None:
    """What was counted is left out where the verifier decides otherwise, and kept where the count is no verdict."""
    counted = Observation("no commas", "2", False)
    assert finding("t", False, counted, words="w").found == "2"
    assert finding("t", True, counted, words="w").line == "no commas: met"
    undecided = Observation("all lower case", "0 capital letters", None)
    assert finding("t", False, undecided, words="w").found == "0 capital letters"
    assert finding("t", False, None, words="Use only vowels.").line == "Use only vowels: not met"
    failed = finding("t", False, counted, words="w", error="IndexError")
    assert failed.line == "no commas: the verifier failed (IndexError)"


def test_the_critique_is_a_verdict() -> None:
    """A line a constraint, with what was found and whether it is met; the judge's parser reads the end."""
    findings = (
        finding("a", True, Observation("no commas", "0", True), words=""),
        finding("b", False, Observation("at least 3 words", "2", False), words=""),
        finding("c", False, None, words="Use only vowels"),
    )
    assert critique(findings) == (
        "- no commas: 0 (met)\n- at least 3 words: 2 (not met)\n- Use only vowels: not met\nFinal Judgement: No"
    )
    assert parse_verdict(critique(findings)) is False
    assert parse_verdict(critique(findings[:1])) is True


TEXTS = st.lists(
    st.sampled_from(
        [
            *(" ", "\n", "\n\n", "* ", "*", "**", "***", "******", "- ", "[a]", "[", "<<", ">>", "<<A b>>"),
            *('"', "'", ",", ". ", "! ", "? ", "{", "}", "[]", "```json", "```", "1", "Part 1", "part 2 "),
            *("river", "River", "rivers", "so", "So, ", "GOOD", "good", "k", "K", "P.S. ", "p.p.s ", "p. s."),
            *("My answer is yes.", "Say it.", "say it.", "The end.", "the end", "ǅ", "ß", "İ", "\u2028", "é", "and"),
        ]
    ),
    max_size=14,
).map("".join)  # fmt: skip
"""Texts of what the types look for, whole and in parts."""
ARGUMENTS = [(type_, arguments) for type_, arguments, _, _ in CASES] + [
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}),
    ("startend:end_checker", {"end_phrase": "The end."}),
    ("length_constraints:number_paragraphs", {"num_paragraphs": 1}),
    ("detectable_format:number_bullet_lists", {"num_bullets": 1}),
]


def agrees(text: str, type_: str, arguments: dict[str, Any], met: bool, count: Any) -> bool:
    """Whether a finding's own verdict is the verifier's, or none."""
    observed = observe(text, type_, arguments, count)
    assert observed is not None
    return observed.met in (met, None)


@pytest.mark.parametrize(
    ("type_", "arguments"), [each for each in ARGUMENTS if each[0] in VERIFIERS.keys() - COUNTED]
)
@settings(max_examples=40)
@given(text=TEXTS)
def test_findings_agree_with_our_verifiers(
    type_: str, arguments: dict[str, Any], text: str
) -> None:
    """On any text, what was found says the same as the verdict, or nothing."""
    assert agrees(text, type_, arguments, verify(text, type_, arguments), None)


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.parametrize(
    ("type_", "arguments"), [each for each in ARGUMENTS if each[0] in IFEVAL_TYPES]
)
@settings(max_examples=25, deadline=None)
@given(text=TEXTS)
def test_findings_agree_with_lm_eval(
    verifiers: None, type_: str, arguments: dict[str, Any], text: str
) -> None:
    """On any text, what was found says the same as lm-eval's verdict, or nothing."""
    (checked,) = ifeval_verifiers.check(text, [type_], [arguments], seed="1", loosely=False)
    count = ifeval_verifiers.count(type_, text) if type_ in COUNTED else None
    assert not checked.error
    assert agrees(text, type_, arguments, checked.strict, count)


IFBENCH: list[tuple[str, dict[str, Any], str, str]] = [
    ("count:word_count_range", {"min_words": 2.0, "max_words": 3.0}, "a", "The response must contain between 2 and 3 words: 1"),
    ("count:numbers", {"N": 2.0}, "1 or 23", "Include exactly 2 numbers in the response: 2"),
    ("count:unique_word_count", {"N": 3.0}, "a A b", "Use at least 3 unique words in the response: 2"),
    ("count:conjunctions", {"small_n": 2.0}, "a and b", "Use at least 2 different coordinating conjunctions in the response: 1 (and)"),
    ("words:repeats", {"small_n": 1.0}, "so so", 'The response should not repeat any word more than 1 times: "so" comes 2 times'),
    ("format:no_whitespace", {}, "a b", "The output should not contain any whitespace: 1"),
    (
        "count:keywords_multiple",
        {f"keyword{n}": word for n, word in enumerate(["a", "b", "c", "d", "e"], start=1)},
        "abb",
        "a 1, b 2, c 0, d 0, e 0",
    ),
]  # fmt: skip
"""As `CASES`; the constraint is in the package's words."""


@pytest.mark.data
@pytest.mark.parametrize(("type_", "arguments", "text", "line"), IFBENCH)
def test_what_ifbench_found(
    ifbench: None, type_: str, arguments: dict[str, Any], text: str, line: str
) -> None:
    """A prompt may mix IFBench's types with others; its constraints are in the package's words."""
    meta = {
        "instruction_id_list": ["punctuation:no_comma", type_, "nano:exact_words"],
        "kwargs": [{}, arguments, {"num_words": 9}],
    }
    prompt = Prompt(id="p", messages=(Message(role="user", content="Do it."),), meta=meta)
    comma, found, words = verify_prompt(text, prompt)
    assert (comma.line, words.constraint) == ("no commas: 0", "exactly 9 words")
    assert found.line.endswith(line)
    assert FOUND.keys() == {case[0] for case in IFBENCH}


@pytest.mark.data
@pytest.mark.parametrize(("type_", "arguments"), [case[:2] for case in IFBENCH])
@settings(max_examples=25, deadline=None)
@given(text=TEXTS)
def test_findings_never_contradict_ifbench(
    ifbench: None, type_: str, arguments: dict[str, Any], text: str
) -> None:
    """What is stored says the same as the package's verdict, or nothing."""
    (checked,) = ifbench_verifiers.check(text, [type_], [arguments], seed="1", loosely=False)
    observed = observe(text, type_, arguments)
    stored = finding(type_, checked.strict, observed, words=checked.why)
    assert observed is not None
    assert not stored.found or observed.met in (checked.strict, None)
