"""Made-up worlds for evolution: teachers that reply by what a prompt says, benchmarks of a few prompts."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from spar.evolve.contamination import BenchmarkPrompts, Benchmarks
from spar.evolve.reply import Reply
from spar.evolve.select import Outcome
from spar.infer.engine import Request
from spar.types import Message, Prompt

IFEVAL_ROWS = 541
"""As many as IFEval has; a file with fewer is refused as cut."""


def seed(text: str, prompt_id: str = "s", **meta: object) -> Prompt:
    """A seed prompt of one user turn."""
    messages = (Message(role="user", content=text),)
    return Prompt(id=prompt_id, messages=messages, source="seeds.jsonl", meta=meta)


def request(of: Prompt, variant: int = 0, main: str = "length/words") -> Prompt:
    """A request about a seed prompt."""
    meta = {"seed_prompt": of.id, "main_constraint": main}
    return of.model_copy(update={"id": f"{of.id}/{variant}", "meta": meta})


def rewritten(of: Prompt, text: str, variant: int = 0, *others: str) -> Outcome:
    """What a request led to where the teacher wrote `text`."""
    asked = request(of, variant)
    return Outcome(asked, Reply(text, ("length/words", *others)))


def reply_text(prompt: str, *constraints: str) -> str:
    """A teacher's reply in the form that it is asked for."""
    return f"Constraints: {'; '.join(constraints)}\n[[start]]\n{prompt}\n[[end]]"


def asked_prompt(request: Request) -> str:
    """The seed prompt within a request to the teacher."""
    found = re.search(r"### Prompt\n(.*)\n\n### Your reply", request.messages[-1].content, re.S)
    assert found is not None
    return found[1]


def asked_main(request: Request) -> str:
    """The main constraint within a request to the teacher."""
    found = re.search(r"into the prompt below: ([^(]+) \(", request.messages[-1].content)
    assert found is not None
    return found[1]


def teach(request: Request) -> str:
    """Replies by the seed prompt's words; where it says nothing special, with something new.

    `maths`: None. `mute`: no markers. `twin`: always the same prompt. `leak`: a benchmark's prompt.
    """
    prompt, main = asked_prompt(request), asked_main(request)
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
"""A prompt of the made-up benchmark."""


def made_up_ifeval(folder: Path, *texts: str) -> Path:
    """A data folder that has one benchmark, IFEval, with these prompts and fillers of one word each."""
    rows = [*texts, *(f"filler{number}" for number in range(IFEVAL_ROWS - len(texts)))]
    (folder / "ifeval").mkdir(parents=True)
    with (folder / "ifeval" / "input_data.jsonl").open("w") as handle:
        for key, text in enumerate(rows):
            row = {"key": key, "prompt": text, "instruction_id_list": [], "kwargs": []}
            handle.write(json.dumps(row) + "\n")
    return folder


def benchmarks(*texts: str, whole_only: bool = False) -> Benchmarks:
    """One benchmark, `toy`, whose items are numbered."""
    items = {str(number): text for number, text in enumerate(texts)}
    return Benchmarks([BenchmarkPrompts("toy", items, whole_only=whole_only)])


def write_seeds(path: Path, texts: Sequence[str]) -> Path:
    """A file of seed prompts with ids s0, s1 ..."""
    rows = [{"id": f"s{number}", "prompt": text} for number, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path
