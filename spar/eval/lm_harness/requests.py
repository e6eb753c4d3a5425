"""The requests of lm-eval, as prompts to search and as texts to score. Pure.

A request for a reply becomes one prompt; all requests for likelihoods about one document become one,
which is answered by the likeliest of their texts. Ids are the task's name and the document's number in
it, such as `gsm8k/17`.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import UsageError
from spar.infer.engine import Continuation
from spar.types import Message, Prompt

REPLY, LIKELIHOOD, ROLLING = "generate_until", "loglikelihood", "loglikelihood_rolling"
"""lm-eval's kinds of requests."""

DEFAULT_MAX_TOKENS = 256
"""Most tokens of a reply where the task does not say, as lm-eval has it."""

_LENGTHS = ("max_gen_toks", "max_new_tokens", "max_tokens", "max_completion_tokens")
_HONOURED = {*_LENGTHS, "until", "do_sample", "temperature", "top_p"}


class Chat(str):
    """A conversation on its way through lm-eval, which takes contexts for text: its turns as JSON."""

    __slots__ = ()

    @property
    def messages(self) -> tuple[Message, ...]:
        """The turns."""
        return tuple(Message(role=t["role"], content=t["content"]) for t in json.loads(self))


def to_chat(history: Sequence[Mapping[str, str]], add_generation_prompt: bool = True) -> Chat:
    """Takes the place of a chat template while lm-eval makes its requests.

    Raises
    ------
    UsageError
        The task starts the model's reply itself.
    """
    if not add_generation_prompt:
        raise UsageError(
            "this task of lm-eval starts the model's reply for it (gen_prefix), which a conversation "
            "cannot say to every engine; use --no-chat-template"
        )
    return Chat(json.dumps(list(history)))


@dataclass(frozen=True, slots=True)
class ReplyRequest:
    """One reply that a task requests."""

    prompt: Prompt
    plain: bool
    """Whether the prompt is text as it is, without the chat template."""
    until: tuple[str, ...] = ()
    """Strings that end the reply."""
    max_tokens: int = DEFAULT_MAX_TOKENS
    temperature: float = 0.0
    """0 is greedy."""
    top_p: float = 1.0
    ignored: tuple[str, ...] = ()
    """Settings of the task that no engine here takes."""


@dataclass(frozen=True, slots=True)
class LikelihoodRequest:
    """The texts about one document whose likelihood a task requests."""

    prompt: Prompt
    continuations: tuple[Continuation, ...]

    @property
    def digest(self) -> str:
        """16 hex digits over contexts and texts."""
        parts = [
            f"{_plain(continuation.context)}\n{continuation.text}"
            for continuation in self.continuations
        ]
        whole = json.dumps(parts).encode("ascii")
        return hashlib.sha256(whole).hexdigest()[:16]


def reply_requests(instances: Sequence[Any]) -> list[ReplyRequest]:
    """One for each of lm-eval's requests for a reply, in order; one that is repeated comes repeatedly."""
    repeats: Counter[tuple[str, int]] = Counter()
    requests = []
    for instance in instances:
        key = (_base(instance), instance.idx)
        requests.append(_reply_request(instance, repeats[key]))
        repeats[key] += 1
    return requests


def likelihood_requests(instances: Sequence[Any]) -> list[LikelihoodRequest]:
    """One for each document of lm-eval's requests for likelihoods, in order of first appearance."""
    documents: dict[str, list[Any]] = {}
    for instance in instances:
        documents.setdefault(likelihood_id(instance), []).append(instance)
    return [_likelihood_request(name, members) for name, members in documents.items()]


def likelihood_id(instance: Any) -> str:
    """The prompt's id of the document that a request for a likelihood is about."""
    return _base(instance) + ("#rolling" if instance.request_type == ROLLING else "")


def document_id(task: str, number: object) -> str:
    """An example's id: the task's name and the document's number in it."""
    return f"{task}/{number}"


def question_texts(document: Any) -> tuple[str, ...]:
    """The question of a document under the name that data sets give it, () if it has none."""
    names = ("question", "problem", "query", "instruction", "prompt")
    values = (document.get(name) for name in names if isinstance(document, Mapping))
    return next(((value,) for value in values if isinstance(value, str) and value.strip()), ())


def _base(instance: Any) -> str:
    return document_id(str(instance.task_name), instance.doc_id)


def _reply_request(instance: Any, repeat: int) -> ReplyRequest:
    context, options = instance.args[0], instance.args[1]
    until = options.get("until") or ()
    lengths = (options[name] for name in _LENGTHS if options.get(name) is not None)
    suffix = f"#{instance.idx}.{repeat}" * bool(instance.idx or repeat)
    return ReplyRequest(
        prompt=_prompt(_base(instance) + suffix, context, instance),
        plain=not isinstance(context, Chat),
        until=(until,) if isinstance(until, str) else tuple(until),
        max_tokens=int(next(lengths, DEFAULT_MAX_TOKENS)),
        temperature=_temperature(options),
        top_p=float(options.get("top_p", 1.0)) if _temperature(options) else 1.0,
        ignored=tuple(sorted(options.keys() - _HONOURED)),
    )


def _temperature(options: Mapping[str, Any]) -> float:
    """lm-eval's reading: greedy unless `do_sample` is true, or is absent and a temperature is set."""
    samples = options.get("do_sample")
    if samples is False:
        return 0.0
    return float(options.get("temperature", 1.0 if samples else 0.0))


def _likelihood_request(name: str, instances: Sequence[Any]) -> LikelihoodRequest:
    continuations = tuple(_continuation(instance) for instance in instances)
    first = instances[0]
    context = "" if first.request_type == ROLLING else first.args[0]
    return LikelihoodRequest(_prompt(name, context, first), continuations)


def _continuation(instance: Any) -> Continuation:
    if instance.request_type == ROLLING:
        return Continuation("", instance.args[0])
    context, text = instance.args[0], instance.args[1]
    return Continuation(context.messages if isinstance(context, Chat) else str(context), text)


def _prompt(name: str, context: str, instance: Any) -> Prompt:
    turns = (Message(role="user", content=str(context)),)
    messages = context.messages if isinstance(context, Chat) else turns
    meta = {"task": str(instance.task_name), "document": instance.doc_id}
    return Prompt(id=name, messages=messages, source=f"lm-eval {instance.task_name}", meta=meta)


def _plain(context: str | tuple[Message, ...]) -> str:
    if isinstance(context, str):
        return context
    return json.dumps([[message.role, message.content] for message in context])
