"""The judge `verifier`: programs check every constraint of a prompt, and, where they are asked to, that a response does not repeat itself."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict

from spar.errors import UsageError
from spar.findings import critique, finding
from spar.infer.judges import JudgeSettings, JudgeSpec
from spar.infer.roles import Seeds
from spar.observations import observe
from spar.own_verifiers import verify
from spar.repetition import NO_REPETITION
from spar.types import Finding, Judgement, Prompt, Usage
from spar.verifiers import CONSTRAINTS, keyword_note, unverifiable_prompts, verify_prompt


class ProgramOptions(BaseModel):
    """Options of the judges that are programs, `verifier` and `hybrid`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    no_repetition: bool = False
    """Fail a response of which more than half repeats earlier parts of it (`spar.repetition`), as one more constraint."""


@dataclass(frozen=True, slots=True)
class VerifierJudge:
    """A program's ground truth, for prompts with `instruction_id_list` and `kwargs` in their meta.

    The score is the share of constraints met; a response passes if it meets them all.

    Raises
    ------
    UsageError
        The prompt has no constraints, or one that cannot be checked.
    """

    settings: JudgeSettings
    options: ProgramOptions = ProgramOptions()

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Verify at once; costs no call."""
        findings = verify_prompt(response, prompt)
        if not findings:
            require_verifiable([prompt])
        if self.options.no_repetition:
            findings = with_repetition(findings, response)
        return Judgement(verdicts=(), critique=critique(findings), findings=findings), Usage()


def with_repetition(findings: tuple[Finding, ...], response: str) -> tuple[Finding, ...]:
    """The findings, and whether the response repeats itself, unless the prompt asks for that by itself."""
    if any(each.type == NO_REPETITION for each in findings):
        return findings
    met = verify(response, NO_REPETITION, {})
    found = finding(NO_REPETITION, met, observe(response, NO_REPETITION, {}), words=NO_REPETITION)
    return (*findings, found)


def require_verifiable(prompts: Iterable[Prompt]) -> None:
    """Raise `UsageError` if programs cannot check the constraints of every prompt."""
    count, listed = unverifiable_prompts(prompts)
    if count:
        raise UsageError(
            f"--judge verifier cannot check {count:,} of the prompts: {listed}; accepted: {CONSTRAINTS} and kwargs "
            "with the types of IFEval, IFBench or nano-if; correct this, leave these rows out, or use --judge hybrid or --judge votes"
        )


VERIFIER = JudgeSpec(
    VerifierJudge,
    uses_model=False,
    options=ProgramOptions,
    check_prompts=require_verifiable,
    prompt_note=keyword_note,
    takes_vote_rule=False,
)
"""A program's ground truth."""
