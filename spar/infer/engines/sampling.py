"""Samples the next token of each row of a batch, each with its own settings and its own random number.

Tensor suffixes: B rows, V vocabulary, N rows with top_p below 1.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from spar.infer.engine import Sampling


def sample_tokens(
    logits_BV: torch.Tensor, settings: Sequence[Sampling], uniforms: Sequence[float]
) -> list[int]:
    """One token per row: the argmax at temperature 0, else the inverse CDF at the row's uniform in [0, 1)."""
    greedy_B = logits_BV.argmax(dim=-1)
    if all(sampling.temperature <= 0 for sampling in settings):
        return [int(token) for token in greedy_B.tolist()]
    device = logits_BV.device
    temperature_B = torch.tensor([max(s.temperature, 1e-6) for s in settings], device=device)
    top_p_B = torch.tensor([s.top_p for s in settings], device=device)
    probs_BV = _apply_top_p((logits_BV / temperature_B[:, None]).softmax(dim=-1), top_p_B)
    cdf_BV = probs_BV.cumsum(dim=-1, dtype=torch.float64)
    target_B1 = torch.tensor(uniforms, dtype=torch.float64, device=device)[:, None] * cdf_BV[:, -1:]
    sampled_B1 = torch.searchsorted(cdf_BV, target_B1, right=True)
    sampled_B = sampled_B1[:, 0].clamp(max=cdf_BV.shape[1] - 1)
    is_greedy_B = torch.tensor([s.temperature <= 0 for s in settings], device=device)
    return [int(token) for token in torch.where(is_greedy_B, greedy_B, sampled_B).tolist()]


def _apply_top_p(probs_BV: torch.Tensor, top_p_B: torch.Tensor) -> torch.Tensor:
    """Zero all but the smallest set of tokens whose probability reaches `top_p`; sorts rows below 1 only."""
    rows_N = (top_p_B < 1).nonzero()[:, 0]
    if not len(rows_N):
        return probs_BV
    sorted_NV, order_NV = probs_BV[rows_N].sort(dim=-1, descending=True)
    before_NV = sorted_NV.cumsum(dim=-1, dtype=torch.float64) - sorted_NV
    # A token stays if the mass before it is below top_p, so the most likely one always stays.
    nucleus_NV = sorted_NV.masked_fill(before_NV >= top_p_B[rows_N, None], 0.0)
    probs_BV[rows_N] = torch.zeros_like(nucleus_NV).scatter(1, order_NV, nucleus_NV)
    return probs_BV
