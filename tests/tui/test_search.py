"""Looking for a text in raw lines finds what parsing every line finds."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import UsageError
from spar.types import SearchTree
from tests.strategies import any_text, trees
from tests.tui.tree_files import append, finish, line_of, shown, spaced, tree, write
from tui.index.query import SlowPattern, query
from tui.index.rows import Filter
from tui.index.run_index import TreeIndex


def checked(path: Path, text: str, *, regex: bool = False) -> list[int]:
    """The rows that match a text, those that later ones replace among them."""
    with TreeIndex.open(path) as index:
        finish(index)
        return shown(index, Filter(text=text, regex=regex, replaced=True))


@pytest.mark.parametrize(
    "pattern",
    [
        "a{e}",
        "x{i<3}|{s}",
        "a{,2}b",
        "}{,b",
        "[{a}]+",
        r"\{e\}",
        "a{2}{",
        "^b|b$",
        "(?s)a.b",
        "(?i:A)b",
        r"(a)\1",
        "a++b",
        "x*",
        r"\bé",
        r"\N{EM DASH}b",
        "[:a]",
    ],
)
def test_patterns_mean_what_they_mean_to_re(pattern: str) -> None:
    """Braces too, in which the package that searches would look for errors to allow."""
    text = "a{e} aab\n\u2014b :b {s} {,2}b x{i<3} xéa\nb AB aa{ é {{"
    flags = re.MULTILINE | (re.IGNORECASE if pattern == pattern.lower() else 0)
    expected = [match.span() for match in re.finditer(pattern, text, flags) if match[0]]
    assert list(query(pattern, True).find_all(text)) == expected


def test_a_slow_pattern_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time limit; what was found until then stays."""
    monkeypatch.setattr("tui.index.query.SECONDS", 0.1)
    path = write(tmp_path / "trees.jsonl", tree("a"), tree("b", text="a" * 60 + "b"))
    monkeypatch.setattr("tui.index.search.BLOCK", 50)
    index = TreeIndex.open(path)
    finish(index)
    assert shown(index, Filter(text="(a|aa)+$", regex=True)) == [0]
    assert index.progress().problem == "this expression is too slow; use a simpler one"
    assert shown(index, Filter(text="a+b$", regex=True)) == [1]
    assert index.progress().problem == ""
    with pytest.raises(SlowPattern):
        list(query("(a|aa)+$", True).find_all("a" * 60 + "b"))


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        ("alpha", [0, 2]),
        ("Alpha", [2]),
        ("ALPHA", []),
        ("draft", [0, 1, 2, 3]),
        ("fine", []),
        ("straße", [1]),
        ("ÉTÉ", [3]),
        ("été", [0, 3]),
        ('"quoted"', [1]),
        ("a/b\\c", [2]),
        ("line\nbreak", [3]),
        ("中文", [1]),
        ("文🎉", [1]),
        ("id-2", [2]),
        ("key: k", [3]),
    ],
)
@pytest.mark.parametrize("write_line", [line_of, spaced])
def test_a_plain_text(tmp_path: Path, write_line: object, text: str, rows: list[int]) -> None:
    """Prompt, id and responses are searched, critiques are not; case matters only if the text has capitals."""
    assert callable(write_line)
    made = [
        tree("id-0", text="the alpha", response="Été"),
        tree("id-1", text='a "quoted" Straße', response="中文🎉"),
        tree("id-2", text="Alpha", response="a/b\\c"),
        tree("id-3", text="line\nbreak ÉTÉ", response="KEY: \u212a"),
    ]
    path = write(tmp_path / "trees.jsonl", *map(write_line, made))
    found = checked(path, text)
    assert found == rows


def test_other_spellings_in_json(tmp_path: Path) -> None:
    """Escapes of plain letters and slashes, and capital hex digits, hide nothing."""
    raw = line_of(tree("a", response="caf\u00e9 <b> x/y"))
    spelt = raw.replace(b"\\u00e9", b"\\u00E9").replace(b"<", b"\\u003c").replace(b"x/y", b"x\\/y")
    path = write(tmp_path / "trees.jsonl", spelt)
    for text in ("café", "<b>", "x/y", "b> x"):
        assert checked(path, text) == [0], text


@pytest.mark.parametrize(
    ("pattern", "rows"),
    [
        ("^b", [0, 1]),
        (r"\bbeta$", [0]),
        ("B", [1]),
        (r"\S{8}", [2]),
        ("(?i:BETA)", [0]),
        ("[[]", []),
    ],
)
def test_a_regular_expression(tmp_path: Path, pattern: str, rows: list[int]) -> None:
    """Line ends match, escapes like \\S are no capitals, and nothing warns."""
    made = [tree("0", text="a\nbeta"), tree("1", text="Bold"), tree("2", text="eightlng")]
    assert checked(write(tmp_path / "trees.jsonl", *made), pattern, regex=True) == rows


@pytest.mark.parametrize("pattern", ["(", "*", "[a", "(?P<", "a{99999999999}"])
def test_a_bad_pattern_is_the_persons_mistake(tmp_path: Path, pattern: str) -> None:
    """It is a one-line error before the search starts."""
    index = TreeIndex.open(write(tmp_path / "trees.jsonl", tree("a")))
    with pytest.raises(UsageError, match="is not a valid regular expression"):
        index.order(Filter(text=pattern, regex=True))


def test_the_text_goes_with_the_other_filters(tmp_path: Path) -> None:
    """Both conditions must hold."""
    path = write(
        tmp_path / "trees.jsonl",
        tree("a", response="x"),
        tree("b", response="x", stop="budget"),
        tree("c", stop="budget"),
    )
    index = TreeIndex.open(path)
    assert shown(index, Filter("unsolved", "x")) == [1]


def test_a_search_goes_on_with_a_growing_file(tmp_path: Path) -> None:
    """Later rows are searched too, and a completed line is searched again."""
    path = write(tmp_path / "trees.jsonl", tree("a", response="needle"))
    append(path, line_of(tree("b", response="needle"))[:150], end=b"")
    index = TreeIndex.open(path)
    finish(index)
    wanted = Filter(text="needle")
    assert shown(index, wanted) == [0]
    append(path, line_of(tree("b", response="needle"))[150:], tree("c"), tree("d", text="needle"))
    index.refresh()
    assert shown(index, wanted) == [0, 1, 3]
    assert index.progress().searched == 4


def test_another_text_takes_the_place_of_the_first(tmp_path: Path) -> None:
    """Another order cancels a search."""
    path = write(tmp_path / "trees.jsonl", tree("a", response="one"), tree("b", response="two"))
    index = TreeIndex.open(path)
    index.order(Filter(text="one"))
    assert shown(index, Filter(text="two")) == [1]
    assert list(index.order()) == [0, 1]
    assert index.search()


@given(st.data(), st.lists(trees(), min_size=1, max_size=4), st.booleans())
def test_nothing_is_ruled_out_wrongly(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, made: list[SearchTree], own: bool
) -> None:
    """Any part of any text is found in the lines that hold it, by spar's spelling or another's."""
    texts = [t for one in made for t in (one.prompt.messages[0].content, one.answer or "")]
    whole = data.draw(st.sampled_from([*texts, data.draw(any_text)]))
    start = data.draw(st.integers(0, len(whole)))
    text = data.draw(st.sampled_from([whole[start:], whole[start : start + 3].lower()])) or "e"
    path = tmp_path_factory.mktemp("run") / "trees.jsonl"
    write(path, *(one.to_json() if own else _unescaped(one) for one in made))
    wanted = query(text, False)
    expected = [n for n, one in enumerate(made) if wanted.matches(json.loads(one.to_json()))]
    assert checked(path, text) == expected


@pytest.mark.parametrize("prefix", ["İstanbul, İzmir and İİİİ then ", "İ" * 10, "İ", "", "ß ẞ İ Σ"])
def test_a_match_is_where_it_stands(prefix: str) -> None:
    """Positions are those of the text, also after letters whose lower case is longer than they are."""
    text = f"{prefix} a Needle, a needle"
    first, second = [(m.start(), m.end()) for m in re.finditer("[Nn]eedle", text)]
    wanted = query("needle", False)
    assert wanted.find(text) == first
    assert list(wanted.find_all(text)) == [first, second]
    assert not query("needles", False).find(text)


def test_a_match_within_a_letter_that_is_longer_in_lower_case() -> None:
    """The whole letter is highlighted."""
    text = "an İ, i"
    assert list(query("i", False).find_all(text)) == [(3, 4), (6, 7)]
    assert query("i\u0307, ", False).find(text) == (3, 6)
    assert query("İ", False).find(text) == (3, 4)


def test_no_other_letter_is_longer_in_lower_case() -> None:
    """The assumption about Unicode that makes positions quick to find."""
    longer = [chr(code) for code in range(sys.maxunicode + 1) if len(chr(code).lower()) != 1]
    assert longer == ["İ"]


def test_only_two_letters_become_plain_when_small() -> None:
    """The search's assumption about Unicode: no other character has a plain lower case form."""
    relied_on = {
        small
        for code in range(sys.maxunicode + 1)
        if (character := chr(code)) != character.lower() and not character.isascii()
        for small in character.lower()
        if query(small, False).needles
    }
    assert relied_on == {"k", "i"}


def _unescaped(one: SearchTree) -> bytes:
    text = json.dumps(one.model_dump(), ensure_ascii=False)
    try:
        return text.encode("utf-8")
    except UnicodeEncodeError:  # a lone surrogate has no UTF-8 form
        return line_of(one)
