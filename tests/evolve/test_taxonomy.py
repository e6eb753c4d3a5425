"""The taxonomy: what is in it, how a main constraint is drawn, what teachers' names stand for."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.evolve.taxonomy import AREAS, GROUPS, KINDS, as_list, draw, find, group_of
from tests.strategies import any_text


def test_it_has_the_papers_groups_and_kinds() -> None:
    """14 groups in three areas, 6, 4 and 4; the kinds of each as the paper counts them."""
    assert {area: len(groups) for area, groups in AREAS.items()} == {
        "format": 6,
        "content": 4,
        "general": 4,
    }
    sizes = [len(kinds) for kinds in GROUPS.values()]
    assert sizes == [5, 6, 4, 3, 4, 4, 3, 4, 4, 7, 6, 3, 6, 4]
    assert len(KINDS) == sum(sizes) == 63


def test_the_teacher_sees_every_kind() -> None:
    """Each group is a line, with each of its kinds and what it means."""
    lines = as_list().splitlines()
    for group, kinds in GROUPS.items():
        (line,) = (line for line in lines if line.startswith(f"- {group}:"))
        assert all(f"{kind.name} ({kind.what})" in line for kind in kinds)


def test_groups_are_drawn_evenly() -> None:
    """Over 2,800 prompts each group comes 200 times, give or take four standard errors (13.6)."""
    counts = Counter(draw(0, f"p{number}", 0).group for number in range(2800))
    assert counts.keys() == GROUPS.keys()
    assert all(abs(count - 200) < 55 for count in counts.values())


def test_every_kind_can_be_drawn() -> None:
    """All 63 turn up."""
    assert {draw(0, f"p{number}", 0).id for number in range(3000)} == KINDS.keys()


@given(st.integers() | st.none(), any_text, st.integers(0, 3))
def test_variants_of_a_prompt_get_every_group_in_turn(
    seed: int | None, prompt_id: str, turn: int
) -> None:
    """14 variants, 14 groups; and the same again each time it is drawn."""
    variants = range(14 * turn, 14 * turn + 14)
    drawn = [draw(seed, prompt_id, variant) for variant in variants]
    assert {kind.group for kind in drawn} == GROUPS.keys()
    assert drawn == [draw(seed, prompt_id, variant) for variant in variants]


def test_the_draw_hangs_on_seed_and_prompt() -> None:
    """Another seed, or another prompt, draws otherwise."""
    ids = [f"p{number}" for number in range(50)]
    first = [draw(0, one, 0).id for one in ids]
    assert first != [draw(1, one, 0).id for one in ids]
    assert len(set(first)) > 20


@pytest.mark.parametrize(
    ("written", "found"),
    [
        ("length/words", "length/words"),
        (" - **Length / Words** ", "length/words"),
        ("1. length: words", "length/words"),
        ("length (words)", "length/words"),
        ("Format > Length > Words", "length/words"),
        ("length - word", "length/words"),
        ("text_format/JSON", "text format/json"),
        ("style/humor", "style/humour"),
        ("situation/roleplay", "situation/role-play"),
        ("situation/role-play", "situation/role-play"),
        ("keyword/excludes", "keyword/exclude"),
        ("`punctuation/start with`", "punctuation/start with"),
        ("emoji", "symbol/emoji"),
        ("Length", "length"),
        ("length/pages", "length"),
        ("include", None),
        ("tone/casual", None),
        ("group/kind", None),
        ("", None),
        ("/", None),
    ],
)
def test_names_as_teachers_write_them(written: str, found: str | None) -> None:
    """Other dress, other spelling, a group alone; a name that two groups have, or none, is not known."""
    assert find(written) == found


@pytest.mark.parametrize("id_", KINDS)
def test_every_id_stands_for_itself(id_: str) -> None:
    """No kind is taken for its neighbour, such as exclude for include."""
    assert find(id_) == id_
    assert group_of(id_) == KINDS[id_].group


@given(any_text)
def test_no_name_breaks_it(text: str) -> None:
    """Whatever a teacher writes, it is a kind, a group, or nothing."""
    assert find(text) in {*KINDS, *GROUPS, None}
