"""One stage of a training loop, but for the trainings: a process of its own, so that its memory is free after it.

    python -m spar.cli.stage_worker order.json

    {"kind": "judge", "prompts": "prompts.jsonl", "source": "draft", "out": "judge", "config": {...}}

- `draft`: so many samples of every prompt as `config.budget` says; only the actor is asked.
- `judge`: every draft in the run `source` gets its votes.
- `search`: one failing draft of each prompt in the judged run `source` is the root of a search.
- `answer`: every prompt is answered by the strategy of `config`.

Each writes a run directory, like `spar decode`, and resumes like it. Other kinds have orders of their own
(`spar.train.stages`): `build` makes the training data, `eval` measures the models; `bootstrap` makes the
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
from spar.process import die_with_parent, keep_failure, tell_error

if TYPE_CHECKING:
    from spar.eval.record import Results

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
    from spar.cli.course import Course
    from spar.cli.display import open_display
    from spar.infer.deploy import settle
    from spar.infer.setup import make_manifest
    from spar.store import RunStore

    config = DecodeConfig.model_validate(order.config)
    display = open_display("plain")
    source, stage = _work(order)
    config = settle(config, display.note, asked=stage.speakers)
    with RunStore.open(order.out, _manifest(make_manifest(config))) as store:
        asyncio.run(Course(config, source, store, display, stage=stage).run())


def measure(order: Mapping[str, Any]) -> None:
    """Run every evaluation of an order that is not done, and write what all of them found.

    Raises
    ------
    UsageMistake, RunStopped
        The first one that could not be done; the others are.
    """
    scores: dict[str, Any] = {}
    mistakes: list[SparError] = []
    for item in order["items"]:
        out = Path(order["out"]) / item["name"]
        try:
            found = _measured(item["benchmark"], EvalConfig.model_validate(item["config"]), out)
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
    UsageMistake
        There are too few pairs.
    """
    from spar.train.build import build, summary_lines
    from spar.train.survey import BuildSettings

    given: dict[str, Any] = {name: value for name, value in order.items() if name != "kind"}
    given |= {name: Path(order[name]) for name in ("out", "search", "drafts")}
    settings = BuildSettings(**given)
    print("\n".join(summary_lines(build(settings), settings.out)), flush=True)


def build_bootstrap(order: Mapping[str, Any]) -> None:
    """Build a bootstrap's training data, and say what came of it.

    Raises
    ------
    UsageMistake
        There are too few examples.
    """
    from spar.train.bootstrap.build import BootstrapOrder, build, summary_lines

    given = {name: value for name, value in order.items() if name != "kind"}
    print("\n".join(summary_lines(build(BootstrapOrder.model_validate(given)))), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m spar.cli.stage_worker")
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
    from spar.cli.children import kill_children

    die_with_parent(kill_children)
    try:
        task()
    except SparError as error:
        tell_error(error)
        keep_failure(path.with_suffix(".failure.json"), error)
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
    from spar.cli.display import open_display
    from spar.cli.run_eval import Evaluation, evaluate
    from spar.eval.record import read_results

    done = out / "done.json"
    if not done.exists():
        _, mistake = evaluate(config, Evaluation((benchmark,), out=out), open_display("plain"))
        if mistake is not None:
            raise mistake
        replace_json(done, {"benchmark": benchmark})
    return read_results(out / benchmark)


def _work(order: Order) -> tuple[Any, Any]:
    """The prompts of a stage, and what it does with them."""
    from spar.cli.begun import PromptSource
    from spar.eval.benchmark import Stage
    from spar.infer.drafts import KeptDrafts, unjudged
    from spar.prompts import read_prompts

    if order.kind == "search":
        source, stage = _search(Path(order.source))
        replace_json(Path(f"{order.out}.count.json"), {"prompts": source.count})
        return source, stage
    count = sum(1 for _ in read_prompts(order.prompts))
    source = PromptSource(lambda: read_prompts(order.prompts), count)
    if order.kind == "draft":
        stage = Stage("", (), speakers=("actor",), strategy=unjudged, strategy_name="drafts")
        return source, stage
    if order.kind == "judge":
        kept = KeptDrafts(Path(order.source))
        judge = Stage("", (), speakers=("judge",), change=lambda roles: replace(roles, actor=kept))
        return source, judge
    return source, Stage("", ())


def _search(judged: Path) -> tuple[Any, Any]:
    """The prompts that have a failing draft, and searches that start from one of these each."""
    from spar.cli.begun import PromptSource
    from spar.eval.benchmark import Stage
    from spar.store import read_manifest, read_trees
    from spar.train.pairs import failing_draft
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
    stage = Stage("", (), speakers=("judge", "refiner"), begin=lambda roles: given)
    return PromptSource(lambda: iter(prompts), len(prompts)), stage


if __name__ == "__main__":
    sys.exit(main())
