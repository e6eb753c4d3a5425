"""The forms of a checklist's replies: numbered lines, or JSON that the engine holds to a schema.

A form says how replies are asked for (its templates), what they must match, and how they are read. The judge
`checklist` does the same with either.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from spar.infer.engine import StructuredOutputs
from spar.infer.known_part import known_part
from spar.templates import Templates, render, transcript
from spar.templates.checklist import (
    RequirementAnswer,
    parse_answer,
    parse_answers,
    parse_requirements,
)
from spar.templates.checklist_json import (
    answer_schema,
    answers_schema,
    parse_json_answer,
    parse_json_answers,
    parse_json_requirements,
    requirements_schema,
)
from spar.types import Message, Prompt
from spar.verifiers import verify_prompt


class _ReadsList(Protocol):
    def __call__(self, text: str, most: int, *, is_cut: bool) -> tuple[str, ...]: ...


@dataclass(frozen=True, slots=True)
class ReplyForm:
    """How the three kinds of replies are asked for and read."""

    split: str
    """Template that asks for the requirements of an instruction."""
    checklist: str
    """Template that asks for an answer to each requirement."""
    requirement: str
    """Template that asks for the answer to one of them."""
    list_outputs: Callable[[int], StructuredOutputs | None]
    """From the most requirements to what a list of them must match; None for anything."""
    answers_outputs: Callable[[int], StructuredOutputs | None]
    """From the number of requirements to what a reply on all of them must match."""
    answer_outputs: StructuredOutputs | None
    """What a reply on one of them must match."""
    read_list: _ReadsList
    """From a reply, the most requirements, and whether it was cut, to the requirements."""
    read_answers: Callable[[str, int, str], tuple[RequirementAnswer | None, ...]]
    """From a reply, the number of requirements and the response to the answers."""
    read_answer: Callable[[str, str], RequirementAnswer | None]
    """From a reply on one requirement and the response to the answer."""

    @property
    def templates(self) -> tuple[str, ...]:
        """Names of its templates."""
        return self.split, self.checklist, self.requirement

    def split_messages(self, templates: Templates, prompt: Prompt) -> tuple[Message, ...]:
        """The conversation that requests the requirements of a prompt, but for those that programs check."""
        known = known_part(prompt).prompt
        # How a constraint reads does not depend on the response that it is checked on.
        findings = verify_prompt("x", known) if known else ()
        lines = [f"- {finding.constraint}" for finding in findings]
        checked = "\n".join(["", "Leave out what programs check already:", *lines, ""])
        text = render(
            getattr(templates, self.split),
            instruction=transcript(prompt.messages),
            checked=checked if lines else "",
        )
        return (Message(role="user", content=text),)

    def checklist_messages(
        self, templates: Templates, prompt: Prompt, response: str, requirements: Sequence[str]
    ) -> tuple[Message, ...]:
        """The conversation that requests an answer to each requirement, all in one reply."""
        text = render(
            getattr(templates, self.checklist),
            instruction=transcript(prompt.messages),
            response=response,
            requirements="\n".join(
                f"{number}. {each}" for number, each in enumerate(requirements, 1)
            ),
        )
        return (Message(role="user", content=text),)

    def requirement_messages(
        self, templates: Templates, prompt: Prompt, response: str, requirement: str
    ) -> tuple[Message, ...]:
        """The conversation that requests the verdict on one requirement."""
        text = render(
            getattr(templates, self.requirement),
            instruction=transcript(prompt.messages),
            response=response,
            requirement=requirement,
        )
        return (Message(role="user", content=text),)


LINES = ReplyForm(
    split="split",
    checklist="checklist",
    requirement="requirement",
    list_outputs=lambda most: None,
    answers_outputs=lambda num: None,
    answer_outputs=None,
    read_list=parse_requirements,
    read_answers=lambda text, num, response: parse_answers(text, num),
    read_answer=parse_answer,
)
"""Numbered lines, and a verdict at the end."""

JSON = ReplyForm(
    split="split_json",
    checklist="checklist_json",
    requirement="requirement_json",
    list_outputs=lambda most: StructuredOutputs(requirements_schema(most)),
    answers_outputs=lambda num: StructuredOutputs(answers_schema(num)),
    answer_outputs=StructuredOutputs(answer_schema()),
    read_list=parse_json_requirements,
    read_answers=parse_json_answers,
    read_answer=parse_json_answer,
)
"""JSON objects."""
