"""A request for a chat completion: its body, checked and bounded. Pure.

Fields that are not known are ignored, as OpenAI's servers do; what is wrong is an `ApiError` that names the field. The
conversation is read as that of a row of a prompts file (`spar.conversations`): lists of text parts, the role
`developer`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Annotated, Any, NoReturn

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from spar.conversations import conversation
from spar.errors import UsageError
from spar.prompts import ARGUMENTS, INSTRUCTIONS, is_deeper, prompt_from_row, with_id
from spar.serve.errors import invalid
from spar.serve.messages import ending_with_user
from spar.serve.schema import AnswerFormat, answer_format
from spar.serve.tasks import is_side_task
from spar.types import Prompt, Text

SOURCE = "serve"
"""What prompts of a server have in place of a file."""
MAX_STOPS = 64
MAX_DEPTH = 60
"""Most levels of a body; deeper ones cannot be written as part of a tree."""
LEAST_TOP_P = 1e-6
"""What a `top_p` of 0 is sent as, since engines refuse 0: the most likely token alone."""
_SEED = 2**63


class SearchFields(BaseModel):
    """The field `spar` of a body: what it changes of the search that the model's id names."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)

    strategy: Text | None = None
    budget: Annotated[int, Field(ge=1)] | None = None
    judge: Text | None = None
    max_seconds: Annotated[float, Field(gt=0)] | None = None
    """Seconds after which no further wave of the search starts."""
    instruction_id_list: list[Text] | None = None
    """Types of the constraints that programs check, as in a prompts file."""
    kwargs: list[dict[str, Any] | None] | None = None
    """Their arguments."""


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class _StreamOptions(BaseModel):
    include_usage: bool | None = None


class _Body(BaseModel):
    """The fields that are read."""

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    model: Text | None = None
    messages: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, validation_alias=AliasChoices("messages", "input")),
    ]
    """Some clients name them as OpenAI's newer API does."""
    n: Annotated[int, Field(ge=1)] | None = None
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    seed: Annotated[int, Field(ge=-_SEED, lt=_SEED)] | None = None
    stop: Annotated[list[Text] | None, BeforeValidator(_listed)] = None
    max_tokens: Annotated[int, Field(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(ge=0, le=1)] | None = None
    response_format: dict[str, Any] | None = None
    tools: list[dict[str, Any]] | None = None
    functions: list[dict[str, Any]] | None = None
    tool_choice: Text | dict[str, Any] | None = None
    metadata: Any = None
    spar: SearchFields | None = None


@dataclass(frozen=True, slots=True)
class Shape:
    """What a request asks of the answer, beside the conversation."""

    max_tokens: int | None = None
    """Most tokens of a draft; None leaves it to the settings."""
    temperature: float | None = None
    top_p: float | None = None
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these."""
    format: AnswerFormat | None = None
    """What it must parse as; None for any text."""


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """What a client asks for."""

    model: str
    """The id of a model, as it was sent."""
    prompt: Prompt | None
    """The conversation, with an id from its content; None where the request is passed through (`uses_tools`)."""
    shape: Shape = Shape()
    n: int = 1
    """Answers, each of a search of its own."""
    seed: int | None = None
    """None draws one."""
    stream: bool = False
    include_usage: bool = False
    """Whether a stream ends with the usage."""
    search: SearchFields = field(default_factory=SearchFields)
    is_side_task: bool = False
    """Whether a front end asks on its own account (`spar.serve.tasks`)."""
    uses_tools: bool = False
    """Whether the model may call tools, or has."""
    body: Mapping[str, Any] = field(default_factory=dict)
    """The body as it was sent."""

    @property
    def settings(self) -> dict[str, Any]:
        """What the record says of the request beside its conversation."""
        shape = self.shape
        values: dict[str, Any] = {
            "max_tokens": shape.max_tokens,
            "temperature": shape.temperature,
            "top_p": shape.top_p,
            "stop": list(shape.stop) or None,
            "response_format": self.body.get("response_format") if shape.format else None,
            "max_seconds": self.search.max_seconds,
        }
        return {name: value for name, value in values.items() if value is not None}


def parse_json(data: bytes) -> dict[str, Any]:
    """The object that a body holds.

    Raises
    ------
    ApiError
        It is none, or holds what JSON has not.
    """
    try:
        value = json.loads(data, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:  # no UTF-8 is one
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise invalid(f"the body is not JSON: {reason}", code="invalid_json") from error
    if not isinstance(value, dict):
        raise invalid(
            f"the body is a JSON {type(value).__name__}; expected an object", code="invalid_json"
        )
    if is_deeper(value, MAX_DEPTH):
        raise invalid(f"the body is nested deeper than {MAX_DEPTH} levels", code="invalid_json")
    return value


def parse_request(body: dict[str, Any], *, max_choices: int) -> ChatRequest:
    """What a body asks for.

    Raises
    ------
    ApiError
        A field has a value that it cannot have; the error names it.
    """
    try:
        fields = _Body.model_validate(body)
    except ValidationError as error:
        detail = error.errors(include_url=False, include_context=False)[0]
        # Where a field has several types, the library's names of these follow the field's.
        parts = takewhile(str.isidentifier, map(str, detail["loc"]))
        name = ".".join(parts) or str(detail["loc"][0])
        raise invalid(f"{name}: {detail['msg'][:1].lower()}{detail['msg'][1:]}", name) from error
    if (fields.n or 1) > max_choices:
        raise invalid(f"n is {fields.n}; this server gives at most {max_choices} answers", "n")
    uses_tools = _uses_tools(fields)
    metadata = fields.metadata if isinstance(fields.metadata, dict) else {}
    answer = answer_format(fields.response_format)
    search = fields.spar or SearchFields()
    prompt = None if uses_tools else _prompt(fields, search, answer)
    limit = fields.max_completion_tokens or fields.max_tokens
    top_p = None if fields.top_p is None else max(fields.top_p, LEAST_TOP_P)
    return ChatRequest(
        model=fields.model or "",
        prompt=prompt,
        shape=Shape(limit, fields.temperature, top_p, _stops(fields.stop), answer),
        n=fields.n or 1,
        seed=fields.seed,
        stream=bool(fields.stream),
        include_usage=bool(fields.stream_options and fields.stream_options.include_usage),
        search=search,
        is_side_task=prompt is not None and is_side_task(prompt.messages, metadata),
        uses_tools=uses_tools,
        body={**body, "messages": fields.messages},
    )


def _uses_tools(fields: _Body) -> bool:
    offered = bool(fields.tools or fields.functions) and fields.tool_choice != "none"
    called = any(
        message.get("tool_calls")
        or message.get("function_call")
        or message.get("role") in ("tool", "function")
        for message in fields.messages
    )
    return offered or called


def _prompt(fields: _Body, search: SearchFields, answer: AnswerFormat | None) -> Prompt:
    if search.kwargs is not None and search.instruction_id_list is None:
        raise invalid(
            f"spar.{ARGUMENTS} are those of constraints, and there are none; name their types in spar.{INSTRUCTIONS}",
            "spar",
        )
    try:
        asked = {"messages": ending_with_user(fields.messages)}
        messages, _ = conversation(asked, "the request")
        turns = [message.model_dump() for message in messages]
        if answer is not None:
            turns[-1]["content"] += f"\n\n{answer.instruction}"
        constraints = {INSTRUCTIONS: search.instruction_id_list, ARGUMENTS: search.kwargs}
        given = {name: value for name, value in constraints.items() if value is not None}
        prompt = prompt_from_row({"messages": turns, **given}, "the request", SOURCE)
    except UsageError as error:
        param = "spar" if INSTRUCTIONS in str(error) or ARGUMENTS in str(error) else "messages"
        raise invalid(str(error), param) from error
    return with_id(prompt)


def _stops(stop: list[str] | None) -> tuple[str, ...]:
    stops = tuple(stop or ())
    if len(stops) > MAX_STOPS:
        raise invalid(
            f"stop has {len(stops)} strings; this server takes at most {MAX_STOPS}", "stop"
        )
    return tuple(text for text in stops if text)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"the number {text[:20]} is too large")
    return number
