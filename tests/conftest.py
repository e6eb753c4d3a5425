"""What every test shares: a closed network, and a tiny random model for those that need one."""

from __future__ import annotations

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when huggingface_hub is first imported

import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

settings.register_profile("spar", deadline=None, max_examples=60)
settings.load_profile("spar")

_LOOPBACK = ("127.", "::1", "localhost")


@pytest.fixture(autouse=True)
def closed_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Refuse every connection that leaves this machine."""
    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, _guarded(getattr(socket.socket, name)))


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a random Llama of one layer, a context of 256 tokens and nano-if's tokenizer.

    It heeds its context, its distributions are peaked as a trained model's are, and one token in
    twenty ends a reply.
    """
    return build_tiny(tmp_path_factory.mktemp("tiny"))


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


def _guarded(connect: Callable[..., Any]) -> Callable[..., Any]:
    def guarded(self: socket.socket, address: Any) -> Any:
        remote = isinstance(address, tuple) and not str(address[0]).startswith(_LOOPBACK)
        if remote:
            raise AssertionError(f"a test reached for the network: {address!r}")
        return connect(self, address)

    return guarded
