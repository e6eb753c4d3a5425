"""What a run directory says about one of its trees: the tree itself, and annotations of its nodes.

tree = find_tree("runs/mine", "prompt-7")
export_tree(tree, "html", annotations_for("runs/mine"))
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from spar.errors import UsageError
from spar.record.evaluation import no_trees
from spar.record.grades import Grades
from spar.store import read_manifest, tree_at, tree_file, tree_offsets
from spar.types import Finding, Message, Node, SearchTree
from spar.verifiers import verify_prompt
from spar.view.layout import parent_of
from spar.view.node_detail import Annotations, PromptRenderer
from spar.view.text import one_line
from spar.view.tree_lines import is_supplied

_SHOWN_IDS = 5
_ID_WIDTH = 60


def find_tree(path: str | Path, prompt_id: str = "") -> SearchTree:
    """Read the tree of one prompt.

    Parameters
    ----------
    path:
        A run directory, or a file of trees.
    prompt_id:
        The prompt's id or a unique prefix of it. May be empty if the run has a single tree.

    Raises
    ------
    UsageError
        No tree or several trees match, the file is missing, or a line of it is damaged.
    """
    path = tree_file(path)
    offsets = tree_offsets(path)
    start = offsets[_match_id(offsets, prompt_id, path)]
    with path.open("rb") as handle:
        return tree_at(handle, start)


def annotations_for(path: str | Path) -> Annotations:
    """What a run directory, or a file of trees in it, says of nodes: constraint checks, an evaluation's verdicts, rendered prompts.

    Raises
    ------
    UsageError
        A line of the evaluation's examples is damaged.
    """
    grades = Grades.of(Path(path))
    own = program_annotations(path)
    return Annotations(grades.check(own.check), own.render, grades.passed.get)


def program_annotations(directory: str | Path) -> Annotations:
    """Constraint checks and rendered prompts alone, for a reader that follows an evaluation's verdicts while they are written."""
    return Annotations(check_constraints, prompt_renderer(directory))


def check_constraints(tree: SearchTree, node: Node) -> Sequence[Finding]:
    """Each constraint of the prompt and whether the response meets it; empty without a verifier."""
    return verify_prompt(node.response, tree.prompt)


def prompt_renderer(directory: str | Path) -> PromptRenderer | None:
    """A function that renders the conversation that a node's response continued.

    None if the run's templates are not available, or have changed since.
    """
    from spar.templates import load

    try:
        manifest = read_manifest(directory)
        folder = manifest.config.get("templates")
        templates = load(Path(folder) if folder else None)
    except UsageError:
        return None
    if templates.changed_since(manifest.templates):
        return None

    def render(tree: SearchTree, node: Node) -> Sequence[Message]:
        parent = parent_of(tree, node)
        if parent is None:
            return () if is_supplied(node) else tree.prompt.messages
        second = parent if node.second_parent is None else tree.nodes[node.second_parent]
        if parent.judgement is None or second.judgement is None:
            return ()
        other = (second.response, second.judgement.critique) if second is not parent else None
        critique = parent.judgement.critique
        return templates.refine_conversation(tree.prompt.messages, parent.response, critique, other)

    return render


def _match_id(ids: Iterable[str], prompt_id: str, path: Path) -> str:
    ids = list(ids)
    if prompt_id in ids:
        return prompt_id
    matches = [name for name in ids if name.startswith(prompt_id)]
    if len(matches) == 1:
        return matches[0]
    if not ids:
        raise no_trees(path)
    message = f"{path} has {len(ids):,} trees"
    if prompt_id:
        prefix = one_line(prompt_id, _ID_WIDTH)
        message += f", {len(matches) or 'none'} with an id that starts with {prefix!r}"
    shown = [one_line(name, _ID_WIDTH) for name in (matches or ids)[:_SHOWN_IDS]]
    more = ["..."] if len(matches or ids) > _SHOWN_IDS else []
    raise UsageError(f"{message}; pass --id with one of {', '.join([*shown, *more])}")
