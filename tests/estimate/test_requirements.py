"""What a loop needs and a machine lacks is one list, before the first stage."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest

from spar.errors import UsageError
from spar.estimate import requirements
from spar.estimate.requirements import check_requirements, missing_requirements
from spar.train import needs
from spar.train.loop import loop_pipeline
from spar.train.recipe import load_train
from spar.train.settings import DpoSettings
from spar.verification_functions import PERMISSION


def missing(folder: Path, recipe: str, *changes: str) -> tuple[str, ...]:
    """What the loop of a recipe lacks."""
    stages = loop_pipeline(load_train(recipe, {}, changes), folder).stages
    return missing_requirements(folder, stages)


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without packages, programs and data, that cannot reach the hub."""
    monkeypatch.setattr(requirements, "has_package", lambda name: False)
    monkeypatch.setattr(requirements, "is_installed", lambda name: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(requirements, "_hub_model", lambda model: "")
    monkeypatch.setenv("SPAR_DATA", "/nowhere")
    monkeypatch.delenv("NLTK_DATA", raising=False)
    monkeypatch.delenv(PERMISSION, raising=False)


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("recipe", "changes", "names"),
    [
        ("llama3-8b", (), ("trl", "deepspeed", "rapidfuzz", "ray", "vllm", "lm_eval")),
        ("llama3-8b", ("launch.hostfile=hosts",), ("pdsh", "ssh")),
        ("llama3-70b", (), ("C++ compiler",)),
        ("lora-24gb", (), ("peft", "bitsandbytes", "pip install '.[train]'")),
        ("nano", ("embedding_model=some/encoder",), ("sentence_transformers",)),
        (
            "nano",
            ("benchmarks=[{benchmark: ifbench}]",),
            ("spar data fetch ifbench", "if-verifiable"),
        ),
        ("single-80gb", (), ("spar data fetch ifeval", "spar data fetch nltk_data", "llmbar")),
    ],
)
def test_everything_that_a_recipe_needs_is_listed(
    tmp_path: Path, recipe: str, changes: tuple[str, ...], names: tuple[str, ...]
) -> None:
    """Packages with their extra, programs, data with the command that fetches them; each once."""
    lines = missing(tmp_path / "run", recipe, *changes)
    for name in names:
        assert sum(name in line for line in lines) >= 1, name
    assert len(set(lines)) == len(lines)
    with pytest.raises(UsageError, match="this machine lacks what the stages need:\n  "):
        check_requirements(lines)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("dpo.wandb=mine", "'wandb', for wandb 'mine': pip install wandb"),
        ("rft.attention=flash_attention_2", "'flash_attn', for attention 'flash_attention_2'"),
        ("dpo.device=gpu", "a GPU, for device 'gpu'"),
    ],
)
def test_what_a_trainers_settings_need_is_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str, words: str
) -> None:
    """Hours before its stage; on a machine that has it, it is not."""
    monkeypatch.setattr(needs, "has_package", lambda name: False)
    monkeypatch.setattr(requirements, "may_see_gpu", lambda: False)
    (line,) = (line for line in missing(tmp_path / "run", "nano", change) if words in line)
    assert "\n" not in line
    monkeypatch.setattr(needs, "has_package", lambda name: True)
    monkeypatch.setattr(requirements, "may_see_gpu", lambda: True)
    assert not any(words in line for line in missing(tmp_path / "run", "nano", change))


def test_the_gpu_of_other_machines_is_not_looked_for_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of a hostfile train, and this one may have none."""
    monkeypatch.setattr(requirements, "may_see_gpu", lambda: False)
    lines = missing(tmp_path / "run", "nano", "dpo.device=gpu", "launch.hostfile=hosts")
    assert not any("a GPU" in line for line in lines)


def test_a_trainer_alone_refuses_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line, where transformers would end in a traceback."""
    monkeypatch.setattr(needs, "has_package", lambda name: name != "wandb")
    named = {"model": "m", "data": "d", "out": "o"}
    with pytest.raises(
        UsageError, match=r"^this training lacks the package 'wandb', for wandb 'p'"
    ):
        needs.check_needs(DpoSettings(**named, wandb="p", attention="flash_attention_2"))
    needs.check_needs(DpoSettings(**named, attention="flash_attention_2"))


def test_a_machine_with_everything_lacks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The embedded model needs neither data nor a network."""
    monkeypatch.setattr(requirements, "has_package", lambda name: True)
    assert missing(tmp_path / "run", "nano") == ()
    check_requirements(())


@pytest.mark.data
def test_data_that_an_evaluation_reads_is_not_missing(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """NLTK's own folder, a data set's own folder, and a file that differs from the original."""
    own = tmp_path / "mine" / "ifeval"
    shutil.copytree(data_root / "ifeval", own)
    (file,) = own.glob("*.jsonl")
    file.chmod(0o644)
    file.write_bytes(file.read_bytes().replace(b"500", b"501"))
    benchmark = "benchmarks=[{benchmark: ifeval}]"

    def lines() -> list[str]:
        found = missing(tmp_path / "run", "nano", benchmark, f"eval.data={own}")
        return [line for line in found if "the data" in line]

    monkeypatch.delenv("NLTK_DATA", raising=False)
    assert [line.split("'")[1] for line in lines()] == ["nltk_data"]
    monkeypatch.setenv("NLTK_DATA", str(data_root / "nltk_data"))
    assert lines() == []
    file.write_bytes(file.read_bytes()[:5000])
    (line,) = lines()
    assert "truncated" in line and "spar data fetch ifeval" in line


def test_code_that_a_model_writes_needs_a_permission(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no package: the interpreter, which a benchmark names for its version, is there."""

    def lines() -> list[str]:
        found = missing(tmp_path / "run", "nano", "benchmarks=[{benchmark: humaneval}]")
        return [line for line in found if "the data" not in line]

    monkeypatch.delenv(PERMISSION, raising=False)
    (line,) = lines()
    assert line.startswith("permission") and "--allow-code-execution" in line
    monkeypatch.setenv(PERMISSION, "1")
    assert lines() == []


@pytest.mark.usefixtures("bare")
def test_a_folder_that_cannot_be_written_is_listed(tmp_path: Path) -> None:
    """A file is in its way."""
    (tmp_path / "file").touch()
    assert any("file is a file" in line for line in missing(tmp_path / "file" / "run", "nano"))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"status_code": 200}, ""),
        ({"status_code": 403, "headers": {"x-error-code": "GatedRepo"}}, "accept its licence"),
        (
            {"status_code": 401, "headers": {"x-error-code": "RepoNotFound"}},
            "neither such a folder",
        ),
        ({"status_code": 500}, ""),
        (httpx.ConnectError("no network"), ""),
    ],
)
def test_the_hub_says_whether_a_model_can_be_loaded(
    monkeypatch: pytest.MonkeyPatch, answer: Any, words: str
) -> None:
    """Gated weights are named before hours of work; a hub that cannot be asked requires nothing."""
    asked: list[str] = []

    def get(url: str, **options: Any) -> httpx.Response:
        asked.append(options["headers"]["authorization"])
        if isinstance(answer, Exception):
            raise answer
        return httpx.Response(**answer)

    monkeypatch.setattr(httpx, "get", get)
    line = requirements._refusal("meta/model", "https://hub/auth-check", "secret")
    assert words in line and bool(line) == bool(words)
    assert asked == ["Bearer secret"] and "secret" not in line


def test_a_model_folder_without_weights_is_listed(tmp_path: Path) -> None:
    """A config.json alone is no model; a model that the loop itself will train is not looked for."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    lines = missing(tmp_path / "run", "nano", f"decode.model={tmp_path / 'model'}")
    assert [line for line in lines if "model" in line] == [
        f"a model: --model {tmp_path / 'model'}: its weights are missing, it has a config.json without all of them; "
        "download or copy it again"
    ]
