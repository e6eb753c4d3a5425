"""Fixtures for evolution: scripted teachers, benchmarks of a few prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from spar.evolve.contamination import BenchmarkIndex, BenchmarkPrompts
from spar.evolve.reply import TeacherReply
from spar.evolve.select import RequestOutcome
from spar.infer.engine import Request
from spar.types import Message, Prompt

IFEVAL_ROWS = 541
"""The size of IFEval; a file with fewer rows is rejected as truncated."""


def seed(text: str, prompt_id: str = "s", **meta: object) -> Prompt:
    """A seed prompt of one user turn."""
    messages = (Message(role="user", content=text),)
    return Prompt(id=prompt_id, messages=messages, source="seeds.jsonl", meta=meta)


def request(prompt: Prompt, variant: int = 0, main: str = "length/words") -> Prompt:
    """A request about a seed prompt."""
    meta = {"seed_prompt": prompt.id, "main_constraint": main}
    return prompt.model_copy(update={"id": f"{prompt.id}/{variant}", "meta": meta})


def rewritten(prompt: Prompt, text: str, variant: int = 0, *others: str) -> RequestOutcome:
    """The outcome of a request whose reply contains `text`."""
    return RequestOutcome(request(prompt, variant), TeacherReply(text, ("length/words", *others)))


def reply_text(prompt: str, *constraints: str) -> str:
    """A teacher's reply in the requested format."""
    return f"Constraints: {'; '.join(constraints)}\n[[start]]\n{prompt}\n[[end]]"


def seed_text_of(request: Request) -> str:
    """The seed prompt within a request to the teacher."""
    match = re.search(r"### Prompt\n(.*)\n\n### Your reply", request.messages[-1].content, re.S)
    assert match is not None
    return match[1]


def main_constraint_of(request: Request) -> str:
    """The main constraint within a request to the teacher."""
    match = re.search(r"into the prompt below: ([^(]+) \(", request.messages[-1].content)
    assert match is not None
    return match[1]


def teach(request: Request) -> str:
    """A reply that depends on words in the seed prompt; by default, a new prompt.

    `maths`: None. `mute`: no markers. `twin`: always the same prompt. `leak`: a prompt of a benchmark.
    """
    prompt, main = seed_text_of(request), main_constraint_of(request)
    if "maths" in prompt:
        return "None"
    if "mute" in prompt:
        return "I would rather not say."
    if "twin" in prompt:
        return reply_text("Both of us say the very same thing here.", main, "style/humour")
    if "leak" in prompt:
        return reply_text(f"Now, {LEAK}, if you please.", main, "style/era")
    words = " ".join(f"{prompt.split()[-1]}{number}" for number in range(12))
    return reply_text(f"{prompt} Mention {words} in it.", main, "keyword/include", "tone/soft")


LEAK = "write a poem of nine lines about the grey ships that lie off the northern shore"
"""A prompt of the test benchmark."""


def write_ifeval(folder: Path, *texts: str) -> Path:
    """A data folder with one benchmark, IFEval, made of these prompts and one-word fillers."""
    rows = [*texts, *(f"filler{number}" for number in range(IFEVAL_ROWS - len(texts)))]
    (folder / "ifeval").mkdir(parents=True)
    with (folder / "ifeval" / "input_data.jsonl").open("w") as handle:
        for key, text in enumerate(rows):
            row = {"key": key, "prompt": text, "instruction_id_list": [], "kwargs": []}
            handle.write(json.dumps(row) + "\n")
    return folder


def benchmarks(*texts: str, whole_only: bool = False) -> BenchmarkIndex:
    """One benchmark, `toy`, whose items are numbered."""
    items = {str(number): text for number, text in enumerate(texts)}
    return BenchmarkIndex([BenchmarkPrompts("toy", items, whole_only=whole_only)])


def write_seeds(path: Path, texts: Sequence[str]) -> Path:
    """A file of seed prompts with ids s0, s1 ..."""
    rows = [{"id": f"s{number}", "prompt": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
