"""Small run directories, the same every time."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from spar.files import replace_json
from spar.manifest import Manifest
from spar.types import Fault, Judgement, Message, Node, Prompt, SearchTree, Usage

DRAFT = "Two cats sat on a mat. They were quiet."
REFINED = "Two dogs sat on a red mat. They were quiet."
WRITING = Usage(calls=1, prompt_tokens=120, completion_tokens=12, seconds=0.5)
VOTES = Usage(calls=5, prompt_tokens=600, completion_tokens=50, seconds=1.0)


def judged(yes: int, of: int = 5) -> Judgement:
    """A judgement with a critique, and a dissent if the votes differ."""
    verdicts = tuple(index < yes for index in range(of))
    dissent = "I see it otherwise." if 0 < yes < of else None
    return Judgement(verdicts=verdicts, critique="The keyword is missing.", dissent=dissent)


def node(id: int, parent: int | None, response: str, yes: int | None) -> Node:  # noqa: A002
    """A response that `yes` of five votes pass."""
    return Node(
        id=id,
        parent=parent,
        depth=0 if parent is None else 1,
        response=response,
        reflection=None if parent is None else "I add the keyword.",
        judgement=None if yes is None else judged(yes),
        usage=WRITING + VOTES,
        judge_usage=VOTES,
        seed=7 + id,
    )


def solved_tree(number: int = 0) -> SearchTree:
    """A draft that fails, a refinement that passes, and an attempt that failed below the draft."""
    return SearchTree(
        prompt=prompt(number),
        strategy="bfs",
        config="c0ffee",
        nodes=(node(0, None, DRAFT, 1), node(1, 0, REFINED, 4), node(2, 0, DRAFT, 2)),
        faults=(
            Fault(parent=0, stage="refine", reason="no refined output", text="I will not [bold]."),
        ),
        selected=1,
        stop="solved",
        seconds=1.5 + number,
    )


def failed_tree(number: int = 0) -> SearchTree:
    """One draft that no vote passes."""
    return SearchTree(
        prompt=prompt(number),
        strategy="bfs",
        config="c0ffee",
        nodes=(node(0, None, f"A cat {number}.", 0),),
        selected=0,
        stop="exhausted",
        seconds=0.5,
    )


def prompt(number: int) -> Prompt:
    """A prompt with a system turn."""
    text = f"Write sentence {number} about a dog. Use the word red."
    turns = (Message(role="system", content="Be brief."), Message(role="user", content=text))
    return Prompt(id=f"prompt-{number}", messages=turns, source="made", meta={"key": number})


def trees(count: int) -> list[SearchTree]:
    """Every third is a failure."""
    return [failed_tree(n) if n % 3 == 2 else solved_tree(n) for n in range(count)]


def write_run(
    directory: Path, found: Iterable[SearchTree], *, ended: bool = True, **config: Any
) -> Path:
    """A run directory with these trees; `config` goes into its settings."""
    directory.mkdir(parents=True)
    settings = {"strategy": "bfs", "budget": 15, "prompts": "p.jsonl", **config}
    manifest = Manifest(
        spar_version="0.1.0",
        config=settings,
        models={"actor": "models/tiny", "judge": "models/tiny"},
        seed=0,
        created="2025-06-01T12:00:00+00:00",
    )
    replace_json(directory / "run.json", manifest.model_dump())
    lines = [tree.to_json() for tree in found]
    (directory / "trees.jsonl").write_text("".join(f"{line}\n" for line in lines))
    if ended:
        rows = [json.loads(line) for line in lines]
        solved = sum(row["stop"] == "solved" for row in rows)
        totals = {"trees": len(rows), "solved": solved, "prompts": len(rows)}
        replace_json(directory / "summary.json", {**totals, "completion_tokens": 62 * len(rows)})
    return directory


def append(directory: Path, tree: SearchTree) -> None:
    """Append a tree to a run."""
    with (directory / "trees.jsonl").open("a") as handle:
        handle.write(f"{tree.to_json()}\n")


BIRTHDAY = (
    "Happy birthday, Ana! Forty looks wonderful on you, my friend. I hope Friday brings cake, music "
    "and everyone you love. Enjoy every minute of it.",
    "Happy birthday Ana! Forty looks wonderful on you my friend. I hope Friday brings cake and music "
    "and everyone you love. Enjoy every minute of it.",
    "Happy birthday, dear Ana! Forty looks wonderful on you, my friend. I hope Friday brings cake, "
    "music and everyone you love. See you at the party!",
    "Happy birthday Ana! Forty looks wonderful on you my friend. I hope Friday brings cake and music "
    "and everyone you love. See you at the party!",
)
"""A draft and its refinements, as a small real model writes them."""


def birthday_tree() -> SearchTree:
    """A search in real English: a draft that breaks both constraints, and two refinements that fix one each."""
    critiques = [
        "- no commas: there are four of them, not met.\n- the last words: not there, not met.\n"
        "Final Judgement: No",
        '- no commas: there is none, met.\n- the last words: it closes with "every minute of it" '
        'where it should close with "See you at the party!", not met.\nFinal Judgement: No',
        "- the last words: See you at the party!, met.\n- no commas: four are left, not met.\n"
        "Final Judgement: No",
        "- no commas: there is none, met.\n- the last words: See you at the party!, met.\n"
        "Final Judgement: Yes",
    ]
    reflections = [
        None,
        "I take the commas out and leave the rest as it is.",
        "I close with the words that are asked for.",
        "I keep the text without commas and change its last sentence.",
    ]
    dissent = "- no commas: met.\n- the last words: close enough, met.\nFinal Judgement: Yes"
    nodes = [
        Node(
            id=number,
            parent=parent,
            depth=(0, 1, 1, 2)[number],
            response=BIRTHDAY[number],
            reflection=reflections[number],
            judgement=Judgement(
                verdicts=tuple(vote < yes for vote in range(5)),
                critique=critiques[number],
                dissent=dissent if number < 3 else None,
            ),
            usage=WRITING + VOTES,
            judge_usage=VOTES,
            seed=number,
        )
        for number, (parent, yes) in enumerate([(None, 1), (0, 2), (0, 1), (1, 5)])
    ]
    return SearchTree(
        prompt=Prompt(
            id="birthday",
            messages=(
                Message(
                    role="user",
                    content="Write a short birthday message for my friend Ana, who turns forty on "
                    "Friday. Leave out commas altogether, and let the message close with the words: "
                    "See you at the party!",
                ),
            ),
            meta={
                "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
                "kwargs": [{}, {"end_phrase": "See you at the party!"}],
            },
        ),
        strategy="bfs",
        config="c0ffee",
        nodes=tuple(nodes),
        faults=(Fault(parent=0, stage="refine", reason="the reply has no refined response"),),
        selected=3,
        stop="solved",
        seconds=4.2,
    )
