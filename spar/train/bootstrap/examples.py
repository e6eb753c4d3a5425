"""The examples of a bootstrap: the teacher's answers, and counts of its judgements. Pure.

The refiner's examples are those of the loop (`spar.train.data.refiner_data`), but for the filter of judgements:
the loop's judge is the model that learns, and its majority knows more than a single vote only where votes
disagree; the teacher knows more in any case, so every decided judgement is used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from spar.record.training_data import (
    Answer,
    AnswerCounts,
    DraftCounts,
    ExclusionReason,
    is_encodable,
)
from spar.train.data.selection import sort_key
from spar.types import Message, SearchTree


def choose_answers(
    trees: Iterable[SearchTree], *, seed: int, most: int, max_tokens: int
) -> tuple[list[Answer], AnswerCounts]:
    """The answers to learn, one for each conversation, in an order that depends on seed and prompt alone.

    Parameters
    ----------
    most:
        The most answers.
    max_tokens:
        The limit of the teacher's replies, by which truncated ones are known in runs of versions that did not mark
        them. Such a reply would teach to stop there.
    """
    excluded: Counter[ExclusionReason] = Counter()
    answers: dict[tuple[Message, ...], Answer] = {}
    num_prompts = 0
    for tree in trees:
        num_prompts += 1
        reason = _exclusion_reason(tree, max_tokens)
        if reason is not None:
            excluded[reason] += 1
            continue
        answer = _answer(tree)
        other = answers.get(answer.messages[:-1], answer)
        excluded["duplicate"] += other is not answer
        answers[answer.messages[:-1]] = min(other, answer, key=lambda a: _sort_key(a, seed))
    selected = sorted(answers.values(), key=lambda a: _sort_key(a, seed))[:most]
    excluded["above_quota"] = len(answers) - len(selected)
    counts = {name: count for name, count in sorted(excluded.items()) if count}
    return selected, AnswerCounts(prompts=num_prompts, kept=len(selected), left_out=counts)


def count_drafts(trees: Iterable[SearchTree]) -> DraftCounts:
    """How the drafts of a run were drafts."""
    counts: Counter[str] = Counter()
    reason, reply = "", ""
    for tree in trees:
        for node in tree.children(None):
            if node.judgement is None:
                counts["undecided"] += 1
            else:
                counts["passed" if node.judgement.passed(tree.gate) else "failed"] += 1
        faults = [fault for fault in tree.faults if fault.stage == "judge"]
        if faults and not reason:
            reason, reply = faults[0].reason, faults[0].text
    return DraftCounts(
        drafts=counts.total(),
        passed=counts["passed"],
        failed=counts["failed"],
        undecided=counts["undecided"],
        reason=reason,
        reply=reply,
    )


def why_few_examples(drafts: DraftCounts, solved: int) -> str:
    """Why the refiner has too few examples, and what to do about it.

    Parameters
    ----------
    solved:
        Failing drafts of which the teacher passed one of its refinements.
    """
    if not drafts.drafts:
        return "all drafts of the student are empty; check its chat template and student.draft"
    if drafts.undecided == drafts.drafts:
        reply = f"; a reply ends with {drafts.reply[-60:]!r}" if drafts.reply else ""
        return (
            f"no judgement of the teacher on {drafts.drafts} drafts can be parsed ({drafts.reason}){reply}; "
            "a judgement must end with 'Final Judgement: Yes' or 'No': choose another teacher, raise "
            "teacher.vote.max_tokens, or give templates that it follows (teacher.templates)"
        )
    if not drafts.failed:
        return (
            f"the teacher said Yes to all {drafts.passed} drafts that it judged, so nothing was refined and there "
            "is no No to learn; give harder prompts (spar evolve), more samples, or a stricter teacher"
        )
    if not drafts.passed and not solved:
        return (
            f"the teacher said No to all {drafts.failed} drafts that it judged and passed no refinement of its "
            "own, so there is no Yes to learn; give easier prompts, a larger search.budget, or another teacher"
        )
    return (
        f"of {drafts.drafts} drafts the teacher passed {drafts.passed} and failed {drafts.failed}, and passed "
        f"{solved} of its refinements; give more prompts (num_refiner_prompts) or more samples"
    )


def _exclusion_reason(tree: SearchTree, max_tokens: int) -> ExclusionReason | None:
    if tree.selected is None:
        return "unanswered"
    usage = tree.nodes[tree.selected].usage
    # A context that is nearly full, or a server, may end a reply before the limit.
    if usage.cut_calls or usage.completion_tokens >= max_tokens:
        return "cut"
    return None if is_encodable(_answer(tree)) else "without_tokens"


def _answer(tree: SearchTree) -> Answer:
    assert tree.selected is not None
    response = Message(role="assistant", content=tree.nodes[tree.selected].response)
    return Answer(
        prompt_id=tree.prompt.id, node=tree.selected, messages=(*tree.prompt.messages, response)
    )


def _sort_key(answer: Answer, seed: int) -> bytes:
    return sort_key(seed, "answer", answer.prompt_id)
