"""The refiner that is a program: `--refiner rewrite` makes the smallest edits that meet a prompt's constraints.

It reads the prompt's `instruction_id_list` and `kwargs`, not the critique, and calls no model; where the judge checks
for repetition (`--judge-arg no_repetition=true`), that is one more constraint. Constraints of types
that no program knows are left alone. What it cannot fix, such
as a text that is too short, is a failed attempt with its reason, or stays unmet beside what could be fixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spar.errors import UsageError
from spar.infer.known_part import also_under, known_part
from spar.infer.roles import AttemptFailed, Generation, RefinerSpec, Seeds
from spar.repetition import NO_REPETITION
from spar.rewrite.search import rewrite
from spar.types import Node, Prompt, Usage
from spar.verifiers import CONSTRAINTS, unverifiable


@dataclass(frozen=True, slots=True)
class RewriteRefiner:
    """Edits a node's response; a seed decides where there is freedom."""

    async def refine(self, prompt: Prompt, parent: Node, seeds: Seeds) -> Generation:
        """The response after the edits, and what was changed as the reflection.

        Raises
        ------
        AttemptFailed
            Programs can check none of the prompt's constraints, all that they check are met, or they can fix none of
            those that are not.
        """
        known, reason = _verifiable_part(prompt)
        if _may_not_repeat(parent):
            known = also_under(known or prompt.model_copy(update={"meta": {}}), NO_REPETITION)
        if known is None:
            reason = f"the prompt cannot be rewritten for: {reason}"
            raise AttemptFailed(reason, "", Usage(), is_final=True)
        seed = seeds(0)
        result = rewrite(known, parent.response, seed=seed)
        if all(result.before):
            reason = (
                "every constraint that programs check is met already; there is nothing to rewrite"
            )
            raise AttemptFailed(reason, "", Usage(), is_final=True)
        if not result.improved:
            reason = f"cannot fix {'; '.join(result.unfixed)}"
            raise AttemptFailed(reason, "", Usage(), is_final=not result.has_edits)
        return Generation(result.response, result.reflection, Usage(), seed)


def _may_not_repeat(node: Node) -> bool:
    """Whether the judge held repetition against the response, as it does with `--judge-arg no_repetition=true`."""
    findings = node.judgement.findings if node.judgement else ()
    return any(each.type == NO_REPETITION for each in findings)


def _verifiable_part(prompt: Prompt) -> tuple[Prompt | None, str]:
    """The prompt under the constraints of known types; None and the reason where they cannot be checked."""
    try:
        known = known_part(prompt).prompt
    except UsageError as error:
        return None, str(error)
    reason = unverifiable(known or prompt)
    return (None, reason) if reason else (known, "")


def require_any_verifiable(prompts: Iterable[Prompt]) -> None:
    """Raise `UsageError` if there are prompts, and programs can check the constraints of none of them."""
    first = ""
    for prompt in prompts:
        known, reason = _verifiable_part(prompt)
        if known is not None:
            return
        first = first or f"prompt {prompt.id!r}: {reason}"
    if first:
        raise UsageError(
            f"--refiner rewrite has nothing to do: programs can check none of the prompts ({first}); accepted: "
            f"{CONSTRAINTS} and kwargs with the types of IFEval or nano-if; add these fields, or use --refiner model"
        )


REWRITE = RefinerSpec(
    lambda *_: RewriteRefiner(), uses_model=False, check_prompts=require_any_verifiable
)
"""A program's edits."""
