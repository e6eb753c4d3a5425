"""A tiny random model, for the tests that need one."""

from __future__ import annotations

from pathlib import Path

import pytest


def build_tiny(folder: Path, hidden: int = 32) -> Path:
    """Write the tiny model, its two heads half as wide as `hidden`, into a folder."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("transformers")
    from spar.nano import tokenizer as nano_tokenizer
    from spar.nano.model import Recipe, build_model, save

    torch.set_num_threads(1)  # more of them only get in each other's way on so small a model
    recipe = Recipe(hidden=hidden, layers=1, heads=2, max_length=256)
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        patch.setattr(nano_tokenizer, "_CORPUS_SIZE", 200)
        torch.manual_seed(0)
        tokenizer = nano_tokenizer.build_tokenizer(0, recipe.max_length)
        model = build_model(recipe, tokenizer)
        for name, weight in model.named_parameters():
            if weight.ndim == 2:
                weight.data.mul_(4 if "embed" in name else 10)
        model.generation_config.eos_token_id = [tokenizer.eos_token_id, *range(0, 600, 20)]
        save(model, tokenizer, folder)
    return folder
