"""The packages' verifiers that prompts of a file need: loaded before a run, and named in its results.

Such prompts carry constraints of IFEval's types, of IFBench's or of nano-if's, and only the first two need packages.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from spar import ifbench_verifiers, ifeval_verifiers
from spar.eval import ifbench, ifeval
from spar.ifbench_verifiers import IFBENCH_TYPES
from spar.ifeval_verifiers import IFEVAL_TYPES
from spar.types import Prompt
from spar.verifiers import constraints_of, unverifiable


def load_needed_verifiers(examples: Sequence[Prompt], data: str) -> None:
    """Load them from the data folder, so that what is missing is reported before a run.

    Raises
    ------
    MissingExtra
        A package is not installed.
    UsageError
        Its data are not on this machine.
    """
    types = {prompt.id: _types(prompt) for prompt in examples}
    if any(of_prompt & IFBENCH_TYPES for of_prompt in types.values()):
        ifbench.load_verifiers(data)
    if any(types[prompt.id] & IFEVAL_TYPES and unverifiable(prompt) for prompt in examples):
        ifeval.load_verifiers(data)


def needed_packages(examples: Sequence[Prompt]) -> tuple[str, ...]:
    """Distributions whose versions the verdicts on these prompts can depend on."""
    types = {name for prompt in examples for name in _types(prompt)}
    of_ifeval = ifeval_verifiers.PACKAGES if types & IFEVAL_TYPES else ()
    of_ifbench = ifbench_verifiers.packages() if types & IFBENCH_TYPES else ()
    return tuple(dict.fromkeys((*of_ifeval, *of_ifbench)))


def _types(prompt: Prompt) -> set[str]:
    """The types of a prompt's constraints; none where these are malformed."""
    with suppress(ValueError):
        return {name for name, _ in constraints_of(prompt)}
    return set()
