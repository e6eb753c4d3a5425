"""Executes one stage of a training pipeline, but for the trainings, in a process of its own, which frees its memory.

    python -m spar.worker draft.order.json

The file holds the stage's specification (`spar.train.specs`). A draft, judge, search or answer stage writes a run
directory, like `spar decode`, and resumes like it; a build stage writes training data; an eval stage evaluates
the models.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from spar.errors import SparError
from spar.files import replace_json
from spar.manifest import Manifest
from spar.record.training import scores_of
from spar.subprocesses import (
    WATCHED,
    RunChild,
    appended,
    exit_with_parent,
    failure,
    print_error,
    run_child,
    write_failure,
)
from spar.train.backtranslation import TextsSpec
from spar.train.functions import CheckSpec, JoinSpec
from spar.train.harder import HarderSpec
from spar.train.launch import launch
from spar.train.prompts_spec import PromptsSpec
from spar.train.specs import (
    BootstrapBuildSpec,
    BuildSpec,
    DerivedSpec,
    DraftSpec,
    EvalItem,
    EvalStageSpec,
    GenerationSpec,
    GivenSpec,
    JudgementsSpec,
    SearchSpec,
    TrainingSpec,
    VoteSpec,
    WorkerSpec,
    read_spec,
)
from spar.train.stage import Stage

if TYPE_CHECKING:
    from spar.infer.roles import ActorProtocol
    from spar.listener import Listener
    from spar.record.evaluation import Results
    from spar.run.engine_pool import EnginePool
    from spar.run.job import Job
    from spar.run.resume import PromptSource
    from spar.types import Prompt


def execute_in_process(
    stage: Stage, tick: Callable[[], None] = lambda: None, *, run: RunChild = run_child
) -> None:
    """Execute a stage in a process of its own, or in several where it is a training.

    Parameters
    ----------
    tick:
        Called about once a second while it runs.
    run:
        Runs its process.

    Raises
    ------
    UsageError, RunStopped
        The error of the process.
    """
    if isinstance(stage.spec, TrainingSpec):
        method, how = stage.spec.method_name, stage.spec.launch
        launch(method, stage.spec_file, how, stage.log, tick=tick, run=run)
    else:
        run_worker(stage.spec_file, stage.log, partial(run, tick=tick))


def run_worker(spec_file: Path, log: Path, run: RunChild = run_child) -> None:
    """Execute the specification in a file, in a process of its own; raises as `execute_in_process`."""
    failure_file = spec_file.with_suffix(".failure.json")
    failure_file.unlink(missing_ok=True)
    with appended(log) as stream:
        parts = [sys.executable, "-m", "spar.worker", str(spec_file)]
        code = run(parts, stream, environment={WATCHED: "1"})
    if code:
        raise failure(failure_file, code, what="its process", log=log)


def execute(spec: WorkerSpec) -> None:
    """Do what is not done yet of a stage, in this process.

    Raises
    ------
    UsageError
        There are too few pairs or examples, or a run is missing.
    RunStopped
        A request could not be served, or the disk is full; it can be resumed.
    """
    if isinstance(spec, CheckSpec | GenerationSpec) and spec.permitted:
        from spar.verification_functions import allow_code_execution

        allow_code_execution()  # of this process, which ends with the stage
    match spec:
        case PromptsSpec():
            make_prompts(spec)
        case TextsSpec():
            from spar.train.data.backtranslation import write_texts

            num_texts, num_seeds = write_texts(spec)
            print(f"{num_texts:,} texts without an instruction, {num_seeds:,} seed conversations")
        case CheckSpec():
            from spar.train.data.functions import check_functions

            print(check_functions(spec), flush=True)
        case HarderSpec():
            print(make_harder(spec), flush=True)
        case JoinSpec():
            from spar.train.data.functions import join_queries

            print(join_queries(spec), flush=True)
        case EvalStageSpec():
            evaluate_models(spec)
        case BuildSpec():
            from spar.train.build import build, summary_lines
            from spar.train.data.scan import BuildSettings

            settings = BuildSettings.from_spec(spec)
            print("\n".join(summary_lines(build(settings), settings.out)), flush=True)
        case BootstrapBuildSpec():
            from spar.train.bootstrap.build import build as build_bootstrap
            from spar.train.bootstrap.build import summary_lines as bootstrap_lines

            print("\n".join(bootstrap_lines(build_bootstrap(spec))), flush=True)
        case _:
            generate(spec)


def make_prompts(spec: PromptsSpec) -> None:
    """Make a loop's prompts, and write the seed prompts beside them where they are the data set's."""
    from spar.eval.datasets.seed_prompts import seed_prompts
    from spar.evolve.checkable.runner import make_checkable
    from spar.evolve.checkable.settings import load_checkable
    from spar.train.stage_runner import write_prompts

    settings = {"data": spec.data, **spec.settings}
    if not settings.get("prompts"):
        spec.folder.mkdir(parents=True, exist_ok=True)
        write_prompts(spec.seeds, seed_prompts(spec.data))
        settings["prompts"] = str(spec.seeds)
    report = make_checkable(load_checkable(settings), out=spec.made, overwrite=True).report
    print(
        f"{report.prompts:,} prompts, {report.held_out:,} held out, from {report.seeds.used:,} seed prompts"
    )


def make_harder(spec: HarderSpec) -> str:
    """Write harder versions of the easy prompts of a run; returns a line on how many there are."""
    from spar.evolve.harder import harder_prompts
    from spar.store import read_trees
    from spar.train.stage_runner import write_prompts

    made = harder_prompts(
        read_trees(spec.source), easy=spec.easy, most=spec.most, name=spec.name, seed=spec.seed
    )
    spec.folder.mkdir(parents=True, exist_ok=True)
    write_prompts(spec.prompts, made.prompts)
    counts = {"judged": made.judged, "easy": made.easy, "harder": len(made.prompts)}
    replace_json(spec.output, {**counts, "passed_share": made.passed_share})
    return f"{made.easy} of {made.judged} prompts were easy, {len(made.prompts)} are harder now"


def generate(spec: GenerationSpec) -> None:
    """Run the searches of a draft, judge, search or answer stage."""
    from spar.progress import open_progress
    from spar.run.build import make_manifest
    from spar.run.resolve import resolve_config
    from spar.run.session import Run
    from spar.store import RunStore

    listener = open_progress("plain")
    source, job = _job(spec)
    config = resolve_config(spec.config, listener.note, roles=job.model_roles(spec.config))
    with RunStore.open(spec.out, _movable(make_manifest(config))) as store:
        asyncio.run(Run(config, source, store, listener, job=job).execute())


def evaluate_models(spec: EvalStageSpec) -> None:
    """Run every evaluation that is not done, and write the scores of all.

    Raises
    ------
    UsageError, RunStopped
        The first evaluation that failed; the others are done.
    """
    scores, errors = asyncio.run(_evaluate_all(spec))
    if errors:
        raise errors[0]
    replace_json(spec.output, scores)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns its exit code."""
    from spar.subprocesses import kill_children

    parser = argparse.ArgumentParser(prog="python -m spar.worker")
    parser.add_argument("spec", type=Path, help="a JSON file with a specification")
    path: Path = parser.parse_args(arguments).spec
    exit_with_parent(kill_children)
    try:
        execute(read_spec(path))
    except SparError as error:
        print_error(error)
        write_failure(path.with_suffix(".failure.json"), error)
        return error.exit_code
    return 0


def _movable(manifest: Manifest) -> Manifest:
    """The manifest of a stage's run, without the paths of the models: the pipeline's folder may be moved."""
    values = manifest.model_dump(exclude={"digest"})
    free = (*manifest.free, "actor_model", "refiner_model")
    return Manifest.model_validate({**values, "free": free})


async def _evaluate_all(spec: EvalStageSpec) -> tuple[dict[str, Any], list[SparError]]:
    """The scores of every item, by its name, and the errors; a model that several items need is loaded once."""
    from spar.eval.metric_names import unknown_metrics
    from spar.progress import open_progress
    from spar.run.engine_pool import EnginePool

    listener, pool = open_progress("plain"), EnginePool()
    scores: dict[str, Any] = {}
    errors: list[SparError] = []
    try:
        for item in spec.items:
            try:
                results = await _evaluate(item, spec, listener, pool)
            except SparError as error:
                errors.append(error)
                await pool.aclose(listener.note)  # an engine that died must not fail the others
                continue
            scores[item.name] = scores_of(results)
            errors += unknown_metrics(results, item.show, item.name)
    finally:
        await pool.aclose(listener.note)
    return scores, errors


async def _evaluate(
    item: EvalItem, spec: EvalStageSpec, listener: Listener, pool: EnginePool
) -> Results:
    from spar.eval.runner import EvalRequest, evaluate
    from spar.record.evaluation import read_results
    from spar.verification_functions import is_code_allowed

    done = spec.done_file(item)
    if not done.exists():
        request = EvalRequest(
            (item.benchmark,), done.parent, allow_code_execution=is_code_allowed()
        )
        await pool.suit(item.config, listener.note)
        _, error = await evaluate(item.config, request, listener, pool)
        if error is not None:
            raise error
        replace_json(done, {"benchmark": item.benchmark})
    return read_results(done.parent / item.benchmark)


def _job(spec: GenerationSpec) -> tuple[PromptSource, Job]:
    """The prompts of a stage, and what it does with them."""
    from spar.nano.function_teacher import write_reply
    from spar.prompts import read_prompts
    from spar.run.given import GivenReplies, WrittenReplies
    from spar.run.job import Job
    from spar.run.resolve import model_roles
    from spar.run.resume import PromptSource
    from spar.run.two_phase import StoredDrafts, unjudged

    if isinstance(spec, DerivedSpec):
        return _search_job(spec) if isinstance(spec, SearchSpec) else _judges_job(spec)
    count = sum(1 for _ in read_prompts(spec.prompts))
    source = PromptSource(lambda: read_prompts(spec.prompts), count)
    roles = model_roles(spec.config, spec.roles)
    match spec:
        case DraftSpec(program=True):
            job = _without_model(WrittenReplies(write_reply), "program")
        case DraftSpec():
            job = Job("", (), roles=roles, strategy=unjudged, strategy_name="drafts")
        case GivenSpec():
            job = _without_model(GivenReplies(), "given")
        case VoteSpec():
            drafts = StoredDrafts(Path(spec.source), spec.config.seed)
            job = Job("", (), roles=roles, change=lambda opened: replace(opened, actor=drafts))
        case _:
            job = Job("", ())
    return source, job


def _without_model(actor: ActorProtocol, name: str) -> Job:
    """Drafts that no model writes."""
    from spar.run.job import Job
    from spar.run.two_phase import unjudged

    return Job(
        "",
        (),
        roles=(),
        strategy=unjudged,
        strategy_name=name,
        change=lambda opened: replace(opened, actor=actor),
    )


def _judges_job(spec: DerivedSpec) -> tuple[PromptSource, Job]:
    """What the judge's model writes about its own judgements: some more of them, or comparisons of them."""
    from spar.run.meta_judge import comparisons, judged_again, judges_writing
    from spar.run.resume import PromptSource
    from spar.run.two_phase import unjudged

    source = Path(spec.source)

    def prompts() -> Iterator[Prompt]:
        if isinstance(spec, JudgementsSpec):
            return judged_again(source, spec.config)
        return comparisons(source)

    count = sum(1 for _ in prompts())
    replace_json(spec.count_file, {"prompts": count})
    return PromptSource(prompts, count), judges_writing(spec.config, unjudged, spec.folder.name)


def _search_job(spec: SearchSpec) -> tuple[PromptSource, Job]:
    """The prompts with a failing draft, and searches from one such draft each."""
    from spar.run.job import Job
    from spar.run.resolve import model_roles
    from spar.run.resume import PromptSource
    from spar.store import read_manifest, read_trees
    from spar.train.data.pairs import failing_draft
    from spar.types import Node, Usage

    judged = Path(spec.source)
    seed = read_manifest(judged).seed or 0
    prompts: list[Prompt] = []
    roots: dict[str, Node] = {}
    # The root's usage is counted in the run that generated it.
    as_root = {"id": 0, "usage": Usage(), "judge_usage": Usage()}
    for tree in read_trees(judged):
        draft = failing_draft(tree, seed, cut_drafts=spec.cut_drafts)
        if draft is not None:
            prompts.append(tree.prompt)
            roots[tree.prompt.id] = draft.model_copy(update=as_root)

    async def root_of(prompt: Prompt) -> Sequence[Node]:
        return (roots[prompt.id],)

    prompts.sort(key=lambda prompt: prompt.id)  # trees are stored in the order in which they ended
    replace_json(spec.count_file, {"prompts": len(prompts)})
    roles = model_roles(spec.config, spec.roles)
    job = Job("", (), roles=roles, roots=lambda opened: root_of)
    return PromptSource(lambda: iter(prompts), len(prompts)), job


if __name__ == "__main__":
    sys.exit(main())
