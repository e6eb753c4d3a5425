"""The refiner that is a program: `--refiner rewrite` makes the smallest edits that meet a prompt's constraints.

It reads the prompt's `instruction_id_list` and `kwargs`, not the critique, and calls no model. What it cannot fix, such
as a text that is too short, is a failed attempt with its reason, or stays unmet beside what could be fixed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from spar.errors import UsageError
from spar.infer.roles import AttemptFailed, Generation, RefinerSpec, Seeds
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
            The prompt's constraints cannot be checked, all are met, or no program can fix one of those that are not.
        """
        if reason := unverifiable(prompt):
            raise AttemptFailed(f"the prompt cannot be rewritten for: {reason}", "", Usage())
        seed = seeds(0)
        result = rewrite(prompt, parent.response, seed=seed)
        if all(result.before):
            reason = "every constraint is met already; there is nothing to rewrite"
            raise AttemptFailed(reason, "", Usage())
        if not result.improved:
            raise AttemptFailed(f"cannot fix {'; '.join(result.unfixed)}", "", Usage())
        return Generation(result.response, result.reflection, Usage(), seed)


def require_any_verifiable(prompts: Iterable[Prompt]) -> None:
    """Raise `UsageError` if there are prompts, and programs can check the constraints of none of them."""
    first = ""
    for prompt in prompts:
        reason = unverifiable(prompt)
        if not reason:
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
