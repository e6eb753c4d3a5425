"""Trees as chat completions, whole and in pieces. Pure.

`usage` counts the whole search: a client pays, and limits itself, by it. What the shown answer alone took is in the side
field `spar`, and the rest counts as reasoning tokens, which is where OpenAI's API has what a reply took beyond its text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from spar.sanitize import replace_surrogates
from spar.serve.errors import server_error
from spar.serve.request import Shape
from spar.serve.schema import AnswerFormat
from spar.serve.searching import Answer, Job
from spar.serve.shaping import shaped_beginning
from spar.types import Judgement, Node, SearchTree, Usage

PIECE = 80
"""Characters of an answer in one piece of a stream, at least; a piece ends where a word does."""
_PIECES = re.compile(rf".{{1,{PIECE}}}\S*\s*", re.DOTALL)


def completion(job: Job, answers: Sequence[Answer], created: int) -> dict[str, Any]:
    """The whole reply."""
    return {
        "id": job.id,
        "object": "chat.completion",
        "created": created,
        "model": job.model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text_of(answer), "refusal": None},
                "logprobs": None,
                "finish_reason": finish_reason(answer),
            }
            for index, answer in enumerate(answers)
        ],
        "usage": usage(answers),
        "system_fingerprint": f"spar-{job.prepared.manifest.digest}",
        "spar": side_field(job, answers),
    }


class Chunks:
    """The pieces of a streamed reply."""

    def __init__(self, job: Job, created: int) -> None:
        self._job = job
        self._head = {
            "id": job.id,
            "object": "chat.completion.chunk",
            "created": created,
            "model": job.model,
            "system_fingerprint": f"spar-{job.prepared.manifest.digest}",
        }

    def role(self, index: int) -> dict[str, Any]:
        """The first piece of a choice."""
        return chunk(self._head, index, {"role": "assistant", "content": ""})

    def reasoning(self, index: int, text: str) -> dict[str, Any]:
        """Progress of the search."""
        return chunk(self._head, index, {"reasoning_content": text})

    def content(self, index: int, text: str) -> dict[str, Any]:
        """A piece of the answer."""
        return chunk(self._head, index, {"content": text})

    def end(self, index: int, answer: Answer) -> dict[str, Any]:
        """Why the answer ends."""
        return chunk(self._head, index, {}, finish_reason(answer))

    def usage(self, answers: Sequence[Answer]) -> dict[str, Any]:
        """The last piece: no choice, the usage, and the side field."""
        side = side_field(self._job, answers)
        return {**self._head, "choices": [], "usage": usage(answers), "spar": side}


class GrowingAnswer:
    """What has been sent of an answer that is still being generated.

    Parameters
    ----------
    shape:
        What the request asks of it.
    """

    def __init__(self, shape: Shape) -> None:
        self._shape, self._sent = shape, ""

    def add(self, text: str) -> str:
        """The next piece, by the text so far; "" where it does not go on from what was sent, or not yet."""
        return self._rest(shaped_beginning(text, self._shape)) or ""

    def finish(self, text: str) -> str:
        """The last piece, by the whole answer.

        Raises
        ------
        ApiError
            What was sent is no beginning of it: a server failed after the first tokens and its next reply differs.
        """
        rest = self._rest(text)
        if rest is None:
            raise server_error(
                502,
                "the model's reply had to be generated anew and differs from what was sent; ask again",
                "engine_error",
            )
        return rest

    def _rest(self, text: str) -> str | None:
        text = replace_surrogates(text)
        if not text.startswith(self._sent):
            return None
        rest, self._sent = text[len(self._sent) :], text
        return rest


def chunk(
    head: Mapping[str, Any], index: int, delta: Mapping[str, Any], finish: str | None = None
) -> dict[str, Any]:
    """A piece of a choice, behind what all pieces of a stream begin with."""
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**head, "choices": [choice]}


def token_counts(prompt_tokens: int, completion_tokens: int) -> dict[str, int]:
    """The counts of `usage`."""
    return {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": prompt_tokens + completion_tokens,
    }


def usage_of(completion: Mapping[str, Any], num_calls: int) -> Usage:
    """The cost of a completion without a search, as far as its `usage` says it."""
    counts = completion.get("usage")
    counts = counts if isinstance(counts, dict) else {}
    prompt, generated = (
        value if isinstance(value := counts.get(name), int) and value > 0 else 0
        for name in ("prompt_tokens", "completion_tokens")
    )
    return Usage(calls=num_calls, prompt_tokens=prompt, completion_tokens=generated)


def event(content: dict[str, Any] | str) -> bytes:
    """A server-sent event."""
    text = content if isinstance(content, str) else json.dumps(content)
    return f"data: {text}\n\n".encode()


def pieces(text: str) -> list[str]:
    """A text in pieces that end where words do."""
    return _PIECES.findall(text)


def text_of(answer: Answer) -> str:
    """The text of an answer, "" where the model said nothing."""
    return replace_surrogates(answer.tree.answer or "")


def finish_reason(answer: Answer) -> str:
    """`length` where the answer was cut at its limit of tokens, else `stop`."""
    return "length" if answer.is_cut else "stop"


def usage(answers: Sequence[Answer]) -> dict[str, Any]:
    """Tokens of the whole searches."""
    total = sum((answer.tree.usage for answer in answers), Usage())
    shown = _shown_usage(answers)
    return {
        **token_counts(total.prompt_tokens, total.completion_tokens),
        "prompt_tokens_details": {"cached_tokens": total.cached_tokens},
        "completion_tokens_details": {
            "reasoning_tokens": total.completion_tokens - shown.completion_tokens
        },
    }


def side_field(job: Job, answers: Sequence[Answer]) -> dict[str, Any]:
    """What the search was, and what it took."""
    shown = _shown_usage(answers)
    return {
        "strategy": job.offer.strategy,
        "budget": job.offer.budget,
        "judge": job.prepared.config.judge,
        "calls": sum(answer.tree.usage.calls for answer in answers),
        "nodes": sum(len(answer.tree.nodes) for answer in answers),
        "answer_usage": {
            "prompt_tokens": shown.prompt_tokens,
            "completion_tokens": shown.completion_tokens,
        },
        "choices": [
            {
                "tree": answer.address or None,
                "stop": answer.tree.stop,
                "solved": answer.tree.solved,
                "score": max(0.0, node.score) if node and node.judgement else None,
                "seed": answer.tree.prompt.meta["request"]["seed"],
                "seconds": round(answer.tree.seconds, 3),
                **_format_fields(job.request.shape.format, answer),
            }
            for answer in answers
            for node in [_selected(answer.tree)]
        ],
    }


def progress_line(job: Job, node: Node) -> str:
    """One line on a node that joined the tree: `draft 1: 2 of 5 yes; not met: no commas`."""
    if node.parent is None:
        what = f"draft {node.id + 1}"
    elif node.second_parent is not None:
        what = f"response {node.id + 1}, of {node.parent + 1} and {node.second_parent + 1}"
    else:
        what = f"refinement {node.id + 1}, of {node.parent + 1}"
    judgement = node.judgement
    verdict = "not judged" if judgement is None else "; ".join(_verdict(judgement))
    passed = judgement is not None and judgement.passed(job.prepared.settings.threshold)
    return replace_surrogates(f"{what}: {verdict}{'; passes' if passed else ''}\n")


def _verdict(judgement: Judgement) -> Iterator[str]:
    if judgement.points:
        points = (("-" if point is None else f"{point:g}") for point in judgement.points)
        yield f"points {' '.join(points)}"
    elif judgement.probability is not None:
        yield f"P(yes) {judgement.probability:.2f}"
    elif judgement.verdicts:
        yield f"{judgement.num_yes} of {judgement.num_parsed} yes"
    if judgement.findings:
        yield f"{judgement.num_met} of {len(judgement.findings)} met"
        missed = [
            f"{each.constraint} ({each.found})" if each.found else each.constraint
            for each in judgement.findings
            if not each.met
        ]
        if missed:
            yield f"not met: {', '.join(missed)}"


def _format_fields(asked: AnswerFormat | None, answer: Answer) -> dict[str, Any]:
    """Whether the answer meets the `response_format` that was asked for, and what is wrong with it if not."""
    if asked is None:
        return {}
    finding = asked.finding(text_of(answer))
    return {"format_met": finding.met, "format_error": replace_surrogates(finding.found) or None}


def _selected(tree: SearchTree) -> Node | None:
    return None if tree.selected is None else tree.nodes[tree.selected]


def _shown_usage(answers: Sequence[Answer]) -> Usage:
    """Of the replies that the answers were read from."""
    nodes = (_selected(answer.tree) for answer in answers)
    return sum((node.usage - node.judge_usage for node in nodes if node), Usage())
