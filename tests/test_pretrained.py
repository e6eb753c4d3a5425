"""Damaged models are refused in one line, by the engine and by the trainers; sound ones load."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from spar.errors import UsageError
from spar.infer.engines.hf import HfEngine
from spar.models.loading import is_finite
from spar.pretrained import check_model_folder, load_pretrained_model, load_pretrained_tokenizer
from tests.requires import requires

pytestmark = [pytest.mark.model, requires("transformers")]

QUERIES = "model.layers.0.self_attn.q_proj.weight"


def copied(source: Path, folder: Path, config: dict[str, Any] | None = None) -> Path:
    """A copy of a model with other settings."""
    shutil.copytree(source, folder)
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
    return folder


def with_weights(folder: Path, change: Callable[[dict[str, Any]], dict[str, Any]]) -> Path:
    """The model with other weights."""
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    save_file(change(load_file(path)), path, metadata={"format": "pt"})
    return folder


def not_a_number(weights: dict[str, Any]) -> dict[str, Any]:
    """One value of one weight is not a number."""
    weights[QUERIES][0, 0] = float("nan")
    return weights


def cut(weights: dict[str, Any]) -> dict[str, Any]:
    """One weight lacks a row."""
    return {**weights, QUERIES: weights[QUERIES][1:].contiguous()}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda w: {n: t for n, t in w.items() if n != QUERIES}, f"1 of 11 weights .*{QUERIES}"),
        (not_a_number, f"{QUERIES} has values that are not finite"),
        (cut, rf"{QUERIES} has the shape \[31, 32\], and by config.json \[32, 32\]"),
        (
            lambda w: w | {QUERIES.replace("0", str(n)): w[QUERIES].clone() for n in (1, 2)},
            "leaves out 2 of its layers",
        ),
    ],
    ids=["missing", "not finite", "shape", "layers"],
)
async def test_damaged_weights_are_refused(
    tiny_model: Path, tmp_path: Path, change: Callable[[dict[str, Any]], dict[str, Any]], words: str
) -> None:
    """The model would run as noise; the message names a weight."""
    model = with_weights(copied(tiny_model, tmp_path / "model"), change)
    with pytest.raises(UsageError, match=words) as caught:
        HfEngine(str(model))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "config",
    [
        {"model_type": "bert"},
        {"model_type": "no such"},
        {"hidden_size": -1},
        {"hidden_size": "x"},
        {"num_attention_heads": 0},
        {"vocab_size": 10},
        {"num_hidden_layers": 2},
        {"num_hidden_layers": 0},
        {"num_hidden_layers": 10**6},
    ],
    ids=str,
)
def test_a_configuration_that_does_not_fit_is_refused(
    tiny_model: Path, tmp_path: Path, config: dict[str, Any]
) -> None:
    """Whatever transformers makes of it, it is one line, and a million layers are never built."""
    model = copied(tiny_model, tmp_path / "model", config)
    with pytest.raises(UsageError, match=r"the model '.*model' (cannot be loaded|is damaged)") as e:
        load_pretrained_model(str(model))
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["[]", "[" * 100_000, '{"a"'], ids=["list", "deep", "torn"])
def test_odd_files_are_refused(tiny_model: Path, tmp_path: Path, name: str, content: str) -> None:
    """A file with something else in it is one line too."""
    model = copied(tiny_model, tmp_path / "model")
    (model / name).write_text(content)
    load = load_pretrained_model if name == "config.json" else load_pretrained_tokenizer
    with pytest.raises(UsageError, match="cannot be loaded") as caught:
        load(str(model))
    assert "\n" not in str(caught.value)


def test_a_pickle_of_other_things_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """torch reads nothing but weights from it; weights as a pickle are accepted."""
    import torch
    from safetensors.torch import load_file

    model = copied(tiny_model, tmp_path / "model")
    weights = load_file(model / "model.safetensors")
    (model / "model.safetensors").unlink()
    torch.save(weights, model / "pytorch_model.bin")
    assert load_pretrained_model(str(model)).num_parameters() > 0
    torch.save({"a": Path("b")}, model / "pytorch_model.bin")
    with pytest.raises(UsageError, match="a pickle that holds other things than weights"):
        load_pretrained_model(str(model))


def test_the_embedded_models_name_is_refused_with_how_to_use_it() -> None:
    """Screens show it as a model's name; the hub would be asked for it."""
    with pytest.raises(UsageError, match="leave --model out"):
        check_model_folder("embedded")


@pytest.mark.parametrize(
    "model", ["nope/", "./nope", "../nope", "~/nope", "/nope", "a/b/c", "a//b", "two words"]
)
def test_what_no_hub_name_can_be_is_a_missing_folder(model: str) -> None:
    """Before anything is loaded, in the words of the message about a path, and not in the hub's about its names."""
    with pytest.raises(UsageError, match=f"--model {re.escape(model)}: no such folder"):
        check_model_folder(model)


@pytest.mark.parametrize(
    "model",
    ["gpt2", "owner/name", "Qwen/Qwen2.5-0.5B", "owner/name-GGUF:Q4_K_M", "s3://bucket/a/b/"],
)
def test_names_that_may_be_elsewhere_are_left_to_what_loads_them(model: str) -> None:
    """The hub's, and addresses, from which vLLM loads."""
    check_model_folder(model)


def test_a_folder_without_weights_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    """Before anything is loaded; so is an index of files that are not all there."""
    model = copied(tiny_model, tmp_path / "model")
    check_model_folder(str(model))
    index = {"weight_map": {"a": "model.safetensors", "b": "model-2.safetensors"}}
    (model / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UsageError, match="its weights are missing"):
        check_model_folder(str(model))
    (model / "model.safetensors.index.json").unlink()
    (model / "model.safetensors").unlink()
    with pytest.raises(UsageError, match="its weights are missing"):
        check_model_folder(str(model))


def test_tied_weights_and_other_heads_are_accepted(tiny_model: Path, tmp_path: Path) -> None:
    """The tiny model's output is its embedding; one further layer, for drafting tokens, is left out in silence."""
    assert json.loads((tiny_model / "config.json").read_text())["tie_word_embeddings"]
    more = {QUERIES.replace("0", "1"): None, "mtp.fc.weight": None}
    model = with_weights(
        copied(tiny_model, tmp_path / "model"),
        lambda w: w | {name: w[QUERIES].clone() for name in more},
    )
    loaded = load_pretrained_model(str(model))
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float8_e4m3fn", "float8_e5m2"])
@pytest.mark.model
def test_weights_of_any_format_are_checked(name: str) -> None:
    """Those of FP8 checkpoints too, of which torch finds no extremes."""
    torch = pytest.importorskip("torch")
    weights = torch.tensor([1.0, -2.0, 0.5])
    assert is_finite(weights.to(getattr(torch, name)))
    weights[1] = float("nan")
    assert not is_finite(weights.to(getattr(torch, name)))
