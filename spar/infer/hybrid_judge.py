"""The judge `hybrid`: programs for the constraints that have one, the judge's model votes on the rest.

    constraints of the prompt           judged by
    all of known types                  programs; no call
    some of unknown types               programs first; if they are all met, votes
    none                                votes

A constraint that is not met fails the response without a call; so does repetition with `--judge-arg no_repetition=true`. A response passes if programs and votes pass it; in its
score the votes count as one more constraint, met to their share (`spar.types.Judgement`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spar.errors import UsageError
from spar.findings import critique, finding_lines
from spar.infer.engine import Engine
from spar.infer.judges import JudgeSettings, JudgeSpec, OneRoundJudge, VotesJudge, require_majority
from spar.infer.known_part import known_part
from spar.infer.reporting import Report, judge_reporting
from spar.infer.roles import Judge, Seeds
from spar.infer.verifier_judge import ProgramOptions, with_repetition
from spar.types import Finding, Judgement, Prompt, Usage
from spar.verifiers import keyword_note, unverifiable, verify_prompt


@dataclass(frozen=True, slots=True)
class HybridJudge:
    """Programs, then a judge that votes where they cannot decide alone."""

    settings: JudgeSettings
    voting: Judge
    """Who judges what programs cannot."""
    no_repetition: bool = False
    """Whether a response that repeats itself fails."""

    @property
    def engine(self) -> Engine:
        """The model's engine."""
        return self.settings.engine

    def one_round(self) -> HybridJudge:
        """The same judge limited to one round of votes."""
        return HybridJudge(self.settings, OneRoundJudge(self.settings), self.no_repetition)

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Verify what programs know; ask for votes unless that decides.

        Raises
        ------
        AttemptFailed
            The votes decide nothing.
        UsageError
            A program knows a constraint and cannot check it.
        """
        return await self._judge(prompt, response, seeds, None)

    async def judge_early(
        self, prompt: Prompt, response: str, seeds: Seeds, report: Report
    ) -> tuple[Judgement, Usage]:
        """The same judgement; `report` is called with the one to expect once a vote says No."""
        return await self._judge(prompt, response, seeds, report)

    async def _judge(
        self, prompt: Prompt, response: str, seeds: Seeds, report: Report | None
    ) -> tuple[Judgement, Usage]:
        findings, judgement = judge_by_programs(prompt, response, no_repetition=self.no_repetition)
        if judgement is not None:
            return judgement, Usage()

        def report_whole(votes: Judgement | None) -> None:
            assert report is not None
            report(votes and with_findings(votes, findings))

        votes, usage = await judge_reporting(
            self.voting, prompt, response, seeds, report and report_whole
        )
        return with_findings(votes, findings), usage


def judge_by_programs(
    prompt: Prompt, response: str, *, no_repetition: bool = False
) -> tuple[tuple[Finding, ...], Judgement | None]:
    """What programs find in a response, and their judgement; None where the model decides on the rest.

    Parameters
    ----------
    no_repetition:
        Whether a response that repeats itself fails.

    Raises
    ------
    UsageError
        A program knows a constraint and cannot check it.
    """
    known = known_part(prompt)
    findings: tuple[Finding, ...] = ()
    if known.prompt is not None:
        findings = verify_prompt(response, known.prompt)
        if not findings:
            require_checkable([prompt])
    if no_repetition:
        findings = with_repetition(findings, response)
    if known.is_partial and all(finding.met for finding in findings):
        return findings, None
    return findings, Judgement(verdicts=(), critique=critique(findings), findings=findings)


def with_findings(votes: Judgement, findings: tuple[Finding, ...]) -> Judgement:
    """Votes on what programs leave open, together with what these found."""
    if not findings:
        return votes
    # The vote's text comes last: its verdict is the reply's.
    text = "\n".join([*finding_lines(findings), "", votes.critique])
    return votes.model_copy(update={"critique": text, "findings": findings})


def require_checkable(prompts: Iterable[Prompt]) -> None:
    """Raise `UsageError` where a program knows a constraint and cannot check it: votes do not stand in for it."""
    for row, prompt in enumerate(prompts, start=1):
        known = known_part(prompt).prompt
        if known is not None and (reason := unverifiable(known)):
            raise UsageError(
                f"the judge's programs cannot check row {row}, prompt {prompt.id!r}: {reason}; correct this, leave the "
                "constraint out, or use --judge votes"
            )


def needs_votes(prompt: Prompt) -> bool:
    """Whether a response that meets all that programs check is voted on."""
    return known_part(prompt).is_partial


def _open(settings: JudgeSettings, options: ProgramOptions) -> HybridJudge:
    return HybridJudge(settings, VotesJudge(settings), options.no_repetition)


HYBRID = JudgeSpec(
    _open,
    options=ProgramOptions,
    check_prompts=require_checkable,
    prompt_note=keyword_note,
    needs_model=needs_votes,
    validate=require_majority,
)
"""Programs where there is one, votes for the rest."""
