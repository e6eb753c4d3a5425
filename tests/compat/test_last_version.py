"""Run directories of the last version open, resume, score, compare and export as they did with it.

`data/` was made by `make_data.py` with the commands in `commands.py`. Every test works in a copy.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spar.cli.app import app
from spar.config import load_decode
from spar.manifest import Manifest, config_digest
from spar.prompts import prompt_from_text
from spar.run import placement
from spar.run.interactive import Session
from spar.store import MANIFEST, TREES, read_manifest, read_summary, read_trees
from tests.answers import Script
from tests.compat import commands
from tests.evolve.worlds import LEAK, teach, write_ifeval
from tests.fakes import timeless
from tests.servers import ScriptedServer
from tui.index.run_index import TreeIndex
from tui.index.run_list import RunWalk

DATA = Path(__file__).parent / "data"
DIRECTORIES: dict[str, str] = json.loads((DATA / "directories.json").read_text())
"""Name of a run to the directory that its command made by default."""
STORES = sorted(path.parent.relative_to(DATA) for path in DATA.rglob(TREES))
"""Every run with trees, those below an evaluation or a loop included."""
SCORED = ("metrics", "n", "means", "counts", "units", "usage", "run")
"""Fields of results.json that are numbers or names; notes may be worded anew."""


@pytest.fixture(autouse=True)
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the data, in which the commands run."""
    shutil.copytree(DATA, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def spar(*arguments: str) -> str:
    """Run a command in this process; what it printed on standard output."""
    result = CliRunner().invoke(app, arguments)
    if result.exception is not None:
        raise AssertionError(f"spar {' '.join(arguments)}: {result.output}") from result.exception
    return result.stdout


def run_of(name: str) -> Path:
    """Where the last version put a run."""
    return Path("runs", DIRECTORIES[name])


def names(folder: str = "runs") -> set[str]:
    """What is in a folder."""
    return {path.name for path in Path(folder).iterdir()}


def trees_of(directory: Path) -> dict[str, str]:
    """Prompt id to tree, without its times and cache hits."""
    return {tree.prompt.id: timeless(tree).to_json() for tree in read_trees(directory)}


def contents(directory: Path, *files: str) -> dict[str, bytes]:
    """The bytes of files in a directory."""
    return {name: (directory / name).read_bytes() for name in files}


def results(directory: Path) -> dict[str, Any]:
    """The numbers of an evaluation."""
    loaded = json.loads((directory / "results.json").read_text())
    for name in ("verifiers", "grading"):  # what scored, which the last version did not write
        loaded["run"].pop(name, None)
    return {field: loaded[field] for field in SCORED}


def is_judged(directory: Path) -> bool:
    """Whether a run has a judgement of any answer."""
    return any(node.judgement for tree in read_trees(directory) for node in tree.nodes)


def sweep_rows(directory: Path) -> list[dict[str, str]]:
    """The rows of a sweep's table."""
    with (directory / "sweep.csv").open(newline="") as handle:
        return list(csv.DictReader(handle))


def cut(directory: Path, num_trees: int) -> None:
    """Leave a run as a killed process does, in the middle of a line."""
    lines = (directory / TREES).read_bytes().splitlines(keepends=True)
    torn = lines[num_trees][: len(lines[num_trees]) // 2]
    (directory / TREES).write_bytes(b"".join(lines[:num_trees]) + torn)
    (directory / "summary.json").unlink()


@pytest.mark.parametrize("directory", STORES, ids=str)
def test_a_run_opens(directory: Path) -> None:
    """Manifest, digest, every tree to the byte, and the summary are read."""
    stored = json.loads((directory / MANIFEST).read_text())
    manifest = read_manifest(directory)
    assert manifest.model_dump(mode="json") == stored
    assert config_digest(manifest.config, free=manifest.free) == stored["digest"]
    whole = (directory / TREES).read_text(encoding="utf-8").split("\n")[:-1]
    assert [tree.to_json() for tree in read_trees(directory)] == whole
    assert all(tree.config == manifest.digest for tree in read_trees(directory))
    if (directory / "summary.json").exists():
        assert read_summary(directory)["trees"] == len(whole)


def test_a_loops_manifest_opens() -> None:
    """A loop, a bootstrap and a trainer have manifests without trees."""
    loop = run_of("train")
    for directory in (loop, run_of("bootstrap"), loop / "iteration-1/dpo"):
        stored = json.loads((directory / MANIFEST).read_text())
        assert Manifest.model_validate(stored).model_dump(mode="json") == stored


def test_the_browser_lists_the_same_runs() -> None:
    """Every run with its kind, state, strategy and totals, as the last version listed it.

    But for two things: where nothing was judged, it said that no prompt was solved; and it said of evaluations of given
    answers that they are stopped, by a search that they never had.
    """
    golden = json.loads(Path("golden/runs.json").read_text())
    listed = {
        str(run.directory): [
            *(run.kind, run.state, run.strategy, run.budget, run.trees),
            *(0.0 if run.trees and not is_judged(run.directory) else run.solved, run.truth),
            *(run.tokens, run.benchmark, str(run.parent or ""), run.browsable),
        ]
        for run in RunWalk("runs")
    }
    for directory, row in listed.items():
        if row[1] != golden[directory][1]:
            assert read_manifest(directory).config["responses"]
            assert row[:4] == ["evaluation", "finished", "", None]
            row[:6] = golden[directory][:6]
    assert listed == golden


def test_the_browser_indexes_every_tree() -> None:
    """The index has a row for each tree, in order, with the size and the outcome of the tree."""
    for directory in STORES:
        with TreeIndex.open(directory) as index:
            while not index.summarise():
                pass
            rows = index.rows(range(len(index)))
        whole = [row for row in rows if row.error is None]
        assert [(row.prompt_id, row.stop, row.num_nodes, row.faults) for row in whole] == [
            (tree.prompt.id, tree.stop, len(tree.nodes), len(tree.faults))
            for tree in read_trees(directory)
        ]
        assert len(rows) - len(whole) == (directory.name == "decode-half")


@pytest.mark.parametrize("name", commands.DECODE)
def test_a_finished_run_is_found_again(name: str) -> None:
    """The same command without --out finds its directory by default, and adds nothing."""
    before, directories = (run_of(name) / TREES).read_bytes(), names()
    spar(*commands.decode(name))
    assert names() == directories
    assert (run_of(name) / TREES).read_bytes() == before


PROGRAM_JUDGED = "bfs-4-verifier"
"""Programs now score by the share of constraints met and say what they found, which a refiner reads: drafts and
their verdicts alone are the last version's."""


@pytest.mark.parametrize("name", commands.DECODE)
def test_the_same_trees_are_made_anew(name: str) -> None:
    """The same command in an empty directory makes the same trees under the same name."""
    seen = _judged_drafts if name == PROGRAM_JUDGED else trees_of
    before = seen(run_of(name))
    shutil.rmtree("runs")
    spar(*commands.decode(name))
    assert names() == {DIRECTORIES[name]}
    assert seen(run_of(name)) == before


def _judged_drafts(directory: Path) -> dict[str, Any]:
    """Prompt id to the first draft, and the verdict on it."""
    roots = {tree.prompt.id: tree.nodes[0] for tree in read_trees(directory)}
    return {
        id_: (root.response, root.seed, root.judgement and root.judgement.verdict)
        for id_, root in roots.items()
    }


def test_a_run_that_was_cut_off_resumes() -> None:
    """The torn tree and those after it are searched; all end as in the run that was not cut off."""
    spar(*commands.decode("bfs-15-defaults", "--out", "runs/decode-half"))
    assert trees_of(Path("runs/decode-half")) == trees_of(run_of("bfs-15-defaults"))
    assert read_summary("runs/decode-half")["trees"] == 5


def test_a_finished_run_of_the_embedded_model_is_found_again() -> None:
    """Its default directory, settings and prompts are the same; no model is loaded."""
    before, directories = (run_of("embedded") / TREES).read_bytes(), names()
    spar(*commands.EMBEDDED)
    assert names() == directories
    assert (run_of("embedded") / TREES).read_bytes() == before


@pytest.mark.model
def test_a_run_in_two_phases_resumes_in_its_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """The drafts and the stored trees stay as they are; the other trees begin at stored drafts."""
    pytest.importorskip("transformers")
    pytest.importorskip("torch").set_num_threads(1)
    monkeypatch.setattr(placement, "free_memory", lambda *_: (1 << 20, False))
    run = Path("runs/two-phase")
    before = list(read_trees(run))
    cut(run, 2)
    drafts = (run / "drafts" / TREES).read_bytes()
    spar(*commands.TWO_PHASE, "--out", str(run))
    assert (run / "drafts" / TREES).read_bytes() == drafts
    after = list(read_trees(run))
    assert after[:2] == before[:2]
    assert {tree.prompt.id for tree in after} == {tree.prompt.id for tree in before}
    stored = {tree.prompt.id: tree for tree in read_trees(run / "drafts")}
    for tree in after:
        roots = {node.response for node in tree.nodes if node.parent is None}
        assert roots <= {node.response for node in stored[tree.prompt.id].nodes}


def test_a_saved_search_of_the_play_screen_is_added_to() -> None:
    """A new search with the same settings is saved in the same directory; a stored one is the same tree."""
    (directory,) = Path("runs").glob("play-*")
    before = trees_of(directory)
    settings = {"engine": "fake", "prompts": "play"}
    with Session(load_decode("nano", settings)) as session:
        for instruction in ("Write something short.", "Write something new."):
            prompt = prompt_from_text(instruction, "play")
            tree = session.search(prompt, strategy="bfs", budget=4, seed=0)
            if prompt.id in before:
                assert timeless(tree).to_json() == before[prompt.id]
            else:
                assert session.store_tree(tree, Path("runs"), "play") == directory
    assert len(trees_of(directory)) == len(before) + 1 == 3


@pytest.mark.parametrize("name", commands.EVAL)
def test_an_evaluation_is_scored_to_the_same_numbers(name: str) -> None:
    """The same command finds its directory, asks no model, and scores the stored answers as before."""
    (directory,) = run_of(f"eval-{name}").iterdir()
    before, directories = results(directory), names()
    examples = _examples(directory)
    trees = {path: path.read_bytes() for path in directory.rglob(TREES)}
    for file in ("results.json", "examples.jsonl"):
        (directory / file).unlink()
    spar(*commands.evaluate(name))
    assert names() == directories
    assert results(directory) == before
    assert _examples(directory) == examples
    assert {path: path.read_bytes() for path in directory.rglob(TREES)} == trees


def _examples(directory: Path) -> list[dict[str, Any]]:
    """The stored examples; not the words about programs' verdicts, which now say what was found."""
    rows = [json.loads(line) for line in (directory / "examples.jsonl").read_text().splitlines()]
    for verdict in (verdict for row in rows for verdict in row["verdicts"]):
        verdict.pop("why")
    return rows


def test_an_evaluation_that_was_cut_off_resumes() -> None:
    """Answers and judgements that are missing are made; the numbers are those of the whole one."""
    directory = run_of("eval-bfs") / "nano-if"
    before, trees = results(directory), trees_of(directory / "judge")
    cut(directory, 2)
    cut(directory / "judge", 0)
    spar(*commands.evaluate("bfs"))
    after = results(directory)
    for field in ("metrics", "n", "means", "counts"):
        assert after[field] == before[field]
    assert trees_of(directory / "judge") == trees


def test_two_evaluations_compare_as_before() -> None:
    """Every difference, interval and flip is the one that the last version computed."""
    runs = [str(run_of(f"eval-{name}")) for name in ("greedy", "embedded")]
    compared = json.loads(spar(*commands.COMPARE, *runs))
    # what the last version did not write
    assert compared["nano-if"].pop("warnings") == []
    assert compared["nano-if"].pop("adjusted_p") is None
    assert compared == json.loads(Path("golden/compare.json").read_text())


REWORDED = {"votes not asked for": "votes skipped"}
"""Words of the exported pages that have changed since the last version."""


@pytest.mark.parametrize("form", ["svg", "dot", "json"])
def test_a_tree_is_exported_as_before(form: str) -> None:
    """Each form of one tree is the same file, but for words that were changed on purpose."""
    run = str(run_of(commands.EXPORTED))
    spar("export", run, "--id", "chat/1", "--format", form, "--out", "made")
    golden = Path(f"golden/tree.{form}").read_text()
    for before, after in REWORDED.items():
        golden = golden.replace(before, after)
    assert Path("made").read_text() == golden


@pytest.mark.parametrize("rows", ["trees", "nodes", "faults"])
def test_a_run_is_exported_as_a_table_as_before(rows: str) -> None:
    """Each table has the same cells; columns have been added since."""
    pandas = pytest.importorskip("pandas")
    run = str(run_of(commands.EXPORTED))
    spar("export", run, "--format", "csv", "--rows", rows, "--out", "made.csv")
    made, golden = (
        pandas.read_csv(file, dtype=str, keep_default_na=False)
        for file in ("made.csv", f"golden/{rows}.csv")
    )
    assert set(made.columns) - set(golden.columns) <= {"findings"}
    pandas.testing.assert_frame_equal(made[list(golden.columns)], golden)


def test_a_finished_sweep_is_scored_to_the_same_table() -> None:
    """The same command finds its directory, replays what was replayed, and writes the same rows; columns have been added since."""
    pytest.importorskip("matplotlib")
    directory = run_of("sweep") / "nano-if"
    before, directories = contents(directory, "replayed.json"), names()
    rows = sweep_rows(directory)
    trees = {path: path.read_bytes() for path in directory.rglob(TREES)}
    spar(*commands.SWEEP)
    assert names() == directories
    assert contents(directory, "replayed.json") == before
    made = sweep_rows(directory)
    assert [{name: row[name] for name in rows[0]} for row in made] == rows
    assert set(made[0]) - set(rows[0]) == {"steps", "optimism", "unit"}
    assert {path: path.read_bytes() for path in directory.rglob(TREES)} == trees


@pytest.fixture
def teacher() -> Iterator[str]:
    """The address of the server whose replies the last version evolved with."""
    write_ifeval(Path("benchmarks"), LEAK)
    with ScriptedServer(Script(reply=teach, models=("teacher",))) as server:
        yield server.url


def rejections(run: Path) -> list[dict[str, str]]:
    """The rejected requests with their reasons, but for the sentence that explains each."""
    rows = map(json.loads, (run / "rejected.jsonl").read_text().splitlines())
    return [{key: value for key, value in row.items() if key != "why"} for row in rows]


@pytest.mark.parametrize("resumed", [False, True])
def test_an_evolution_ends_the_same(resumed: bool, teacher: str) -> None:
    """Finished or resumed, it ends with the same requests, prompts and rejections."""
    run = Path("runs/evolve")
    before, rejected, trees = contents(run, "prompts.jsonl"), rejections(run), trees_of(run)
    if resumed:
        cut(run, 2)
        for name in ("prompts.jsonl", "rejected.jsonl"):
            (run / name).unlink()
    spar(*commands.EVOLVE, "--base-url", teacher, "--out", str(run))
    assert contents(run, "prompts.jsonl") == before
    assert rejections(run) == rejected
    assert trees_of(run) == trees


BUILT = ("actor.jsonl", "refiner.jsonl")


def test_a_bootstrap_is_found_again_and_its_stages_resume() -> None:
    """A finished one runs nothing; one that was cut off while refining builds the same data."""
    run = run_of("bootstrap")
    before, directories = contents(run / "build", *BUILT), names()
    record = (run / "build.json").read_bytes()
    spar(*commands.BOOTSTRAP)
    assert names() == directories
    assert (run / "build.json").read_bytes() == record
    trees = trees_of(run / "refine")
    cut(run / "refine", 1)
    forget(run, "build")
    start_again(run / "refine.json")
    spar(*commands.BOOTSTRAP)
    assert contents(run / "build", *BUILT) == before
    assert trees_of(run / "refine") == trees


def forget(home: Path, *stages: str) -> None:
    """Delete what stages left."""
    for stage in stages:
        shutil.rmtree(home / stage)
        for path in home.glob(f"{stage}.*"):
            path.unlink()


def start_again(record: Path) -> None:
    """Leave a stage's record as a killed process does."""
    record.write_text(json.dumps({**json.loads(record.read_text()), "state": "running"}))


def test_a_finished_loop_is_shown_and_not_run() -> None:
    """Its default folder, recipe and stages are the same; status prints the same scores."""
    loop = run_of("train")
    before, directories = (loop / "iteration-1/dpo.json").read_bytes(), names()
    status = json.loads(spar("train", "status", str(loop), "--json"))
    assert [stage["stage"] for stage in status["stages"]] == [
        *("eval", "draft", "judge", "search", "build", "dpo", "rft", "eval")
    ]
    assert {stage["state"] for stage in status["stages"]} == {"done"}
    for iteration in (0, 1):
        scores = json.loads((loop / f"iteration-{iteration}/eval/scores.json").read_text())
        assert status["scores"][str(iteration)] == scores
    assert names() == directories
    assert (loop / "iteration-1/dpo.json").read_bytes() == before


def test_a_loop_that_was_cut_off_resumes() -> None:
    """Killed in a search, it searches the rest and builds the same training data."""
    pytest.importorskip("trl")
    loop = run_of("train")
    home, directories = loop / "iteration-1", names()
    before = contents(home / "build", "dpo.jsonl", "rft.jsonl")
    trees = trees_of(home / "search")
    spar(*commands.TRAIN)
    assert names() == directories
    cut(home / "search", 1)
    forget(home, "build", "dpo", "rft", "eval")
    start_again(home / "search.json")
    spar(*commands.TRAIN, "--stop-after", "build")
    assert names() == directories
    assert contents(home / "build", "dpo.jsonl", "rft.jsonl") == before
    assert trees_of(home / "search") == trees
