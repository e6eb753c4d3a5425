"""A judge that counts words, without a model."""

from __future__ import annotations

from pydantic import BaseModel

import spar


class LengthOptions(BaseModel):
    """`--judge-arg words=5`."""

    words: int = 2
    """Most words that pass."""


class LengthJudge:
    """Passes a response of few words; the score falls with every word more."""

    def __init__(self, options: LengthOptions) -> None:
        self._most = options.words

    async def judge(
        self, prompt: spar.Prompt, response: str, seeds: object
    ) -> tuple[spar.Judgement, spar.Usage]:
        """Judge at once; costs no call."""
        count = len(response.split())
        score = min(1.0, self._most / max(count, 1))
        critique = f"{count} words, at most {self._most} pass.\nFinal Judgement: "
        passed = count <= self._most
        judgement = spar.Judgement(
            verdicts=(passed,),
            critique=critique + ("Yes" if passed else "No"),
            probability=score if passed else score / 2,
        )
        return judgement, spar.Usage()


LENGTH = spar.JudgeSpec(
    lambda settings, options: LengthJudge(options), uses_model=False, options=LengthOptions
)
