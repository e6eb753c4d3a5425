"""The record: everything that spar writes and reads is a `SearchTree`.

Greedy decoding is a tree of one node, best-of-N is N roots, iterative refinement is a chain, BFS and
DFS are refinements below a root. `decode`, `train`, `eval` and `tui` share this one schema, stored
as JSON lines (one tree a line). All models are frozen and refuse unknown fields.

Any Python string is legal text here, lone surrogates included. They have no UTF-8 form, so a tree is
written with `to_json` (ASCII, `\\u` escapes) and read with `SearchTree.from_json`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from operator import add, sub
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    SerializerFunctionWrapHandler,
    model_serializer,
)

SCHEMA_VERSION = 1
"""Raised whenever a reader of the previous version would misread a line."""


def _require_text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, got {type(value).__name__}")
    return value


Text = Annotated[str, PlainValidator(_require_text)]
"""A string that pydantic passes through untouched; its own `str` refuses lone surrogates."""

ChatRole = Literal["system", "user", "assistant"]
"""Who speaks, in a conversation."""

Role = Literal["actor", "judge", "refiner"]
"""Who asks a model in a search."""
ROLES: tuple[Role, ...] = get_args(Role)

Stop = Literal["solved", "exhausted", "budget"]
"""Why a search ended: a node passed, the strategy had nothing left to try, or the budget bound."""


class Record(BaseModel):
    """Base of all that is written to disk: frozen, no unknown fields."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Message(Record):
    """One turn of a conversation."""

    role: ChatRole
    """Who speaks."""
    content: Text
    """What is said, any Python string."""


class Prompt(Record):
    """One task: a conversation that wants an answer."""

    id: Text
    """Unique within a run; resuming and seeds go by it."""
    messages: tuple[Message, ...] = Field(min_length=1)
    """The conversation so far; the last turn is the user's."""
    source: Text = ""
    """Where the prompt came from: a file, `--prompt`, or a built-in set."""
    meta: dict[str, Any] = Field(default_factory=dict)
    """Everything else the row carried, such as IFEval's `instruction_id_list` and `kwargs`."""


class Usage(Record):
    """What a piece of work cost."""

    calls: int = 0
    """Requests sent to an engine."""
    prompt_tokens: int = 0
    """Tokens read, counted once a request."""
    cached_tokens: int = 0
    """Of these, tokens that the engine's prefix cache held already."""
    completion_tokens: int = 0
    """Tokens generated."""
    seconds: float = 0.0
    """Wall-clock time the requests took, each counted alone (they overlap)."""
    skipped_calls: int = 0
    """Votes that were never asked for, since the others had decided (`majority`)."""
    aborted_calls: int = 0
    """Requests that were cut off on their way, since others had decided (`race`, `--early-stop first`).
    What they cost until then is not known and not counted."""

    def __add__(self, other: Usage) -> Usage:
        return _combine(add, self, other)

    def __sub__(self, part: Usage) -> Usage:
        return _combine(sub, self, part)


def _combine(how: Callable[[Any, Any], Any], left: Usage, right: Usage) -> Usage:
    """`how` applied field by field."""
    values = {name: how(getattr(left, name), getattr(right, name)) for name in _USAGE_FIELDS}
    return Usage.model_construct(**values)


_USAGE_FIELDS = tuple(Usage.model_fields)


class Judgement(Record):
    """What the judge made of one response."""

    verdicts: tuple[bool | None, ...]
    """One entry a vote, in order: yes, no, or None where no verdict could be parsed."""
    critique: Text
    """Text of the first vote on the majority side; the refine conversation continues it."""
    dissent: Text | None = None
    """Text of the first vote on the other side, None where the votes agree."""
    probability: float | None = None
    """P(yes) at the verdict, where the `logprob` judge gave it; it then is the score."""

    @property
    def num_yes(self) -> int:
        """Votes that say yes."""
        return sum(verdict is True for verdict in self.verdicts)

    @property
    def num_parsed(self) -> int:
        """Votes with a verdict."""
        return sum(verdict is not None for verdict in self.verdicts)

    @property
    def score(self) -> float:
        """Share of yes among the parsed votes, in [0, 1]; 0.0 where none was parsed."""
        if self.probability is not None:
            return self.probability
        return self.num_yes / self.num_parsed if self.num_parsed else 0.0

    def passed(self, gate: float) -> bool:
        """Whether the score is strictly above `gate` (the paper's gate is 0.5)."""
        return self.score > gate


class Node(Record):
    """One response, a draft or a refinement, with its judgement."""

    id: int
    """Position in the tree's `nodes`; a parent's id is smaller than its children's."""
    parent: int | None
    """Id of the node that was refined, None for a draft."""
    depth: int
    """0 for a draft, the parent's depth + 1 for a refinement."""
    response: Text
    """The text that answers the prompt."""
    reflection: Text | None = None
    """What the refiner wrote before the refinement, None for a draft."""
    text: Text | None = None
    """The refiner's whole reply as the engine gave it, where `spar.templates.parse.refinement_text` does
    not write reflection and response just so; None for a draft and where it does."""
    judgement: Judgement | None = None
    """None where the strategy asks for no judgement, or where a draft's votes never decided."""
    usage: Usage = Usage()
    """Cost of this node: its generation, its parse retries and its votes."""
    judge_usage: Usage = Usage()
    """The votes' part of it; the first of several identical responses pays for all."""
    seed: int | None = None
    """Seed of the request that wrote the response; None where the run is unseeded."""

    @property
    def score(self) -> float:
        """The judgement's score; -1.0 for a node that was not judged, so it ranks last."""
        return self.judgement.score if self.judgement else -1.0

    @model_serializer(mode="wrap")
    def _without_absent_text(self, dump: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Most nodes have no text of their own: their lines stay as short as they were without the field.
        row: dict[str, Any] = dump(self)
        if row.get("text") is None:
            row.pop("text", None)
        return row


class Fault(Record):
    """An attempt that gave no usable node. It costs one attempt of the budget."""

    parent: int | None
    """Node below which the attempt was made, None for a draft."""
    stage: Literal["draft", "judge", "refine"]
    """What failed."""
    reason: Text
    """One line for a person."""
    text: Text = ""
    """The model's text that could not be used, if there was one."""
    usage: Usage = Usage()
    """What the attempt cost all the same."""
    judge_usage: Usage = Usage()
    """The votes' part of it."""


class SearchTree(Record):
    """Everything that one search did for one prompt."""

    schema_version: int = SCHEMA_VERSION
    """Version of this schema."""
    prompt: Prompt
    """The task."""
    strategy: Text
    """Name in the strategies table."""
    config: Text
    """Digest of the resolved configuration; the whole of it is in the run's `run.json`."""
    gate: float = 0.5
    """A node passes when its score is strictly above this."""
    nodes: tuple[Node, ...] = ()
    """Drafts and refinements; `nodes[i].id == i`."""
    faults: tuple[Fault, ...] = ()
    """Attempts that gave no node."""
    selected: int | None = None
    """Id of the answer: highest score, then shallowest, then first; None where no node exists."""
    stop: Stop
    """Why the search ended."""
    cancelled: int = 0
    """Attempts that were cut off since a sibling had passed (`--early-stop first`). Each spent one response
    of the budget."""
    cancelled_usage: dict[Role, Usage] = Field(default_factory=dict)
    """What these had cost, by role."""
    seconds: float = 0.0
    """Wall-clock time from admission to end."""

    @property
    def answer(self) -> str | None:
        """The selected response, None where every draft failed."""
        return None if self.selected is None else self.nodes[self.selected].response

    @property
    def solved(self) -> bool:
        """Whether some node passed the gate."""
        return self.stop == "solved"

    @property
    def usage_by_role(self) -> dict[Role, Usage]:
        """Cost of the whole tree, failed and cancelled attempts included, by who ran it up."""
        spent: dict[Role, Usage] = {role: self.cancelled_usage.get(role, Usage()) for role in ROLES}
        items: tuple[Node | Fault, ...] = (*self.nodes, *self.faults)
        for item in items:
            spent["actor" if item.parent is None else "refiner"] += item.usage - item.judge_usage
            spent["judge"] += item.judge_usage
        return spent

    @property
    def usage(self) -> Usage:
        """Cost of the whole tree."""
        return sum(self.usage_by_role.values(), Usage())

    def children(self, parent: int | None) -> tuple[Node, ...]:
        """Nodes made from `parent`, in order; the drafts for None."""
        return tuple(node for node in self.nodes if node.parent == parent)

    def path(self, node_id: int) -> tuple[Node, ...]:
        """Nodes from the root down to `node_id`, both included."""
        path = [self.nodes[node_id]]
        while (parent := path[-1].parent) is not None:
            path.append(self.nodes[parent])
        return tuple(reversed(path))

    def to_json(self) -> str:
        """One line of ASCII JSON without its line break."""
        return json.dumps(self.model_dump(), separators=(",", ":"))

    @classmethod
    def from_json(cls, line: str | bytes) -> SearchTree:
        """Read one line of `trees.jsonl`.

        Raises
        ------
        ValueError
            Not JSON, or not a tree of this schema (pydantic's `ValidationError` is one).
        """
        return cls.model_validate(json.loads(line))


def best(nodes: tuple[Node, ...], keep: int = 1) -> tuple[Node, ...]:
    """The `keep` best nodes, best first: highest score, then shallowest, then first made."""
    return tuple(sorted(nodes, key=lambda node: (-node.score, node.depth, node.id))[:keep])
