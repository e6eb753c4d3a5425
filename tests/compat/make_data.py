"""Makes `data/` with the last version of spar.

    git worktree add ../last v0.1.0
    python -m tests.compat.make_data ../last /tmp/made && cp -r /tmp/made/data tests/compat/

Only the commands and the programs below run, in processes that import the last version.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.compat import commands

TOO_LARGE = ("*.png", "tensorboard", "rft/model", "run.lock", "lock")
INPUTS = """
import json
from pathlib import Path
from spar.nano.tasks import prompts
from tests.conftest import build_tiny
from tests.evolve.worlds import LEAK, made_up_ifeval

def write(name, rows):
    Path(name).write_text("".join(json.dumps(row) + "\\n" for row in rows))

rows = [
    {"id": p.id, "prompt": p.messages[0].content, "response": "Not quite it.", **p.meta}
    for p in prompts("test", limit=6)
]
write("responses.jsonl", [{"id": row["id"], "response": row["response"]} for row in rows])
verified = {"instruction_id_list": ["nano:exact_words"], "kwargs": [{"num_words": 2}]}
failing = [rows[5], {"prompt": "Two words.", "response": "one", **verified}]
write("failing.jsonl", [*failing, {"prompt": "Be kind.", "response": "no"}])
for row in rows:
    del row["response"]
chat = [
    {"role": "system", "content": "Be brief \\u2014 or don't."},
    {"role": "user", "content": 'Say "Gr\\u00fc\\u00dfe" \\u2028 in one line.\\nThen stop. \\U0001f980'},
]
write("prompts.jsonl", [*rows[:4], {"id": "chat/1", "messages": chat, "note": [1, None]}])
seeds = ("Write about a small boat.", "Solve this maths riddle.", "Be mute.", "Let it leak out.")
Path("seeds.txt").write_text("".join(f"{seed}\\n" for seed in (*seeds, f"Please {LEAK} today.")))
build_tiny(Path("tiny"), 16)
made_up_ifeval(Path("benchmarks"), LEAK)
"""
"""Writes the files that the commands name: prompts, seeds, responses, the tiny model, a benchmark."""
EVOLVE = """
import subprocess, sys
from tests.answers import Script
from tests.evolve.worlds import teach
from tests.servers import ScriptedServer

with ScriptedServer(Script(reply=teach, models=("teacher",))) as server:
    command = [sys.executable, "-m", "spar", *sys.argv[1:], "--base-url", server.url]
    subprocess.run(command, check=True)
"""
"""Runs a command with a scripted teacher behind a server."""
TWO_PHASE = """
import sys
from spar.cli.app import main
from spar.infer import placement

placement.free_memory = lambda *_: (1 << 20, False)
main()
"""
"""Runs a command where two models do not fit side by side."""
PLAY = """
import asyncio
from spar.cli.play import open_play
from spar.config import load_decode
from tui.play import PlaySettings, Watch

async def search_and_save():
    for instruction in ("Write something short.", "Write something long."):
        watch = Watch(lambda node: None, lambda line: None)
        await play.keep(await play.search(instruction, PlaySettings("bfs", 4, 0), watch))

with open_play(load_decode("nano", {"engine": "fake"})) as play:
    asyncio.run(search_and_save())
"""
"""Saves two searches of the play screen."""
LIST = """
import json
from tui.runs import Walk

fields = ("kind", "state", "strategy", "budget", "trees", "solved", "truth", "tokens", "benchmark")
print(json.dumps({
    str(run.directory): [*(getattr(run, name) for name in fields), str(run.parent or ""), run.browsable]
    for run in Walk("runs")
}))
"""
"""Prints the browser's list of runs."""


def main() -> None:
    """Make every run in the folder that is the second argument, and collect what the tests need."""
    last, folder = (Path(argument).resolve() for argument in sys.argv[1:])
    folder.mkdir()
    os.chdir(folder)
    os.environ["PYTHONPATH"] = str(last)
    python("-c", INPUTS)
    directories = {name: made_by(*commands.decode(name)) for name in commands.DECODE}
    directories["embedded"] = made_by(*commands.EMBEDDED)
    directories |= {f"eval-{name}": made_by(*commands.evaluate(name)) for name in commands.EVAL}
    directories["sweep"] = made_by(*commands.SWEEP)
    python("-c", EVOLVE, *commands.EVOLVE, "--out", "runs/evolve")
    python("-c", TWO_PHASE, *commands.TWO_PHASE, "--out", "runs/two-phase")
    python("-c", PLAY)
    directories["bootstrap"] = made_by(*commands.BOOTSTRAP)
    directories["train"] = made_by(*commands.TRAIN)
    Path("directories.json").write_text(json.dumps(directories, indent=2) + "\n")
    shutil.copytree(Path("runs", directories["bfs-15-defaults"]), "runs/decode-half")
    cut(Path("runs/decode-half"), 2)
    golden(directories)
    collect()


def python(*arguments: str) -> str:
    """Run the last version; what it printed on standard output."""
    print(*(argument for argument in arguments if "\n" not in argument), flush=True)
    run = subprocess.run(
        [sys.executable, *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return run.stdout


def spar(*arguments: str) -> str:
    """Run a command of the last version."""
    return python("-m", "spar", *arguments)


def made_by(*command: str) -> str:
    """Run a command without --out; the name of the directory that it makes."""
    before = {path.name for path in Path("runs").glob("*")}
    spar(*command)
    (directory,) = {path.name for path in Path("runs").glob("*")} - before
    return directory


def cut(run: Path, num_trees: int) -> None:
    """Leave a run as a process does that is killed in the middle of writing a tree."""
    lines = (run / "trees.jsonl").read_bytes().splitlines(keepends=True)
    torn = lines[num_trees][: len(lines[num_trees]) // 2]
    (run / "trees.jsonl").write_bytes(b"".join(lines[:num_trees]) + torn)
    (run / "summary.json").unlink()


def golden(directories: Mapping[str, str]) -> None:
    """What the last version prints and writes about the runs: a list, a comparison, exports."""
    Path("golden").mkdir()
    Path("golden/runs.json").write_text(python("-c", LIST))
    evaluations = [f"runs/{directories[f'eval-{name}']}" for name in ("greedy", "embedded")]
    Path("golden/compare.json").write_text(spar(*commands.COMPARE, *evaluations))
    run = f"runs/{directories[commands.EXPORTED]}"
    for form in ("svg", "dot", "json"):
        spar("export", run, "--id", "chat/1", "--format", form, "--out", f"golden/tree.{form}")
    for rows in ("trees", "nodes", "faults"):
        spar("export", run, "--format", "csv", "--rows", rows, "--out", f"golden/{rows}.csv")


def collect() -> None:
    """Copy what the tests need to `data/`, small."""
    ignore = shutil.ignore_patterns(*TOO_LARGE)
    for name in ("runs", "golden", "tiny"):
        shutil.copytree(name, f"data/{name}", ignore=ignore)
    for path in Path("data/runs").rglob("model/*"):
        if path.name != "config.json":
            path.unlink()
    for name in ("prompts.jsonl", "responses.jsonl", "failing.jsonl", "seeds.txt"):
        shutil.copy(name, "data")
    shutil.copy("directories.json", "data")


if __name__ == "__main__":
    main()
