"""Summaries of a tree and of a run as lines of styled text.

`header_lines` summarizes a tree, `run_lines` a run. `tree_lines` draws a tree; `node_sections`,
`fault_sections` and `prompt_sections` describe its parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from spar.record.outcomes import Outcome, outcome_of, pluralize, story
from spar.types import SearchTree
from spar.view.layout import layout_of
from spar.view.node_detail import Annotations, usage_text
from spar.view.palette import PALETTE
from spar.view.text import one_line
from spar.view.tree_lines import votes_text

_PROMPT = 400
_UNJUDGED = "answered, not judged"
_STORY = {"failed|fails|still fails|broken|no answer": "fail", "fixed|passed|passes": "pass"}
"""Words that begin a part of a story, and their meaning in the palette."""
_STOPS = {
    "solved": "solved",
    "exhausted": "not solved: nothing left to try",
    "budget": "not solved: budget spent",
}


def stop_text(tree: SearchTree) -> str:
    """Why the search ended, in words."""
    return _UNJUDGED if _is_unjudged(tree) else _STOPS[tree.stop]


def header_lines(tree: SearchTree, annotations: Annotations = Annotations()) -> list[Text]:
    """The prompt's id and text, how the search ended, its answer's score, its size, what it did, and its cost."""
    title = Text(one_line(tree.prompt.id, _PROMPT), style=PALETTE["head"])
    title.append(f"  {one_line(tree.strategy, 40)}  ", style=PALETTE["note"])
    style = "unjudged" if _is_unjudged(tree) else "pass" if tree.solved else "fail"
    title.append(stop_text(tree), style=PALETTE[style])
    lines = [title, Text(one_line(tree.prompt.messages[-1].content, _PROMPT)), _answer(tree)]
    spent = [
        f"{role}: {usage_text(usage)}"
        for role, usage in tree.usage_by_role.items()
        if usage.calls or usage.aborted_calls or usage.skipped_calls
    ]
    outcome = outcome_of(tree, annotations.check, graded=annotations.grade_of(tree))
    return [*lines, story_text(outcome), *map(Text, spent)]


def story_text(outcome: Outcome) -> Text:
    """What the search did, in one line: `failed: no commas → fixed in 2 refinements, 12 calls`."""
    text = Text(one_line(story(outcome)))
    for words, meaning in _STORY.items():
        text.highlight_regex(rf"(?:^|(?<=→ ))(?:{words})\b", PALETTE[meaning])
    return text


def _is_unjudged(tree: SearchTree) -> bool:
    """Whether no judge was called: greedy decoding neither solves nor fails."""
    return bool(tree.nodes) and not tree.faults and all(n.judgement is None for n in tree.nodes)


def _answer(tree: SearchTree) -> Text:
    shape = layout_of(tree)
    answer = None if shape.selected is None else tree.nodes[shape.selected]
    line = Text(f"answer: #{answer.id} " if answer else "no answer ")
    if answer is not None and answer.judgement is not None:
        line.append_text(votes_text(answer.judgement))
    parts = [
        pluralize(len(tree.nodes), "node"),
        f"depth {max(shape.levels, default=0)}",
        *([pluralize(len(tree.faults), "fault")] if tree.faults else []),
        *([f"{tree.cancelled:,} cancelled"] if tree.cancelled else []),
        f"{tree.seconds:.1f} s",
    ]
    return line.append(f"  {', '.join(parts)}")


def run_lines(manifest: Mapping[str, Any], summary: Mapping[str, Any] | None = None) -> list[Text]:
    """A run's settings and totals, from the content of its `run.json` and `summary.json`.

    Fields that are missing or of another type are skipped.
    """
    config = _mapping(manifest.get("config"))
    models = _mapping(manifest.get("models"))
    parts = [
        *(f"{name} {config[name]}" for name in ("strategy", "budget", "judge") if name in config),
        *(f"seed {manifest['seed']}" for name in ("seed",) if manifest.get(name) is not None),
        *(f"{manifest['created']}" for name in ("created",) if name in manifest),
    ]
    lines = [", ".join(parts), *(f"{role}: {model}" for role, model in models.items())]
    if summary is None:
        return _plain([*lines, "no summary yet: the run is in progress or was interrupted"])
    return _plain([*lines, *_summary_lines(summary)])


def _summary_lines(summary: Mapping[str, Any]) -> list[str]:
    trees = _number(summary, "trees")
    lines = [
        f"trees {trees:,.0f}, solved {_share(_number(summary, 'solved'), trees)}, "
        f"nodes {_number(summary, 'nodes'):,.0f}, faults {_number(summary, 'faults'):,.0f}"
    ]
    if verified := _number(summary, "verified"):
        before, after = (100 * _number(summary, f"passed_{when}") for when in ("before", "after"))
        lines.append(
            f"ground truth: {before:.1f} % before the search, {after:.1f} % after (of {verified:,.0f})"
        )
    lines.append(
        f"tokens {_number(summary, 'prompt_tokens'):,.0f} read, "
        f"{_number(summary, 'completion_tokens'):,.0f} generated in "
        f"{_number(summary, 'calls'):,.0f} calls, {_number(summary, 'seconds'):,.1f} s"
    )
    return lines


def _share(part: float, whole: float) -> str:
    return f"{part:,.0f} ({100 * part / whole:.1f} %)" if whole else f"{part:,.0f}"


def _number(values: Mapping[str, Any], name: str) -> float:
    value = values.get(name)
    return value if isinstance(value, int | float) else 0


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _plain(lines: list[str]) -> list[Text]:
    return [Text(one_line(line, _PROMPT)) for line in lines if line]
