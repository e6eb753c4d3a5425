"""Samples the next token of each row of a batch, each with its own settings and its own random number.

As in transformers, top_k comes before top_p, whose mass is counted among the k tokens, and min_p comes last.

Tensor suffixes: B rows, V vocabulary, N rows with a limited set of tokens.
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
    if logits_BV.device.type == "mps":  # it has no float64
        logits_BV, greedy_B = logits_BV.cpu(), greedy_B.cpu()
    device = logits_BV.device
    temperature_B = torch.tensor([max(s.temperature, 1e-6) for s in settings], device=device)
    probs_BV = _limit((logits_BV / temperature_B[:, None]).softmax(dim=-1), settings)
    cdf_BV = probs_BV.cumsum(dim=-1, dtype=torch.float64)
    target_B1 = torch.tensor(uniforms, dtype=torch.float64, device=device)[:, None] * cdf_BV[:, -1:]
    sampled_B1 = torch.searchsorted(cdf_BV, target_B1, right=True)
    sampled_B = sampled_B1[:, 0].clamp(max=cdf_BV.shape[1] - 1)
    is_greedy_B = torch.tensor([s.temperature <= 0 for s in settings], device=device)
    return [int(token) for token in torch.where(is_greedy_B, greedy_B, sampled_B).tolist()]


def _limit(probs_BV: torch.Tensor, settings: Sequence[Sampling]) -> torch.Tensor:
    """Zero the tokens that top_k, top_p and min_p exclude; sorts the rows that have one of them only."""
    limited = [i for i, s in enumerate(settings) if s.top_k > 0 or s.top_p < 1 or s.min_p > 0]
    if not limited:
        return probs_BV
    device, size = probs_BV.device, probs_BV.shape[1]
    chosen = [settings[i] for i in limited]
    rows_N = torch.tensor(limited, device=device)
    top_k_N1 = torch.tensor([[min(s.top_k or size, size)] for s in chosen], device=device)
    top_p_N1 = torch.tensor([[s.top_p] for s in chosen], device=device)
    min_p_N1 = torch.tensor([[s.min_p] for s in chosen], device=device)
    sorted_NV, order_NV = probs_BV[rows_N].sort(dim=-1, descending=True)
    # Tokens as likely as the k-th one stay.
    sorted_NV = sorted_NV.masked_fill(sorted_NV < sorted_NV.gather(1, top_k_N1 - 1), 0.0)
    mass_NV = sorted_NV.cumsum(dim=-1, dtype=torch.float64)
    total_N1 = torch.where(top_k_N1 < size, mass_NV[:, -1:], 1.0)
    # A token stays if the mass before it is below top_p, so the most likely one always stays.
    outside_NV = (mass_NV - sorted_NV >= top_p_N1 * total_N1) & (top_p_N1 < 1)
    outside_NV |= sorted_NV < min_p_N1 * sorted_NV[:, :1]
    limited_NV = sorted_NV.masked_fill(outside_NV, 0.0)
    probs_BV[rows_N] = torch.zeros_like(limited_NV).scatter(1, order_NV, limited_NV)
    return probs_BV
