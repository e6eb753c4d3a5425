"""FollowBench's rules: an answer that passes and one that fails for every condition of every rule."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.eval.followbench.rules import JUDGE, check, conditions, read_list, rule_of

POTTER = "Potter has grown. The actor is rich. His films have made money"
OPERATION = "An operation is running in town"
STUFF = "Kim wants to do stuff."
ATTACK = "two killed in attack on boat in philippines"
EDIT = "We edit activations in language models"
LONG = " ".join(["word"] * 21)
"""A sentence just long enough for group 22 of the format file."""
POINTS = " ".join(
    f"**{number} Growth: innovation brings new firms and jobs to all regions."
    for number in range(1, 6)
)
"""Five points of eleven words each."""


def verdicts(rule: str, answer: str, level: int = 5, target: str = "") -> str:
    """`y` and `n` for each condition in turn."""
    return "".join("yn"[not verdict.passed] for verdict in check(rule, level, answer, target))


@pytest.mark.parametrize(
    ("rule", "answer", "expected"),
    [
        ("cnn_dailymail", POTTER, "yyyyy"),
        ("cnn_dailymail", POTTER + ".", "yyyyy"),
        ("cnn_dailymail", POTTER + ". ", "nyyyy"),
        ("cnn_dailymail", POTTER + "! More", "nyyyy"),
        ("cnn_dailymail", POTTER + " for" * 9, "yyyyy"),
        ("cnn_dailymail", POTTER + " for" * 10, "ynyyy"),
        ("cnn_dailymail", POTTER.replace("Potter", "Harry"), "yynyy"),
        ("cnn_dailymail", POTTER.replace("Potter", "Potters"), "yynyy"),
        ("cnn_dailymail", POTTER.replace("actor", "man"), "yynyy"),
        ("cnn_dailymail", POTTER.replace("films", "plays"), "yynyy"),
        ("cnn_dailymail", POTTER.replace("rich", "lavish"), "yyyny"),
        ("cnn_dailymail", POTTER.replace("rich", "lavishly rich"), "yyyyy"),
        ("cnn_dailymail", POTTER.replace("have", "has"), "yyyyy"),
        ("cnn_dailymail", POTTER.replace("have", "had"), "yyyyn"),
        ("cnn_dailymail", "", "nynyn"),
        ("xsum", OPERATION, "yyyyy"),
        ("xsum", "An operation is running. In town", "nyyyy"),
        ("xsum", OPERATION + " x" * 13, "yyyyy"),
        ("xsum", OPERATION + " x" * 14, "ynyyy"),
        ("xsum", OPERATION.replace("town", "Newton Stewart"), "yynyy"),
        ("xsum", OPERATION.replace("is", "was"), "yyyny"),
        ("xsum", OPERATION.replace("running", "run"), "yyyny"),
        ("xsum", OPERATION.replace("is", "are"), "yyyyy"),
        ("xsum", OPERATION.replace("operation", "operations"), "yyyyn"),
        ("xsum", OPERATION.replace("operation", "Operation"), "yyyyn"),
        ("samsum", STUFF, "yyyyy"),
        ("samsum", "Kim. wants to do stuff", "nyyyy"),
        ("samsum", "x " * 9 + STUFF, "yyyyy"),
        ("samsum", "x " * 10 + STUFF, "ynyyy"),
        ("samsum", STUFF.replace("stuff", "things"), "yynyy"),
        ("samsum", STUFF.replace("wants", "PROCRASTinates"), "yyyny"),
        ("samsum", STUFF.strip("."), "yyyyn"),
        ("samsum", STUFF.replace("Kim", "Kim,"), "yyyyn"),
        ("samsum", STUFF.strip(".") + "…", "yyyyn"),
        ("gigaword", ATTACK, "yyyyy"),
        ("gigaword", ATTACK.replace("two ", ""), "nyyyy"),
        ("gigaword", ATTACK.replace("two ", "two  "), "nyyyy"),
        ("gigaword", ATTACK + "!", "ynyyy"),
        ("gigaword", ATTACK.capitalize(), "yynyy"),
        ("gigaword", ATTACK.replace("boat", "bus"), "yyyny"),
        ("gigaword", ATTACK.replace("in ", "near "), "yyyyn"),
        ("arxiv", EDIT, "yyyyy"),
        ("arxiv", EDIT + ". Well", "nyyyy"),
        ("arxiv", EDIT + " x" * 14, "yyyyy"),
        ("arxiv", EDIT + " x" * 15, "ynyyy"),
        ("arxiv", f"Here {EDIT}", "yynyy"),
        ("arxiv", EDIT.replace("We", "Weeks"), "yyyyy"),
        ("arxiv", EDIT.replace("activations", "weights"), "yyyny"),
        ("arxiv", EDIT.replace("models", "transformer models"), "yyyyn"),
        ("arxiv", EDIT.replace("models", "transformers"), "yyyyy"),
        ("format-30", POINTS, "yyyyy"),
        ("format-30", POINTS.replace("**", "*"), "nnyyy"),
        ("format-30", POINTS.replace("**5 ", "5 "), "ynyyy"),
        ("format-30", POINTS.replace("**5 Growth:", "**5: Growth"), "ynyyy"),
        ("format-30", POINTS.replace("**5 Growth:", "**5\nGrowth:"), "ynyyy"),
        ("format-30", POINTS.replace("jobs to", "**6 x: to", 1), "ynyyy"),
        ("format-30", POINTS.replace("jobs to", "1.7.2 to", 1), "yynyy"),
        ("format-30", POINTS.replace("jobs to", "8.7.6 to", 1), "yyyyy"),
        ("format-30", POINTS.replace("and jobs to all ", "", 1), "yyyny"),
        ("format-30", POINTS.replace("to all", "to all" + " x" * 4, 1), "yyyyy"),
        ("format-30", POINTS.replace("to all", "to all" + " x" * 5, 1), "yyyny"),
        ("format-30", POINTS.replace("**1 ", "**1. "), "yyyny"),
        ("format-30", POINTS.replace("new", "e.g. new").replace("jobs", "Mr. Lee"), "yyyyy"),
        ("format-30", POINTS + " ", "yyyny"),
        ("format-30", POINTS.replace("new", "new-ly", 1), "yyyyn"),
        ("format-30", POINTS.replace("new", "newly", 1), "yyyyy"),
    ],
)
def test_conditions_one_by_one(rule: str, answer: str, expected: str) -> None:
    """Each condition passes and fails alone, on either side of its limit."""
    assert verdicts(rule, answer) == expected


@pytest.mark.parametrize(
    ("level", "paragraphs", "expected"),
    [
        (3, [LONG] * 3, "yyy"),
        (3, [LONG + "."] * 3, "yyy"),
        (3, [LONG] * 2, "nyy"),
        (3, [LONG] * 4, "nyy"),
        (3, [f"{LONG}. {LONG}", LONG, LONG], "yyy"),
        (3, [f"{LONG}. {LONG}. {LONG}", LONG, LONG], "yny"),
        (3, [LONG, LONG, f"{LONG}? {LONG}! {LONG}"], "yny"),
        (3, [LONG, LONG + ".", "word" + " word" * 19], "yyn"),
        (3, [LONG, LONG, "a sentence runs on over paragraphs"], "yyy"),
        (4, [LONG, LONG, LONG], "yyyn"),
        (4, [f"1. {LONG}", f" 22. {LONG}", f"3.{LONG}"], "yyny"),
        (4, [f"1. {LONG}", "", f"3.{LONG}"], "yyny"),
        (5, [f"1. {LONG}"] * 3, "nynyn"),
        (5, [f"1. {LONG}"] * 3 + ["4. Those are suggestions"], "yynyy"),
        (5, [f"1. {LONG}"] * 3 + [f"{LONG}. {LONG}. Those are suggestions"], "yynny"),
        (5, [f"1. {LONG}"] * 3 + ["4. Those are suggestions."], "yynyn"),
        (5, [LONG] * 3 + [f"{LONG} Those are suggestions"], "yyyny"),
    ],
)
def test_paragraphs_of_format_22(level: int, paragraphs: list[str], expected: str) -> None:
    """Paragraphs are counted, measured and looked at; level 5 wants four of them."""
    assert verdicts("format-22", "\n\n".join(paragraphs), level) == expected


@pytest.mark.parametrize("rule", ["cnn_dailymail", "xsum", "samsum", "gigaword", "arxiv"])
@pytest.mark.parametrize("level", range(1, 6))
def test_levels_are_cumulative(rule: str, level: int) -> None:
    """A row of level l has conditions 1 to l, the same at every level."""
    assert conditions(rule, level) == conditions(rule, 5)[:level]
    assert len(conditions(rule, level)) == level


AI = "{instruction}\n{{'AI assistant': '{answer}'}}"


@pytest.mark.parametrize(
    ("rule", "target", "passing", "failing"),
    [
        ("E2E", "name[The Punter]", "name[The Punter]", "name[The Punter]."),
        ("text_editing", "pples loved eting i.", "pples loved eting i.", "Pples loved eting i."),
        ("WIKIEVENTS", "a died\nb died\nc died", "c died\na died", "a died\nd died"),
        ("WIKIEVENTS", "a died\nb died", "b died", "b died\n"),
        ("CONLL2003", "['Bonn', 'France']", "France", "Germany"),
        ("CONLL2003", "['Bonn', 'France']", "Bonn", "Bonn, France"),
        ("BBH_logical", "(A)", "Not (B). It is (A), as I said", "(A), no: (B)"),
        ("BBH_logical", "(A)", "(a) is (A)", "(a)"),
        ("BBH_time", "12/29/1937", "12/24/1937 + 5 = 12/29/1937", "12/29/1937, not 12/24/1937"),
        ("BBH_time", "12/29/1937", "12/29/19377", "12/29/37"),
        ("gsm_8k", "$14", "$12 and $2 make $14.50", "$14 for $12 an hour"),
        ("gsm_8k", "$14", "$14", "14"),
        ("self_made_space", "20th floor", "He is on the 20th floor now", "He is on floor 20"),
        ("example", "{instruction}\nAnswer: {answer}", "Answer: she (52%).*", "answer: she"),
        ("example", "{instruction}\nAnswer: {answer}", "Answer: ", "Answer:"),
        ("example", "{instruction}\nAnswer: {answer}", "Answer: one line", "Answer: one\nline"),
        ("example", "{instruction}\nAnswer: {answer}", "Answer: a", " Answer: a"),
        ("example", "{instruction}\n[Answer]\n{answer}", "[Answer]\nhe", "A\nhe"),
        ("example", AI, "{'AI assistant': 'he's here'}", "{{'AI assistant': 'he'}}"),
        ("example", AI, "{'AI assistant': ''}", "{'AI assistant': '}"),
        ("example", "{instruction}\n{answer}", "", "\n"),
    ],
)
def test_rules_with_a_target(rule: str, target: str, passing: str, failing: str) -> None:
    """One condition at every level, which compares with the target."""
    for level in range(1, 6):
        assert verdicts(rule, passing, level, target) == "y"
        assert verdicts(rule, failing, level, target) == "n"


def test_a_verdict_says_what_was_checked() -> None:
    """Name and reason name the rule, the condition, and a long target in short."""
    (first, *_, last) = check("xsum", 2, OPERATION, "")
    assert (first.name, first.why) == ("xsum:1", "has exactly 1 sentence(s)")
    assert (last.name, last.why) == ("xsum:2", "has fewer than 20 tokens")
    (only,) = check("E2E", 1, "x", "n" * 500)
    assert only.why == f"equals the target; target '{'n' * 79}…'"


@pytest.mark.parametrize(
    ("file", "row", "expected"),
    [
        ("content", {"source": "E2E", "category": "content", "example_id": 14}, "E2E"),
        ("mixed", {"source": "xsum", "category": "format", "example_id": 12}, "xsum"),
        ("example", {"source": "samsum", "category": "example", "example_id": 33}, "example"),
        ("format", {"source": "koala", "category": "format", "example_id": 22}, "format-22"),
        ("format", {"source": "koala", "category": "format", "example_id": 30}, "format-30"),
        ("format", {"source": "koala", "category": "format", "example_id": 21}, JUDGE),
        ("style", {"source": "koala", "category": "style", "example_id": 22}, JUDGE),
        ("mixed", {"source": "x", "category": "format, style", "example_id": 30}, JUDGE),
        ("situation", {"source": "humaneval", "category": "situation", "example_id": 9}, JUDGE),
    ],
)
def test_which_rule(file: str, row: dict[str, object], expected: str) -> None:
    """The source decides, or the file, or the group of a row that is all format."""
    assert rule_of(file, row) == expected


RULES = (
    "E2E text_editing WIKIEVENTS CONLL2003 BBH_logical BBH_time gsm_8k self_made_space example "
    "cnn_dailymail xsum samsum gigaword arxiv format-22 format-30"
).split()


@given(
    answer=st.text(st.sampled_from("a1 .:?*\n-lyABMr'\\{}[]$/()"), max_size=60),
    level=st.integers(1, 5),
)
def test_any_answer_has_a_verdict(answer: str, level: int) -> None:
    """No text makes a rule fail."""
    for rule in RULES:
        verdicts = check(rule, level, answer, "['a']")
        assert all(isinstance(verdict.passed, bool) for verdict in verdicts)


@pytest.mark.parametrize(
    "piece",
    [
        "**1",
        "**1 a",
        "is ",
        "is" + " " * 50,
        "aing",
        "1. ",
        "a.b. ",
        "(",
        "$",
        "12/",
        "\n\n1. ",
        "{'",
    ],
)
def test_rules_take_linear_time(piece: str) -> None:
    """A hostile megabyte is scored at once; a pattern that backtracks would take minutes."""
    answer = (piece * 1_000_000)[:1_000_000]
    start = time.monotonic()
    for rule in RULES:
        check(rule, 5, answer, AI)
    assert time.monotonic() - start < 20


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "('a',)", "{'a': 1}", "[" * 500, "[" * 100_000, "[__import__('os').getcwd()]", "[1 + []]",
        "['\\d'", "['a' for a in 'b']", "[f'{1}']", "['a'][0]", "[\0]", "[9 ** 9 ** 9]", "['a'] + ['b']",
        "[" + "1," * 600 + "]",
    ],
)  # fmt: skip
def test_what_is_no_list_is_not_run(text: str) -> None:
    """Code, nests, and texts that are cut or too long are no list."""
    assert read_list(text) is None


def test_a_list_is_read() -> None:
    """A literal is read as Python reads it."""
    assert read_list(" ['a', \"b\", 1] ") == ["a", "b", 1]
    assert read_list("['\\d']") == ["\\d"]
