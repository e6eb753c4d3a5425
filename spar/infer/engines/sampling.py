"""Drawing the next token of each row of a batch, each with its own settings and its own uniform.

Tensor suffixes: B rows, V vocabulary, N rows that cut their tail.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spar.infer.engine import Sampling


def draw(
    logits_BV: torch.Tensor, settings: Sequence[Sampling], uniforms: Sequence[float]
) -> list[int]:
    """One token a row: the arg max at temperature 0, else by inverse CDF of the row's uniform."""
    greedy_B = logits_BV.argmax(dim=-1)
    if all(sampling.temperature <= 0 for sampling in settings):
        return [int(token) for token in greedy_B.tolist()]
    device = logits_BV.device
    temperature_B = torch.tensor([max(s.temperature, 1e-6) for s in settings], device=device)
    top_p_B = torch.tensor([s.top_p for s in settings], device=device)
    probs_BV = _nucleus((logits_BV / temperature_B[:, None]).softmax(dim=-1), top_p_B)
    cdf_BV = probs_BV.cumsum(dim=-1, dtype=torch.float64)
    target_B1 = torch.tensor(uniforms, dtype=torch.float64, device=device)[:, None] * cdf_BV[:, -1:]
    sampled_B1 = torch.searchsorted(cdf_BV, target_B1, right=True)
    sampled_B = sampled_B1[:, 0].clamp(max=cdf_BV.shape[1] - 1)
    is_greedy_B = torch.tensor([s.temperature <= 0 for s in settings], device=device)
    return [int(token) for token in torch.where(is_greedy_B, greedy_B, sampled_B).tolist()]


def _nucleus(probs_BV: torch.Tensor, top_p_B: torch.Tensor) -> torch.Tensor:
    """Zero all but the smallest set of tokens that reaches `top_p`; only rows below 1 are sorted."""
    cut_N = (top_p_B < 1).nonzero()[:, 0]
    if not len(cut_N):
        return probs_BV
    sorted_NV, order_NV = probs_BV[cut_N].sort(dim=-1, descending=True)
    before_NV = sorted_NV.cumsum(dim=-1, dtype=torch.float64) - sorted_NV
    # A token stays if the mass before it has not reached top_p, so the likeliest always stays.
    kept_NV = sorted_NV.masked_fill(before_NV >= top_p_B[cut_N, None], 0.0)
    probs_BV[cut_N] = torch.zeros_like(kept_NV).scatter(1, order_NV, kept_NV)
    return probs_BV
