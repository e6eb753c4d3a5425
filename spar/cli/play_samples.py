"""Instructions to try on the play screen: one of each kind that the embedded model understands, and a few in plain English.

Programs can check their constraints, so every judge can judge them.
"""

from __future__ import annotations

from collections.abc import Iterable

from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.tasks import sample_task
from spar.prompts import prompt_from_text
from spar.types import Prompt
from tui.play import Sample

_MAX_TRIED, _MAX_CHARACTERS = 400, 150
_PLAIN: tuple[tuple[str, str, str, dict[str, object]], ...] = (
    (
        "no commas",
        "Name three fruits and say what each of them tastes like. Do not use any commas.",
        "punctuation:no_comma",
        {},
    ),
    (
        "few words",
        "Why is the sky blue? Answer in less than 30 words.",
        "length_constraints:number_words",
        {"relation": "less than", "num_words": 30},
    ),
    (
        "two words to use",
        "Write two sentences about a walk. Use the words river and stone.",
        "keywords:existence",
        {"keywords": ["river", "stone"]},
    ),
    (
        "words to avoid",
        "Describe a winter morning in two sentences, without the words cold and snow.",
        "keywords:forbidden_words",
        {"forbidden_words": ["cold", "snow"]},
    ),
    (
        "how it ends",
        "Thank a friend for a lift to the station. End with the words: See you soon!",
        "startend:end_checker",
        {"end_phrase": "See you soon!"},
    ),
    (
        "quotation marks",
        "What would a cat say about rain? Put double quotation marks around your whole answer.",
        "startend:quotation",
        {},
    ),
)


def embedded_samples() -> tuple[Sample, ...]:
    """The shortest of the first validation prompts of nano-if with each type of constraint."""
    shortest: dict[str, Sample] = {}
    for index in range(_MAX_TRIED):
        task = sample_task("validation", 0, index)
        if len(task.text) > _MAX_CHARACTERS or "\n" in task.text:
            continue
        for constraint in task.constraints:
            known = shortest.get(constraint.id)
            if known is None or len(task.text) < len(known.text):
                kind = constraint.id.partition(":")[2].replace("_", " ")
                # By its id it is known as a prompt of nano-if, which needs no package to be checked.
                shortest[constraint.id] = Sample(kind, task.prompt(f"nano-validation-0-{index}"))
    order = [*CONSTRAINT_TYPES, *sorted(set(shortest) - set(CONSTRAINT_TYPES))]
    distinct: dict[str, Sample] = {}
    for each in order:
        if each in shortest:
            distinct.setdefault(shortest[each].text, shortest[each])
    return tuple(distinct.values())


def plain_samples() -> tuple[Sample, ...]:
    """For any other model."""
    return tuple(
        Sample(kind, prompt_from_text(text).model_copy(update={"meta": _meta(constraint, kwargs)}))
        for kind, text, constraint, kwargs in _PLAIN
    )


def prompt_of(text: str, samples: Iterable[Sample], source: str) -> Prompt:
    """The prompt of an instruction: the sample that it is, with its constraints, if it is one."""
    for sample in samples:
        if sample.text == text.strip():
            return sample.prompt.model_copy(update={"source": source})
    return prompt_from_text(text, source)


def _meta(constraint: str, kwargs: dict[str, object]) -> dict[str, object]:
    return {"instruction_id_list": [constraint], "kwargs": [kwargs]}
