"""GGUF files: converted once, used by every engine and trainer, and refused in one line where they cannot be read."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from spar import hardware
from spar.config import load_decode
from spar.errors import MissingExtra, UsageError
from spar.estimate.model_size import model_size
from spar.infer.engine import Deployment, Request, Sampling
from spar.infer.engines.hf import HfEngine
from spar.infer.engines.vllm.args import engine_arguments
from spar.models import gguf
from spar.models.cache import gguf_digest
from spar.models.folders import cached_model, local_model
from spar.pretrained import (
    check_model_folder,
    load_pretrained_model,
    load_pretrained_tokenizer,
    prepare_model,
)
from spar.train.sft import train
from spar.types import Message
from tests.models.tiny_gguf import TEMPLATE, write_gguf
from tests.requires import requires
from tests.train.training import quiet, sft_settings

pytestmark = [pytest.mark.model, requires("transformers", "gguf"), *quiet()]


async def test_a_file_is_converted_once_and_answers(
    cache: Path, tiny_gguf: Path, tmp_path: Path
) -> None:
    """Its copy is found again under another name and place, and has the file's template and end token."""
    notes: list[str] = []
    engine = HfEngine(str(tiny_gguf), note=notes.append)
    request = Request((Message(role="user", content="Hello"),), Sampling(max_tokens=4, seed=0))
    [completion] = await engine.generate([request])
    await engine.aclose()
    assert 0 < completion.completion_tokens <= 4
    folder = local_model(str(tiny_gguf), notes.append)
    assert Path(folder).parent == cache / "gguf"
    first, again = notes
    assert first.startswith(f"converted tiny.Q4_1.gguf (Q4_1) to fp32 in {folder}, ")
    assert again == f"tiny.Q4_1.gguf: using the converted copy in {folder}"
    moved = shutil.copy(tiny_gguf, tmp_path / "moved.gguf")
    assert local_model(str(moved)) == folder
    tokenizer = load_pretrained_tokenizer(str(tiny_gguf))
    text = tokenizer.apply_chat_template([{"role": "user", "content": "the"}], tokenize=False)
    assert text == "<|im_start|>user\nthe<|im_end|>\n"
    assert tokenizer.eos_token == "<|im_end|>"
    assert model_size(str(tiny_gguf)) == model_size(folder)


def test_the_copy_has_the_files_weights(cache: Path, tiny_gguf: Path) -> None:
    """The token embedding is what the package gguf dequantises, exactly."""
    package = pytest.importorskip("gguf")
    tensors = {tensor.name: tensor for tensor in package.GGUFReader(tiny_gguf).tensors}
    stored = tensors["token_embd.weight"]
    expected = package.dequantize(stored.data, stored.tensor_type)
    loaded = load_pretrained_model(str(tiny_gguf))
    assert (loaded.get_input_embeddings().weight.detach().numpy() == expected).all()


def test_vllm_gets_the_copy(cache: Path, tiny_gguf: Path) -> None:
    """Its own reading of GGUF files is not used, so all engines run the same weights."""
    deployment = Deployment(str(tiny_gguf))
    arguments = engine_arguments(deployment, load_decode(None, {}), on_cpu=True)
    assert arguments["model"] == local_model(str(tiny_gguf))


@pytest.mark.parametrize(
    ("splitting", "tokens", "warns"),
    [
        ("smollm", ["ĊĊ", "1", "2", "."], False),
        ("default", ["Ċ", "Ċ", "1", "2", "."], False),
        ("llama-bpe", ["ĊĊ", "1", "2", "."], False),
        ("made-up", ["Ċ", "Ċ", "1", "2", "."], True),
    ],
)
def test_a_text_is_split_as_the_file_says(
    cache: Path, tmp_path: Path, splitting: str, tokens: list[str], warns: bool
) -> None:
    """Where digits are split off first, blank lines before them are one token; an unknown rule is said."""
    notes: list[str] = []
    path = write_gguf(tmp_path / "model.gguf", splitting=splitting)
    folder = local_model(str(path), notes.append)
    assert load_pretrained_tokenizer(folder).tokenize("\n\n12.") == tokens
    assert any(f"splits text as {splitting!r}" in note for note in notes) == warns


def test_a_changed_file_is_converted_again(cache: Path, tmp_path: Path) -> None:
    """The copy belongs to the content, not to the name; what a killed writer left is not taken for one."""
    path = write_gguf(tmp_path / "model.gguf")
    first = local_model(str(path))
    write_gguf(path, seed=1)
    digest = gguf_digest(path)[:16]
    for leftover in (cache / "gguf" / digest, cache / "gguf" / f"{digest}.part"):
        leftover.mkdir()
        (leftover / "model.safetensors").write_bytes(b"half")
    second = local_model(str(path))
    assert second != first
    assert load_pretrained_model(str(path)).num_parameters()
    assert not list((cache / "gguf").glob("*.part"))


def test_a_copy_of_an_older_conversion_is_made_again(cache: Path, tiny_gguf: Path) -> None:
    """Else a tokenizer that was converted wrongly would stay."""
    folder = Path(local_model(str(tiny_gguf)))
    record = json.loads((folder / gguf.RECORD).read_text())
    (folder / gguf.RECORD).write_text(json.dumps({**record, "conversion": 1}))
    (folder / "tokenizer.json").write_text("wrong")
    assert local_model(str(tiny_gguf)) == str(folder)
    assert load_pretrained_tokenizer(str(tiny_gguf)).eos_token == "<|im_end|>"


def without_weights(folder: Path) -> None:
    """Delete the weights."""
    (folder / "model.safetensors").unlink()


def with_half_a_tokenizer(folder: Path) -> None:
    """Cut the tokenizer's file."""
    path = folder / "tokenizer.json"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize("damage", [without_weights, with_half_a_tokenizer])
def test_a_copy_without_a_file_or_a_part_of_one_is_made_again(
    cache: Path, tiny_gguf: Path, damage: Callable[[Path], object]
) -> None:
    """Else every command would fail at a folder that its user never named."""
    folder = Path(local_model(str(tiny_gguf)))
    damage(folder)
    assert cached_model(str(tiny_gguf)) is None
    assert local_model(str(tiny_gguf)) == str(folder)
    assert load_pretrained_tokenizer(str(tiny_gguf)).eos_token == "<|im_end|>"
    assert load_pretrained_model(str(tiny_gguf)).num_parameters() > 0


def test_a_copy_that_does_not_fit_is_not_begun(
    cache: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is not taken for a damaged file."""
    usage = shutil.disk_usage(tiny_gguf)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=100_000))
    with pytest.raises(UsageError, match=r"has 0\.1 MB free; .* XDG_CACHE_HOME"):
        prepare_model(str(tiny_gguf), lambda _: None)


@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES])
def test_a_cache_that_cannot_be_written_is_named(
    cache: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """One line says where the cache is, and how to choose another."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(gguf, "write_record", fail)
    with pytest.raises(UsageError, match="cannot write to the cache of models") as caught:
        local_model(str(tiny_gguf))
    assert os.strerror(number) in str(caught.value)
    assert "XDG_CACHE_HOME" in str(caught.value)


def test_an_error_names_the_model_and_not_its_copy(
    cache: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its user knows no folder of the cache."""
    folder = Path(local_model(str(tiny_gguf)))
    size = (folder / "tokenizer.json").stat().st_size
    (folder / "tokenizer.json").write_bytes(b"{" * size)
    with pytest.raises(UsageError, match="cannot be loaded") as caught:
        load_pretrained_tokenizer(str(tiny_gguf))
    assert f"the model {str(tiny_gguf)!r}" in str(caught.value)


def truncated(path: Path) -> None:
    """Leave out the last tenth."""
    write_gguf(path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 9 // 10])


def cut_header(path: Path) -> None:
    """Leave out all but the first bytes."""
    write_gguf(path)
    path.write_bytes(path.read_bytes()[:100])


def without_a_layer(path: Path) -> None:
    """Say that there are more layers than the file has."""
    write_gguf(path, extra_layers=1)


@pytest.mark.parametrize(
    ("write", "words"),
    [
        (lambda path: path.write_text("no model"), "it is not a GGUF file"),
        (lambda path: path.write_bytes(b""), "it is not a GGUF file"),
        (lambda path: None, "there is no such file"),
        (truncated, "it is damaged or was downloaded in part"),
        (cut_header, "it is damaged or was downloaded in part"),
        (lambda path: write_gguf(path, parts=3), "it is one of 3 parts; join them"),
        (lambda path: write_gguf(path, architecture="clip"), "its architecture is 'clip'"),
        (without_a_layer, "weights are missing"),
    ],
    ids=["text", "empty", "absent", "truncated", "header", "split", "architecture", "layer"],
)
def test_what_cannot_be_read_is_refused(
    cache: Path, tmp_path: Path, write: Callable[[Path], object], words: str
) -> None:
    """One line names the file and the reason, and no half copy stays."""
    path = tmp_path / "model.gguf"
    write(path)
    with pytest.raises(UsageError, match=words) as caught:
        prepare_model(str(path), lambda _: None)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert not list(cache.glob("gguf/*/*"))


def test_a_missing_package_is_named(
    cache: Path, tiny_gguf: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error says which extra to install, before anything is read."""
    monkeypatch.setattr(hardware, "has_package", lambda name: name != "gguf")
    with pytest.raises(MissingExtra, match=r"\[hf\]"):
        check_model_folder(str(tiny_gguf))


@requires("trl")
@pytest.mark.slow
def test_a_file_can_be_trained(cache: Path, tiny_gguf: Path, tmp_path: Path) -> None:
    """The trained model is an ordinary folder with the file's template; the manifest says what it started from."""
    settings = sft_settings(tiny_gguf, tmp_path, epochs=1)
    train(settings)
    out = Path(settings.out)
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["models"] == {"trained": str(tiny_gguf)}
    assert manifest["model_sources"][str(tiny_gguf)]["sha256"] == gguf_digest(tiny_gguf)
    trained, start = (load_pretrained_model(str(model)) for model in (out / "model", tiny_gguf))
    assert not trained.model.norm.weight.equal(start.model.norm.weight)
    assert load_pretrained_tokenizer(str(out / "model")).chat_template == TEMPLATE


def test_a_second_process_uses_the_copy(cache: Path, tiny_gguf: Path) -> None:
    """It does not import torch to find it."""
    folder = local_model(str(tiny_gguf))
    code = (
        "import sys; from spar.models.folders import local_model; "
        f"assert local_model({str(tiny_gguf)!r}) == {folder!r}; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
