"""Requests that chat front ends send beside the user's: titles, tags, follow-up questions, search queries.

Front ends send them to the model that the user talks to unless they are told otherwise; a search for the title of a
conversation costs more than it is worth, so they are answered greedily. A request is one of them if it says so in
`metadata.task`, as Open WebUI's does, or if its last turn is one of the front ends' own prompts (Open WebUI's `### Task:`
prompts, LibreChat's and LobeChat's titles).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from spar.types import Message

_TASKS = frozenset(
    "title_generation tags_generation follow_up_generation emoji_generation query_generation "
    "image_prompt_generation autocomplete_generation function_calling".split()
)
"""Open WebUI's names of its tasks."""
_HEAD = 600
"""Characters of a turn that are looked at: the conversation that a title is asked for comes after the task."""
_PROMPTS = re.compile(
    r"\A\s*(?:"
    # Open WebUI
    r"### Task:\s*(?:Generate (?:a concise|1-3 broad tags|a detailed prompt for (?:an|am) image)|Suggest 3-5 relevant follow-up"
    r"|Analyze the chat history to determine the necessity of generating search queries"
    r"|You are an autocompletion system|Evaluate .{0,80}emoji)"
    r"|Your task is to reflect the speaker's likely facial expression through a fitting emoji"
    r"|Create a concise, 3-5 word (?:phrase|title)"
    # LibreChat
    r"|(?:Provide|Write) a concise,? (?:5-word-or-less )?title for (?:this|the) conversation"
    r"|Please generate a concise,? 5-word-or-less title"
    # LobeChat
    r"|You are a (?:professional )?conversation summarizer"
    r"|You are an assistant who is good at conversation[^.]{0,80}title"
    r")",
    re.IGNORECASE | re.DOTALL,
)


def is_side_task(messages: Sequence[Message], metadata: Mapping[str, Any]) -> bool:
    """Whether a front end asks on its own account, so that no search is due."""
    task = metadata.get("task")
    if isinstance(task, str) and task in _TASKS:
        return True
    heads = [messages[-1].content[:_HEAD]]
    if messages[0].role == "system":
        heads.append(messages[0].content[:_HEAD])
    return any(_PROMPTS.match(head) for head in heads)
