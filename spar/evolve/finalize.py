"""From a run's trees to its files: the prompts that are kept, the rest with reasons, the report.

No model is asked, so it may be done again as often as wanted: with more benchmarks at hand, for instance.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spar.errors import ConfigChanged, RunStopped
from spar.evolve.inputs import Material
from spar.evolve.report import make_report
from spar.evolve.select import Outcome, outcome, select
from spar.record.evolution import EvolveReport, write_files, write_report
from spar.store import read_trees


def finish(directory: Path, material: Material, teacher: str) -> EvolveReport:
    """Write the files of an evolution whose every request has its tree.

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
    outcomes = {one.request.id: one for one in read_outcomes(directory, material)}
    missing = material.num_requests - len(outcomes)
    if missing:
        raise RunStopped(f"{directory} lacks {missing} trees; run the same command again to resume")
    in_order = [outcomes[request.id] for request in material.requests()]
    selection = select(in_order, material.seeds, material.benchmarks)
    rejected = (*material.bad_seeds, *selection.rejected)
    files = write_files(directory, selection.kept, rejected)
    report = make_report(material, selection, teacher=teacher, files=files)
    write_report(directory, report)
    return report


def read_outcomes(directory: Path, material: Material) -> Iterator[Outcome]:
    """What became of the requests so far, in no order; an earlier command may have made more of them.

    Raises
    ------
    ConfigChanged
        A seed prompt has another text than the one that was sent.
    """
    wanted = {request.id: request for request in material.requests()}
    for tree in read_trees(directory):
        request = wanted.get(tree.prompt.id)
        if request is None:
            continue
        if tree.prompt.messages != request.messages or tree.prompt.meta != request.meta:
            raise ConfigChanged(
                f"{directory} holds a reply to another text of the seed prompt {request.id}; start over "
                "with --fresh, or give another --out"
            )
        yield outcome(tree)
