"""What programs found in a response, constraint by constraint, and the critique that a refiner reads.

Whether a constraint is met is the verifier's to say (`spar.verifiers`). What was found is counted again, by
`spar.observations`; where the two disagree it is left out, so that a finding never contradicts its verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

from spar.observations import Observation
from spar.types import Finding


def finding(
    type_: str, met: bool, observed: Observation | None, *, words: str, error: str = ""
) -> Finding:
    """The record of a verifier's verdict, with what was found unless it contradicts the verdict.

    Parameters
    ----------
    words:
        The constraint in the verifier's words, for a type without words of our own.
    error:
        What the verifier failed with.
    """
    found = observed.found if observed and observed.met in (met, None) else ""
    if error:
        found = f"the verifier failed ({error})"
    constraint = (observed.constraint if observed else "") or words.rstrip(".")
    return Finding(type=type_, constraint=constraint, met=met, found=found)


def critique(findings: Sequence[Finding]) -> str:
    """The findings as a judge's reply: a line each, then the verdict."""
    passed = all(each.met for each in findings)
    return "\n".join([*finding_lines(findings), f"Final Judgement: {'Yes' if passed else 'No'}"])


def finding_lines(findings: Sequence[Finding]) -> list[str]:
    """A line for each finding: `- at least 300 words: 214 (not met)`."""
    lines = []
    for each in findings:
        verdict = "met" if each.met else "not met"
        lines.append(f"- {each.line} ({verdict})" if each.found else f"- {each.line}")
    return lines
