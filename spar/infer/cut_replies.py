"""Replies that end at their token limit before what was asked for: counted, said early, and no reason to go on.

A vote is cut if it has no verdict by then, a refinement if it lacks its last marker, a draft always. The count is
part of `Usage`, so each tree, each role and the summary have it. Where the first votes of a run are all cut, the
run stops: 15 calls for each response would buy nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from operator import attrgetter

from spar.config import DecodeConfig, EvalConfig, specs
from spar.errors import RunStopped
from spar.infer.engine import NoteCallback
from spar.types import Role, Usage

LIMITS: Mapping[Role, str] = {
    "actor": "draft.max_tokens",
    "judge": "vote.max_tokens",
    "refiner": "refine.max_tokens",
}
"""Role to the setting that limits its replies."""
WHAT: Mapping[Role, tuple[str, str]] = {
    "actor": ("drafts", ""),
    "judge": ("votes", " before a verdict"),
    "refiner": ("refinements", " before their end"),
}
"""Role to what it writes, and what a cut reply lacks."""
MIN_WARNING = 10
"""Cut replies of a role before a warning, which also needs `MIN_SHARE` of all."""
MIN_SHARE = 0.1
MIN_VOTES, MIN_ROUNDS = 30, 6
"""Votes, and rounds of them, after which a run stops if all were cut."""


@dataclass(slots=True)
class _Count:
    rounds: int = 0
    replies: int = 0
    cut: int = 0
    is_said: bool = False


@dataclass(slots=True)
class CutReplies:
    """What one start of a run knows of replies that were cut."""

    note: NoteCallback
    """Takes the warning."""
    limits: Mapping[Role, str] = field(default_factory=lambda: LIMITS)
    """As `LIMITS`, where a job has other settings for a role."""
    may_stop: bool = True
    """Whether to stop where all votes are cut; not if an earlier start could read some."""
    counts: dict[Role, _Count] = field(default_factory=dict)

    def add(self, role: Role, replies: int, cut: int, limit: int) -> None:
        """Count replies that came together; warn once for each role.

        Raises
        ------
        RunStopped
            All of the run's first votes were cut.
        """
        count = self.counts.setdefault(role, _Count())
        count.rounds += 1
        count.replies += replies
        count.cut += cut
        line = cut_line(role, count.cut, count.replies, limit, self.limits[role])
        is_hopeless = count.replies >= MIN_VOTES and count.rounds >= MIN_ROUNDS
        if role == "judge" and self.may_stop and is_hopeless and count.cut == count.replies:
            raise RunStopped(
                f"the run stops, since {line} in a new run (--overwrite or another --out)"
            )
        if not count.is_said and count.cut >= max(MIN_WARNING, MIN_SHARE * count.replies):
            count.is_said = True
            self.note(f"so far {line}")


CUT_REPLIES: ContextVar[CutReplies | None] = ContextVar("cut_replies", default=None)
"""The current run's count; `decode` sets it for its searches."""


def count_cut(role: Role, cut: Sequence[bool], limit: int) -> Usage:
    """What to add to the usage of replies that came together, of which `cut` says whether each was cut.

    Raises
    ------
    RunStopped
        As `CutReplies.add`.
    """
    counter = CUT_REPLIES.get()
    if counter is not None:
        counter.add(role, len(cut), sum(cut), limit)
    return Usage(cut_calls=sum(cut))


def cut_lines(
    config: DecodeConfig, roles: Mapping[Role, Usage], limits: Mapping[Role, str]
) -> list[str]:
    """A line for each role of a run with cut replies."""
    return [
        cut_line(role, usage.cut_calls, usage.calls, attrgetter(limits[role])(config), limits[role])
        for role, usage in roles.items()
        if usage.cut_calls
    ]


def cut_line(role: Role, cut: int, replies: int, limit: int, setting: str) -> str:
    """`412 of 500 votes were cut at 1,024 tokens before a verdict: raise --vote-max-new-tokens (...)`."""
    what, lacking = WHAT[role]
    flag = next(spec.flag for spec in specs(EvalConfig) if spec.name == setting)
    return (
        f"{cut:,} of {replies:,} {what} were cut at {limit:,} tokens{lacking}: raise {flag} "
        f"({setting} of a recipe)"
    )


def unfinished_thinking(flag: str) -> str:
    """Why a reply of a reasoning model has no text, and what to do; `flag` limits its tokens."""
    return (
        f"the model's thinking did not end; raise {flag}, or let it think less (--reasoning-effort, "
        "--chat-template-arg)"
    )
