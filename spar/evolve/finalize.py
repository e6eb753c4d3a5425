"""Writes the files of an evolution out of its trees: the selected prompts, the rejected ones, the report.

No model is called, so it can be repeated at any time, for instance once more benchmarks are at hand.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spar.errors import ConfigChanged, RunStopped
from spar.evolve.inputs import EvolveInputs
from spar.evolve.report import make_report
from spar.evolve.select import RequestOutcome, outcome_of, select
from spar.record.evolution import EvolveReport, write_files, write_report
from spar.store import read_trees


def finalize(directory: Path, inputs: EvolveInputs, teacher: str) -> EvolveReport:
    """Write the files of an evolution whose requests all have a tree.

    Parameters
    ----------
    teacher:
        The model's name, for the report.

    Raises
    ------
    ConfigChanged
        A seed prompt has another text than the one that was sent.
    RunStopped
        The disk is full or fails, or a tree is missing.
    """
    outcomes = {outcome.request.id: outcome for outcome in read_outcomes(directory, inputs)}
    missing = inputs.num_requests - len(outcomes)
    if missing:
        raise RunStopped(f"{directory} lacks {missing} trees; rerun the command to resume")
    in_order = [outcomes[request.id] for request in inputs.requests()]
    selection = select(in_order, inputs.seeds, inputs.index)
    rejected = (*inputs.contaminated_seeds, *selection.rejected)
    files = write_files(directory, selection.selected, rejected)
    report = make_report(inputs, selection, teacher=teacher, files=files)
    write_report(directory, report)
    return report


def read_outcomes(directory: Path, inputs: EvolveInputs) -> Iterator[RequestOutcome]:
    """The outcomes of the requests so far, in no order; trees of other requests are skipped.

    Raises
    ------
    ConfigChanged
        A seed prompt has another text than the one that was sent.
    """
    requests = {request.id: request for request in inputs.requests()}
    for tree in read_trees(directory):
        request = requests.get(tree.prompt.id)
        if request is None:
            continue
        if tree.prompt.messages != request.messages or tree.prompt.meta != request.meta:
            raise ConfigChanged(
                f"{directory} holds a reply to another text of the seed prompt {request.id}; start over "
                "with --overwrite, or choose another --out"
            )
        yield outcome_of(tree)
