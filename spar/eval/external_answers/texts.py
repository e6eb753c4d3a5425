"""The response or the grader's replies in a row, in the fields of many tools, without thinking.

{"response": "..."}    {"outputs": ["...", "..."]}    {"resps": [["..."]]}    {"choices": [...]}
{"response": {"status_code": 200, "body": {"choices": [{"message": {"content": "..."}}]}}}
{"response": {"body": {"output": [{"type": "message", "content": [{"type": "output_text", "text": "..."}]}]}}}
{"choices": [{"turns": ["..."]}]}
{"messages": [..., {"role": "assistant", "content": "..."}]}
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from spar.eval.benchmark import Answer
from spar.eval.external_answers.rows import (
    ID_FIELDS,
    PROMPT_FIELDS,
    AnswerRow,
    prompt_text,
    quote,
)
from spar.rows.row import reject
from spar.thinking import read_answer
from spar.types import Prompt, SearchTree

RESPONSE_FIELDS = (
    *("response", "output", "completion", "prediction", "generated_text"),
    *("judgement", "judgment", "answer"),
)
"""Names of the field with the response; the first that a row has counts, the last one only where the row has no output of
a server and no reply in its conversation: in many data sets it is what would be right."""
REPLY_FIELDS = ("outputs", "output", "judgement", "judgment", "response", "completion", "answer")
"""Names of the field with a grader's reply, or with the list of its attempts."""
CHOICES = "choices"
"""Field of OpenAI's chat outputs, and of FollowBench's files, with a list of choices."""
_SHORT = 5
"""Words of a text that a model may well give in the data set's own words."""
_CHOICE_FIELDS = frozenset({"message", "turns", "finish_reason", "index"})
RAW, FILTERED = "resps", "filtered_resps"
LOGGED_FIELDS = (RAW, FILTERED)
"""Fields in which lm-eval logs responses, as lists: as they came, and what a filter made of them, such as a lone number."""
TEXT_PARTS = ("text", "output_text")
"""Types of content parts that are part of the answer."""


@dataclass(slots=True)
class TextCounts:
    """Counts rows, those without a field for the response, and the texts from which thinking was removed."""

    num_rows: int = 0
    num_empty: int = 0
    num_thought: int = 0
    num_unfinished: int = 0
    num_matched: int = 0
    """Rows of an example whose fields are known."""
    own: dict[str, int] = field(default_factory=dict)
    """Field to the number of these rows whose response in it is the data set's own text."""
    has_long: bool = False
    """Whether one of these texts is so long that no model writes the same."""
    other_fields: dict[str, None] = field(default_factory=dict)
    """Further fields of these rows with texts, in their order."""

    def count_own(self, row: AnswerRow, name: str, example: Mapping[str, Any]) -> None:
        """Count a row, if what it has in a field is what the data set has there."""
        content = row.content
        if isinstance(content, SearchTree) or not example:
            return
        self.num_matched += 1
        text = content.get(name)
        if not isinstance(text, str) or text != example.get(name):
            return
        self.has_long = self.has_long or len(text.split()) > _SHORT
        known = {name, *ID_FIELDS, *PROMPT_FIELDS, *example}
        others = (key for key, value in content.items() if isinstance(value, str) and value.strip())
        self.own[name] = self.own.get(name, 0) + 1
        self.other_fields |= dict.fromkeys(key for key in others if key not in known)

    def read(self, text: str, prompt: Prompt | None) -> str | None:
        """The text without its thinking, None if that does not end."""
        answer = read_answer(text, prompt=prompt_text(prompt) if prompt else "")
        if prompt is not None:
            self.num_thought += answer.thought
            self.num_unfinished += answer.unfinished
        return None if answer.unfinished else answer.text


def answer_of_row(
    row: AnswerRow,
    answer_of: Callable[[SearchTree], Answer],
    prompt: Prompt | None,
    thinking: TextCounts,
    example: Mapping[str, Any],
) -> Answer:
    """The answer in a row; `answer_of` gives that of a tree, `prompt` is the row's example if it has one, `example` its fields."""
    if isinstance(row.content, SearchTree):
        return answer_of(row.content)
    name, value = _field(row, RESPONSE_FIELDS)
    thinking.num_rows, thinking.num_empty = thinking.num_rows + 1, thinking.num_empty + (not name)
    thinking.count_own(row, name, example)
    if name in (*LOGGED_FIELDS, CHOICES):
        texts = [*_flatten(value)]
        if name == RAW and len(texts) > 1 and FILTERED in row.content:
            name, texts = FILTERED, [*_flatten(row.content[FILTERED])]  # a filter chose among them
        if len(texts) != 1:
            reject(row.where, f"{name!r} holds {len(texts)} responses", "one")
        value = texts[0]
    if value is not None and not isinstance(value, str):
        reject(row.where, f"{name!r} is {quote(value)}", "a string, or null for no answer")
    return Answer(value if value is None else thinking.read(value, prompt))


def grader_replies_of(row: AnswerRow, prompt: Prompt | None, counts: TextCounts) -> tuple[str, ...]:
    """A grader's replies in a row, all attempts in order."""
    if isinstance(row.content, SearchTree):
        return tuple(node.response for node in row.content.nodes)
    name, value = _field(row, REPLY_FIELDS)
    texts = () if value is None else tuple(_flatten(value))
    if name == CHOICES:
        texts = tuple(text for text in texts if text is not None)  # a request that failed
    for text in texts:
        if not isinstance(text, str):
            reject(row.where, f"{name!r} holds {quote(text)}", "a string, or a list of strings")
    return tuple(counts.read(text, prompt) or "" for text in texts)


def logged_sample(row: AnswerRow) -> tuple[str, Any] | None:
    """The filter of one of lm-eval's samples and the responses as they came; None for any other row.

    A task with several filters logs a row for each of them, all with the same responses.
    """
    if isinstance(row.content, SearchTree) or not isinstance(row.content.get("filter"), str):
        return None
    return (row.content["filter"], row.content[RAW]) if RAW in row.content else None


def _field(row: AnswerRow, names: Sequence[str]) -> tuple[str, Any]:
    """Name and value of the field with the response; a server's output becomes the list of its texts."""
    assert isinstance(row.content, Mapping)
    *first, last = names
    choices = row.content.get(CHOICES)
    is_output = isinstance(choices, list) and any(map(_is_choice, choices))
    after = (last, CHOICES) if row.reply is None else ()
    outputs = (*((CHOICES,) if is_output else ()), *LOGGED_FIELDS)
    name = next((n for n in (*first, *outputs, *after) if n in row.content), None)
    if name is None and row.reply is not None:
        return "messages", row.reply
    if name is None and row.is_table:  # an empty cell, or a null
        return "", None
    if name is None:
        problem = f"no response in a row with {quote(list(row.content))}"
        reject(row.where, problem, f"a field {', '.join(names[:-1])} or {names[-1]}, or {CHOICES}")
    value = row.content[name]
    if name == CHOICES:
        return name, _texts_of(value, row.where)
    if isinstance(value, Mapping) and ("body" in value or CHOICES in value):
        return CHOICES, _batch_texts(value, row.where)
    if name == "response" and value is None and row.content.get("custom_id") is not None:
        return CHOICES, [None]
    return name, value


def _is_choice(choice: Any) -> bool:
    """Whether an item under `choices` is a server's, and no answer to choose from."""
    return isinstance(choice, Mapping) and not _CHOICE_FIELDS.isdisjoint(choice)


def _batch_texts(response: Mapping[str, Any], where: str) -> list[str | None]:
    """The texts of a response of OpenAI's batch interface; no answer where the request failed."""
    body = response.get("body", response)
    if response.get("status_code", 200) != 200 or not isinstance(body, Mapping):
        return [None]
    if CHOICES not in body and isinstance(body.get("output"), list):  # of the Responses API
        return [_text_of_output(body["output"], where)]
    return _texts_of(body.get(CHOICES), where)


def _text_of_output(items: Sequence[Any], where: str) -> str | None:
    """The text of the messages among the items of a Responses API's output, None where there is none."""
    messages = [
        item for item in items if isinstance(item, Mapping) and item.get("type") == "message"
    ]
    texts = _texts_of([{"message": message} for message in messages], where)
    return "".join(text or "" for text in texts) or None


def _texts_of(choices: Any, where: str) -> list[str | None]:
    accepted = "a list of choices with 'message' and 'content', or 'text'"
    if not isinstance(choices, list) or not all(isinstance(choice, Mapping) for choice in choices):
        reject(where, f"{CHOICES!r} is {quote(choices)}", accepted)
    texts = []
    for choice in choices:
        message = choice.get("message")
        value = message.get("content") if isinstance(message, Mapping) else choice.get("text")
        if isinstance(turns := choice.get("turns"), list):  # FastChat's
            if len(turns) != 1:
                reject(where, f"a choice with {len(turns)} turns", "one, the reply to the prompt")
            value = turns[0]
        if isinstance(value, list):  # parts; those of reasoning are left out
            parts = [part for part in value if isinstance(part, Mapping)]
            pieces: list[Any] = [
                part.get("text") for part in parts if part.get("type") in TEXT_PARTS
            ]
            for piece in pieces:
                if not isinstance(piece, str):
                    reject(where, f"a part of a choice has the text {quote(piece)}", accepted)
            value = "".join(pieces)
        if value is not None and not isinstance(value, str):
            reject(where, f"the content of a choice is {quote(value)}", accepted)
        texts.append(value)
    return texts


def _flatten(value: Any) -> Iterator[Any]:
    """A value, or the values of a list, or of the lists in a list."""
    for item in value if isinstance(value, list) else [value]:
        yield from item if isinstance(item, list) else [item]
