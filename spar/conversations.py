"""The conversation in a row of a prompts file, in the forms in which people have them.

    {"prompt": "Write two lines."}                                            a text, or a list of messages
    {"messages": [{"role": "user", "content": "Write two lines."}]}           OpenAI's chat
    {"conversations": [{"from": "human", "value": "Write two lines."}]}       ShareGPT
    {"instruction": "Shorten this.", "input": "It rains and rains."}          Alpaca
    {"custom_id": "a", "body": {"messages": [...]}}                           a request of OpenAI's batches

The first of these fields that a row has counts, unless the user names another one (`--prompt-field`), which is read as
`prompt` is. A `system` field beside any of the first four is the system turn. Alpaca's two texts are joined by a line
break, as LLaMA-Factory does; so are the text parts of a content that is a list. The role `developer` is a system turn.
If the last turn is the assistant's, the prompt is what comes before it, and the reply goes to the field `output`. Other
fields of a turn are in `turns`, one object a turn.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

from spar.rows.json_text import parse_json
from spar.rows.row import reject, shown
from spar.types import ChatRole, Message

CHAT_ROLES: tuple[str, ...] = get_args(ChatRole)
FORMS = ("prompt", "messages", "conversations", "instruction", "body")
"""Fields that hold a conversation."""
REPLY, TURNS = "output", "turns"
"""Fields for the row's own reply, and for what else its turns have."""
_SHAREGPT_ROLES: Mapping[str, str] = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "system": "system",
}
_TEXT_PARTS = ("text", "input_text", "output_text")
_NOT_TEXT = ("tool_calls", "function_call", "images", "audio", "videos")
"""Fields of a turn that are part of what is said, and no text."""
_BESIDE = ("tools", "image", "images", "audio", "audios", "video", "videos", "history")
"""Fields beside a conversation that are part of what a model would be sent, and are no text of it."""


def conversation(
    row: Mapping[str, Any], where: str, field: str = ""
) -> tuple[tuple[Message, ...], dict[str, Any]]:
    """The messages of a row, and its other fields; one that is null counts as absent, as an empty cell of a table does.

    Parameters
    ----------
    field:
        The field that holds it; "" for the first of `FORMS`.

    Raises
    ------
    UsageError
        There is none, two, or one that spar cannot send: without a user's turn at its end, with images or tools.
    """
    if field and field not in row:
        accepted = f"a row with {field!r} (--prompt-field){around_list(row, [field])}"
        reject(where, f"a row with {shown(list(row))}", accepted)
    named = [name for name in FORMS if name in row]
    filled = [name for name in named if row[name] is not None]
    form = field or next(iter((*filled, *named)), None)
    if form is None:
        reject(
            where,
            f"a row with {shown(list(row))}",
            f"a row with 'prompt' or 'messages'{_rename(row)}",
        )
    if form == "prompt" and "messages" in filled and not field:
        reject(
            where,
            "both 'prompt' and 'messages'",
            "exactly one of them, or --prompt-field to name the one to read",
        )
    rest = {name: value for name, value in row.items() if name != form and value is not None}
    messages = _messages(row, form, rest, where, named=bool(field))
    return messages if form == "body" else _with_system(messages, rest, where), rest


def _messages(
    row: Mapping[str, Any], form: str, rest: dict[str, Any], where: str, *, named: bool
) -> tuple[Message, ...]:
    """The turns of a row's field `form`; what else belongs to them is taken from `rest`, or added to it."""
    inner = row[form] if form == "body" and isinstance(row[form], dict) else {}
    for key in () if named else _BESIDE:
        if rest.get(key) or inner.get(key):
            reject(where, f"a conversation with {key!r}", "turns of text alone")
    if form == "instruction":
        return (_instruction(row, rest, where),)
    is_text = form == "prompt" or form not in FORMS
    if is_text and isinstance(row[form], str):
        return (_user(row[form], where),)
    name, value = form, row[form]
    if form == "body":
        body = value if isinstance(value, dict) else {}
        name, value = "body.messages", body.get("messages")
        rest[form] = {key: inner for key, inner in body.items() if key != "messages"}
    return _turns(_listed(value, name, where, is_text=is_text), name, rest, where)


def _rename(row: Mapping[str, Any]) -> str:
    """What to do with a row that has the conversation, if any, under another name."""
    same = next(
        (name for name in row if isinstance(name, str) and name.strip().lower() in FORMS), None
    )
    if same is not None:
        return f"; rename {shown(same)} to {same.strip().lower()!r}"
    return around_list(row, FORMS) or (
        "; rename the field that holds the prompt to 'prompt', or name it with --prompt-field NAME"
    )


def around_list(row: Mapping[str, Any], fields: Iterable[str]) -> str:
    """What to do with an object that is no row but has a list of rows, with one of these fields each; "" for any other."""
    for name, value in row.items():
        items = value if isinstance(value, list) else []
        if items and all(isinstance(each, dict) and each.keys() & {*fields} for each in items):
            return f"; the file is an object around a list of rows: pass the list in {shown(name)} alone, or one of its objects per line"
    return ""


def _listed(value: Any, name: str, where: str, *, is_text: bool) -> list[Any]:
    """The list of a field, which a cell of a table has as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        value = parse_json(value, where, f"a list of messages in {name!r}")
    if not isinstance(value, list) or not value:
        text = "a string, or a list of messages"
        accepted = text if is_text else "a list of at least one message"
        reject(where, f"{name!r} is {shown(value)}", accepted)
    return value


def _turns(turns: list[Any], name: str, rest: dict[str, Any], where: str) -> tuple[Message, ...]:
    messages, others = [], []
    for index, turn in enumerate(turns):
        message, other = _message(turn, f"{name!r}[{index}]", where)
        messages.append(message)
        others.append(other)
    while messages and messages[-1].role == "assistant":
        reply = messages.pop()
        others.pop()
        rest.setdefault(REPLY, reply.content)
    if not messages or messages[-1].role != "user":
        role = messages[-1].role if messages else "assistant"
        reject(where, f"the last message has the role {role!r}", "'user', before any reply")
    if any(others):
        rest.setdefault(TURNS, others)
    return tuple(not_blank(messages, where))


def _message(turn: Any, name: str, where: str) -> tuple[Message, dict[str, Any]]:
    """One turn, and its other fields."""
    keys = ("from", "value") if isinstance(turn, dict) and "from" in turn else ("role", "content")
    if not isinstance(turn, dict) or any(key not in turn for key in keys):
        reject(where, f"{name} is {shown(turn)}", "an object with 'role' and 'content'")
    other = {key: value for key, value in turn.items() if key not in keys and value is not None}
    for key in _NOT_TEXT:
        if other.get(key):
            reject(where, f"{name} has {key!r}", "turns of text")
    role, content = turn[keys[0]], turn[keys[1]]
    if keys[0] == "from":
        role = _SHAREGPT_ROLES.get(role, role) if isinstance(role, str) else role
    role = "system" if role == "developer" else role
    if role not in CHAT_ROLES:
        reject(where, f"{name} has the role {shown(role)}", ", ".join(CHAT_ROLES))
    return Message(role=role, content=_content(content, name, where)), other


def _content(content: Any, name: str, where: str) -> str:
    """A turn's text, or the text parts of its content."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list) or not content:
        reject(
            where, f"{name} has the content {shown(content)}", "a string, or a list of text parts"
        )
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else part
        kind = part.get("type", "text") if isinstance(part, dict) else "text"
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            reject(where, f"{name} has a part of type {shown(kind)}", "parts of type text")
        texts.append(text)
    return "\n".join(texts)


def _instruction(row: Mapping[str, Any], rest: dict[str, Any], where: str) -> Message:
    texts = [row["instruction"], rest.pop("input", None) or ""]
    for name, text in zip(("instruction", "input"), texts, strict=True):
        if not isinstance(text, str):
            reject(where, f"{name!r} is {shown(text)}", "a string")
    return _user("\n".join(filter(None, texts)), where)


def _with_system(
    messages: tuple[Message, ...], rest: dict[str, Any], where: str
) -> tuple[Message, ...]:
    """The turns after the one that the field `system` holds, if the row has one."""
    system = rest.pop("system", None) or ""
    if not isinstance(system, str):
        reject(where, f"'system' is {shown(system)}", "a string")
    if not system.strip():
        return messages
    if messages[0].role == "system":
        if messages[0].content != system:
            reject(where, "another system turn beside the field 'system'", "one of them")
        return messages
    return (Message(role="system", content=system), *messages)


def _user(text: str, where: str) -> Message:
    (message,) = not_blank([Message(role="user", content=text)], where)
    return message


def not_blank(messages: Sequence[Message], where: str) -> Sequence[Message]:
    """The turns; raises `UsageError` where the last one is blank."""
    if not messages[-1].content.strip():
        reject(where, f"a blank prompt, {shown(messages[-1].content)}", "non-blank text")
    return messages
