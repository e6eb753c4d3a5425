"""One stage of a training loop, but for the trainings: a process of its own, so that its memory is free after it.

    python -m spar.worker order.json

    {"kind": "judge", "prompts": "prompts.jsonl", "source": "draft", "out": "judge", "config": {...}}

- `draft`: so many samples of every prompt as `config.budget` says; only the actor is asked.
- `judge`: every draft in the run `source` gets its votes.
- `search`: one failing draft of each prompt in the judged run `source` is the root of a search.
- `answer`: every prompt is answered by the strategy of `config`.

Each writes a run directory, like `spar decode`, and resumes like it. Other kinds have orders of their own
(`spar.train.jobs`): `build` makes the training data, `eval` measures the models; `bootstrap` makes the
first training data (`spar.train.bootstrap`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from spar.config import DecodeConfig, EvalConfig, Settings
from spar.errors import SparError
from spar.files import replace_json
from spar.manifest import Manifest
from spar.subprocesses import exit_with_parent, print_error, write_failure

if TYPE_CHECKING:
    from spar.record.evaluation import Results

Task = Callable[[Mapping[str, Any]], None]
Kind = Literal["draft", "judge", "search", "answer"]


class Order(Settings):
    """What to do."""

    kind: Kind
    """Which stage."""
    prompts: str
    """File of prompts."""
    source: str = ""
    """Run directory of the stage before, where it needs one."""
    out: str
    """Run directory to write."""
    config: dict[str, Any]
    """Fields of `spar.config.DecodeConfig`."""


def carry_out(order: Order) -> None:
    """Do what is not done yet.

    Raises
    ------
    RunStopped
        A request could not be served, or the disk is full; it can be resumed.
    """
    from spar.progress import open_progress
    from spar.run.build import make_manifest
    from spar.run.resolve import resolve_config
    from spar.run.session import Run
    from spar.store import RunStore

    config = DecodeConfig.from_stored(order.config)
    listener = open_progress("plain")
    source, job = _work(order)
    config = resolve_config(config, listener.note, roles=job.roles)
    with RunStore.open(order.out, _manifest(make_manifest(config))) as store:
        asyncio.run(Run(config, source, store, listener, job=job).execute())


def measure(order: Mapping[str, Any]) -> None:
    """Run every evaluation of an order that is not done, and write what all of them found.

    Raises
    ------
    UsageError, RunStopped
        The first one that could not be done; the others are.
    """
    scores: dict[str, Any] = {}
    mistakes: list[SparError] = []
    for item in order["items"]:
        out = Path(order["out"]) / item["name"]
        try:
            found = _measured(item["benchmark"], EvalConfig.from_stored(item["config"]), out)
        except SparError as error:
            mistakes.append(error)
            continue
        scores[item["name"]] = {name: one.model_dump() for name, one in found.metrics.items()}
    if mistakes:
        raise mistakes[0]
    replace_json(Path(order["out"]) / "scores.json", scores)


def build_data(order: Mapping[str, Any]) -> None:
    """Build an iteration's training data, and say what came of it.

    Raises
    ------
    UsageError
        There are too few pairs.
    """
    from spar.train.build import build, summary_lines
    from spar.train.data.scan import BuildSettings

    given: dict[str, Any] = {name: value for name, value in order.items() if name != "kind"}
    given |= {name: Path(order[name]) for name in ("out", "search", "drafts")}
    settings = BuildSettings(**given)
    print("\n".join(summary_lines(build(settings), settings.out)), flush=True)


def build_bootstrap(order: Mapping[str, Any]) -> None:
    """Build a bootstrap's training data, and say what came of it.

    Raises
    ------
    UsageError
        There are too few examples.
    """
    from spar.train.bootstrap.build import BootstrapOrder, build, summary_lines

    given = {name: value for name, value in order.items() if name != "kind"}
    print("\n".join(summary_lines(build(BootstrapOrder.model_validate(given)))), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m spar.worker")
    parser.add_argument("order", type=Path, help="a JSON file")
    path: Path = parser.parse_args(arguments).order
    order = json.loads(path.read_bytes())
    others: Mapping[str, Task] = {
        "build": build_data,
        "eval": measure,
        "bootstrap": build_bootstrap,
    }
    task = others.get(order["kind"], _carry_out)
    return work(lambda: task(order), path)


def work(task: Callable[[], None], path: Path) -> int:
    """Do a worker's task; a failure is told in one line, and kept beside its order."""
    from spar.subprocesses import kill_children

    exit_with_parent(kill_children)
    try:
        task()
    except SparError as error:
        print_error(error)
        write_failure(path.with_suffix(".failure.json"), error)
        return error.exit_code
    return 0


def _manifest(whole: Manifest) -> Manifest:
    """The manifest of a loop's stage: the loop has said whose turn it is, and its folder may be moved."""
    values = whole.model_dump(exclude={"digest"})
    return Manifest.model_validate({**values, "free": (*whole.free, *_MODELS)})


_MODELS = ("actor_model", "refiner_model")


def _carry_out(order: Mapping[str, Any]) -> None:
    carry_out(Order.model_validate(order))


def _measured(benchmark: str, config: EvalConfig, out: Path) -> Results:
    from spar.eval.runner import EvalRequest, evaluate
    from spar.progress import open_progress
    from spar.record.evaluation import read_results

    done = out / "done.json"
    if not done.exists():
        request = EvalRequest((benchmark,), out=out)
        _, failure = asyncio.run(evaluate(config, request, open_progress("plain")))
        if failure is not None:
            raise failure
        replace_json(done, {"benchmark": benchmark})
    return read_results(out / benchmark)


def _work(order: Order) -> tuple[Any, Any]:
    """The prompts of a stage, and what it does with them."""
    from spar.prompts import read_prompts
    from spar.run.job import Job
    from spar.run.resume import PromptSource
    from spar.run.two_phase import StoredDrafts, unjudged

    if order.kind == "search":
        source, job = _search(Path(order.source))
        replace_json(Path(f"{order.out}.count.json"), {"prompts": source.count})
        return source, job
    count = sum(1 for _ in read_prompts(order.prompts))
    source = PromptSource(lambda: read_prompts(order.prompts), count)
    if order.kind == "draft":
        job = Job("", (), roles=("actor",), strategy=unjudged, strategy_name="drafts")
        return source, job
    if order.kind == "judge":
        kept = StoredDrafts(Path(order.source))
        judge = Job("", (), roles=("judge",), change=lambda roles: replace(roles, actor=kept))
        return source, judge
    return source, Job("", ())


def _search(judged: Path) -> tuple[Any, Any]:
    """The prompts that have a failing draft, and searches that start from one of these each."""
    from spar.run.job import Job
    from spar.run.resume import PromptSource
    from spar.store import read_manifest, read_trees
    from spar.train.data.pairs import failing_draft
    from spar.types import Node, Prompt, Usage

    seed = read_manifest(judged).seed or 0
    prompts: list[Prompt] = []
    roots: dict[str, Node] = {}
    free = {"id": 0, "usage": Usage(), "judge_usage": Usage()}  # paid for where it was written
    for tree in read_trees(judged):
        draft = failing_draft(tree, seed)
        if draft is not None:
            prompts.append(tree.prompt)
            roots[tree.prompt.id] = draft.model_copy(update=free)

    async def given(prompt: Prompt) -> Sequence[Node]:
        return (roots[prompt.id],)

    prompts.sort(key=lambda prompt: prompt.id)  # trees stand in the order in which they ended
    job = Job("", (), roles=("judge", "refiner"), roots=lambda roles: given)
    return PromptSource(lambda: iter(prompts), len(prompts)), job


if __name__ == "__main__":
    sys.exit(main())
