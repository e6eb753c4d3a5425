"""What a bootstrap's runs have to give: the teacher's answers, and how its judgements went. Pure.

The refiner's examples are those of the loop (`spar.train.data.refiner_data`), but for which judgements are
learnt: the loop's judge is the model that learns, and only where its votes disagree does it know more than
it says each time; the teacher knows more in any case, so whatever its votes decide is learnt.
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
from spar.train.data.selection import order
from spar.types import Message, SearchTree


def choose_answers(
    trees: Iterable[SearchTree], *, seed: int, most: int, max_tokens: int
) -> tuple[list[Answer], AnswerCounts]:
    """The answers to learn, in an order that hangs on seed and prompt alone; one a conversation.

    Parameters
    ----------
    most:
        Most answers.
    max_tokens:
        Where the teacher's replies were cut: one that is as long has lost its end, and would teach to
        stop there.
    """
    left_out: Counter[ExclusionReason] = Counter()
    found: dict[tuple[Message, ...], Answer] = {}
    num_prompts = 0
    for tree in trees:
        num_prompts += 1
        reason = _fault(tree, max_tokens)
        if reason is not None:
            left_out[reason] += 1
            continue
        answer = _answer(tree)
        same = found.get(answer.messages[:-1], answer)
        left_out["duplicate"] += same is not answer
        found[answer.messages[:-1]] = min(same, answer, key=lambda one: _place(one, seed))
    kept = sorted(found.values(), key=lambda one: _place(one, seed))[:most]
    left_out["above_quota"] = len(found) - len(kept)
    counts = {name: count for name, count in sorted(left_out.items()) if count}
    return kept, AnswerCounts(prompts=num_prompts, kept=len(kept), left_out=counts)


def count_drafts(trees: Iterable[SearchTree]) -> DraftCounts:
    """How the judged drafts of a run came out."""
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
    named = {name: counts[name] for name in ("passed", "failed", "undecided")}
    return DraftCounts(drafts=counts.total(), reason=reason, reply=reply, **named)


def why_few_examples(judged: DraftCounts, solved: int) -> str:
    """What lies behind too few of the refiner's examples, and what to do about it.

    Parameters
    ----------
    solved:
        Failing drafts that the teacher refined until it passed them itself.
    """
    if not judged.drafts:
        return "the student wrote no draft that is not empty; look at its chat template and student.draft"
    if judged.undecided == judged.drafts:
        reply = f"; one of its replies ends with {judged.reply[-60:]!r}" if judged.reply else ""
        return (
            f"the teacher's judgement of none of the {judged.drafts} drafts can be read ({judged.reason}){reply}; "
            "it must end with 'Final Judgement: Yes' or 'No': take another teacher, raise "
            "teacher.vote.max_tokens, or give templates that it follows (teacher.templates)"
        )
    if not judged.failed:
        return (
            f"the teacher said Yes to all {judged.passed} drafts that it judged, so nothing was refined and there "
            "is no No to learn; give harder prompts (spar evolve), more samples, or a stricter teacher"
        )
    if not judged.passed and not solved:
        return (
            f"the teacher said No to all {judged.failed} drafts that it judged and passed no refinement of its "
            "own, so there is no Yes to learn; give easier prompts, a larger search.budget, or another teacher"
        )
    return (
        f"of {judged.drafts} drafts the teacher passed {judged.passed} and failed {judged.failed}, and passed "
        f"{solved} of its refinements; give more prompts (num_refiner_prompts) or more samples"
    )


def _fault(tree: SearchTree, max_tokens: int) -> ExclusionReason | None:
    if tree.selected is None:
        return "unanswered"
    if tree.nodes[tree.selected].usage.completion_tokens >= max_tokens:
        return "cut"
    return None if is_encodable(_answer(tree)) else "without_tokens"


def _answer(tree: SearchTree) -> Answer:
    assert tree.selected is not None
    said = Message(role="assistant", content=tree.nodes[tree.selected].response)
    return Answer(
        prompt_id=tree.prompt.id, node=tree.selected, messages=(*tree.prompt.messages, said)
    )


def _place(answer: Answer, seed: int) -> bytes:
    return order(seed, "answer", answer.prompt_id)
