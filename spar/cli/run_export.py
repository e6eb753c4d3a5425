"""Run `spar export`: check the options, and write a tree, a page or a table, whole or not at all."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeVar

from spar.cli.show.counting import counting
from spar.errors import RunStopped, UsageError
from spar.eval.standings import standings
from spar.export import TREE_FORMATS, export_tree
from spar.export.collector import send
from spar.export.columns import ROW_KINDS, RowKind
from spar.export.otlp import json_line, requests, run_origin
from spar.export.page.comparison import compare_runs, comparison_page
from spar.export.page.run_page import run_pages
from spar.export.run import annotations_for, check_constraints, find_tree, program_annotations
from spar.export.table import TABLE_FORMATS, TableFormat, write_examples, write_table
from spar.files import is_same_file, writing
from spar.record.evaluation import EXAMPLES, read_examples
from spar.record.outcomes import pluralize
from spar.record.own_files import own_file
from spar.record.prompt_order import prompt_ids
from spar.sanitize import printable
from spar.store import find_run, last_trees, read_summary, read_trees
from spar.view.node_detail import Annotations

_Name = TypeVar("_Name", bound=str)
SPAN_FORMATS = ("otlp",)
RUN_FORMATS = ("html",)
"""Formats of a tree in which a whole run can be written too."""
_ROWS_OF_TREES, _ROWS_OF_EXAMPLES, _ROWS_OF_FAULTS = "trees", "examples", "faults"
_ALL_ROWS = (*ROW_KINDS, _ROWS_OF_EXAMPLES)


@dataclass(frozen=True, slots=True)
class Export:
    """The options of `spar export`."""

    run: Path
    """What `find_run` takes."""
    file_format: str
    """One of `TREE_FORMATS` or `TABLE_FORMATS`."""
    prompt_id: str = ""
    """Of the tree; a unique prefix is enough. Empty: the run's only tree, or all trees of a page."""
    rows: str = ""
    """One of `ROW_KINDS`, or examples. Empty: trees, or the examples of an evaluation without trees."""
    out: Path | None = None
    """None: standard output."""
    others: tuple[Path, ...] = ()
    """Runs to compare with it on one page."""
    url: str = ""
    """Of a collector of OpenTelemetry spans, in place of `out`."""


def run(options: Export) -> None:
    """Write the tree, the page or the table.

    Raises
    ------
    UsageError
        The options do not go together, there is no such run or tree, or a line of it is damaged.
    RunStopped
        The file cannot be written. A previous version of it is left unchanged.
    """
    file_format = _choice(
        "--format", options.file_format, (*TREE_FORMATS, *TABLE_FORMATS, *SPAN_FORMATS)
    )
    if options.url and file_format not in SPAN_FORMATS:
        raise UsageError(
            f"--out {options.url!r} is a URL, which --format otlp sends to; {file_format} is written to a file"
        )
    options = replace(
        options, run=find_run(options.run), others=tuple(map(find_run, options.others))
    )
    if options.out is not None:
        _refuse_own_file(options.out, (options.run, *options.others))
    if options.others:
        _write_comparison(options)
        return
    if file_format in TABLE_FORMATS:
        _write_table(options)
        return
    if options.rows:
        raise UsageError(
            f"--rows {options.rows!r} needs --format {' or '.join(TABLE_FORMATS)}, not {options.file_format}"
        )
    if file_format in SPAN_FORMATS:
        _write_spans(options)
    elif file_format in RUN_FORMATS and not options.prompt_id:
        _write_pages(options)
    else:
        _write_tree(options)


def _refuse_own_file(out: Path, sources: Iterable[Path]) -> None:
    """Raise `UsageError` where a file would replace what is read, or a file of any run."""
    own = own_file(out)
    if own is not None:
        inside = any(is_same_file(str(source), str(own.parent)) for source in sources)
        whose = "the run itself" if inside else f"a run, {printable(str(own))}"
        raise UsageError(f"--out {str(out)!r} is a file of {whose}; choose another name")
    if any(source.is_file() and is_same_file(str(source), str(out)) for source in sources):
        raise UsageError(f"--out {str(out)!r} is the file that is read; choose another name")


def _write_pages(options: Export) -> None:
    """The whole run as a page, or as several files beside each other; the first one is written last."""
    with counting("tree") as counted:
        pages = run_pages(options.run, Annotations(check_constraints), progress=counted)
    out = options.out
    if out is None:
        if len(pages.pages) > 1:
            raise UsageError(
                f"{options.run} has {pages.totals.trees:,} trees, more than fit into one file; pass --out FILE, "
                "beside which the other files are written"
            )
        _, parts = next(pages.files("page.html"))
        _write_parts(sys.stdout.buffer, parts)
        sys.stdout.flush()
        return
    files = list(pages.files(out.name))
    for name, parts in reversed(files):
        _write(out.with_name(name), lambda handle, parts=parts: _write_parts(handle, parts))  # type: ignore[misc]
    more = f" to {printable(files[-1][0])}" if len(files) > 1 else ""
    more += _uncounted(options.run, pages.totals.trees)
    print(
        f"{pluralize(pages.totals.trees, 'tree')} in {printable(str(out))}{more}", file=sys.stderr
    )


def _write_comparison(options: Export) -> None:
    """Several runs as a page that compares them."""
    if options.file_format not in RUN_FORMATS or options.prompt_id or options.rows:
        raise UsageError(
            "several runs are compared on a page: use --format html without --id and --rows, or give one run"
        )
    with counting("tree") as counted:
        compared = compare_runs(
            (options.run, *options.others), check_constraints, standings, counted
        )
    parts = comparison_page(compared)
    if options.out is None:
        _write_parts(sys.stdout.buffer, parts)
        sys.stdout.flush()
        return
    _write(options.out, lambda handle: _write_parts(handle, parts))
    names = f"{len(compared.names)} runs on {pluralize(len(compared.prompts), 'prompt')}"
    print(f"{names} in {printable(str(options.out))}", file=sys.stderr)


def _write_spans(options: Export) -> None:
    """The run, or one of its trees, as OpenTelemetry spans: in a file, or sent to a collector."""
    run, num_trees = options.run, 0
    with counting("tree") as counted:
        if options.prompt_id:
            trees = iter([find_tree(run, options.prompt_id)])
        else:
            trees = last_trees(run, counted if options.url or options.out else None)
        traces = requests(trees, run_origin(run), annotations_for(run))
        if options.url:
            num_trees = send(traces, options.url)
        elif options.out is None:
            for trace in traces:
                sys.stdout.buffer.write(json_line(trace))
            sys.stdout.flush()
        else:
            _write(
                options.out, lambda handle: sum(handle.write(json_line(each)) for each in traces)
            )
    if options.url:
        print(f"{pluralize(num_trees, 'tree')} sent to {printable(options.url)}", file=sys.stderr)


def _write_parts(handle: IO[bytes], parts: Iterable[str]) -> int:
    return sum(handle.write(part.encode("utf-8")) for part in parts)


def _write_tree(options: Export) -> None:
    tree = find_tree(options.run, options.prompt_id)
    file_format = _choice("--format", options.file_format, TREE_FORMATS)
    # The record itself has no verdict of an evaluation, whose examples may be damaged.
    annotate = program_annotations if file_format == "json" else annotations_for
    text = export_tree(tree, file_format, annotate(options.run))
    if options.out is None:
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.flush()
    else:
        _write(options.out, lambda handle: handle.write(text.encode("utf-8")))


def _write_table(options: Export) -> None:
    file_format = _choice("--format", options.file_format, TABLE_FORMATS)
    rows = _choice("--rows", options.rows or _default_rows(options.run), _ALL_ROWS)
    if options.prompt_id:
        raise UsageError(
            f"--id needs --format {', '.join(TREE_FORMATS)}; {file_format} writes the whole run"
        )
    out = options.out
    if out is None:
        raise UsageError(f"--format {file_format} needs --out FILE")
    num_rows = _write(out, lambda handle: _write_rows(options.run, handle, file_format, rows))
    more = _uncounted(options.run, num_rows) if rows == _ROWS_OF_TREES else ""
    print(f"{num_rows:,} {rows} in {printable(str(out))}{more}", file=sys.stderr)


def _uncounted(run: Path, num_trees: int) -> str:
    """How many of the trees the run's totals do not count, as after a smaller `--limit`; "" for none."""
    try:
        counted = read_summary(run)["trees"]
    except (UsageError, KeyError):  # a run in progress, or a file of trees
        return ""
    is_fewer = isinstance(counted, int) and counted < num_trees
    return f", {num_trees - counted:,} more than its totals count" if is_fewer else ""


def _write_rows(run: Path, handle: IO[bytes], file_format: TableFormat, rows: str) -> int:
    if rows == _ROWS_OF_EXAMPLES:
        return write_examples(read_examples(run), handle, file_format)
    annotate = program_annotations if rows == _ROWS_OF_FAULTS else annotations_for  # as above
    kind: RowKind = _choice("--rows", rows, ROW_KINDS)
    ids = prompt_ids(run) if run.is_dir() else []
    trees = last_trees(run, order=ids)
    return write_table(trees, handle, file_format, rows=kind, annotations=annotate(run))


def _default_rows(run: Path) -> str:
    """Trees; where the run has none, the examples of an evaluation, whose answers came from a file."""
    if next(iter(read_trees(run)), None) is not None:
        return ROW_KINDS[0]
    if (run / EXAMPLES).is_file():
        return _ROWS_OF_EXAMPLES
    raise UsageError(f"{run} has no trees yet; run the command that made it again to complete it")


def _choice(flag: str, value: str, accepted: Sequence[_Name]) -> _Name:
    for name in accepted:
        if value == name:
            return name
    raise UsageError(f"{flag} {value!r} is not accepted; choose from {', '.join(accepted)}")


def _write(path: Path, write: Callable[[IO[bytes]], int]) -> int:
    """Write a file as a whole, or leave it unchanged; returns what `write` returned."""
    if not path.name or path.is_dir():
        raise UsageError(f"--out {str(path)!r} is a folder; name a file, such as --out run.html")
    try:
        with writing(path) as stream:
            return write(stream)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise RunStopped(
            f"cannot write {path}: {error.strerror or error}; fix this and rerun the command"
        ) from error
