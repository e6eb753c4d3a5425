"""A package of plug-ins, installed from a wheel: decode, two phases, resume, a training stage, an evaluation."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from spar.store import read_manifest, read_trees
from tests.fakes import timeless

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("plugin")]

PACKAGE = Path(__file__).parents[1] / "examples" / "plugin"
SEARCH = (
    "--strategy",
    "wide-beam",
    "--engine",
    "echo",
    "--judge",
    "length",
    "--judge-arg",
    "words=1",
)


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which the plug-in's wheel is installed, in a folder of its own."""
    folder = tmp_path_factory.mktemp("plugin")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-build-isolation", "--no-index"]
    source = folder / "source"
    subprocess.run(["cp", "-r", str(PACKAGE), str(source)], check=True)  # a build writes beside it
    run(*pip, "wheel", *offline, "--wheel-dir", folder, source)
    (wheel,) = folder.glob("*.whl")
    run(*pip, "install", *offline, "--target", folder / "installed", wheel)
    path = os.pathsep.join([str(folder / "installed"), *filter(None, sys.path)])
    return {**os.environ, "PYTHONPATH": path}


def run(*command: object, env: dict[str, str] | None = None) -> str:
    """Run a command to its end; returns its output."""
    parts = list(map(str, command))
    done = subprocess.run(parts, capture_output=True, text=True, timeout=120, env=env)
    assert done.returncode == 0, done.stderr
    return done.stdout


def spar(*arguments: object, env: dict[str, str]) -> str:
    """Run the command line."""
    return run(sys.executable, "-m", "spar", *arguments, env=env)


def test_decode_two_phases_and_resume(environment: dict[str, str], tmp_path: Path) -> None:
    """Two models of unknown size take turns; the trees are those of one phase, and a cut run resumes."""
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("One.\nTwo.\nThree.\n")
    decode = ("decode", prompts, *SEARCH, "--budget", 9, "--engine-arg", "suffix=x")
    spar(*decode, "--out", tmp_path / "one", "--model", "m", env=environment)
    models = ("--actor-model", "a", "--refiner-model", "b")
    spar(*decode, "--out", tmp_path / "two", *models, env=environment)
    assert (tmp_path / "two" / "drafts" / "trees.jsonl").is_file()
    trees = [_by_prompt(tmp_path / name) for name in ("one", "two")]
    assert trees[0] == trees[1]
    assert len(trees[0]) == 3
    for tree in read_trees(tmp_path / "two"):
        assert tree.strategy == "wide-beam"
        assert len([node for node in tree.nodes if node.parent is None]) == 4
        assert tree.nodes[0].response.endswith("x")
    file = tmp_path / "two" / "trees.jsonl"
    file.write_text(file.read_text().splitlines(keepends=True)[0])
    spar(*decode, "--out", tmp_path / "two", *models, env=environment)
    assert _by_prompt(tmp_path / "two") == trees[0]


def test_a_training_stage(environment: dict[str, str], tmp_path: Path) -> None:
    """A worker process finds the plug-ins by the names in its order."""
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"id": "p", "prompt": "One."}\n')
    config = {
        "strategy": "wide-beam",
        "engine": "echo",
        "judge": "length",
        "model": "m",
        "budget": 5,
    }
    order = {"kind": "answer", "prompts": str(prompts), "out": str(tmp_path / "answer")}
    (tmp_path / "order.json").write_text(json.dumps({**order, "source": "", "config": config}))
    run(sys.executable, "-m", "spar.worker", tmp_path / "order.json", env=environment)
    (tree,) = read_trees(tmp_path / "answer")
    assert tree.strategy == "wide-beam"
    assert [node.parent for node in tree.nodes][:4] == [None] * 4
    assert read_manifest(tmp_path / "answer").config["engine"] == "echo"


def test_an_evaluation(environment: dict[str, str], tmp_path: Path) -> None:
    """The benchmark is found by name, with its option."""
    arguments = ("eval", "shouting", "--engine", "echo", "--benchmark-arg", "prompts=4", "--json")
    output = spar(*arguments, "--model", "m", "--out", tmp_path, env=environment)
    assert json.loads(output)["results"]["shouting"]["n"] == 4


def test_plugins_are_listed(environment: dict[str, str]) -> None:
    """In the errors of names, in `--help` and in `spar doctor`."""
    command = [sys.executable, "-m", "spar", "decode", "--strategy", "wide-bean"]
    failed = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert failed.returncode == 2
    assert "did you mean 'wide-beam'" in failed.stderr
    wide = {**environment, "COLUMNS": "200"}
    assert "wide-beam" in spar("decode", "--help", env=wide)
    doctor = spar("doctor", env=wide)
    assert all(name in doctor for name in ("wide-beam", "echo", "length", "shouting"))


def _by_prompt(run: Path) -> dict[str, str]:
    """Prompt id to its tree without times and the configuration's digest."""
    trees = (timeless(tree).model_copy(update={"config": ""}) for tree in read_trees(run))
    return {tree.prompt.id: tree.to_json() for tree in trees}
