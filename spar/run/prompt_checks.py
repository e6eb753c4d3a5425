"""What is said about a run's prompts before anything is generated.

A judge that cannot judge every prompt refuses the run, and so does a refiner that can refine for none; where only the
ground truth of the summary is missing for some prompts, or a judge may judge one otherwise than is meant, a line says
which.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from spar.config import DecodeConfig
from spar.infer.engine import NoteCallback
from spar.plugins import JUDGES, REFINERS, STRATEGIES
from spar.run.build import judge_with
from spar.run.job import Job
from spar.types import Prompt
from spar.verifiers import CONSTRAINTS, unverifiable_prompts


def refuse_unjudgeable(config: DecodeConfig, job: Job, prompts: Iterable[Prompt]) -> bool:
    """Raise `UsageError` if the judge would be called and cannot judge every prompt; returns whether it was asked."""
    judges = job.roots is not None or "judge" in STRATEGIES.spec(config.strategy).roles
    check = JUDGES.spec(config.judge).check_prompts
    if not judges or check is None:
        return False
    check(prompts)
    return True


def refuse_unrefinable(config: DecodeConfig, prompts: Iterable[Prompt]) -> None:
    """Raise `UsageError` if the refiner would be called and can refine responses to none of a run's prompts."""
    check = REFINERS.spec(config.refiner or "model").check_prompts
    if config.refiner == "rewrite" and _fails_repetition(config):
        return  # that can be refined in a response to any prompt
    if check is not None and "refiner" in STRATEGIES.spec(config.strategy).roles:
        check(prompts)


def _fails_repetition(config: DecodeConfig) -> bool:
    """Whether the judge is a program that was told to look for repetition."""
    _, options = judge_with(config)
    return bool(getattr(options, "no_repetition", False))


def refuse_prompts(config: DecodeConfig, read: Callable[[], Iterable[Prompt]]) -> None:
    """Raise `UsageError` if the judge cannot judge every prompt of a new run, or the refiner can refine for none.

    Parameters
    ----------
    read:
        Reads the prompts; called once for each of the two.
    """
    refuse_unjudgeable(config, Job("", ()), read())
    refuse_unrefinable(config, read())


def check_prompts(
    config: DecodeConfig,
    job: Job,
    prompts: Iterable[Prompt],
    note: NoteCallback,
    *,
    is_single: bool = False,
) -> None:
    """Refuse prompts that the judge cannot judge; note the first that it may judge otherwise than is meant, and those
    without a ground truth.

    Parameters
    ----------
    prompts:
        The prompts that have no tree yet, read once.
    is_single:
        Whether it is one prompt that a caller asks for, which a note need not name.

    Raises
    ------
    UsageError
        The judge would be called, and cannot judge some of them.
    """
    noted = _Noted(JUDGES.spec(config.judge).prompt_note, is_named=not is_single)
    if refuse_unjudgeable(config, job, noted.watch(prompts)):
        if noted.line:
            note(noted.line)
        return
    constrained = (prompt for prompt in prompts if prompt.meta.get(CONSTRAINTS))
    count, listed = unverifiable_prompts(constrained)
    if count:
        note(
            f"prompts whose constraints cannot be checked, {count:,}: {listed}; "
            "the summary's ground truth leaves them out"
        )


class _Noted:
    """Watches prompts go by, and has the judge's note on the first that it has one on."""

    def __init__(self, of: Callable[[Prompt], str] | None, *, is_named: bool) -> None:
        self._of, self._is_named = of, is_named
        self.line = ""

    def watch(self, prompts: Iterable[Prompt]) -> Iterator[Prompt]:
        for prompt in prompts:
            if self._of is not None and not self.line and (note := self._of(prompt)):
                self.line = f"prompt {prompt.id!r}: {note}" if self._is_named else note
            yield prompt
