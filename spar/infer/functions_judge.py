"""The judge `functions`: verification functions that a model wrote for the prompt vote on a response.

Source: AutoIF (arXiv 2406.13542). Each function in `verification_functions` of the prompt's meta runs in the sandbox, and says yes or no; one
that raises, or hits a limit, has no verdict. The score is the share of yes, and a response passes above `--threshold`
(source: more than half of the functions). The functions are not the model's that judges: no call is made.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field

from spar.errors import UsageError
from spar.infer.judges import JudgeSettings, JudgeSpec
from spar.infer.roles import Seeds
from spar.types import Judgement, Prompt, Usage
from spar.verification_functions import (
    FUNCTIONS,
    Outcomes,
    functions_of,
    require_permission,
    verdicts,
)

_MOST_TEXTS = 32
"""Responses of a process: their verdicts fit into its report, and share its time."""
_Waiting = tuple[str, asyncio.Future[Outcomes]]
"""A response, and what the functions say of it."""


@dataclass(frozen=True, slots=True)
class FunctionsJudge:
    """The share of a prompt's functions that a response passes."""

    settings: JudgeSettings
    _waiting: dict[tuple[str, ...], list[_Waiting]] = field(default_factory=dict, init=False)
    """Functions to the responses that they are to run on next."""
    _runs: set[asyncio.Task[None]] = field(default_factory=set, init=False)

    async def judge(self, prompt: Prompt, response: str, seeds: Seeds) -> tuple[Judgement, Usage]:
        """Run the functions; costs no call."""
        require_permission("--judge functions")
        functions = functions_of(prompt)
        if not functions:
            require_functions([prompt])
        said = await self._said(functions, response)
        num_yes = sum(each is True for each in said)
        read = sum(each is not None for each in said)
        passed = 2 * num_yes > read
        critique = (
            f"{num_yes} of {read} functions accept the response.\n"
            f"Final Judgement: {'Yes' if passed else 'No'}"
        )
        return Judgement(verdicts=tuple(said), critique=critique), Usage()

    async def _said(self, functions: tuple[str, ...], response: str) -> Outcomes:
        """What the functions say of a response; responses that are judged at the same time share a process."""
        future: asyncio.Future[Outcomes] = asyncio.get_running_loop().create_future()
        if functions not in self._waiting:
            self._waiting[functions] = []
            run = asyncio.create_task(self._run(functions))
            self._runs.add(run)
            run.add_done_callback(self._runs.discard)
        self._waiting[functions].append((response, future))
        return await future

    async def _run(self, functions: tuple[str, ...]) -> None:
        await asyncio.sleep(0)  # the other drafts of a prompt are judged in the same turn
        waiting = self._waiting.pop(functions)
        for first in range(0, len(waiting), _MOST_TEXTS):
            batch = waiting[first : first + _MOST_TEXTS]
            texts = [response for response, _ in batch]
            try:
                found = await asyncio.to_thread(verdicts, functions, texts)
            except Exception as error:
                _end(waiting, error)
                return
            for (_, future), said in zip(batch, found, strict=True):
                if not future.done():  # it was cancelled
                    future.set_result(said)


def _end(waiting: Iterable[_Waiting], error: Exception) -> None:
    for _, future in waiting:
        if not future.done():
            future.set_exception(error)


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
