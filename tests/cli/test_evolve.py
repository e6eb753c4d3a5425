"""`spar evolve` end to end: a scripted teacher on a server, real files, signals, a pipe."""

from __future__ import annotations

import json
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from spar.prompts import read_prompts
from spar.store import read_trees
from tests.answers import Script
from tests.cli.test_decode import SPAR, await_lines, comparable, spar
from tests.evolve.worlds import LEAK, teach, write_ifeval, write_seeds
from tests.servers import ScriptedServer

pytestmark = pytest.mark.slow

SCRIPT = Script(reply=teach, models=("teacher",))
SEEDS = [
    "Write about a small boat.",
    "Solve this maths riddle.",
    "Be mute about the weather.",
    "Praise the first twin.",
    "Blame the second twin.",
    "Let it leak out.",
    f"Please {LEAK} today.",
    "Describe a red kite.",
]
"""What becomes of each is in `BECAME`."""
BECAME = {
    "s1/0": "none",
    "s2/0": "unparsable",
    "s4/0": "exact duplicate",
    "s5/0": "contaminated",
    "s6": "contaminated",
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with one made-up benchmark."""
    return write_ifeval(tmp_path / "data", LEAK)


@pytest.fixture
def seeds(tmp_path: Path) -> Path:
    """A file of the seed prompts."""
    return write_seeds(tmp_path / "seeds.jsonl", SEEDS)


def evolve(
    server: ScriptedServer, prompts: Path | str, data: Path, *flags: str | Path, **options: Any
) -> subprocess.CompletedProcess[str]:
    """Run it with the server as the teacher."""
    args = ("--base-url", server.url, "--data", data, "--display", "plain")
    return spar("evolve", prompts, *args, *flags, **options)


def report_of(out: Path) -> dict[str, Any]:
    """The report of a run."""
    report: dict[str, Any] = json.loads((out / "evolve.json").read_text())
    return report


def rejected(out: Path) -> dict[str, str]:
    """Request or seed prompt to the reason for its rejection."""
    rows = map(json.loads, (out / "rejected.jsonl").read_text().splitlines())
    return {row["id"]: row["reason"] for row in rows}


def files(out: Path) -> dict[str, bytes]:
    """The files of an evolution beside its trees."""
    names = ("prompts.jsonl", "rejected.jsonl", "evolve.json")
    return {name: (out / name).read_bytes() for name in names}


def test_every_seed_prompt_is_accounted_for(tmp_path: Path, seeds: Path, data: Path) -> None:
    """None, unparsable replies, duplicates, contamination and a seed in a benchmark are counted separately."""
    out = tmp_path / "run"
    with ScriptedServer(SCRIPT) as server:
        run = evolve(server, seeds, data, "--out", out, check=0)
        sent = Counter(seen.text.split("### Prompt\n")[1].split("\n")[0] for seen in server.seen)
        sampled = {seen.body["temperature"] for seen in server.seen}
    assert rejected(out) == BECAME
    prompts = list(read_prompts(out / "prompts.jsonl"))
    assert [prompt.id for prompt in prompts] == ["s0/0", "s3/0", "s7/0"]
    assert prompts[0].messages[-1].content.startswith("Write about a small boat. Mention boat.0")
    assert prompts[0].meta["seed_prompt"] == "s0"
    assert prompts[0].meta["constraints"][:2] == [
        prompts[0].meta["main_constraint"],
        "keyword/include",
    ]
    assert sent == {text: 3 if "mute" in text else 1 for text in SEEDS if LEAK not in text}
    assert sampled == {0.7}
    report = report_of(out)
    assert report["counts"] == {
        "seeds": 8,
        "contaminated_seeds": 1,
        "asked": 7,
        "none": 1,
        "refused": 0,
        "unparsable": 1,
        "contaminated": 1,
        "exact_duplicates": 1,
        "near_duplicates": 0,
        "kept": 3,
    }
    assert report["teacher"] == "teacher"
    assert report["unknown_names"] == 2
    assert report["benchmarks"]["ifeval"]["prompts"] == 541
    assert "mmlu" in report["absent_benchmarks"]
    assert sum(group["main"] for group in report["coverage"].values()) == 3
    assert "1 of 8 seed prompts are in a benchmark" in run.stderr
    assert "not compared with ifbench, followbench, llmbar" in run.stderr
    for text in ("unparsable", "never covered", "run directory", "keyword"):
        assert text in run.stdout


def test_trees_hold_requests_and_replies(tmp_path: Path, seeds: Path, data: Path) -> None:
    """Each holds the seed prompt, the drawn constraint and the unchanged reply, without a judgement."""
    out = tmp_path / "run"
    with ScriptedServer(SCRIPT) as server:
        evolve(server, seeds, data, "--out", out, "--limit", "1", check=0)
    (tree,) = read_trees(out)
    assert tree.prompt.messages[-1].content == SEEDS[0]
    assert tree.prompt.meta.keys() == {"seed_prompt", "main_constraint"}
    assert tree.strategy == "greedy"
    assert tree.nodes[0].response.startswith("Constraints: ")
    assert tree.nodes[0].judgement is None
    assert list((out / "summary.json").parent.glob("log.txt"))


def test_more_variants_extend_a_run(tmp_path: Path, seeds: Path, data: Path) -> None:
    """A larger --per-prompt adds the missing requests; another seed is rejected with a diff."""
    out = tmp_path / "run"
    with ScriptedServer(SCRIPT) as server:
        evolve(server, seeds, data, "--out", out, "--limit", "1", check=0)
        args = ("--out", out, "--limit", "1", "--per-prompt", "14")
        run = evolve(server, seeds, data, *args, check=0)
        assert "resuming: 1 trees" in run.stderr
        assert server.num_requests == 14
        refused = evolve(server, seeds, data, *args, "--seed", "7", check=2)
        assert "seed: 0 -> 7" in refused.stderr
    mains = [tree.prompt.meta["main_constraint"] for tree in read_trees(out)]
    assert len({main.split("/")[0] for main in mains}) == 14
    assert report_of(out)["counts"]["asked"] == 14
    assert report_of(out)["counts"]["exact_duplicates"] == 13


def test_kill_9_and_resume_give_the_same_files(tmp_path: Path, data: Path) -> None:
    """Killed and rerun, an evolution writes the same files as an uninterrupted one."""
    seeds = write_seeds(tmp_path / "many.jsonl", [f"Write about the thing{n}." for n in range(60)])
    flags = ("--concurrency", "2", "--data", str(data), "--display", "none")
    with ScriptedServer(Script(reply=teach, models=("teacher",), seconds=0.05)) as server:
        out = tmp_path / "killed"
        command = [*SPAR, "evolve", str(seeds), "--base-url", server.url, *flags, "--out", str(out)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        await_lines(out / "trees.jsonl", 5)
        process.kill()
        process.communicate()
        assert 5 <= (out / "trees.jsonl").read_bytes().count(b"\n") < 60
        assert not (out / "evolve.json").exists()
        run = evolve(server, seeds, data, "--out", out, check=0)
        assert "resuming: " in run.stderr
        evolve(server, seeds, data, "--out", tmp_path / "whole", check=0)
    assert comparable(out) == comparable(tmp_path / "whole")
    assert files(out) == files(tmp_path / "whole")
    assert report_of(out)["counts"]["kept"] == 60


def test_a_finished_run_is_reported_without_its_teacher(
    tmp_path: Path, seeds: Path, data: Path
) -> None:
    """Without the server the files are computed again, with the benchmarks available by then."""
    out = tmp_path / "run"
    with ScriptedServer(SCRIPT) as server:
        evolve(server, seeds, data, "--out", out, check=0)
    made = files(out)
    for name in made:
        (out / name).unlink()
    run = evolve(server, seeds, data, "--out", out, check=0)
    assert "the run is complete: all 7 replies" in run.stderr
    assert files(out) == made
    more = write_ifeval(tmp_path / "more", LEAK, "Describe a red kite. Mention kite.0, kite.1")
    evolve(server, seeds, more, "--out", out, check=0)
    assert rejected(out) == {**BECAME, "s7/0": "contaminated"}


def test_a_changed_seed_prompt_is_rejected(tmp_path: Path, data: Path) -> None:
    """A seed prompt that changed since it was sent is an error before further requests; --overwrite starts over."""
    out, path = tmp_path / "run", tmp_path / "s.jsonl"
    with ScriptedServer(SCRIPT) as server:
        evolve(server, write_seeds(path, SEEDS[:1]), data, "--out", out, check=0)
        write_seeds(path, ["Write about a large ship.", "And more."])
        run = evolve(server, path, data, "--out", out, check=2)
        assert "'s0/0' was 'Write about" in run.stderr
        assert server.num_requests == 1
        evolve(server, path, data, "--out", out, "--overwrite", check=0)
    assert [p.id for p in read_prompts(out / "prompts.jsonl")] == ["s0/0", "s1/0"]


def test_standard_input_and_json_output(tmp_path: Path, data: Path) -> None:
    """Prompts from standard input, the report as one JSON object on standard output, notes on standard error."""
    with ScriptedServer(SCRIPT) as server:
        run = evolve(
            server,
            "-",
            data,
            "--out",
            tmp_path / "run",
            "--json",
            stdin="Write of [b]rain[/b].\n\nTell a joke.\n",
            check=0,
        )
    report = json.loads(run.stdout)
    assert report["run"] == str(tmp_path / "run")
    assert report["counts"]["kept"] == 2
    assert "compared with: ifeval, nano-if" in run.stderr
    texts = [p.messages[-1].content for p in read_prompts(tmp_path / "run" / "prompts.jsonl")]
    assert texts[0].startswith("Write of [b]rain[/b].")


def test_dry_run_shows_a_request_and_the_cost(tmp_path: Path, seeds: Path, data: Path) -> None:
    """Nothing is sent or written; seed prompts in a benchmark are not counted; the embedded model is noted as the teacher."""
    args = ("--data", data, "--per-prompt", "2", "--out", tmp_path / "run", "--dry-run")
    run = spar("evolve", seeds, "--base-url", "http://127.0.0.1:9/v1", *args, check=0)
    assert "== request s0/0 ==" in run.stdout
    assert "### Prompt\nWrite about a small boat.\n" in run.stdout
    assert "7 seed prompts x 2: 14 calls where every reply parses, 42 at most" in run.stdout
    assert not (tmp_path / "run").exists()
    note = "model: the embedded one, which knows only the small language of nano-if"
    assert note not in run.stdout
    assert note in spar("evolve", seeds, *args, check=0).stdout


@pytest.mark.parametrize(
    ("content", "flags", "message"),
    [
        ("", (), "has no prompt"),
        ('{"text": "x"}\n', (), "s.jsonl:1"),
        ('{"prompt": "x"}\n{nope\n', (), "s.jsonl:2"),
        ('{"prompt": "x"}\n', ("--prompt-field", "ask"), "accepted: a row with 'ask'"),
        ('{"prompt": "x"}\n', ("--per-prompt", "0"), "--per-prompt 0"),
        ('{"prompt": "x"}\n', ("--templates", "nowhere"), "no evolve.txt there"),
        ('{"prompt": "x"}\n', ("--recipe", "nowhere"), "nowhere"),
    ],
)
def test_usage_errors_are_one_line(
    tmp_path: Path, data: Path, content: str, flags: tuple[str, ...], message: str
) -> None:
    """One line and exit code 2, before a model is loaded or a directory is created."""
    path = tmp_path / "s.jsonl"
    path.write_text(content)
    args = ("--engine", "fake", "--data", data, "--display", "none", "--out", tmp_path / "run")
    run = spar("evolve", path, *args, *flags, check=2)
    assert message in run.stderr
    assert run.stderr.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_custom_recipe_and_template(tmp_path: Path, data: Path, seeds: Path) -> None:
    """A recipe's `evolve` section and --templates are used; another template is rejected on resume."""
    recipe, folder = tmp_path / "mine.yaml", tmp_path / "t"
    recipe.write_text("decode: {}\nevolve:\n  per_prompt: 2\n  draft: {temperature: 0.3}\n")
    folder.mkdir()
    (folder / "evolve.txt").write_text(
        "{main}{taxonomy}{context}### Prompt\n{prompt}\n\n### Your reply"
    )
    args = ("--recipe", recipe, "--limit", "1", "--out", tmp_path / "run")
    with ScriptedServer(Script(reply=lambda _: "None", models=("teacher",))) as server:
        evolve(server, seeds, data, *args, "--templates", folder, check=0)
        assert {seen.body["temperature"] for seen in server.seen} == {0.3}
        assert len(server.seen) == 2
        assert "Weave" not in server.seen[0].text
        changed = evolve(server, seeds, data, *args, check=2)
        assert "template_digest" in changed.stderr
        (folder / "evolve.txt").write_text("{main}")
        lacking = evolve(server, seeds, data, *args, "--templates", folder, check=2)
        assert "lacks the field {taxonomy}" in lacking.stderr


@pytest.mark.model
def test_the_embedded_model_selects_nothing(tmp_path: Path, data: Path, seeds: Path) -> None:
    """The run completes, all requests are counted, and a note says what to do."""
    pytest.importorskip("transformers")
    args = ("--data", data, "--device", "cpu", "--limit", "3", "--display", "none")
    run = spar("evolve", seeds, *args, "--out", tmp_path / "run", check=0)
    counts = report_of(tmp_path / "run")["counts"]
    assert (counts["asked"], counts["kept"]) == (3, 0)
    assert counts["refused"] + counts["unparsable"] == 3
    assert (
        "no prompt was selected: the embedded model only knows its own small language" in run.stdout
    )
    assert (tmp_path / "run" / "prompts.jsonl").read_text() == ""
