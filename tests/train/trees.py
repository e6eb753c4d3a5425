"""Hand-made trees for training data, and hypothesis strategies of them."""

from __future__ import annotations

from pathlib import Path

from spar import __version__
from spar.manifest import Manifest
from spar.store import RunStore
from spar.templates import load
from spar.types import Judgement, Node, SearchTree, best
from tests.fakes import make_findings, make_judgement, make_prompt

Planned = tuple[int | None, int | None]
"""A node's parent, and how many of its five votes say yes; None: it was not judged."""


def make_tree(*nodes: Planned, prompt_id: str = "p", gate: float = 0.5) -> SearchTree:
    """A tree of the planned nodes; node i says `r<i>` and reflects `why <i>`."""
    made: list[Node] = []
    for index, (parent, num_yes) in enumerate(nodes):
        made.append(
            Node(
                id=index,
                parent=parent,
                depth=0 if parent is None else made[parent].depth + 1,
                response=f"r{index}",
                reflection=None if parent is None else f"why {index}",
                judgement=None if num_yes is None else make_judgement(num_yes),
            )
        )
    return tree_of(*made, prompt_id=prompt_id, gate=gate)


def tree_of(*nodes: Node, prompt_id: str = "p", gate: float = 0.5) -> SearchTree:
    """A tree of given nodes, its answer chosen as the driver chooses it."""
    solved = any(node.judgement and node.judgement.passed(gate) for node in nodes)
    answer = best(nodes)
    return SearchTree(
        prompt=make_prompt(f"Say {prompt_id}.", prompt_id),
        strategy="bfs",
        config="0",
        gate=gate,
        nodes=nodes,
        selected=answer[0].id if answer else None,
        stop="solved" if solved else "exhausted",
    )


def verified(tree: SearchTree, *met: int, of: int = 3) -> SearchTree:
    """The tree, its nodes judged by programs instead: node i meets `met[i]` of so many constraints."""
    nodes = [
        node.model_copy(
            update={
                "judgement": Judgement(
                    verdicts=(),
                    critique=f"Final Judgement: {'Yes' if num_met == of else 'No'}",
                    findings=make_findings(*([True] * num_met + [False] * (of - num_met))),
                )
            }
        )
        for node, num_met in zip(tree.nodes, met, strict=True)
    ]
    return tree_of(*nodes, prompt_id=tree.prompt.id, gate=tree.gate)


def draft(num_yes: int, response: str = "r", critique: str | None = None) -> Node:
    """A lone judged draft."""
    judgement = make_judgement(num_yes)
    if critique is not None:
        judgement = Judgement(verdicts=judgement.verdicts, critique=critique)
    return Node(id=0, parent=None, depth=0, response=response, judgement=judgement)


def write_run(
    directory: Path, *trees: SearchTree, templates: Path | None = None, vote_rule: str = "full"
) -> Path:
    """A run directory with these trees, as a search writes it."""
    manifest = Manifest(
        spar_version=__version__,
        config={"templates": str(templates or ""), "vote_rule": vote_rule},
        models={"judge": "a judge"},
        templates=load(templates).digests(),
    )
    with RunStore.open(directory, manifest) as store:
        for tree in trees:
            store.append(tree)
    return directory
