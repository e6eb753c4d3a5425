"""Kills the loops of the paper's rivals in every stage, resumes them, and compares them with loops that were left alone.

    python -m tests.train.killing DIRECTORY spin humpback

Every start is a forked child of this process, which needs no second import. It counts its writes into the loop's folder
and ends itself with SIGKILL before a certain one, or in the middle of a line. Prints a JSON line for each stage.
`benchmarks/kill_rivals.py` does the same at more places.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

from spar import files
from spar.record.evaluation import EXAMPLES
from spar.store import LOG, read_trees
from spar.train.stage import Stage
from tests.fakes import timeless
from tests.forked import IMPORTED, in_child
from tests.train.test_rivals import go

Place = Literal["first", "line", "write", "last"]
"""Where a stage is killed: before its first write, within a line of trees or metrics, before the middle one of its
writes, before it counts as done."""
TRAINERS = {"humpback": ("sft", "backtranslation.backward"), "autoif": ("sft", "dpo")}
"""Recipe to the settings of its trainings; of the others all have the same."""
STEPS = ("batch=2", "micro_batch=2", "checkpoint_steps=1", "epochs=1")
"""Trainings of several steps, each with a checkpoint."""
RUN = Path("run")
_VOLATILE = frozenset({"seconds", "load_seconds", "engines", "cached_tokens", "created", "starts"})
"""Keys whose values differ between two runs, whether killed or not."""
_LEFT_OUT = (LOG, "lock", "run.lock", "loss.png")
_CALLS = ("os.rename", "os.mkdir", "os.remove", "os.rmdir")


@dataclass(slots=True)
class Writes:
    """Counts the writes of this process into a folder by stage, and kills the process at one of them."""

    folder: str
    killed: Path
    """A file for the stage and the place of a kill."""
    places: Mapping[str, Sequence[Place]]
    """Stage to the places where it was not killed yet."""
    counts: Mapping[str, tuple[int, int]]
    """Stage to its number of writes and the lines of its longest file, in a loop that was left alone."""
    stage: str = ""
    record: str = ""
    num_writes: Counter[str] = field(default_factory=Counter)
    num_lines: Counter[str] = field(default_factory=Counter)

    def start(self, stage: Stage) -> None:
        """A stage begins; what follows belongs to it until the next one begins."""
        self.stage, self.record = stage.title, str(stage.record)

    def install(self) -> None:
        """Watch this process to its end."""
        sys.addaudithook(self._on_event)
        append = files.LineFile.append

        def counted(file: files.LineFile, line: str) -> None:
            if file._path.name != LOG:
                self._count_line(file, line)
            append(file, line)

        vars(files)["LineFile"].append = counted

    def _count_line(self, file: files.LineFile, line: str) -> None:
        number = file._path.read_bytes().count(b"\n") + 1
        self.num_lines[self.stage] = max(self.num_lines[self.stage], number)
        if number == max(1, self.counts.get(self.stage, (0, 0))[1] * 2 // 3):
            torn = line[: len(line) // 2].encode()
            self._kill_at("line", lambda: os.write(file._descriptor, torn))

    def _on_event(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event != "open" and event not in _CALLS:
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR)):
            return
        if not isinstance(arguments[0], str | os.PathLike):
            return
        if not str(Path(arguments[0]).absolute()).startswith(self.folder):
            return
        self.num_writes[self.stage] += 1
        number = self.num_writes[self.stage]
        if number == 1:
            self._kill_at("first")
        if number == max(2, self.counts.get(self.stage, (0, 0))[0] // 2):
            self._kill_at("write")
        if event == "os.rename" and str(arguments[1]) == self.record:
            self._kill_at("last")

    def _kill_at(self, place: Place, first: Callable[[], Any] = lambda: None) -> None:
        if place not in self.places.get(self.stage, ()):
            return
        stage, self.stage = self.stage, "killed"
        self.killed.write_text(json.dumps([stage, place]))
        first()
        os.kill(os.getpid(), signal.SIGKILL)


def main(home: Path, recipes: Sequence[str]) -> None:
    """Kill each stage of one iteration once, in the middle of what it writes."""
    load()
    for recipe in recipes:
        for row in kill_stages(home / recipe, recipe, None, "iterations=1"):
            print(json.dumps(row), flush=True)


def load() -> None:
    """Import what all children need."""
    for name in (*IMPORTED, "spar.run.session", "spar.run.build", "spar.train.build"):
        import_module(name)
    for name in ("deepspeed", "matplotlib.figure", "torch.utils.tensorboard"):  # by trainers
        with suppress(ImportError):
            import_module(name)


def kill_stages(
    home: Path, recipe: str, places: Sequence[Place] | None, *changes: str
) -> Iterator[dict[str, Any]]:
    """A loop that is killed in each stage at these places, one after another, against one that is left alone.

    None kills once: within a line, or before a write where a stage appends no lines. Yields for each stage the places
    where it was killed, those where it was not, and its files that differ.
    """
    trainers = TRAINERS.get(recipe, ("dpo", "rft"))
    changes = (*(f"{name}.{step}" for name in trainers for step in STEPS), *changes)
    whole, killed = home / "whole", home / "killed"
    for folder in (whole, killed):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    assert _start(whole, recipe, changes, {}, {}) is None
    counts = {title: tuple(both) for title, both in json.loads((home / "counts").read_text())}
    left = {title: _places(places, both[1]) for title, both in counts.items() if title}
    fired: dict[str, list[Place]] = {title: [] for title in left}
    while True:
        stopped = _start(killed, recipe, changes, left, counts)
        if stopped is None:
            break
        title, place = stopped
        left[title].remove(place)
        fired[title].append(place)
    mine, other = contents(killed / RUN), contents(whole / RUN)
    differing = sorted(name for name in mine | other if mine.get(name) != other.get(name))
    for title, waiting in left.items():
        number, name = title.split("/")
        own = [each for each in differing if _belongs(each, f"iteration-{number}", name)]
        differing = [each for each in differing if each not in own]
        yield {
            "recipe": recipe,
            "stage": title,
            "killed": fired[title],
            "not_killed": waiting,
            "writes": counts[title][0],
            "differs": own,
        }
    if differing:
        yield {"recipe": recipe, "stage": "", "killed": [], "not_killed": [], "differs": differing}


def contents(run: Path) -> dict[str, Any]:
    """Relative path to what must be equal of a file."""
    paths = [path for path in run.rglob("*") if path.is_file() and _is_result(path)]
    return {str(path.relative_to(run)): _content(path) for path in paths}


def _start(
    home: Path,
    recipe: str,
    changes: Sequence[str],
    places: Mapping[str, Sequence[Place]],
    counts: Mapping[str, Any],
) -> tuple[str, Place] | None:
    """Start or resume a loop in a child; returns where it was killed, None if it came to its end."""
    killed, log = home / "killed", home / "log"
    killed.unlink(missing_ok=True)
    writes = Writes(str(home / RUN), killed, places, counts)
    code = in_child(lambda: _run(home, recipe, changes, writes))
    if code == 0:
        return None
    assert code == -signal.SIGKILL, f"{recipe} ended with {code}: {log.read_text()[-3000:]}"
    stage, place = json.loads(killed.read_text())
    return stage, place


def _run(home: Path, recipe: str, changes: Sequence[str], writes: Writes) -> None:
    os.chdir(home)
    stream = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(stream, number)
    writes.install()
    go(recipe, RUN, *changes, on_stage=writes.start)
    counts = [[title, [n, writes.num_lines[title]]] for title, n in writes.num_writes.items()]
    (home.parent / "counts").write_text(json.dumps(counts))


def _places(places: Sequence[Place] | None, num_lines: int) -> list[Place]:
    if places is None:
        return ["line" if num_lines else "write"]
    return [place for place in places if num_lines or place != "line"]


def _belongs(name: str, home: str, stage: str) -> bool:
    return name.startswith((f"{home}/{stage}/", f"{home}/{stage}."))


def _is_result(path: Path) -> bool:
    left_out = path.name in _LEFT_OUT or path.suffix in (".log", files.PART)
    return not left_out and "tensorboard" not in path.parts


def _content(path: Path) -> Any:
    if path.name == "trees.jsonl":
        trees = [*read_trees(path.parent)]
        assert len({tree.prompt.id for tree in trees}) == len(trees), path
        return {tree.prompt.id: timeless(tree) for tree in trees}
    if path.suffix == ".json":
        return _stable(json.loads(path.read_bytes()))
    if path.name == EXAMPLES:
        return [_stable(json.loads(line)) for line in path.read_bytes().splitlines()]
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _stable(each) for name, each in value.items() if name not in _VOLATILE}
    return [_stable(each) for each in value] if isinstance(value, list) else value


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve(), sys.argv[2:])
