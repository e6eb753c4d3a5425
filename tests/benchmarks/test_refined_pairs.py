"""Which drafts of a prompt make the two pairs of `benchmarks/refined_pairs.py`."""

from __future__ import annotations

from argparse import Namespace

import pytest
import refined_pairs

from spar.types import Message, Node, Prompt, SearchTree

PASSING = "rain falls on the roof and the street is quiet now"
FAILING = "rain falls, and the street is quiet"
OTHER = "water runs, and the yard is wet"
SHORT = "rain, rain"


@pytest.fixture(autouse=True)
def passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """lm-eval's verifier of commas without NLTK's data, which it needs for others."""
    monkeypatch.setattr(refined_pairs, "_passes", lambda prompt, text: "," not in text)


def tree(*drafts: str) -> SearchTree:
    """Drafts of a prompt that asks for a text without commas."""
    prompt = Prompt(
        id="p",
        messages=(Message(role="user", content="Write about rain, without any comma."),),
        meta={"instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]},
    )
    nodes = tuple(
        Node(id=number, parent=None, depth=0, response=text) for number, text in enumerate(drafts)
    )
    return SearchTree(
        prompt=prompt,
        strategy="best-of-n",
        config="0",
        nodes=nodes,
        selected=None,
        stop="exhausted",
    )


def pairs(independent: str, *drafts: str) -> dict[str, tuple[str, str]] | None:
    """Arm to the chosen and the rejected side."""
    args = Namespace(words="5,20", split_seed=0, independent=independent)
    seen = dict.fromkeys(("drafts", "passing", "rewritten", "tried"), 0)
    made = refined_pairs._pairs(tree(*drafts), args, seen)
    return None if made is None else {a: (pair.chosen, pair.rejected) for a, pair in made.items()}


@pytest.mark.parametrize("independent", ["passing", "rewritten"])
def test_both_arms_share_the_failing_draft(independent: str) -> None:
    """The refined side is its own edit, the independent one another draft that passes by itself."""
    made = pairs(independent, FAILING, PASSING)
    assert made == {
        "refined": (FAILING.replace(",", ""), FAILING),
        "independent": (PASSING, FAILING),
    }


def test_another_failing_draft_counts_once_it_is_rewritten() -> None:
    """Only where that is asked for; it is never the rejected draft's own rewrite."""
    assert pairs("passing", FAILING, OTHER) is None
    made = pairs("rewritten", FAILING, OTHER)
    assert made is not None
    (refined, rejected), (independent, same) = made["refined"], made["independent"]
    assert rejected == same and {refined, independent} == {
        text.replace(",", "") for text in (FAILING, OTHER)
    }
    assert refined == rejected.replace(",", "")


def test_a_prompt_without_two_fitting_drafts_has_no_pairs() -> None:
    """A draft of too few words is no side, and neither is one alone."""
    assert pairs("rewritten", FAILING, SHORT) is None
    assert pairs("rewritten", FAILING) is None
    assert pairs("rewritten", PASSING, PASSING) is None
