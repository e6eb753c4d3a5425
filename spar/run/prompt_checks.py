"""What is said about a run's prompts before anything is generated.

A judge that cannot judge every prompt refuses the run; where only the ground truth of the summary is missing
for some prompts, a line says which.
"""

from __future__ import annotations

from collections.abc import Iterable

from spar.config import DecodeConfig
from spar.infer.engine import NoteCallback
from spar.plugins import JUDGES, STRATEGIES
from spar.run.job import Job
from spar.types import Prompt
from spar.verifiers import CONSTRAINTS, unverifiable_prompts


def check_prompts(
    config: DecodeConfig, job: Job, prompts: Iterable[Prompt], note: NoteCallback
) -> None:
    """Refuse prompts that the judge cannot judge; note those without a ground truth.

    Parameters
    ----------
    prompts:
        The prompts that have no tree yet, read once.

    Raises
    ------
    UsageError
        The judge would be called, and cannot judge some of them.
    """
    judges = job.roots is not None or "judge" in STRATEGIES.spec(config.strategy).roles
    check = JUDGES.spec(config.judge).check_prompts
    if judges and check is not None:
        check(prompts)
        return
    constrained = (prompt for prompt in prompts if prompt.meta.get(CONSTRAINTS))
    count, listed = unverifiable_prompts(constrained)
    if count:
        note(
            f"prompts whose constraints cannot be checked, {count:,}: {listed}; "
            "the summary's ground truth leaves them out"
        )
