"""IFEval in a shuffled order, so that its first prompts are a random sample, and a judge that votes once.

Not a command; a plug-in that `real_strategies.py` names.
"""

from __future__ import annotations

import random

from spar.config import EvalConfig
from spar.eval.ifeval import IFEval
from spar.infer.judges import JudgeSpec, OneRoundJudge
from spar.types import Prompt

ONE_ROUND = JudgeSpec(OneRoundJudge, attempts=1)
"""The votes of a first round, all of them cast, whatever they decide."""


class ShuffledIFEval(IFEval):
    """The same prompts in an order drawn by `prompt_seed`; `--limit` then takes a sample."""

    def load(self, config: EvalConfig) -> list[Prompt]:
        """All prompts, shuffled."""
        prompts = super().load(config)
        random.Random(config.prompt_seed).shuffle(prompts)
        return prompts
