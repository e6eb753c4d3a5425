"""The record of a search, `SearchTree`, and its parts.

Greedy decoding is a tree of one node, best-of-N is N roots, iterative refinement is a chain, BFS and
DFS are refinements below a root. Decoding, training, evaluation and the browser share this schema,
stored as JSON lines (one tree per line). All models are frozen and forbid unknown fields.

Any Python string is legal text here, lone surrogates included. They have no UTF-8 form, so a tree is
written with `to_json` (ASCII, `\\u` escapes) and read with `SearchTree.from_json`.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from operator import add, attrgetter, not_, sub
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, Strict, StrictBool

SCHEMA_VERSION = 1
"""Incremented when a reader of the previous version would misread a line."""


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    return value


Text = Annotated[str, PlainValidator(_require_text)]
"""A string that pydantic does not change; its own `str` rejects lone surrogates."""

Statistic = StrictBool | Annotated[int, Strict()] | Annotated[float, Strict()] | Text
"""A number or a text that a strategy computed; a number is finite."""

ChatRole = Literal["system", "user", "assistant"]
"""Author of a turn in a conversation."""

Role = Literal["actor", "judge", "refiner"]
"""Part that a model plays in a search."""
ROLES: tuple[Role, ...] = get_args(Role)

Stop = Literal["solved", "exhausted", "budget"]
"""Why a search ended: a node passed, the strategy had nothing left to try, or the budget ran out."""


class Record(BaseModel):
    """Base class of everything that is written to disk: frozen, unknown fields forbidden."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Message(Record):
    """One turn of a conversation."""

    role: ChatRole
    """Author of the turn."""
    content: Text
    """Text of the turn, any Python string."""


class Prompt(Record):
    """One task: a conversation to respond to."""

    id: Text
    """Unique within a run; resuming and seeds depend on it."""
    messages: tuple[Message, ...] = Field(min_length=1)
    """The conversation so far; the last turn is the user's."""
    source: Text = ""
    """Origin of the prompt: a file, `--prompt`, or a built-in set."""
    meta: dict[str, Any] = Field(default_factory=dict)
    """Other fields of the row, such as IFEval's `instruction_id_list` and `kwargs`."""

    @property
    def digest(self) -> str:
        """16 hex digits of the SHA-256 of the messages, and `meta` if there is any; neither id nor source is part of it."""
        turns = [(message.role, message.content) for message in self.messages]
        return content_digest(turns, self.meta)


def content_digest(turns: Sequence[tuple[str, str]], meta: Mapping[str, Any]) -> str:
    """`Prompt.digest` of roles with their texts, and of the other fields that are not null."""
    meta = {name: value for name, value in meta.items() if value is not None}
    content = {"messages": turns, "meta": meta} if meta else turns
    text = json.dumps(content, sort_keys=bool(meta))
    return hashlib.sha256(text.encode("ascii")).hexdigest()[:16]


class Usage(Record):
    """Cost of a piece of work."""

    calls: int = 0
    """Requests sent to an engine."""
    prompt_tokens: int = 0
    """Prompt tokens, counted once per request."""
    cached_tokens: int = 0
    """Prompt tokens that were in the engine's prefix cache."""
    completion_tokens: int = 0
    """Tokens generated."""
    seconds: float = 0.0
    """Sum of the requests' wall-clock times; requests overlap."""
    skipped_calls: int = 0
    """Votes that were not requested, since the others had decided (`majority`, `posterior`, `race`)."""
    aborted_calls: int = 0
    """Requests aborted once others had decided (`race`, `--early-stop first`, `--early-refine auto`); tokens unknown."""
    cut_calls: int = Field(default=0, exclude_if=not_)
    """Calls cut at their token limit: drafts, votes without a verdict, refinements without their last marker; left out if 0."""

    def __add__(self, other: Usage) -> Usage:
        return _combine(add, self, other)

    def __sub__(self, part: Usage) -> Usage:
        return _combine(sub, self, part)


def _combine(how: Callable[[Any, Any], Any], left: Usage, right: Usage) -> Usage:
    """`how` applied field by field."""
    return Usage(
        **dict(zip(_USAGE_FIELDS, map(how, _usage_values(left), _usage_values(right)), strict=True))
    )


_USAGE_FIELDS = tuple(Usage.model_fields)
_usage_values = attrgetter(*_USAGE_FIELDS)


class Finding(Record):
    """One constraint of a prompt held against a response, by a program or by votes on it alone."""

    type: Text
    """The constraint's type, such as `length_constraints:number_words`."""
    constraint: Text
    """The constraint in words, with its arguments."""
    met: bool
    """Whether the response meets it."""
    found: Text = Field(default="", exclude_if=not_)
    """What was found, such as a count; "" where nothing can be said, and then left out of the file."""
    share: float | None = Field(default=None, exclude_if=lambda value: value is None)
    """Share of yes among the votes on it; None, and left out of the file, where a program decided."""

    @property
    def line(self) -> str:
        """One line: the constraint, and what was found or whether it is met."""
        return f"{self.constraint}: {self.found or ('met' if self.met else 'not met')}"


class Judgement(Record):
    """The verdicts on one response: a model's votes, a program's findings, or both."""

    verdicts: tuple[bool | None, ...]
    """One entry per vote, in order: yes, no, or None if no verdict could be parsed; () where all is in `findings`."""
    critique: Text
    """Text of the first vote on the majority side, and of the findings; the refine conversation continues it."""
    dissent: Text | None = None
    """Text of the first vote on the other side; None if the votes agree."""
    probability: float | None = None
    """P(yes) at the verdict by the `logprob` judge, or the mean of `points` divided by 5; it is then the score."""
    points: tuple[float | None, ...] = Field(default=(), exclude_if=not_)
    """0 to 5 points of each judgement by the `scale` judge, None where none can be read; left out of the file if empty."""
    probabilities: tuple[float | None, ...] = Field(default=(), exclude_if=not_)
    """P(yes) at the verdict of each vote, None where it is not known, for ranks and not for the score; left out of the file if empty."""
    cut: tuple[int, ...] = Field(default=(), exclude_if=not_)
    """Positions of the votes that ended at their token limit before a verdict; left out of the file if empty."""
    votes: tuple[Text, ...] = Field(default=(), exclude_if=not_)
    """Text of each vote, in the order of `verdicts` or `points`; left out of the file unless the run keeps them (`--keep-votes`)."""
    findings: tuple[Finding, ...] = Field(default=(), exclude_if=not_)
    """What programs, or votes on each, found constraint by constraint; left out of the file if nothing was."""

    @property
    def num_yes(self) -> int:
        """Votes that say yes."""
        return self.verdicts.count(True)

    @property
    def num_parsed(self) -> int:
        """Votes with a verdict."""
        return len(self.verdicts) - self.verdicts.count(None)

    @property
    def num_met(self) -> int:
        """Constraints that are met, of `findings`."""
        return sum(finding.met for finding in self.findings)

    @property
    def has_votes(self) -> bool:
        """Whether a model judged the whole response, alone or after the programs."""
        return bool(self.verdicts) or self.probability is not None

    @property
    def vote_share(self) -> float:
        """Share of yes among the parsed votes, or `probability` where there is one; 0.0 if none was parsed."""
        if self.probability is not None:
            return self.probability
        return self.num_yes / self.num_parsed if self.num_parsed else 0.0

    @property
    def score(self) -> float:
        """In [0, 1]: the votes' share of yes, or the share of constraints met, votes being one more; one voted on is met to its share."""
        met = sum(each.met if each.share is None else each.share for each in self.findings)
        if self.has_votes or not self.findings:
            return (met + self.vote_share) / (len(self.findings) + 1)
        return met / len(self.findings)

    def _by_findings(self, gate: float) -> bool | None:
        """What findings decide alone: a No, or a Yes without votes on the whole; None where it is for these."""
        all_met = all(f.met if f.share is None else f.share > gate for f in self.findings)
        return None if all_met and (self.has_votes or not self.findings) else all_met

    @property
    def verdict(self) -> bool | None:
        """Whether every constraint is met and most votes say yes; None on a tie, or where no vote was parsed."""
        is_tie = self.probability is None and 2 * self.num_yes == self.num_parsed
        return None if is_tie and self._by_findings(0.5) is None else self.passed(0.5)

    def passed(self, gate: float) -> bool:
        """Whether every constraint is met, and each share of votes, if a model judged, is strictly above `gate`."""
        by_findings = self._by_findings(gate)
        return self.vote_share > gate if by_findings is None else by_findings


class Node(Record):
    """One response, a draft or a refinement, with its judgement."""

    id: int
    """Position in the tree's `nodes`; a parent's id is smaller than its children's."""
    parent: int | None
    """Id of the node that was refined; None for a draft."""
    depth: int
    """0 for a draft, the parent's depth + 1 for a refinement."""
    response: Text
    """The text that answers the prompt."""
    reflection: Text | None = None
    """The refiner's text before the refinement; None for a draft."""
    text: Text | None = Field(default=None, exclude_if=lambda value: value is None)
    """The refiner's whole reply where `spar.templates.parse.refinement_text` does not reproduce it; else None."""
    judgement: Judgement | None = None
    """None if the strategy requests no judgement, or if a draft's votes never decided."""
    usage: Usage = Usage()
    """Cost of this node: its generation, its parse retries and its votes."""
    judge_usage: Usage = Usage()
    """The votes' part of `usage`; it is counted at the first of several identical responses."""
    seed: int | None = None
    """Seed of the request that wrote the response; None if the run is unseeded."""
    second_parent: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """Id of the other node that was merged with `parent` into this one; left out of the file if there is none."""
    statistics: dict[Text, Statistic] = Field(default_factory=dict, exclude_if=not_)
    """What the strategy computed when it asked for this node: arm, visits, posterior ...; left out if empty."""

    @property
    def score(self) -> float:
        """The judgement's score; -1.0 for a node that was not judged, so it ranks last."""
        return self.judgement.score if self.judgement else -1.0


class Fault(Record):
    """An attempt that led to no node; it counts as one response of the budget."""

    parent: int | None
    """Id of the node to refine; None for a draft."""
    stage: Literal["draft", "judge", "refine"]
    """The step that failed."""
    reason: Text
    """One human-readable line."""
    text: Text = ""
    """The model's reply that could not be used, if there is one."""
    usage: Usage = Usage()
    """Cost of the attempt."""
    judge_usage: Usage = Usage()
    """The votes' part of `usage`."""
    is_final: bool = Field(default=False, exclude_if=not_)
    """Whether another refinement of the node fails too, so that none was tried; left out of the file if it may not."""
    second_parent: int | None = Field(default=None, exclude_if=lambda value: value is None)
    """As the node's."""


class SearchTree(Record):
    """The record of one search for one prompt."""

    schema_version: int = SCHEMA_VERSION
    """Version of this schema."""
    prompt: Prompt
    """The task."""
    strategy: Text
    """Name in the strategies table."""
    config: Text
    """Digest of the resolved configuration, which is in the run's `run.json`."""
    gate: float = 0.5
    """Votes pass a node when their share of yes is strictly above this; programs when it meets every constraint."""
    nodes: tuple[Node, ...] = ()
    """Drafts and refinements; `nodes[i].id == i`."""
    faults: tuple[Fault, ...] = ()
    """Failed attempts."""
    selected: int | None = None
    """Id of the answer: highest score, then shallowest, then first, or by `--answer`; None without a node."""
    stop: Stop
    """Why the search ended."""
    cancelled: int = 0
    """Attempts that were cancelled since a sibling had passed (`--early-stop first`). Each is a response of the budget."""
    cancelled_usage: dict[Role, Usage] = Field(default_factory=dict)
    """Cost of the cancelled attempts, and of what `--early-refine auto` started and the search did not ask for, by role."""
    seconds: float = 0.0
    """Wall-clock time from admission to end."""
    rounds: tuple[tuple[int, float], ...] = Field(default=(), exclude_if=not_)
    """Budget and best score of each round, where `--total-budget` searched it further; else left out of the file."""

    @property
    def answer(self) -> str | None:
        """The selected response; None if every draft failed."""
        return None if self.selected is None else self.nodes[self.selected].response

    @property
    def solved(self) -> bool:
        """Whether some node passed the gate."""
        return self.stop == "solved"

    @property
    def usage_by_role(self) -> dict[Role, Usage]:
        """Cost of the whole tree by role, failed and cancelled attempts included."""
        spent = {role: _usage_values(self.cancelled_usage.get(role, Usage())) for role in ROLES}
        items: tuple[Node | Fault, ...] = (*self.nodes, *self.faults)
        for item in items:
            role: Role = "actor" if item.parent is None else "refiner"
            whole, judged = _usage_values(item.usage), _usage_values(item.judge_usage)
            spent[role] = tuple(map(add, spent[role], map(sub, whole, judged)))
            spent["judge"] = tuple(map(add, spent["judge"], judged))
        return {
            role: Usage(**dict(zip(_USAGE_FIELDS, values, strict=True)))
            for role, values in spent.items()
        }

    @property
    def usage(self) -> Usage:
        """Cost of the whole tree."""
        return sum(self.usage_by_role.values(), Usage())

    def children(self, parent: int | None) -> tuple[Node, ...]:
        """Children of a node, in order; the drafts for None."""
        return tuple(node for node in self.nodes if node.parent == parent)

    def path(self, node_id: int) -> tuple[Node, ...]:
        """Nodes from the root to `node_id`, inclusive."""
        path = [self.nodes[node_id]]
        while (parent := path[-1].parent) is not None:
            path.append(self.nodes[parent])
        return tuple(reversed(path))

    def to_json(self) -> str:
        """One line of ASCII JSON, without a line break; a number that JSON lacks (NaN, Infinity) is null."""
        row = self.model_dump()
        try:
            return json.dumps(row, separators=(",", ":"), allow_nan=False)
        except ValueError:
            return json.dumps(finite(row), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> SearchTree:
        """Read one line of `trees.jsonl`.

        Raises
        ------
        ValueError
            Not JSON, or not a tree of this schema (pydantic's `ValidationError` is one).
        """
        return cls.model_validate(json.loads(line))


def finite(value: Any) -> Any:
    """JSON values with null for each number that is not finite."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def best(nodes: tuple[Node, ...], n: int = 1) -> tuple[Node, ...]:
    """The `n` best nodes, best first: highest score, then shallowest, then smallest id."""
    return tuple(sorted(nodes, key=lambda node: (-node.score, node.depth, node.id))[:n])
