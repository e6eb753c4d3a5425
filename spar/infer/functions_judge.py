"""The judge `functions`: verification functions that a model wrote for the prompt vote on a response.

Source: AutoIF (arXiv 2406.13542). Each function in `verification_functions` of the prompt's meta runs in the sandbox, and says yes or no; one
that raises, or hits a limit, has no verdict. The score is the share of yes, and a response passes above `--threshold`
(source: more than half of the functions). The functions are not the model's that judges: no call is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from spar.errors import UsageError
from spar.infer.judges import JudgeSettings, JudgeSpec
from spar.infer.roles import Seeds
from spar.types import Judgement, Prompt, Usage
from spar.verification_functions import FUNCTIONS, functions_of, require_permission, verdicts


@dataclass(frozen=True, slots=True)
class FunctionsJudge:
    """The share of a prompt's functions that a response passes."""

    settings: JudgeSettings

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Run the functions; costs no call."""
        require_permission("--judge functions")
        functions = functions_of(prompt)
        if not functions:
            require_functions([prompt])
        said = await asyncio.to_thread(verdicts, functions, response)
        num_yes = sum(each is True for each in said)
        read = sum(each is not None for each in said)
        passed = 2 * num_yes > read
        critique = (
            f"{num_yes} of {read} functions accept the response.\n"
            f"Final Judgement: {'Yes' if passed else 'No'}"
        )
        return Judgement(verdicts=tuple(said), critique=critique), Usage()


def require_functions(prompts: Iterable[Prompt]) -> None:
    """Raise `UsageError` unless every prompt has functions, and they may run."""
    require_permission("--judge functions")
    for prompt in prompts:
        if not functions_of(prompt):
            raise UsageError(
                f"--judge functions: prompt {prompt.id!r} has no {FUNCTIONS!r}, a list of sources of Python functions `evaluate(response)`; "
                "spar train --recipe autoif writes such prompts"
            )


FUNCTIONS_JUDGE = JudgeSpec(FunctionsJudge, uses_model=False, check_prompts=require_functions)
"""The functions in each prompt's meta."""
