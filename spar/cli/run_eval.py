"""What `spar eval` does once its settings are known: load, respond, grade, score, report.

Everything that can be wrong with data and files is found before a model is loaded. Answers of all
benchmarks come before the grading of any, so that at most one change of models is needed. Scoring
reads what is on the disk and calls no model.
"""

from __future__ import annotations

import asyncio
import dataclasses
import difflib
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spar.cli.display import Display, open_display
from spar.cli.pool import Pool
from spar.cli.stages import RunStages
from spar.config import FREE, EvalConfig
from spar.errors import SparError, UsageMistake
from spar.eval.benchmark import Benchmark
from spar.eval.data import DataFolder, open_data
from spar.eval.kept import KeptRun
from spar.eval.record import Results, Scored, as_lm_eval, write_examples, write_results
from spar.eval.responses import all_answers, match_responses, read_outputs
from spar.eval.statistics import metrics
from spar.eval.stored import stored_files
from spar.manifest import config_digest
from spar.registry import BENCHMARKS, resolve
from spar.store import read_manifest
from spar.types import Prompt, Usage


@dataclass(frozen=True, slots=True)
class Evaluation:
    """The flags that are not settings of a run."""

    names: tuple[str, ...]
    """Benchmarks."""
    out: Path | None = None
    """Directory that gets one below it for each benchmark."""
    fresh: bool = False
    judge_outputs: str = ""
    """A file with a grader's outputs, or a run directory of them."""
    compat: bool = False
    allow_code_execution: bool = False
    allow_missing: bool = False
    json_results: bool = False
    details: bool = False
    display: str = "auto"


@dataclass(frozen=True, slots=True)
class Opened:
    """One benchmark of a command, ready to run."""

    benchmark: Benchmark
    config: EvalConfig
    examples: Sequence[Prompt]
    kept: KeptRun
    whole: int
    """Examples that the benchmark has without `--limit`, as far as is known."""
    notes: tuple[str, ...] = field(default=())


def run(config: EvalConfig, evaluation: Evaluation) -> list[Results]:
    """Evaluate as asked, write what was found, and print it."""
    display = open_display(evaluation.display)
    results, mistake = evaluate(config, evaluation, display)
    if results:
        _print(results, evaluation)
    if mistake is not None:
        raise mistake
    return results


def evaluate(
    config: EvalConfig, evaluation: Evaluation, display: Display
) -> tuple[list[Results], SparError | None]:
    """The totals of each benchmark of a command, in order, and why the first that has none has none.

    Raises
    ------
    UsageMistake
        An unknown benchmark, data or a file of responses that is missing or wrong.
    """
    _refuse_mixtures(evaluation, config)
    directory = evaluation.out or default_directory(config)
    opened = [
        open_benchmark(name, config, evaluation, directory / name) for name in evaluation.names
    ]
    pool = Pool()
    stages = [RunStages(one.config, one.kept, display, pool) for one in opened]
    for stage in stages:
        stage.start(fresh=evaluation.fresh)
    asyncio.run(carry_out(opened, stages))
    results, mistakes = [], list[SparError]()
    for one in opened:
        try:
            results.append(score(one))
        except SparError as error:  # a judge that nobody can read says nothing of the others
            mistakes.append(error)
    return results, mistakes[0] if mistakes else None


async def carry_out(opened: Sequence[Opened], stages: Sequence[RunStages]) -> None:
    """Have everything answered, then everything graded, then free the models of their one pool."""
    try:
        for one, stage in zip(opened, stages, strict=True):
            if one.kept.given is None:
                await one.benchmark.respond(stage, one.examples)
        for one, stage in zip(opened, stages, strict=True):
            if one.kept.graded is None:
                await one.benchmark.grade(stage, one.examples)
    finally:
        await stages[0].pool.aclose(stages[0].display.note)


def open_benchmark(
    name: str, config: EvalConfig, evaluation: Evaluation, directory: Path
) -> Opened:
    """Find a benchmark, read its data and the files given, without touching a model.

    Raises
    ------
    UsageMistake
        There is no such benchmark, or its data or a file given is missing or wrong.
    """
    benchmark = find_benchmark(name, evaluation)
    data = [open_data(used, config.data) for used in benchmark.data]
    config = config.model_copy(
        update={"benchmark": name, "data_digest": _data_digest(data, config.responses)}
    )
    whole = benchmark.load(config)
    examples = whole if benchmark.limits_itself else whole[: config.limit]
    _refuse_deleting(directory, config.responses, evaluation)
    given, graded = None, None
    notes = tuple(note for folder in data for note in folder.notes)
    if config.responses and not benchmark.refines_responses:
        matched = match_responses(
            config.responses,
            whole,
            wanted={prompt.id for prompt in examples},
            answer_of=benchmark.stored_answer,
        )
        given = all_answers(matched, examples, allow_missing=evaluation.allow_missing)
        notes += (matched.report(),) if matched.report() else ()
    if evaluation.judge_outputs:
        if not benchmark.graded:
            raise UsageMistake(f"--judge-outputs is for followbench and refinement, not for {name}")
        notes += (f"the judge's outputs are those of {evaluation.judge_outputs}",)
        graded = read_outputs(
            evaluation.judge_outputs, whole, allow_missing=evaluation.allow_missing
        )
    return Opened(benchmark, config, examples, KeptRun(directory, given, graded), len(whole), notes)


def find_benchmark(name: str, evaluation: Evaluation) -> Benchmark:
    """The benchmark of a name, set up as the flags say.

    Raises
    ------
    UsageMistake
        Neither spar nor lm-eval has it.
    """
    if name not in BENCHMARKS:
        return _harness_task(name)
    make = resolve(BENCHMARKS, "benchmark", name)
    flags = {"compat": evaluation.compat, "allow_code_execution": evaluation.allow_code_execution}
    known = {f.name for f in dataclasses.fields(make)} if dataclasses.is_dataclass(make) else set()
    benchmark: Benchmark = make(**{name: flags[name] for name in flags.keys() & known})
    return benchmark


def _harness_task(name: str) -> Benchmark:
    from spar.infer.deploy import has_package

    known: Sequence[str] = ()
    if has_package("lm_eval"):
        from spar.eval.lm_harness.benchmark import known_tasks, task

        known = known_tasks()
        if name in known:
            return task(name)
    close = difflib.get_close_matches(name, BENCHMARKS, n=1, cutoff=0.6)
    close = close or difflib.get_close_matches(name, [*BENCHMARKS, *known], n=1, cutoff=0.6)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    more = "or a task of lm-eval" if known else "or, with lm-eval installed, one of its tasks"
    raise UsageMistake(
        f"unknown benchmark {name!r}{hint} (accepted: {', '.join(BENCHMARKS)}, {more})"
    )


def _refuse_mixtures(evaluation: Evaluation, config: EvalConfig) -> None:
    twice = [n for i, n in enumerate(evaluation.names) if n in evaluation.names[:i]]
    if twice:
        raise UsageMistake(f"the benchmark {twice[0]!r} is given twice")
    for flag, value in _files(config.responses, evaluation):
        if value and len(evaluation.names) > 1:
            raise UsageMistake(f"{flag} is for one benchmark, got {', '.join(evaluation.names)}")


def _refuse_deleting(directory: Path, responses: str, evaluation: Evaluation) -> None:
    for flag, given in _files(responses, evaluation):
        inside = given and Path(given).resolve().is_relative_to(directory.resolve())
        if evaluation.fresh and inside:
            raise UsageMistake(
                f"--fresh would delete {given}, which {flag} names; give another --out"
            )


def _files(responses: str, evaluation: Evaluation) -> tuple[tuple[str, str], ...]:
    return ("--responses", responses), ("--judge-outputs", evaluation.judge_outputs)


def _data_digest(data: Sequence[DataFolder], responses: str) -> str:
    """Changes with the examples, and with the responses given."""
    parts = [folder.digest for folder in data if folder.name != "nltk_data"]
    parts += _digests(responses)
    return hashlib.sha256("".join(parts).encode()).hexdigest()[:16] if parts else ""


def _digests(responses: str) -> list[str]:
    files = stored_files(Path(responses)) if responses else []
    return [hashlib.sha256(path.read_bytes()).hexdigest() for path in files if path.is_file()]


def default_directory(config: EvalConfig) -> Path:
    """`runs/eval-STRATEGY-DIGEST`: the same command, on the same responses, finds its run again."""
    told = {**config.model_dump(mode="json"), "given": _digests(config.responses)}
    digest = config_digest(told, free=FREE)
    return Path("runs") / f"eval-{config.strategy}-{digest[:8]}"


def score(one: Opened) -> Results:
    """Score what the stages left, and write it beside them."""
    asked = {prompt.id: prompt.messages[-1].content for prompt in one.examples}
    scored = one.benchmark.score(one.examples, one.kept)
    examples = [
        example.model_copy(update={"prompt": asked.get(example.id, "")})
        for example in scored.examples
    ]
    results = totals(one.config, scored, _facts(one), one.notes)
    write_examples(one.kept.directory, examples)
    write_results(one.kept.directory, results)
    return results


def totals(
    config: EvalConfig, scored: Scored, facts: dict[str, Any], notes: Sequence[str] = ()
) -> Results:
    """Sum up what scoring gave."""
    return Results(
        benchmark=config.benchmark,
        n=len(scored.examples),
        metrics=metrics(scored),
        means=scored.means,
        counts=scored.counts,
        notes=(*notes, *scored.notes),
        units=scored.units,
        usage=sum((example.usage for example in scored.examples), Usage()),
        run=facts,
    )


def _facts(one: Opened) -> dict[str, Any]:
    config, manifest = one.config, read_manifest(one.kept.directory)
    from_file = one.kept.given is not None
    return {
        "directory": str(one.kept.directory),
        "strategy": config.strategy,
        "budget": config.budget,
        # Who wrote a file's answers is not known.
        "model": "" if from_file else manifest.models[one.benchmark.measures],
        "responses": config.responses,
        "whole": one.whole,
        "limit": config.limit,
        "seed": config.seed,
        "digest": manifest.digest,
        "git_commit": manifest.git_commit,
    }


def _print(results: Sequence[Results], evaluation: Evaluation) -> None:
    if evaluation.json_results:
        named = {one.benchmark: dict(as_lm_eval(one)) for one in results}
        runs = {one.benchmark: one.run for one in results}
        print(json.dumps({"results": named, "runs": runs}))
        return
    from spar.cli.eval_report import print_results
    from spar.cli.report import print_run

    for one in results:
        print_results(one, details=evaluation.details)
        print_run(Path(one.run["directory"]))
