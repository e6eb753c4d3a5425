"""What is asked of vLLM and what it answers, in spar's terms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import PromptRefused
from spar.infer.engine import Completion, Request, TokenLogprobs
from spar.infer.engines.chat import ChatEncoder, Rendered, grouped

_SEEDS = 1 << 64


@dataclass(frozen=True, slots=True)
class Ask:
    """One request to vLLM: `n` samples of one conversation, with seeds in a row."""

    request: Request
    """The first sample's."""
    n: int
    rendered: Rendered
    room: int
    """Most tokens that fit behind the prompt."""


def asks(requests: Sequence[Request], encoder: ChatEncoder, context: int) -> list[Ask]:
    """The requests as vLLM gets them, in order; neighbours become samples of one where they may.

    Raises
    ------
    PromptTooLong
        A prompt leaves no room for a reply.
    PromptRefused
        The chat template cannot render a conversation.
    """
    found: list[Ask] = []
    for first, n in grouped(requests):
        rendered = encoder.fit(first.messages, context)
        room = context - len(rendered.ids)
        greedy = first.sampling.temperature == 0  # vLLM refuses several greedy samples
        found += [Ask(first, 1, rendered, room)] * n if greedy else [Ask(first, n, rendered, room)]
    return found


def sampling_params(ask: Ask) -> Any:
    """vLLM's sampling parameters."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = ask.request.sampling
    return SamplingParams(
        n=ask.n,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=min(sampling.max_tokens, ask.room),
        # torch's generators take 64 bits; a seed that they refuse would end vLLM's process.
        seed=None if sampling.seed is None else sampling.seed % _SEEDS,
        logprobs=sampling.top_logprobs or None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        detokenize=False,
    )


def completion(ask: Ask, sample: Any, *, encoder: ChatEncoder, cached_tokens: int) -> Completion:
    """One of vLLM's samples as a completion.

    Raises
    ------
    PromptRefused
        vLLM gave the sample up.
    """
    if sample.finish_reason not in ("stop", "length"):
        raise PromptRefused(f"vLLM gave a request up ({sample.finish_reason or 'no reason given'})")
    tokens = list(sample.token_ids)
    kept = tokens[:-1] if sample.finish_reason == "stop" else tokens
    tops = zip(kept, sample.logprobs or (), strict=False)  # the stop token has one too
    num_top = ask.request.sampling.top_logprobs
    return Completion(
        text=encoder.reply(kept, ask.rendered.thinking),
        finish=sample.finish_reason,
        prompt_tokens=len(ask.rendered.ids),
        completion_tokens=len(tokens),
        logprobs=tuple(_logprobs(token, top, num_top, encoder.tokenizer) for token, top in tops),
        cached_tokens=cached_tokens,
    )


def _logprobs(token: int, top: Mapping[int, Any], num_top: int, tokenizer: Any) -> TokenLogprobs:
    # vLLM adds the drawn token where it is not among the likeliest; that one goes again.
    best = sorted(top.items(), key=lambda pair: -pair[1].logprob)[:num_top]
    likeliest: dict[str, float] = {}
    for index, entry in best:
        # Pieces of characters share one text: the first of them, the likeliest, stays.
        likeliest.setdefault(tokenizer.decode([index]), entry.logprob)
    return TokenLogprobs(tokenizer.decode([token]), likeliest)
