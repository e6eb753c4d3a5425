"""lm-eval's own hf model, for comparing engines with it. Imports lm-eval inside functions."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest


def open_harness(folder: Path) -> Any:
    """The model in a folder as lm-eval opens it, in float32 on the CPU."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its imports
        pytest.importorskip("lm_eval")
        from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=str(folder), device="cpu", dtype="float32", batch_size=4)


def likelihoods(model: Any, pairs: Sequence[tuple[str, str]]) -> list[tuple[float, bool]]:
    """Log-probability of each continuation, and whether it is greedy."""
    return list(model.loglikelihood(_instances("loglikelihood", pairs), disable_tqdm=True))


def rolling(model: Any, texts: Sequence[str]) -> list[float]:
    """Log-probability of each text in windows."""
    asked = _instances("loglikelihood_rolling", [(text,) for text in texts])
    return list(model.loglikelihood_rolling(asked, disable_tqdm=True))


def until(model: Any, prompts: Sequence[str], stop: Sequence[str], most: int) -> list[str]:
    """Greedy replies to plain prompts."""
    settings = {"until": list(stop), "max_gen_toks": most, "do_sample": False}
    asked = _instances("generate_until", [(prompt, settings) for prompt in prompts])
    return list(model.generate_until(asked, disable_tqdm=True))


def _instances(kind: str, arguments: Sequence[Any]) -> list[Any]:
    from lm_eval.api.instance import Instance

    return [Instance(kind, {}, given, i) for i, given in enumerate(arguments)]
