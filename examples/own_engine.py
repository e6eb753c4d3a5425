"""An engine of one's own, remote: Ollama's native chat protocol.

ollama serve & ollama pull qwen3:8b
python examples/own_engine.py http://localhost:11434 --model qwen3:8b
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import httpx

import spar


class OllamaEngine:
    """One request a conversation; Ollama batches on its side."""

    capacity = 4
    """Requests that the server works on at once (its OLLAMA_NUM_PARALLEL)."""

    def __init__(self, url: str, model: str) -> None:
        self.model = model
        self.description = f"Ollama at {url}"
        self._client = httpx.AsyncClient(base_url=url, timeout=600)

    async def generate(self, requests: Sequence[spar.Request]) -> list[spar.Completion]:
        """One completion a request, in order."""
        return await asyncio.gather(*(self._complete(request) for request in requests))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _complete(self, request: spar.Request) -> spar.Completion:
        sampling = request.sampling
        options = {
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "num_predict": sampling.max_tokens,
            "seed": sampling.seed,
        }
        body = {
            "model": self.model,
            "messages": [message.model_dump() for message in request.messages],
            "stream": False,
            "options": {name: value for name, value in options.items() if value is not None},
        }
        try:
            response = await self._client.post("/api/chat", json=body)
            response.raise_for_status()
        except httpx.HTTPError as error:
            raise spar.EngineError(f"{self.description}: {error}") from error
        reply: dict[str, Any] = response.json()
        return spar.Completion(
            text=reply["message"]["content"],
            finish="length" if reply.get("done_reason") == "length" else "stop",
            prompt_tokens=reply.get("prompt_eval_count", 0),
            completion_tokens=reply.get("eval_count", 0),
        )


def open_ollama(
    deployment: spar.Deployment, config: Any, note: Callable[[str], None]
) -> OllamaEngine:
    """Called by spar with the model and the URLs of the settings."""
    return OllamaEngine(deployment.urls[0], deployment.model)


OLLAMA = spar.EngineSpec(open=open_ollama, urls="required")

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("--model", required=True)
    arguments = parser.parse_args()
    tree = spar.search(
        "Write two lines about rain. Use no comma.",
        engine=OLLAMA,
        base_url=arguments.url,
        model=arguments.model,
        strategy="bfs",
        budget=7,
    )
    print(tree.answer)
