"""A run as OpenTelemetry spans in the semantic conventions for generative AI: Langfuse, Phoenix and others show its trees.

    for request in requests(trees, facts, annotations):
        handle.write(json_line(request))        # OTLP's JSON, one `ExportTraceServiceRequest` a line
    send(requests(...), "http://localhost:4318")      # spar.export.collector

A tree is a trace. Its first span is the search (`invoke_agent`), a draft is a `chat` span below it, a refinement a `chat` span
below the response that it refines, and each judgement a `chat` span below its response with the event
`gen_ai.evaluation.result`. Ids follow from the run and the prompt, so sending a run twice makes nothing twice. A tree has
durations and no times: a span starts when the one above it ends, and a search when the run started.

Sources: https://opentelemetry.io/docs/specs/semconv/gen-ai/ for the names, https://opentelemetry.io/docs/specs/otlp/ for the JSON,
and https://arize-ai.github.io/openinference/spec/semantic_conventions.html for the few attributes that Phoenix reads.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from spar.errors import UsageError
from spar.record.layout import absolute_path
from spar.record.outcomes import outcome_of, story
from spar.store import read_manifest
from spar.types import Fault, Message, Node, Role, SearchTree, Usage
from spar.view.node_detail import Annotations, node_truth

Json = dict[str, Any]

_INTERNAL, _CLIENT, _ERROR = 1, 3, 2
_SECOND = 1_000_000_000


@dataclass(frozen=True, slots=True)
class RunOrigin:
    """What all spans of a run share."""

    name: str
    start: int
    """When the run was started, in nanoseconds since 1970."""
    models: Mapping[str, str] = field(default_factory=dict)
    """Role to model."""
    version: str = ""
    """Of spar."""


def run_origin(path: Path) -> RunOrigin:
    """The origin of a run directory's trees; of a file of trees, its name alone."""
    directory = path if path.is_dir() else path.parent
    name = absolute_path(directory).name
    try:
        manifest = read_manifest(directory)
    except UsageError:
        return RunOrigin(name, 0)
    try:
        start = int(datetime.fromisoformat(manifest.created).timestamp()) * _SECOND
    except ValueError:
        start = 0
    return RunOrigin(name, start, dict(manifest.models), manifest.spar_version)


def requests(
    trees: Iterable[SearchTree], origin: RunOrigin, annotations: Annotations = Annotations()
) -> Iterator[Json]:
    """An `ExportTraceServiceRequest` for each tree."""
    resource = _attributes(
        {"service.name": "spar", "service.version": origin.version, "spar.run": origin.name}
    )
    for tree in trees:
        spans = _Spans(tree, origin, annotations).all()
        scope = {"scope": {"name": "spar", "version": origin.version}, "spans": spans}
        yield {"resourceSpans": [{"resource": {"attributes": resource}, "scopeSpans": [scope]}]}


def json_line(request: Json) -> bytes:
    """A request as one line of JSON."""
    return json.dumps(request, separators=(",", ":")).encode("ascii") + b"\n"


class _Spans:
    """The spans of one tree."""

    def __init__(self, tree: SearchTree, origin: RunOrigin, annotations: Annotations) -> None:
        self.tree, self.origin, self.annotations = tree, origin, annotations
        key = json.dumps([origin.name, origin.start, tree.config, tree.prompt.id])
        self._digest = hashlib.sha256(key.encode("ascii"))
        self.trace = self._digest.hexdigest()[:32]
        self._ends: dict[int, int] = {}
        """Node to the end of its span."""

    def all(self) -> list[Json]:
        """The search, then its responses with their judgements, then its failed attempts."""
        below = [span for node in self.tree.nodes for span in self._node(node)]
        below += [self._fault(number, fault) for number, fault in enumerate(self.tree.faults)]
        end = max(
            [
                self.origin.start + _nanoseconds(self.tree.seconds),
                *(int(s["endTimeUnixNano"]) for s in below),
            ]
        )
        return [self._search(end), *below]

    def _search(self, end: int) -> Json:
        tree = self.tree
        annotations = self.annotations
        outcome = outcome_of(tree, annotations.check, graded=annotations.grade_of(tree))
        answer = tree.answer if outcome.after.node is not None else None
        return self._span(
            f"invoke_agent {tree.strategy}",
            "search",
            None,
            (self.origin.start, end),
            {
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.provider.name": "spar",
                "gen_ai.agent.name": tree.strategy,
                "gen_ai.conversation.id": tree.prompt.id,
                "gen_ai.input.messages": _messages(tree.prompt.messages),
                "gen_ai.output.messages": None if answer is None else _response(answer),
                "spar.prompt.source": tree.prompt.source or None,
                "spar.stop": tree.stop,
                "spar.solved": tree.solved,
                "spar.change": outcome.change,
                "spar.story": story(outcome),
                "spar.score": outcome.after.score,
                "spar.answer.node": outcome.after.node,
                "spar.calls": outcome.usage.calls,
                "openinference.span.kind": "AGENT",
                "input.value": tree.prompt.messages[-1].content,
                "output.value": answer,
            },
            events=[self._truth_event(end, outcome.after.truth)],
        )

    def _node(self, node: Node) -> Iterator[Json]:
        role: Role = "actor" if node.parent is None else "refiner"
        start = self._start(node.parent)
        written = node.usage - node.judge_usage
        end = start + _nanoseconds(written.seconds)
        conversation = self.annotations.render(self.tree, node) if self.annotations.render else ()
        findings = self.annotations.check(self.tree, node) if self.annotations.check else ()
        truth = node_truth(self.tree, node, self.annotations, findings)
        failing = "; ".join(finding.line for finding in findings if not finding.met)
        yield self._span(
            f"chat {self._model(role)}",
            f"node {node.id}",
            self._parent_key(node.parent),
            (start, end),
            {
                **self._call(role, written),
                "gen_ai.request.seed": node.seed,
                "gen_ai.input.messages": _messages(conversation) if conversation else None,
                "gen_ai.output.messages": _response(node.response),
                "spar.node": node.id,
                "spar.parent": node.parent,
                "spar.depth": node.depth,
                "spar.is_answer": node.id == self.tree.selected,
                "spar.reflection": node.reflection,
                "input.value": conversation[-1].content if conversation else None,
                "output.value": node.response,
            },
            events=[self._truth_event(end, truth, failing)],
        )
        self._ends[node.id] = end
        if node.judgement is not None:
            judgement = node.judgement
            passed = judgement.passed(self.tree.gate)
            self._ends[node.id] = judged = end + _nanoseconds(node.judge_usage.seconds)
            verdict = {
                "gen_ai.evaluation.name": "judge",
                "gen_ai.evaluation.score.value": judgement.score,
                "gen_ai.evaluation.score.label": "pass" if passed else "fail",
                "gen_ai.evaluation.explanation": judgement.critique,
            }
            yield self._span(
                f"chat {self._model('judge')}",
                f"judgement {node.id}",
                f"node {node.id}",
                (end, judged),
                {
                    **self._call("judge", node.judge_usage),
                    "gen_ai.request.choice.count": len(judgement.verdicts) or None,
                    "gen_ai.output.messages": _response(judgement.critique),
                    "spar.votes": json.dumps(judgement.verdicts),
                    "spar.passed": passed,
                    "openinference.span.kind": "EVALUATOR",
                    "input.value": node.response,
                    "output.value": judgement.critique,
                },
                events=[_event("gen_ai.evaluation.result", judged, verdict)],
            )

    def _fault(self, number: int, fault: Fault) -> Json:
        role: Role = "actor" if fault.parent is None else "refiner"
        start = self._start(fault.parent)
        values = {
            **self._call(role, fault.usage),
            "error.type": f"{fault.stage} failed",
            "spar.parent": fault.parent,
            "gen_ai.output.messages": _response(fault.text) if fault.text else None,
        }
        times = start, start + _nanoseconds(fault.usage.seconds)
        name = f"chat {self._model(role)}"
        span = self._span(name, f"fault {number}", self._parent_key(fault.parent), times, values)
        return {**span, "status": {"code": _ERROR, "message": _text(fault.reason)}}

    def _call(self, role: Role, usage: Usage) -> Json:
        """What spans of requests to a model share."""
        return {
            "gen_ai.operation.name": "chat",
            "gen_ai.provider.name": "spar",
            "gen_ai.request.model": self._model(role),
            "gen_ai.usage.input_tokens": usage.prompt_tokens,
            "gen_ai.usage.output_tokens": usage.completion_tokens,
            "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens or None,
            "spar.role": role,
            "spar.calls": usage.calls,
            "openinference.span.kind": "LLM",
            "llm.model_name": self._model(role),
            "llm.token_count.prompt": usage.prompt_tokens,
            "llm.token_count.completion": usage.completion_tokens,
        }

    def _span(
        self,
        name: str,
        key: str,
        parent: str | None,
        times: tuple[int, int],
        values: Json,
        events: Sequence[Json | None] = (),
    ) -> Json:
        above = {} if parent is None else {"parentSpanId": self._id(parent)}
        return {
            "traceId": self.trace,
            "spanId": self._id(key),
            **above,
            "name": _text(name),
            "kind": _INTERNAL if parent is None else _CLIENT,
            "startTimeUnixNano": str(times[0]),
            "endTimeUnixNano": str(times[1]),
            "attributes": _attributes(values),
            "events": [event for event in events if event is not None],
        }

    def _truth_event(self, time: int, truth: bool | None, why: str = "") -> Json | None:
        if truth is None:
            return None
        values = {
            "gen_ai.evaluation.name": "ground truth",
            "gen_ai.evaluation.score.value": float(truth),
            "gen_ai.evaluation.score.label": "right" if truth else "wrong",
            "gen_ai.evaluation.explanation": why or None,
        }
        return _event("gen_ai.evaluation.result", time, values)

    def _start(self, parent: int | None) -> int:
        return self.origin.start if parent is None else self._ends.get(parent, self.origin.start)

    def _parent_key(self, parent: int | None) -> str:
        return f"node {parent}" if parent in self._ends else "search"

    def _id(self, key: str) -> str:
        digest = self._digest.copy()
        digest.update(key.encode("ascii"))
        return digest.hexdigest()[:16]

    def _model(self, role: Role) -> str:
        return self.origin.models.get(role) or role


def _messages(turns: Iterable[Message]) -> str:
    """Turns in the JSON of `gen_ai.input.messages`."""
    return json.dumps(
        [
            {"role": turn.role, "parts": [{"type": "text", "content": _text(turn.content)}]}
            for turn in turns
        ]
    )


def _response(text: str) -> str:
    """A response in the JSON of `gen_ai.output.messages`."""
    part = {"type": "text", "content": _text(text)}
    return json.dumps([{"role": "assistant", "parts": [part], "finish_reason": "stop"}])


def _event(name: str, time: int, values: Json) -> Json:
    return {"name": name, "timeUnixNano": str(time), "attributes": _attributes(values)}


def _attributes(values: Json) -> list[Json]:
    """Attributes in OTLP's JSON; a value that is None is left out."""
    return [
        {"key": name, "value": _value(value)} for name, value in values.items() if value is not None
    ]


def _value(value: bool | int | float | str) -> Json:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    return {"doubleValue": value} if isinstance(value, float) else {"stringValue": _text(value)}


def _text(text: str) -> str:
    """The text; a lone surrogate, which has no UTF-8 form, as `\\ud800`."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _nanoseconds(seconds: float) -> int:
    return max(0, int(seconds * _SECOND)) if seconds == seconds and abs(seconds) < 1e9 else 0
