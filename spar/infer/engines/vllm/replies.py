"""Requests to vLLM and its outputs, in spar's terms."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from spar.errors import PromptRefused
from spar.infer.engine import (
    Completion,
    Likelihood,
    Request,
    StructuredOutputs,
    TokenLogprobs,
)
from spar.infer.engines.chat import ChatEncoder, Rendered, group_samples
from spar.infer.engines.growing import GrowingReply
from spar.infer.engines.likelihood import TokenPair

_NUM_SEEDS = 1 << 64


@dataclass(frozen=True, slots=True)
class VllmRequest:
    """One request to vLLM: `n` samples of one prompt, with consecutive seeds."""

    request: Request
    """The request of the first sample."""
    n: int
    rendered: Rendered
    room: int
    """Tokens that fit in the context after the prompt."""


def make_requests(
    requests: Sequence[Request], encoder: ChatEncoder, context: int
) -> list[VllmRequest]:
    """The requests to send to vLLM, in order; neighbours become samples of one request where possible.

    Raises
    ------
    PromptTooLong
        A prompt leaves no room for a reply.
    PromptRefused
        The chat template cannot render a conversation.
    """
    made: list[VllmRequest] = []
    for first, n in group_samples(requests):
        rendered = encoder.encode_request(first, context)
        room = context - len(rendered.ids)
        if first.sampling.temperature == 0:  # vLLM refuses several greedy samples
            made += [VllmRequest(first, 1, rendered, room)] * n
        else:
            made.append(VllmRequest(first, n, rendered, room))
    return made


def sampling_params(
    request: VllmRequest, encoder: ChatEncoder, *, finds_thinking: bool = False
) -> Any:
    """vLLM's sampling parameters.

    Parameters
    ----------
    finds_thinking:
        Whether vLLM has a reasoning parser, and so constrains no thinking.
    """
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    sampling = request.request.sampling
    stop = [string for string in sampling.stop if string]
    return SamplingParams(
        n=request.n,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        top_k=sampling.top_k,
        min_p=sampling.min_p,
        max_tokens=min(sampling.max_tokens, request.room),
        # torch's generators take 64 bits; a seed that they refuse would end vLLM's process.
        seed=None if sampling.seed is None else sampling.seed % _NUM_SEEDS,
        logprobs=sampling.top_logprobs or None,
        output_kind=RequestOutputKind.CUMULATIVE
        if request.request.on_text is not None
        else RequestOutputKind.FINAL_ONLY,
        stop=stop,
        stop_token_ids=sorted(encoder.stop_token_ids(stop)),
        detokenize=bool(stop),  # vLLM matches stop strings in its own text
        structured_outputs=_structured_outputs(
            sampling.structured_outputs
            if finds_thinking
            else encoder.outputs_to_match(request.request, request.rendered)
        ),
    )


def _structured_outputs(outputs: StructuredOutputs | None) -> Any:
    from vllm.sampling_params import StructuredOutputsParams

    if outputs is None:
        return None
    if outputs.json is None:
        return StructuredOutputsParams(regex=outputs.regex)
    return StructuredOutputsParams(json=dict(outputs.json))


def growing_reply(request: VllmRequest, encoder: ChatEncoder) -> GrowingReply | None:
    """What shows a request's reply while it grows; None without a callback."""
    asked = request.request
    if asked.on_text is None:
        return None
    return GrowingReply(encoder, asked, asked.on_text, thinking=request.rendered.thinking)


def scoring_params() -> Any:
    """Sampling parameters of a request for the logprobs of its own prompt."""
    from vllm import SamplingParams
    from vllm.sampling_params import RequestOutputKind

    return SamplingParams(
        temperature=0.0,
        max_tokens=1,
        prompt_logprobs=1,
        output_kind=RequestOutputKind.FINAL_ONLY,
        detokenize=False,
    )


def likelihood(pair: TokenPair, prompt_logprobs: Sequence[Mapping[int, Any]]) -> Likelihood:
    """The likelihood of the continuation; for each token vLLM returns its logprob and the top one."""
    tops = prompt_logprobs[-len(pair.continuation) :]
    logprobs = [top[token].logprob for token, top in zip(pair.continuation, tops, strict=True)]
    best = [max(entry.logprob for entry in top.values()) for top in tops]
    return Likelihood(math.fsum(logprobs), logprobs == best, len(logprobs))


def completion(
    request: VllmRequest, sample: Any, *, encoder: ChatEncoder, cached_tokens: int
) -> Completion:
    """One of vLLM's samples as a completion.

    Raises
    ------
    PromptRefused
        vLLM aborted the sample.
    """
    if sample.finish_reason not in ("stop", "length"):
        raise PromptRefused(f"vLLM aborted a request ({sample.finish_reason or 'no reason given'})")
    tokens = list(sample.token_ids)
    # The last token is part of the text after a stop string, which vLLM names, but not after a stop token.
    last_is_text = sample.finish_reason == "length" or isinstance(sample.stop_reason, str)
    text_tokens = tokens if last_is_text else tokens[:-1]
    tops = zip(text_tokens, sample.logprobs or (), strict=False)  # the stop token has logprobs too
    num_top = request.request.sampling.top_logprobs
    answer = encoder.read_completion(
        request.request, text_tokens, thinking=request.rendered.thinking
    )
    return Completion(
        text=answer.text,
        unfinished_thinking=answer.unfinished,
        finish=sample.finish_reason,
        prompt_tokens=len(request.rendered.ids),
        completion_tokens=len(tokens),
        logprobs=tuple(_logprobs(token, top, num_top, encoder.tokenizer) for token, top in tops),
        cached_tokens=cached_tokens,
    )


def _logprobs(token: int, top: Mapping[int, Any], num_top: int, tokenizer: Any) -> TokenLogprobs:
    # vLLM adds the sampled token if it is not among the most likely ones; it is removed here.
    best = sorted(top.items(), key=lambda pair: -pair[1].logprob)[:num_top]
    logprobs: dict[str, float] = {}
    for index, entry in best:
        # Fragments of one character decode to the same text; the most likely of them stays.
        logprobs.setdefault(tokenizer.decode([index]), entry.logprob)
    return TokenLogprobs(tokenizer.decode([token]), logprobs)
