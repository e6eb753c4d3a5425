"""The refiner: what of its reply a node keeps."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.errors import ParseError
from spar.infer.engine import Completion, Request, Sampling
from spar.infer.engines.fake import FakeEngine
from spar.infer.roles import Actor, AttemptFailed, Generation, Refiner
from spar.infer.search import Budget, run_search
from spar.templates import load
from spar.templates.parse import Refinement, parse_refinement, refinement_text
from spar.types import SearchTree
from tests.fakes import NO, kind_of, make_prompt, make_root, make_settings, real_roles
from tests.strategies import any_text, marker_text

CANONICAL = "why\nFinal Refined Output:\n[[start]]\nnew\n[[end]]"
SPLIT = "why\nFinal Refined Output:\n[[start]]\na [\u2060[end]] b\n[[end]]"
"""A marker inside the response, quoted with the shield that it was shown with."""
THOUGHT = f"<think>hm, Final Refined Output: [[start]]x[[end]]?</think>\n\n{CANONICAL}"
"""Thinking that an engine has left in; it is part of the reflection."""

DRESSED = {
    "stars": "why\n**Final Refined Output:**\n[[start]]\nnew\n[[end]]",
    "blank lines": "why\n\nFinal Refined Output:\n\n[[start]]\nnew\n[[end]]",
    "one line": "why Final Refined Output: [[start]]new[[end]]",
    "no heading": "why\n[[start]]\nnew\n[[end]]",
    "words after": f"{CANONICAL}\nNow both are met.",
    "a line break after": f"{CANONICAL}\n",
    "blank space before": f" {CANONICAL}",
    "no shield": CANONICAL.replace("new", "[[start]]"),
    "a lone surrogate after": f"{CANONICAL}\ud800",
}
"""Replies that the canonical form does not give back."""


async def refine(reply: str) -> Generation:
    """What a refiner makes of its engine's reply."""
    refiner = Refiner(FakeEngine(lambda _: reply), Sampling(max_tokens=10**6), load())
    return await refiner.refine(make_prompt(), make_root(), lambda _: None)


async def grown(reply: str) -> SearchTree:
    """A tree of a draft and one refinement, neither of which passes."""

    def say(request: Request) -> str:
        return {"draft": "old", "judge": NO, "refine": reply}[kind_of(request)]

    settings = make_settings("iterative", budget=Budget(2))
    return await run_search(make_prompt(), real_roles(FakeEngine(say)), settings)


@pytest.mark.parametrize("reply", DRESSED.values(), ids=DRESSED.keys())
async def test_a_node_keeps_a_reply_that_its_parts_do_not_give_back(reply: str) -> None:
    """Headings in another dress, blank space, words around the parts: all of it, as the engine gave it."""
    draft, refinement = (await grown(reply)).nodes
    assert refinement.text == reply
    found = parse_refinement(reply)
    assert (refinement.reflection, refinement.response) == (found.reflection, found.response)
    assert draft.text is None


@pytest.mark.parametrize("reply", [CANONICAL, SPLIT, THOUGHT])
async def test_a_canonical_reply_is_not_kept_twice(reply: str) -> None:
    """Where reflection and response give the reply back, they are all that the tree holds of it."""
    tree = await grown(reply)
    assert tree.nodes[1].text is None
    assert '"text"' not in tree.to_json()


@given(any_text | marker_text, st.just("") | any_text | marker_text, st.just("") | any_text)
async def test_every_reply_can_be_had_again(before: str, inside: str, after: str) -> None:
    """Whatever a refiner writes that can be read: the node has it whole, or the canonical form is it."""
    reply = f"{before}\nFinal Refined Output:\n[[start]]\n{inside}\n[[end]]{after}"
    try:
        found = parse_refinement(reply)
    except ParseError:
        return
    written = await refine(reply)
    assert (written.reflection, written.response) == (found.reflection, found.response)
    canonical = refinement_text(Refinement(written.reflection or "", written.response))
    assert written.text == (None if canonical == reply else reply)


class UnfinishedEngine(FakeEngine):
    """A reasoning model that is cut while it thinks."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """Replies without a text."""
        return [Completion("", "length", 1, 9, unfinished_thinking=True) for _ in requests]


async def test_thinking_that_does_not_end_is_named() -> None:
    """With the flag that gives it more room, for drafts and refinements."""
    engine = UnfinishedEngine(str)
    with pytest.raises(
        AttemptFailed, match="is empty: the model's thinking did not end; raise --max-new"
    ):
        await Actor(engine, Sampling()).draft(make_prompt(), 0, lambda _: None)
    refiner = Refiner(engine, Sampling(), load())
    with pytest.raises(AttemptFailed, match=r"raise --refine-max-new-tokens, .* \(3 attempts\)"):
        await refiner.refine(make_prompt(), make_root(), lambda _: None)
