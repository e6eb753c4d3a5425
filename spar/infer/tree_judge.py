"""Judges that share work between the responses of one tree, such as reading the prompt once.

The search opens such a judge for its tree (`SharingJudge.for_tree`). What the shared work cost is charged to the first
node of the tree, in its order, whose judgement needed it: so the record does not depend on the order of replies.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from spar.infer.roles import Judge
from spar.types import Judgement, Prompt, Usage


class TreeJudge(Judge, Protocol):
    """The judge of one tree; the usage of a judgement leaves out what its responses share."""

    def claim(self, response: str | None) -> Usage:
        """What the shared work cost, once: for the first response that asks and needed it; None takes what is left."""
        ...


@runtime_checkable
class SharingJudge(Judge, Protocol):
    """A judge whose judgements of a tree's responses share work."""

    def for_tree(self, prompt: Prompt, judged: Sequence[Judgement]) -> TreeJudge | None:
        """The judge of a tree that begins; None if nothing is shared after all.

        Parameters
        ----------
        judged:
            Judgements of other responses to the prompt; what they hold of the shared work need not be done again.
        """
        ...


def open_for_tree(judge: Judge, prompt: Prompt, judged: Sequence[Judgement]) -> TreeJudge | None:
    """The judge of a tree that begins; None for one whose judgements share nothing."""
    return judge.for_tree(prompt, judged) if isinstance(judge, SharingJudge) else None
