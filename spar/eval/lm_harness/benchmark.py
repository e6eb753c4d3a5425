"""Every task of lm-eval as a benchmark; GSM8K, MMLU and TriviaQA with local data.

Dataset: the task's own; for `gsm8k`, `mmlu` and `triviaqa` the data folder's files.
Metric:  the task's own, computed by lm-eval (`spar.eval.lm_harness.scored`).
Pattern: replies are searched trees, by whatever strategy the run has. Likelihoods are asked of the
         engine straight, and the strategy has no part in them; each document still leaves a tree, whose
         response is its likeliest text.

All requests are known when a task is loaded. The stages answer them, and lm-eval scores what they stored.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path, PurePath
from typing import Any, ClassVar

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval import paper
from spar.eval.benchmark import (
    ANSWERS,
    Answer,
    Benchmark,
    BenchmarkSpec,
    JobOutputs,
    JobRunner,
    Work,
)
from spar.eval.datasets.local import DataFolder
from spar.eval.lm_harness.extract import FilteredAnswers, answers_of
from spar.eval.lm_harness.jobs import likelihood_job, reply_job
from spar.eval.lm_harness.likelihoods import ScoredDocument, read_likelihoods
from spar.eval.lm_harness.local_data import NOTES
from spar.eval.lm_harness.replay import Replay, check_prompts
from spar.eval.lm_harness.requests import (
    REPLY,
    LikelihoodRequest,
    ReplyRequest,
    document_id,
    likelihood_requests,
    question_texts,
    reply_requests,
)
from spar.eval.lm_harness.scored import LOGPROBS, Answered, as_scored
from spar.eval.lm_harness.tasks import HarnessTasks, is_mentioned, known_tasks, open_tasks
from spar.hardware import require_packages
from spar.infer.answers import Select, select, select_best
from spar.record.evaluation import Scored
from spar.types import Prompt

__all__ = ["GSM8K", "MMLU", "TRIVIAQA", "HarnessTask", "is_mentioned", "known_tasks", "task"]

FLEXIBLE = "exact_match,flexible-extract"
"""GSM8K's metric that takes the last number of a reply."""
LIKELIHOODS = "likelihoods"
"""Stage of the likelihoods where a task wants replies too; else they have the place of the answers."""


def task(name: str) -> HarnessTask:
    """Any other task, group or tag of lm-eval."""
    return HarnessTask(name)


@dataclass(slots=True)
class HarnessTask(Benchmark):
    """One task, group or tag of lm-eval; see the module's docstring."""

    name: str
    """As lm-eval has it."""
    data: tuple[str, ...] = ()
    """Data sets that it reads."""
    packages: ClassVar[tuple[str, ...]] = ("lm_eval",)
    extracts_answers: ClassVar[bool] = True
    limits_itself: bool = True
    """A limit is spread over the tasks of a group."""
    folder: str = ""
    """The folder of lm-eval's tasks that has it, which is found sooner than among all."""
    headline: str = ""
    """The metric that says whether an example passed; "" for the task's first."""
    _tasks: HarnessTasks | None = None
    _replies: dict[str, ReplyRequest] = field(default_factory=dict)
    _likelihoods: dict[str, LikelihoodRequest] = field(default_factory=dict)
    extract: FilteredAnswers | None = None
    """Reads answers out of replies; None where the best response answers."""
    _documents: dict[str, Any] = field(default_factory=dict)
    """Id to document, of all loads: a file of responses may have more than `--limit`."""

    def require_packages(self) -> None:
        """lm-eval."""
        require_packages(self.packages, "eval", "a task of lm-eval")

    def load(self, config: EvalConfig) -> list[Prompt]:
        """A prompt for every reply that is wanted, and for every document whose texts are scored.

        Raises
        ------
        UsageError
            lm-eval cannot ask this task here, or its data cannot be had.
        """
        self._tasks = open_tasks(self.name, config, self.folder)
        requests = self._tasks.requests()
        replies = reply_requests([one for one in requests if one.request_type == REPLY])
        if config.max_gen_toks is not None:
            replies = [replace(ask, max_tokens=config.max_gen_toks) for ask in replies]
        likelihoods = likelihood_requests([one for one in requests if one.request_type != REPLY])
        self._documents |= {
            document_id(str(one.task_name), one.doc_id): one.doc for one in requests
        }
        self._replies = {ask.prompt.id: ask for ask in replies}
        self._likelihoods = {ask.prompt.id: ask for ask in likelihoods}
        self.extract = None
        if config.answer_rule != "best":
            asked = [one for one in requests if one.request_type == REPLY]
            documents = {ask.prompt.id: one.doc for ask, one in zip(replies, asked, strict=True)}
            self.extract = answers_of(
                self._tasks.tasks, self._replies, documents, headline=self.headline
            )
        return [*(ask.prompt for ask in replies), *(ask.prompt for ask in likelihoods)]

    @property
    def likelihoods_of(self) -> str:
        """Those that the task scores, such as choices; "" where it scores replies alone."""
        return "the task's own texts, such as its choices" if self._likelihoods else ""

    def num_loaded(self, examples: Sequence[Prompt]) -> int:
        """The documents; one may have several requests."""
        return len({(prompt.meta["task"], prompt.meta["document"]) for prompt in examples})

    def row_texts(self, prompt: Prompt) -> Sequence[str]:
        """The bare question of the document."""
        return question_texts(self._document(prompt))

    def row_fields(self, prompt: Prompt) -> Mapping[str, Any]:
        """Those of the document."""
        document = self._document(prompt)
        return document if isinstance(document, Mapping) else {}

    def _document(self, prompt: Prompt) -> Any:
        return self._documents.get(document_id(prompt.meta["task"], prompt.meta["document"]))

    async def respond(self, runner: JobRunner, examples: Sequence[Prompt]) -> None:
        """Replies by the run's own search; likelihoods by the actor's engine."""
        directory = runner.outputs.directory
        if directory is None:
            return
        if self._replies:
            chosen: Select = select_best
            if self.extract is not None:
                chosen = partial(select, runner.config.answer_rule, self.extract)
            await runner.run(reply_job(ANSWERS, list(self._replies.values()), chosen))
        if self._likelihoods:
            job = self._likelihood_job
            asks = list(self._likelihoods.values())
            with likelihood_job(job, asks, directory / job) as scoring:
                await runner.run(scoring)

    def work(self, config: EvalConfig, examples: Sequence[Prompt]) -> Work:
        """A search for each reply that is wanted, and the texts of each document whose likelihoods are."""
        scored = [self._likelihoods[p.id] for p in examples if p.id in self._likelihoods]
        texts = sum(len(request.continuations) for request in scored)
        return Work(len(examples) - len(scored), texts)

    def score(self, examples: Sequence[Prompt], outputs: JobOutputs) -> Scored:
        """lm-eval's own scoring of the stored replies and likelihoods.

        Raises
        ------
        UsageError
            A reply or a likelihood is missing, or was given to another prompt.
        """
        if self._tasks is None:
            raise UsageError(f"lm-eval's task {self.name} was not loaded before it was scored")
        where = outputs.directory or Path()
        documents = read_likelihoods(where / self._likelihood_job) if self._likelihoods else {}
        replies = dict(outputs.answers()) if self._replies else {}
        scores = dict(outputs.answers(self._likelihood_job)) if self._likelihoods else {}
        refused = frozenset(name for name, answer in scores.items() if answer.text is None)
        self._check_prompts(outputs)
        texts = {name: answer.text for name, answer in replies.items()}
        results = self._tasks.evaluate(Replay(texts, documents, refused))
        answered = _answered(self._replies, replies) | _scored(documents, scores)
        scored = as_scored(
            self.name,
            results,
            groups=self._tasks.groups,
            answered=answered,
            headline=self.headline,
        )
        return scored.model_copy(update={"notes": (*self._notes(), *scored.notes)})

    @property
    def _likelihood_job(self) -> str:
        return LIKELIHOODS if self._replies else ANSWERS

    def _check_prompts(self, outputs: JobOutputs) -> None:
        check_prompts(self._replies.values(), outputs.trees(ANSWERS), outputs.directory)
        if self._likelihoods:
            trees = outputs.trees(self._likelihood_job)
            check_prompts(self._likelihoods.values(), trees, outputs.directory)

    def _notes(self) -> list[str]:
        tasks = self._tasks
        assert tasks is not None
        shots = sorted({each.get_config("num_fewshot") or 0 for each in tasks.tasks.values()})
        shown = ", ".join(map(str, shots))
        way = "as conversations" if tasks.chat else "as plain text"
        notes = [f"lm-eval {version('lm_eval')}, {shown} worked examples, asked {way}"]
        if tasks.fixed_zero_shot:
            first, *others = tasks.fixed_zero_shot
            more = f" and {len(others):,} more" if others else ""
            notes.append(
                f"--num-fewshot has no effect on {first}{more}: a task that sets 0 itself is left at 0, as by lm-eval"
            )
        notes += [NOTES[name] for name in self.data if name in NOTES]
        if self._likelihoods:
            notes.append("likelihoods are not searched: the strategy had no part in them")
        ignored = sorted({name for ask in self._replies.values() for name in ask.ignored})
        if ignored:
            notes.append(f"settings of the task that no engine takes: {', '.join(ignored)}")
        return notes


def _answered(
    asks: Mapping[str, ReplyRequest], replies: Mapping[str, Answer]
) -> dict[str, Answered]:
    """Example id to its first reply that is one, None where all failed; what the others cost is added."""
    found: dict[str, Answered] = {}
    for name, ask in asks.items():
        answer = replies.get(name, Answer(None))
        example = document_id(ask.prompt.meta["task"], ask.prompt.meta["document"])
        before = found.get(example, Answered(None))
        text = answer.text if before.text is None else before.text
        found[example] = Answered(text, before.usage + answer.usage)
    return found


def _scored(
    documents: Mapping[str, ScoredDocument], answers: Mapping[str, Answer]
) -> dict[str, Answered]:
    found = {}
    for name, answer in answers.items():
        document = documents.get(name)
        facts: dict[str, Any] = {}
        if document is not None:
            facts[LOGPROBS] = [[one.text, one.logprob] for one in document.likelihoods]
        found[name.removesuffix("#rolling")] = Answered(
            answer.text, answer.usage, facts, is_unscored=answer.text is None
        )
    return found


def _gsm8k_questions(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
    assert folder is not None
    for index, row in enumerate(folder.jsonl("test.jsonl")):
        yield str(index), row["question"]


def _mmlu_questions(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
    assert folder is not None
    for path in folder.checksums:
        if path.startswith("test/"):
            subject = PurePath(path).stem.removesuffix("_test")
            for index, row in enumerate(folder.csv(path)):
                yield f"{subject}/{index}", row["question"]


def _triviaqa_questions(folder: DataFolder | None) -> Iterator[tuple[str, str]]:
    assert folder is not None
    for row in folder.jsonl("validation_unfiltered.jsonl"):
        yield str(row["id"]), row["question"]


GSM8K = BenchmarkSpec(
    partial(HarnessTask, "gsm8k", ("gsm8k",), folder="gsm8k", headline=FLEXIBLE),
    data=("gsm8k",),
    headline=FLEXIBLE,
    paper=paper.GSM8K,
    prompt_texts=_gsm8k_questions,
)
"""Grade-school word problems: 1,319 replies after five worked examples."""
MMLU = BenchmarkSpec(
    partial(HarnessTask, "mmlu", ("mmlu",), folder="mmlu/default"),
    data=("mmlu",),
    paper=paper.MMLU,
    prompt_texts=_mmlu_questions,
)
"""Questions of 57 subjects with four choices: 14,042 times the log-likelihoods of A, B, C and D."""
TRIVIAQA = BenchmarkSpec(
    partial(HarnessTask, "triviaqa", ("triviaqa",), folder="triviaqa"),
    data=("triviaqa",),
    paper=paper.TRIVIAQA,
    prompt_texts=_triviaqa_questions,
)
"""Trivia without context: 11,313 short replies."""
