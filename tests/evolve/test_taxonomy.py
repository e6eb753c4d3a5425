"""The taxonomy: its content, the draw of a main constraint, the matching of names."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.evolve.taxonomy import (
    AREAS,
    CONSTRAINT_TYPES,
    GROUPS,
    describe_taxonomy,
    draw,
    group_of,
    match_name,
)
from tests.strategies import any_text


def test_groups_and_types_are_the_papers() -> None:
    """14 groups in three areas (6, 4 and 4), with the numbers of types in the paper."""
    assert {area: len(groups) for area, groups in AREAS.items()} == {
        "format": 6,
        "content": 4,
        "general": 4,
    }
    sizes = [len(types) for types in GROUPS.values()]
    assert sizes == [5, 6, 4, 3, 4, 4, 3, 4, 4, 7, 6, 3, 6, 4]
    assert len(CONSTRAINT_TYPES) == sum(sizes) == 63


def test_the_description_lists_every_type() -> None:
    """Each group is a line with its types and their descriptions."""
    lines = describe_taxonomy().splitlines()
    for group, types in GROUPS.items():
        (line,) = (line for line in lines if line.startswith(f"- {group}:"))
        assert all(f"{t.name} ({t.description})" in line for t in types)


def test_groups_are_drawn_uniformly() -> None:
    """Over 2,800 prompts each group is drawn 200 times, within four standard errors (13.6)."""
    counts = Counter(draw(0, f"p{number}", 0).group for number in range(2800))
    assert counts.keys() == GROUPS.keys()
    assert all(abs(count - 200) < 55 for count in counts.values())


def test_every_type_can_be_drawn() -> None:
    """3,000 draws yield all 63 types."""
    assert {draw(0, f"p{number}", 0).id for number in range(3000)} == CONSTRAINT_TYPES.keys()


@given(st.integers() | st.none(), any_text, st.integers(0, 3))
def test_variants_of_a_prompt_cycle_through_the_groups(
    seed: int | None, prompt_id: str, cycle: int
) -> None:
    """14 variants get 14 groups, and the same ones on every draw."""
    variants = range(14 * cycle, 14 * cycle + 14)
    drawn = [draw(seed, prompt_id, variant) for variant in variants]
    assert {constraint.group for constraint in drawn} == GROUPS.keys()
    assert drawn == [draw(seed, prompt_id, variant) for variant in variants]


def test_the_draw_depends_on_seed_and_prompt() -> None:
    """Another seed or another prompt changes the draw."""
    ids = [f"p{number}" for number in range(50)]
    first = [draw(0, id_, 0).id for id_ in ids]
    assert first != [draw(1, id_, 0).id for id_ in ids]
    assert len(set(first)) > 20


@pytest.mark.parametrize(
    ("written", "expected"),
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
def test_written_names_are_matched(written: str, expected: str | None) -> None:
    """Formatting and spelling vary, a group alone is accepted; an ambiguous or unknown name is None."""
    assert match_name(written) == expected


@pytest.mark.parametrize("id_", CONSTRAINT_TYPES)
def test_every_id_matches_itself(id_: str) -> None:
    """No type is confused with a similar one, such as exclude with include."""
    assert match_name(id_) == id_
    assert group_of(id_) == CONSTRAINT_TYPES[id_].group


@given(any_text)
def test_any_text_can_be_matched(text: str) -> None:
    """Any text is a type, a group, or None."""
    assert match_name(text) in {*CONSTRAINT_TYPES, *GROUPS, None}
