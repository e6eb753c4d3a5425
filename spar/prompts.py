"""Prompts from a file, from standard input, from a data set of the hub, or from one text.

    {"prompt": "Write two lines about rain.", "key": 1001, "instruction_id_list": ["..."]}
    {"id": "a7", "messages": [{"role": "user", "content": "Write two lines about rain."}]}

`spar.rows.read` reads the rows, `spar.conversations` the conversation in each; a line of text is a prompt. All other
fields become the prompt's `meta`. IFEval's `instruction_id_list` and `kwargs` may be JSON in a string, as some exports
have them; other shapes are refused, so that no verifier meets them later.

The id of a prompt is its `id`; else its `custom_id`; else its `key` (IFEval's name for it, which stays in `meta` too);
else it comes from the content, such as `000001-1f2e3d4c`: the number among rows of the same content, then the first 8
hex digits of the content's digest (`Prompt.digest`). So a file in another order has the same prompts.

A field that is null counts as absent, as an empty cell of a table does: tables with missing cells are often written so.

Rows are read one at a time; only the ids stay in memory. A bad row raises a `UsageError` of one line
that names the file, the line, the value received and the values accepted.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import count, islice
from pathlib import Path
from typing import Any

from spar.conversations import conversation
from spar.errors import UsageError
from spar.rows.json_text import parse_json
from spar.rows.read import STANDARD_INPUT, read_rows
from spar.rows.row import reject, shown
from spar.types import Message, Prompt

MAX_DEPTH = 100
"""Maximum nesting of a row; much deeper rows cannot be written as part of a tree."""
TEXT_FIELD = "prompt"
"""The field that a line of text is."""
ID_FIELDS = ("id", "custom_id", "key")
"""Fields with the id, the first that a row has counts."""
INSTRUCTIONS, ARGUMENTS = "instruction_id_list", "kwargs"
"""Fields with a prompt's constraints and their arguments."""
_HASH = 8
"""Hex digits of the content's digest in a derived id."""
_FROM_CONTENT = re.compile(rf"[0-9]{{6}}-([0-9a-f]{{{_HASH}}})")
"""An id that comes from the content."""


def read_prompts(
    source: str | Path,
    limit: int | None = None,
    *,
    ids_by_line: bool = False,
    prompt_field: str = "",
) -> Iterator[Prompt]:
    """Stream the prompts of `source`, a path, `-` or a data set of the hub, at most `limit` of them.

    Nothing is read before the first prompt is requested, and nothing past the last.

    Parameters
    ----------
    ids_by_line:
        Derive ids from the line and the messages, as the last version did, for runs that it started.
    prompt_field:
        The field of a row that holds the text or the messages; "" for the first that `spar.conversations` knows.

    Raises
    ------
    UsageError
        Immediately: no such file, a directory, an unknown suffix, a negative limit. When the stream
        reaches it: a bad row, a duplicate id, text that is not UTF-8, or no prompt at all.
    """
    if limit is not None and limit < 0:
        raise UsageError(f"the limit is {limit} prompts; accepted: 0 or more")
    name = "standard input" if str(source) == STANDARD_INPUT else str(source)
    rows = read_rows(source, text_field=prompt_field or TEXT_FIELD)
    prompts = (
        (row.where, row.place, _prompt_of_row(row.values, row.where, name, prompt_field))
        for row in rows
    )
    if ids_by_line:
        prompts = ((where, place, _with_id_of_line(where, p)) for where, place, p in prompts)
    return islice(_read(prompts, name), limit)


def place_of(source: str | Path, index: int, *, prompt_field: str = "") -> str:
    """Where the prompt of this number, from 0, stands in a file or a data set, for messages: `FILE:LINE`."""
    rows = read_rows(source, text_field=prompt_field or TEXT_FIELD)
    return next(islice(rows, index, None)).where


def prompt_from_text(text: str, source: str = "--prompt") -> Prompt:
    """The prompt with one user turn; raises `UsageError` if the text is blank.

    Parameters
    ----------
    source:
        Name of the text's origin, stored as the prompt's `source` and used in messages.
    """
    if not text.strip():
        raise UsageError(f"the prompt ({source}) is blank; pass a text")
    return with_id(Prompt(id="", messages=(Message(role="user", content=text),), source=source))


def prompt_from_row(
    row: Mapping[str, Any], where: str, source: str, prompt_field: str = ""
) -> Prompt:
    """The prompt of a row, with the id "" where the row has none.

    Parameters
    ----------
    where:
        The row's place, for messages.
    prompt_field:
        As in `read_prompts`.

    Raises
    ------
    UsageError
        The row is not one of a prompt, or holds what is not JSON.
    """
    return _prompt_of_row(check_json(row, where), where, source, prompt_field)


def check_json(fields: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The fields as they are read back from a file; raises `UsageError` where JSON cannot hold them.

    Numbers and arrays of NumPy and torch are those of Python.
    """
    values: dict[str, Any] = {}
    for name, value in fields.items():
        try:
            values |= _through_json({name: value})
        except (TypeError, ValueError, RecursionError) as error:
            reject(
                where,
                f"{shown(name)} is no JSON: {error}",
                "text, finite numbers, lists and objects, or None where there is no value",
            )
    return values


def _through_json(fields: dict[Any, Any]) -> dict[str, Any]:
    text = json.dumps(fields, allow_nan=False, default=_of_python)
    values: dict[str, Any] = json.loads(text)
    return values


def _of_python(value: Any) -> Any:
    """A number or an array of NumPy or torch as JSON knows it."""
    if not hasattr(value, "tolist"):
        raise TypeError(f"a {type(value).__name__}")
    return value.tolist()


def with_id(prompt: Prompt, occurrence: int = 1) -> Prompt:
    """The prompt with an id from its content, where it has none.

    Parameters
    ----------
    occurrence:
        Its number among prompts of the same content.
    """
    return prompt if prompt.id else prompt.model_copy(update={"id": _derived(prompt, occurrence)})


def with_ids(prompts: Iterable[tuple[str, str, Prompt]]) -> Iterator[Prompt]:
    """Prompts with unique ids, those without one by their content.

    Parameters
    ----------
    prompts:
        Each with its place for messages about it, and in a message about a second one: "on line 3".

    Raises
    ------
    UsageError
        Two have the same id.
    """
    seen: dict[str, str] = {}
    occurrences: dict[str, int] = defaultdict(int)
    for where, place, prompt in prompts:
        if prompt.id in seen:
            received = f"duplicate id {shown(prompt.id)}, also {seen[prompt.id]}"
            reject(where, received, "unique ids")
        named = prompt
        while not named.id or named.id in seen:
            key = prompt.digest[:_HASH]
            occurrences[key] += 1
            named = with_id(prompt, occurrences[key])
        seen[named.id] = place
        yield named


def with_stored_ids(
    prompts: Iterable[Prompt],
    stored: Mapping[str, str],
    digest: Callable[[Prompt], str] = lambda prompt: prompt.digest,
) -> Iterator[Prompt]:
    """Prompts under the ids that an earlier run has for the same content, where their ids come from it.

    Earlier versions derived ids from the line as well, so a run of theirs has others for the same prompts.

    Parameters
    ----------
    stored:
        Id to digest of the prompts of the earlier run.
    digest:
        The digest to look for.
    """
    by_digest: dict[str, deque[str]] = defaultdict(deque)
    for prompt_id in filter(_FROM_CONTENT.fullmatch, sorted(stored)):
        by_digest[stored[prompt_id]].append(prompt_id)
    used: set[str] = set()
    for prompt in prompts:
        named = prompt
        if is_derived(prompt):
            content = digest(prompt)
            if same := by_digest.get(content):
                named = prompt.model_copy(update={"id": same.popleft()})
            for occurrence in count(1):
                if named.id not in used and stored.get(named.id, content) == content:
                    break
                named = with_id(prompt.model_copy(update={"id": ""}), occurrence)
        used.add(named.id)
        yield named


def is_derived(prompt: Prompt) -> bool:
    """Whether a prompt's id comes from its content."""
    found = _FROM_CONTENT.fullmatch(prompt.id)
    return found is not None and found[1] == prompt.digest[:_HASH]


def _with_id_of_line(where: str, prompt: Prompt) -> Prompt:
    if prompt.id:
        return prompt
    line = int(where.rpartition(":")[2])
    digest = prompt.model_copy(update={"meta": {}}).digest
    return prompt.model_copy(update={"id": f"{line:06d}-{digest[:_HASH]}"})


def _derived(prompt: Prompt, occurrence: int) -> str:
    return f"{occurrence:06d}-{prompt.digest[:_HASH]}"


def _read(prompts: Iterable[tuple[str, str, Prompt]], source: str) -> Iterator[Prompt]:
    empty = True
    for prompt in with_ids(prompts):
        empty = False
        yield prompt
    if empty:
        raise UsageError(
            f"{source} has no prompt; expected at least one, as a line, a row or an item of a list"
        )


def _prompt_of_row(row: dict[str, Any], where: str, source: str, prompt_field: str = "") -> Prompt:
    if is_deeper(row, MAX_DEPTH):
        reject(where, f"nested deeper than {MAX_DEPTH} levels", "a flatter row")
    messages, meta = conversation(row, where, prompt_field)
    prompt_id = _explicit_id(row, where)
    meta.pop("id", None)
    _check_constraints(meta, where)
    return Prompt(id=prompt_id, messages=messages, source=source, meta=meta)


def _explicit_id(row: Mapping[str, Any], where: str) -> str:
    name = next((name for name in ID_FIELDS if row.get(name) is not None), None)
    if name is None:
        return ""
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        reject(where, f"{name!r} is {shown(value)}", "a non-empty string or an integer")
    return str(value)


def _check_constraints(meta: dict[str, Any], where: str) -> None:
    """Put constraints in the shape that verifiers read, or refuse them."""
    if meta.get(INSTRUCTIONS) is None:
        return
    ids = meta[INSTRUCTIONS] = _parsed(meta[INSTRUCTIONS], where)
    if not isinstance(ids, list) or not all(isinstance(name, str) for name in ids):
        reject(where, f"{INSTRUCTIONS!r} is {shown(ids)}", "a list of strings")
    if meta.get(ARGUMENTS) is None:
        return
    arguments = _parsed(meta[ARGUMENTS], where)
    if isinstance(arguments, list):
        arguments = [_parsed(item, where) for item in arguments]
        arguments = [{} if item is None else item for item in arguments]
    if not isinstance(arguments, list) or not all(isinstance(item, dict) for item in arguments):
        reject(where, f"{ARGUMENTS!r} is {shown(meta[ARGUMENTS])}", "a list of objects, or null")
    if len(arguments) != len(ids):
        received = f"{ARGUMENTS!r} has {len(arguments)} objects for {len(ids)} constraints"
        reject(where, received, "one object a constraint")
    meta[ARGUMENTS] = arguments


def _parsed(value: Any, where: str) -> Any:
    """A value that may be JSON in a string."""
    if isinstance(value, str) and value.lstrip()[:1] in ("[", "{"):
        return parse_json(value, where, "JSON in the strings of constraints")
    return value


def is_deeper(value: Any, levels: int) -> bool:
    """Whether a JSON value is nested deeper than so many levels."""
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return levels == 0 or any(is_deeper(item, levels - 1) for item in inner)
