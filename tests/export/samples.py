"""Runs to export."""

from __future__ import annotations

from pathlib import Path

from spar.types import SearchTree
from tests.hostile import hostile_tree
from tests.train.trees import make_tree, write_run

NANO = {
    "instruction_id_list": ["punctuation:no_comma", "startend:end_checker"],
    "kwargs": [{}, {"end_phrase": "done"}],
}


def with_meta(tree: SearchTree, meta: dict[str, object]) -> SearchTree:
    """The tree of a prompt that carries `meta`."""
    return tree.model_copy(update={"prompt": tree.prompt.model_copy(update={"meta": meta})})


def write_three(folder: Path) -> Path:
    """Write a run of three trees: p1, p10 and a hostile one."""
    trees = (
        with_meta(make_tree((None, 2), (0, 5), prompt_id="p1"), NANO),
        make_tree((None, 1), prompt_id="p10"),
        hostile_tree(),
    )
    return write_run(folder / "three", *trees)
