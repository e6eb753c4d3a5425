"""An engine that answers without a model: drafts echo the prompt, verdicts and refinements are scripted."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

from pydantic import BaseModel

import spar


class EchoOptions(BaseModel):
    """`--engine-arg suffix=x`."""

    suffix: str = ""
    """Put after every draft."""


class EchoEngine:
    """Counts words as tokens."""

    capacity = 0
    description = "echoes"

    def __init__(self, model: str, suffix: str) -> None:
        self.model, self._suffix = model, suffix

    async def generate(self, requests: Sequence[spar.Request]) -> list[spar.Completion]:
        """One completion a request, in order."""
        return [self._complete(request) for request in requests]

    async def aclose(self) -> None:
        """There is nothing to free."""

    def _complete(self, request: spar.Request) -> spar.Completion:
        turn = request.messages[-1].content
        text = f"{hashlib.sha256(f'{turn}|{request.sampling.seed}'.encode()).hexdigest()[:6]}"
        if "Final Judgement" in turn:
            text = f"Checked.\nFinal Judgement: {'Yes' if text < '5' else 'No'}"
        elif len(request.messages) > 1:
            text = f"[[reflection]] none\n[[start]] again {text}{self._suffix} [[end]]"
        else:
            text = f"echo {text}{self._suffix}"
        words = len(turn.split())
        return spar.Completion(text, "stop", words, len(text.split()))


def open_echo(deployment: spar.Deployment, config: Any, note: Callable[[str], None]) -> EchoEngine:
    """Called with the settings; `config.engine_args` was checked against the options."""
    note("the echo engine is open")
    return EchoEngine(deployment.model, EchoOptions(**config.engine_args).suffix)


ECHO = spar.EngineSpec(open=open_echo, options=EchoOptions, in_process=True)
