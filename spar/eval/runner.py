"""Evaluate: load the examples, have them answered and graded, score, write the results.

Everything that can be wrong with data and files is found before a model is loaded. Answers of all
benchmarks come before the grading of any, so that at most one change of models is needed. Scoring
reads what is on the disk and calls no model.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from spar.config import FREE, EvalConfig
from spar.errors import SparError, UsageError
from spar.eval.benchmark import Benchmark, BenchmarkSpec, declared_spec
from spar.eval.benchmark_results import scored_by
from spar.eval.earlier_results import fewer_scored, num_scored
from spar.eval.examples import examples_of
from spar.eval.external_answers.matching import fill_answers, match_answers, match_grader_replies
from spar.eval.job_outputs import RunOutputs
from spar.eval.job_runner import DirectoryJobRunner, start_all
from spar.eval.named import benchmark_spec
from spar.eval.needed_data import data_digest, fetch_data, file_digests, open_folders
from spar.eval.statistics import metrics
from spar.eval.verdict_basis import grading, verifiers
from spar.infer.gather import gather
from spar.listener import Listener
from spar.manifest import config_digest
from spar.plugins import BENCHMARKS, STRATEGIES, safe_name
from spar.record.evaluation import Results, Scored, write_examples, write_results
from spar.run.blocking import in_thread
from spar.run.decoding import refuse_prompt_field
from spar.run.engine_pool import EnginePool
from spar.store import MANIFEST, read_manifest
from spar.types import Prompt, Usage


@dataclass(frozen=True, slots=True)
class EvalRequest:
    """What to evaluate, apart from the settings of the runs."""

    names: tuple[str, ...]
    """Benchmarks."""
    out: Path | None = None
    """Directory that gets one below it for each benchmark."""
    overwrite: bool = False
    """Whether an earlier evaluation in the directory is deleted."""
    judge_outputs: str = ""
    """A file with a grader's outputs, or a run directory of them."""
    official_scoring: bool = False
    allow_code_execution: bool = False
    allow_missing: bool = False
    offline: bool = False
    """Whether data and models that are not on this machine are an error, rather than downloaded."""


@dataclass(frozen=True, slots=True)
class OpenedBenchmark:
    """One benchmark of a command, ready to run."""

    benchmark: Benchmark
    config: EvalConfig
    examples: Sequence[Prompt]
    outputs: RunOutputs
    whole: int
    """Examples that the benchmark has without `--limit`, as far as this is known."""
    notes: tuple[str, ...] = ()
    verifiers: Mapping[str, str] = field(default_factory=dict)
    """What the verdicts rest on: package to its version, `data/NAME` to the data set's digest."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """All options of the benchmark's own."""


async def evaluate(
    config: EvalConfig, request: EvalRequest, listener: Listener, pool: EnginePool | None = None
) -> tuple[list[Results], SparError | None]:
    """Run and score every benchmark of a request.

    Parameters
    ----------
    pool:
        Loaded models to use and to leave open; the caller closes it. Without one they are freed at the end.

    Returns
    -------
    The results of the benchmarks that could be scored, in order, and the first error of the others.

    Raises
    ------
    UsageError
        An unknown benchmark; data or a file of responses that is missing or wrong.
    RunStopped
        A request could not be served; what is written can be resumed.
    """
    benchmarks = await in_thread(lambda: _open_benchmarks(config, request, listener))
    shared = EnginePool() if pool is None else pool
    runners = [
        DirectoryJobRunner(b.config, b.outputs, listener, shared, offline=request.offline)
        for b in benchmarks
    ]
    start_all(runners, fresh=request.overwrite)
    await run_jobs(benchmarks, runners, close=pool is None)
    results, errors = [], list[SparError]()
    for benchmark in benchmarks:
        try:  # in this thread: only in the main one are verifiers limited in time
            results.append(score(benchmark))
        except SparError as error:  # replies of a judge that cannot be read affect no other
            errors.append(error)
    return results, errors[0] if errors else None


def _open_benchmarks(
    config: EvalConfig, request: EvalRequest, listener: Listener
) -> list[OpenedBenchmark]:
    """The benchmarks of a request, their data fetched and read: takes up to minutes."""
    _check_combination(request, config)
    directory = request.out or default_directory(config)
    if (directory / MANIFEST).is_file():
        raise UsageError(
            f"{directory} is a run itself; an evaluation makes a folder for each benchmark: give another --out, such as {directory}-eval"
        )
    fetch_data(find_benchmarks(config, request), config, listener, offline=request.offline)
    return [
        open_benchmark(name, config, request, directory / BENCHMARKS.recorded_name(name))
        for name in request.names
    ]


def find_benchmarks(config: EvalConfig, request: EvalRequest) -> list[Benchmark]:
    """The benchmarks of a request, whose packages are there. All names come before any package.

    Raises
    ------
    UsageError
        As `find_benchmark`.
    MissingExtra
        A package that one of them needs is not installed.
    """
    benchmarks = [find_benchmark(name, request, config) for name in request.names]
    for benchmark in benchmarks:
        benchmark.require_packages()
    return benchmarks


async def run_jobs(
    benchmarks: Sequence[OpenedBenchmark],
    runners: Sequence[DirectoryJobRunner],
    *,
    close: bool = True,
    groups: Sequence[str] = (),
) -> None:
    """Answer all benchmarks, then grade all, then free the models of the pool that they share, unless not `close`.

    Parameters
    ----------
    groups:
        The group of each benchmark: those of one group are answered one after the other, different groups concurrently.
        () is one group.
    """
    in_turn: dict[str, list[tuple[OpenedBenchmark, DirectoryJobRunner]]] = {}
    names = groups or [""] * len(benchmarks)
    for name, opened, runner in zip(names, benchmarks, runners, strict=True):
        in_turn.setdefault(name, []).append((opened, runner))
    try:
        tasks = [asyncio.ensure_future(_respond(group)) for group in in_turn.values()]
        await gather(tasks, enough=lambda _: False)
        for opened, runner in zip(benchmarks, runners, strict=True):
            if opened.outputs.external_grades is None:
                await opened.benchmark.grade(runner, opened.examples)
    finally:
        if close:
            await runners[0].pool.aclose(runners[0].listener.note)


async def _respond(group: Sequence[tuple[OpenedBenchmark, DirectoryJobRunner]]) -> None:
    for opened, runner in group:
        if opened.outputs.external_answers is None:
            await opened.benchmark.respond(runner, opened.examples)


def open_benchmark(
    name: str, config: EvalConfig, request: EvalRequest, directory: Path
) -> OpenedBenchmark:
    """Find a benchmark, read its data and the files given, without touching a model.

    Raises
    ------
    UsageError
        There is no such benchmark, or its data or a file given is missing or wrong.
    """
    benchmark = find_benchmark(name, request, config)
    if config.answer_rule != "best" and not benchmark.extracts_answers:
        raise UsageError(
            f"--answer: responses to {name} are free text and cannot be compared; use best, or an lm-eval task with a filter"
        )
    data = open_folders(benchmark, config)
    config = config.model_copy(update={"benchmark": name, "data_digest": data_digest(data, config)})
    whole, examples = examples_of(benchmark, config, directory)
    if config.responses and benchmark.likelihoods_of:
        raise UsageError(
            f"{name} takes no --responses: it scores how likely a model finds {benchmark.likelihoods_of}, which no response tells; "
            "leave --responses out"
        )
    _check_not_deleted(directory, config.responses, request)
    answers, grades = None, None
    notes = tuple(note for folder in data for note in folder.notes)
    if config.responses and not benchmark.refines_responses:
        matched = match_answers(
            config.responses,
            whole,
            scored={prompt.id for prompt in examples},
            answer_of=benchmark.stored_answer,
            row_texts=benchmark.row_texts,
            row_fields=benchmark.row_fields,
        )
        answers = fill_answers(matched, examples, allow_missing=request.allow_missing)
        notes += matched.notes()
    if request.judge_outputs:
        if not benchmark.uses_grader:
            graded = [n for n in BENCHMARKS if (spec := declared_spec(n)) and spec.uses_grader]
            raise UsageError(f"--judge-outputs is for {', '.join(graded)}, not for {name}")
        notes += (f"the judge's outputs are those of {request.judge_outputs}",)
        known = answers or {}
        judged = match_grader_replies(
            request.judge_outputs,
            whole,
            graded_example=lambda text: benchmark.graded_example(text, whole, known),
        )
        if not request.allow_missing:
            judged.check()
        grades = judged.by_example
        notes += tuple(filter(None, (judged.report(), judged.thinking_report())))
    outputs = RunOutputs(directory, answers, grades)
    return OpenedBenchmark(
        benchmark,
        config,
        examples,
        outputs,
        len(whole),
        notes,
        verifiers(benchmark, examples, data),
        benchmark_spec(name).parsed_options(name, _options(benchmark_spec(name), request, config)),
    )


def find_benchmark(name: str, request: EvalRequest, config: EvalConfig = EvalConfig()) -> Benchmark:
    """The benchmark of a name, with its options.

    Raises
    ------
    UsageError
        Neither spar, nor an installed plug-in, nor lm-eval has it.
    """
    spec = benchmark_spec(name)
    return spec.open(name, _options(spec, request, config))


def _options(spec: BenchmarkSpec, request: EvalRequest, config: EvalConfig) -> dict[str, Any]:
    fields = spec.options.model_fields if spec.options else {}
    switches = {
        "official_scoring": request.official_scoring,
        "allow_code_execution": request.allow_code_execution,
    }
    chosen = {option: value for option, value in switches.items() if value and option in fields}
    return {**config.benchmark_args, **chosen}


def _check_combination(request: EvalRequest, config: EvalConfig) -> None:
    twice = [n for i, n in enumerate(request.names) if n in request.names[:i]]
    if twice:
        raise UsageError(f"the benchmark {twice[0]!r} is given twice")
    for flag, value in _files(config.responses, request):
        if value and len(request.names) > 1:
            raise UsageError(f"{flag} is for one benchmark, got {', '.join(request.names)}")
    if not config.prompts:
        refuse_prompt_field(config)
    else:
        readers = [name for name in BENCHMARKS if (s := declared_spec(name)) and s.reads_prompts]
        for name in request.names:
            if not find_benchmark(name, request, config).reads_prompts:
                raise UsageError(
                    f"--prompts is for {', '.join(readers)}; {name} has prompts of its own"
                )


def _check_not_deleted(directory: Path, responses: str, request: EvalRequest) -> None:
    for flag, file in _files(responses, request):
        inside = file and Path(file).resolve().is_relative_to(directory.resolve())
        if request.overwrite and inside:
            raise UsageError(
                f"--overwrite would delete {file}, which {flag} names; give another --out"
            )


def _files(responses: str, request: EvalRequest) -> tuple[tuple[str, str], ...]:
    return ("--responses", responses), ("--judge-outputs", request.judge_outputs)


def default_directory(config: EvalConfig) -> Path:
    """`runs/eval-STRATEGY-DIGEST`: the same command, on the same responses, finds its run again."""
    values = {**config.stored(), "given": file_digests(config)}
    digest = config_digest(values, free=FREE)
    return Path("runs") / f"eval-{safe_name(config.strategy)}-{digest[:8]}"


def score(opened: OpenedBenchmark) -> Results:
    """Score what the stages left, and write it beside them."""
    prompts = {prompt.id: prompt.messages[-1].content for prompt in opened.examples}
    scored = scored_by(opened.benchmark, opened.examples, opened.outputs)
    examples = [
        example.model_copy(update={"prompt": prompts.get(example.id, "")})
        for example in scored.examples
    ]
    results = totals(
        opened.config, scored, _facts(opened), (*opened.notes, *_unscored(opened, scored))
    )
    write_examples(opened.outputs.directory, examples)
    write_results(opened.outputs.directory, results)
    return results


def _unscored(opened: OpenedBenchmark, scored: Scored) -> Iterator[str]:
    """A line if fewer examples are scored than were before, and one if fewer than were loaded."""
    if fewer := fewer_scored(num_scored(opened.outputs.directory), len(scored.examples)):
        yield fewer
    loaded = opened.benchmark.num_loaded(opened.examples)
    if len(scored.examples) < loaded:
        yield f"scored {len(scored.examples):,} of {loaded:,} loaded examples"


def totals(
    config: EvalConfig, scored: Scored, facts: dict[str, Any], notes: Sequence[str] = ()
) -> Results:
    """Sum up what scoring gave."""
    usage = sum((example.usage for example in scored.examples), Usage())
    cut = f"{usage.cut_calls:,} of {usage.calls:,} replies ended at their token limit; log.txt names the setting to raise"
    return Results(
        benchmark=BENCHMARKS.recorded_name(config.benchmark),
        n=len(scored.examples),
        metrics=metrics(scored),
        means=scored.means,
        counts=scored.counts,
        notes=(*notes, *scored.notes, *((cut,) if usage.cut_calls else ())),
        units=scored.units,
        usage=usage,
        run=facts,
    )


def _facts(opened: OpenedBenchmark) -> dict[str, Any]:
    config, manifest = opened.config, read_manifest(opened.outputs.directory)
    from_file = opened.outputs.external_answers is not None
    return {
        "directory": str(opened.outputs.directory),
        "strategy": STRATEGIES.recorded_name(config.strategy),
        "budget": config.budget,
        # The model that wrote a file's answers is unknown.
        "model": "" if from_file else manifest.models[opened.benchmark.measures],
        "responses": config.responses,
        "whole": opened.whole,
        "limit": config.limit,
        "seed": config.seed,
        "digest": manifest.digest,
        "git_commit": manifest.git_commit,
        "verifiers": dict(opened.verifiers),
        "grading": grading(opened.benchmark, opened.options, opened.outputs),
    }
