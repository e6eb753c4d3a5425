"""What is asked of vLLM and what it answers, in spar's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import PromptRefused
from spar.infer.engine import Completion, Likelihood, Request, TokenLogprobs
from spar.infer.engines.chat import ChatEncoder, Rendered, group_samples
from spar.infer.engines.likelihood import Pair

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
    for first, n in group_samples(requests):
        rendered = encoder.fit(first, context)
        room = context - len(rendered.ids)
        greedy = first.sampling.temperature == 0  # vLLM refuses several greedy samples
        found += [Ask(first, 1, rendered, room)] * n if greedy else [Ask(first, n, rendered, room)]
    return found


def sampling_params(ask: Ask, encoder: ChatEncoder) -> Any:
    """vLLM's sampling parameters."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = ask.request.sampling
    stop = [string for string in sampling.stop if string]
    return SamplingParams(
        n=ask.n,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        max_tokens=min(sampling.max_tokens, ask.room),
        # torch's generators take 64 bits; a seed that they refuse would end vLLM's process.
        seed=None if sampling.seed is None else sampling.seed % _SEEDS,
        logprobs=sampling.top_logprobs or None,
        output_kind=RequestOutputKind.FINAL_ONLY,
        stop=stop,
        stop_token_ids=sorted(encoder.stop_tokens(stop)),
        detokenize=bool(stop),  # stop strings are looked for in vLLM's own text
    )


def scoring_params() -> Any:
    """Sampling parameters of a request that asks how likely its own prompt is."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=1,
        output_kind=RequestOutputKind.FINAL_ONLY,
        detokenize=False,
    )


def likelihood(pair: Pair, prompt_logprobs: Sequence[Mapping[int, Any]]) -> Likelihood:
    """What vLLM says of the last tokens of a prompt; at each it names the likeliest besides."""
    found = prompt_logprobs[-len(pair.continuation) :]
    own = [top[token].logprob for token, top in zip(pair.continuation, found, strict=True)]
    best = [max(entry.logprob for entry in top.values()) for top in found]
    return Likelihood(math.fsum(own), own == best, len(own))


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
    # A stop string, which it names, is text; any other end is a token that is none.
    said = sample.finish_reason == "length" or isinstance(sample.stop_reason, str)
    kept = tokens if said else tokens[:-1]
    tops = zip(kept, sample.logprobs or (), strict=False)  # the stop token has one too
    num_top = ask.request.sampling.top_logprobs
    return Completion(
        text=encoder.written(ask.request, kept, thinking=ask.rendered.thinking),
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
