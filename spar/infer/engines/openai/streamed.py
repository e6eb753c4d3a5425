"""A streamed response: server-sent events, read as they arrive and put together to the body of a whole reply. Pure.

    data: {"choices": [{"index": 0, "delta": {"content": "Hel"}}]}
    data: {"choices": [{"index": 0, "delta": {"content": "lo"}, "finish_reason": "stop"}]}
    data: {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}}
    data: [DONE]

So whatever reads whole replies reads streamed ones too. A stream that breaks off is no reply, and neither is one with a
torn event, whose text would lack a piece: its body is not JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from spar.infer.engines.openai.choices import THINKING_FIELDS, read_text

_DATA, _DONE = b"data:", b"[DONE]"
_GROWING = frozenset({"content", "text", "refusal", *THINKING_FIELDS})
"""Fields whose texts come in pieces. Any other text is whole: some servers repeat why a reply ended in each event."""


class StreamedReply:
    """The reply that the events so far make.

    Parameters
    ----------
    on_text:
        Called with the text of the first choice whenever it has grown.
    """

    def __init__(self, on_text: Callable[[str], None] | None = None) -> None:
        self._on_text = on_text
        self._line = b""
        self._choices: dict[int, dict[str, Any]] = {}
        self._rest: dict[str, Any] = {}
        self._error: dict[str, Any] | None = None
        self._event: list[bytes] = []
        self._has_events = self._is_done = self._is_torn = False
        self._text = ""

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes of the response."""
        *lines, self._line = (self._line + chunk).split(b"\n")
        for line in lines:
            self._read(line)
        if self._on_text is None:
            return
        text = self._first_text()
        if text != self._text:
            self._text = text
            self._on_text(text)

    def body(self, raw: bytes) -> bytes:
        """The body of the whole reply, once all bytes were fed.

        Parameters
        ----------
        raw:
            Those bytes: the body where the server sent no events, but a whole reply or an error.
        """
        self.feed(b"\n\n")
        if not self._has_events:
            return raw
        if self._error is not None:
            return json.dumps(self._error).encode()
        if self._is_torn:
            return b""
        choices = [self._choices[index] for index in sorted(self._choices)]
        ended = self._is_done or (choices and all(each.get("finish_reason") for each in choices))
        return json.dumps({**self._rest, "choices": choices}).encode() if ended else b""

    def _read(self, line: bytes) -> None:
        if not line.strip() and self._event:
            event, self._event = _parse(b"\n".join(self._event)), []
            self._is_torn = self._is_torn or event is None
            self._add_event(event)
        if not line.startswith(_DATA):
            return
        self._has_events = True
        data = line.removeprefix(_DATA).strip()
        if data == _DONE:
            self._is_done = True
            return
        event = None if self._event else _parse(data)
        if self._event or (event is None and data.startswith(b"{")):
            self._event.append(data)  # an object in several lines, up to the next empty one
        self._add_event(event)

    def _add_event(self, event: Any) -> None:
        if not isinstance(event, dict):
            return
        choices = event.get("choices")
        # Older vLLM has no field of that name in its errors.
        is_error = event.get("error") or event.get("object") == "error"
        if is_error and not choices:
            self._error = event
        if isinstance(event.get("usage"), dict):
            self._rest["usage"] = event["usage"]
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._add(choice)

    def _add(self, part: Mapping[str, Any]) -> None:
        index = part.get("index")
        index = index if isinstance(index, int) else 0
        choice = self._choices.setdefault(index, {"index": index})
        _merge(choice, {("message" if k == "delta" else k): part[k] for k in part if k != "index"})

    def _first_text(self) -> str:
        choice = self._choices.get(0, {})
        text, message = choice.get("text"), choice.get("message")
        if isinstance(text, str):
            return text
        return read_text(message) if isinstance(message, dict) else ""


def _parse(data: bytes) -> Any:
    """The JSON of an event; None if it is none."""
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


def _merge(whole: dict[str, Any], part: Mapping[str, Any]) -> None:
    """Add the next part of an object: pieces of texts and lists grow, other values are replaced."""
    for name, value in part.items():
        known, kind = whole.get(name), type(value)
        grows = (kind is list or (kind is str and name in _GROWING)) and isinstance(known, kind)
        if isinstance(known, dict) and isinstance(value, dict):
            _merge(known, value)
        elif grows:
            whole[name] = known + value
        elif value not in (None, "") or name not in whole:
            whole[name] = dict(value) if isinstance(value, dict) else value
