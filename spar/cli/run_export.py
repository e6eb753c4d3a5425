"""What `spar export` does: find the tree, make the text or the table, write it whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TypeVar

from spar.errors import RunStopped, UsageError
from spar.export import TREE_FORMS, export_tree
from spar.export.columns import ROWS
from spar.export.table import TABLE_FORMS, write_table
from spar.files import replacing
from spar.store import TREES, read_manifest, read_trees, tree_offsets
from spar.types import Message, Node, SearchTree
from spar.view.layout import parent_of
from spar.view.node_detail import Facts, Rendered
from spar.view.text import one_line
from spar.view.tree_lines import is_given

_SHOWN_IDS = 5
_CELLS = 60
_Name = TypeVar("_Name", bound=str)


@dataclass(frozen=True, slots=True)
class Export:
    """What was asked for."""

    run: Path
    """A run directory, or a file of trees."""
    form: str
    """One of `TREE_FORMS` or `TABLE_FORMS`."""
    prompt_id: str = ""
    """Of the tree; a unique beginning will do. "": the only one."""
    rows: str = ""
    """One of `ROWS`. "": trees."""
    out: Path | None = None
    """None: standard output."""


def run(asked: Export) -> None:
    """Write what was asked for.

    Raises
    ------
    UsageError
        Flags that do not go together, no such run or tree, or a damaged line in it.
    RunStopped
        The file cannot be written. What was there before is as it was.
    """
    form = _one_of("--format", asked.form, (*TREE_FORMS, *TABLE_FORMS))
    if form in TABLE_FORMS:
        _write_table(asked)
    else:
        _write_tree(asked)


def verdicts(tree: SearchTree, node: Node) -> Sequence[tuple[str, bool]]:
    """Each constraint of the prompt and whether the response meets it; none where spar cannot tell."""
    from spar.verifiers import passes, verify_meta

    if passes(node.response, tree.prompt.meta) is None:
        return ()
    return verify_meta(node.response, tree.prompt.meta)


def open_rendered(directory: Path) -> Rendered | None:
    """What tells the conversation that a node continued; None where the run's templates are not at hand."""
    from spar.templates import load

    try:
        manifest = read_manifest(directory)
        folder = manifest.config.get("templates")
        templates = load(Path(folder) if folder else None)
    except UsageError:
        return None
    digests = templates.digests()
    if any(manifest.templates.get(name) != digest for name, digest in digests.items()):
        return None

    def rendered(tree: SearchTree, node: Node) -> Sequence[Message]:
        parent = parent_of(tree, node)
        if parent is None:
            return () if is_given(node) else tree.prompt.messages
        if parent.judgement is None:
            return ()
        critique = parent.judgement.critique
        return templates.refine_conversation(tree.prompt.messages, parent.response, critique)

    return rendered


def find_tree(path: Path, prompt_id: str = "") -> SearchTree:
    """The tree of a prompt whose id is, or alone begins with, `prompt_id`; the only one where that is "".

    Raises
    ------
    UsageError
        None or several fit, the file is missing, or a line of it is damaged.
    """
    read_trees(path)  # says what is wrong with the path
    path = path / TREES if path.is_dir() else path
    offsets = tree_offsets(path)
    start = offsets[_chosen(offsets, prompt_id, path)]
    with path.open("rb") as handle:
        handle.seek(start)
        try:
            return SearchTree.from_json(handle.readline())
        except ValueError as error:
            reason = one_line(str(error), 200)
            raise UsageError(f"{path}: the tree at byte {start} is damaged: {reason}") from error


def _write_tree(asked: Export) -> None:
    if asked.rows:
        raise UsageError(f"--rows {asked.rows!r} goes with --format {' or '.join(TABLE_FORMS)}")
    tree = find_tree(asked.run, asked.prompt_id)
    facts = Facts(verdicts, open_rendered(asked.run))
    text = export_tree(tree, _one_of("--format", asked.form, TREE_FORMS), facts)
    if asked.out is None:
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.flush()
    else:
        _replace(asked.out, lambda handle: handle.write(text.encode("utf-8")))


def _write_table(asked: Export) -> None:
    form = _one_of("--format", asked.form, TABLE_FORMS)
    rows = _one_of("--rows", asked.rows or ROWS[0], ROWS)
    if asked.prompt_id:
        raise UsageError(f"--id goes with --format {', '.join(TREE_FORMS)}; {form} is a whole run")
    if asked.out is None:
        raise UsageError(f"--format {form} needs --out FILE")
    trees, facts = read_trees(asked.run), Facts(verdicts)
    num_rows = _replace(
        asked.out, lambda handle: write_table(trees, handle, form, rows=rows, facts=facts)
    )
    print(f"{num_rows:,} {rows} in {asked.out}", file=sys.stderr)


def _chosen(ids: Iterable[str], prompt_id: str, path: Path) -> str:
    known = list(ids)
    if prompt_id in known:
        return prompt_id
    fitting = [one for one in known if one.startswith(prompt_id)]
    if len(fitting) == 1:
        return fitting[0]
    if not known:
        raise UsageError(f"{path} holds no tree yet; run spar decode first")
    held = f"{path} holds {len(known):,} trees"
    if prompt_id:
        held += f", {len(fitting) or 'none'} with an id that begins with {one_line(prompt_id, _CELLS)!r}"
    listed = [one_line(one, _CELLS) for one in (fitting or known)[:_SHOWN_IDS]]
    more = ["..."] if len(fitting or known) > _SHOWN_IDS else []
    raise UsageError(f"{held}; give --id, one of {', '.join([*listed, *more])}")


def _one_of(flag: str, value: str, accepted: Sequence[_Name]) -> _Name:
    for name in accepted:
        if value == name:
            return name
    raise UsageError(f"{flag} {value!r}: accepted are {', '.join(accepted)}")


def _replace(path: Path, write: Callable[[IO[bytes]], int]) -> int:
    """Write a file in place of the one that is there, or leave that as it is; what `write` returned."""
    try:
        with replacing(path) as stream:
            return write(stream)
    except OSError as error:
        raise RunStopped(
            f"cannot write {path}: {error.strerror or error}; fix this and rerun the command"
        ) from error
