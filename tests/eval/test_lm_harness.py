"""lm-eval's tasks as benchmarks: its numbers, resuming, scoring without a model, and clear words."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from spar.errors import EngineError, PromptRefused, RunStopped, UsageError
from spar.eval.benchmark import Answer, Benchmark
from spar.eval.job_outputs import RunOutputs
from spar.eval.lm_harness.benchmark import GSM8K, MMLU, TRIVIAQA, HarnessTask
from spar.eval.lm_harness.extract import comparable
from spar.eval.lm_harness.scored import LOGPROBS, Answered, Document, _verdicts
from spar.eval.lm_harness.tasks import open_tasks, quiet
from spar.eval.runner import EvalRequest, evaluate, find_benchmark
from spar.eval.statistics import metrics
from spar.infer.engine import Completion, Continuation, Likelihood, Request
from spar.infer.engines.fake import FakeEngine, scripted_likelihood
from spar.listener import Listener
from spar.record.evaluation import Results, Scored
from spar.store import read_trees
from spar.types import Message
from tests.eval.lm_harness_tasks import CountingEngine, EngineJobRunner, settings, write_tasks
from tests.requires import requires

pytestmark = [pytest.mark.evalharness, requires("lm_eval")]


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of small tasks."""
    return write_tasks(tmp_path_factory.mktemp("tasks"))


def run(
    task: Benchmark, directory: Path, engine: CountingEngine | None, **fields: Any
) -> tuple[Scored, EngineJobRunner]:
    """Load, respond and score, as `spar eval` does."""
    config = settings(**fields)
    runner = EngineJobRunner(config, RunOutputs(directory), engine)
    examples = task.load(config)
    asyncio.run(task.respond(runner, examples))
    return task.score(examples, runner.outputs), runner


def values(scored: Scored) -> dict[str, float]:
    """Metric to its value."""
    return {name: metric.value for name, metric in metrics(scored).items()}


class Reference:
    """An lm-eval model that gives the very likelihoods of the fake engine, without any of spar's stages."""

    rank, world_size, tokenizer_name = 0, 1, ""

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Of the texts as they come."""
        scores = [scripted_likelihood(Continuation(*request.args)) for request in requests]
        return [(score.logprob, score.greedy) for score in scores]

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Of whole texts."""
        return [
            scripted_likelihood(Continuation("", request.args[0])).logprob for request in requests
        ]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """Nothing asks for replies."""
        raise AssertionError


def official(name: str, folder: str, **fields: Any) -> Mapping[str, Mapping[str, Any]]:
    """lm-eval's own results for the reference."""
    config = settings(chat_template=False, **fields)
    results = open_tasks(name, config, folder).evaluate(Reference())["results"]
    assert isinstance(results, dict)
    return results


# --- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("group", "weighted"), [("toy_weighted", True), ("toy_plain", False)])
def test_a_groups_metrics_are_lm_evals(
    toys: str, tmp_path: Path, group: str, weighted: bool
) -> None:
    """Weighted by documents or by tasks, as the group says; the parts stand below it."""
    engine = CountingEngine()
    scored, runner = run(HarnessTask(group, folder=toys), tmp_path, engine, chat_template=False)
    theirs, ours = official(group, toys), values(scored)
    assert ours["acc"] == pytest.approx(theirs[group]["acc,none"], rel=1e-12)
    for task in ("toy_small", "toy_large"):
        assert ours[f"acc/{task}"] == pytest.approx(theirs[task]["acc,none"], rel=1e-12)
    assert 0 < ours["acc"] < 1
    assert ("acc" in scored.means) is not weighted
    assert len(scored.examples) == 10
    assert engine.num_asked == 20  # two choices a document
    assert runner.ran == [""]


def test_a_number_that_is_no_mean_is_lm_evals_as_it_stands(toys: str, tmp_path: Path) -> None:
    """A perplexity has no share for each document, hence no standard error, and a note says so."""
    scored, _ = run(HarnessTask("toy_text", folder=toys), tmp_path, CountingEngine())
    theirs = official("toy_text", toys)["toy_text"]["word_perplexity,none"]
    metric = metrics(scored)["word_perplexity"]
    assert metric.value == pytest.approx(theirs, rel=1e-12)
    assert metric.stderr is None
    assert any(note.startswith("word_perplexity: lm-eval's number over 4") for note in scored.notes)
    assert all(example.passed is None for example in scored.examples)


def test_a_number_that_is_no_mean_needs_every_likelihood(toys: str, tmp_path: Path) -> None:
    """A text that a server refuses would count as a certain one, so there is no perplexity, and a note says why."""

    class Refusing(CountingEngine):
        async def score(self, continuations: Sequence[Continuation]) -> list[Likelihood]:
            """Refuse one text."""
            if any("number 2" in each.text for each in continuations):
                raise PromptRefused("too long")
            return await super().score(continuations)

    scored, _ = run(HarnessTask("toy_text", folder=toys), tmp_path, Refusing())
    assert values(scored) == {}
    assert scored.counts["unanswered"] == 1
    (note,) = [note for note in scored.notes if note.startswith("word_perplexity")]
    assert "no model would score 1 of 4 documents, the first is toy_text/2" in note


@pytest.mark.parametrize(("target", "wanted"), [("1", "four"), ("2", "2"), ("\u00b2", "\u00b2")])
def test_a_target_that_is_the_number_of_a_choice_is_that_choice(target: str, wanted: str) -> None:
    """Any other is the text that is wanted, a digit that is no number too."""
    answered = Answered("two", facts={LOGPROBS: [("two", -1.0), ("four", -2.0)]})
    document = Document("task", 0, {"acc,none": 0.0}, {}, target)
    (verdict,) = _verdicts(document, answered)
    assert verdict.why == f"read 'two', wanted {wanted!r}"


def test_replies_are_filtered_and_scored_by_the_task(toys: str, tmp_path: Path) -> None:
    """One metric a filter; even numbers are added rightly, and only a filter sees past the blanks."""
    scored, _ = run(HarnessTask("toy_reply", folder=toys), tmp_path, CountingEngine())
    assert values(scored) == {"exact_match,number": 0.6, "exact_match,whole": 0.0}
    assert [example.passed for example in scored.examples] == [True, False, True, False, True]
    assert [example.response for example in scored.examples[:2]] == ["  0 ", "  3 "]
    verdict = scored.examples[1].verdicts[0]
    assert (verdict.name, verdict.passed) == ("exact_match,number", False)
    assert verdict.why == "read '3', wanted '2'"


def test_the_headline_says_what_passes(toys: str, tmp_path: Path) -> None:
    """A benchmark may name the metric by which examples flip."""
    task = HarnessTask("toy_reply", folder=toys, headline="exact_match,whole")
    scored, _ = run(task, tmp_path, CountingEngine())
    assert [example.passed for example in scored.examples] == [False] * 5


def test_a_document_without_an_answer_counts_as_wrong(toys: str, tmp_path: Path) -> None:
    """Also where the stand-in that lm-eval scores would be right, as the first of two choices often is."""
    task, config = HarnessTask("toy_small", folder=toys), settings(chat_template=False)
    examples = task.load(config)
    runner = EngineJobRunner(config, RunOutputs(tmp_path), CountingEngine())
    asyncio.run(task.respond(runner, examples))

    class Cut(RunOutputs):
        def answers(self, job: str = "") -> Mapping[str, Answer]:
            """Nothing for the first document."""
            return {**RunOutputs.answers(self, job), "toy_small/0": Answer(None)}

    lines = (tmp_path / "likelihoods.jsonl").read_text().splitlines(keepends=True)
    outputs = [line for line in lines if json.loads(line)["id"] != "toy_small/0"]
    (tmp_path / "likelihoods.jsonl").write_text("".join(outputs))
    scored = task.score(examples, Cut(tmp_path))
    first = scored.examples[0]
    assert (first.id, first.passed, first.scores["acc"]) == ("toy_small/0", False, (0.0, 1.0))
    assert scored.counts["unanswered"] == 1


@dataclass(frozen=True)
class Without(RunOutputs):
    """The outputs of a run in which some requests got no answer."""

    failed: frozenset[str] = frozenset()

    def answers(self, job: str = "") -> Mapping[str, Answer]:
        """Nothing for these requests."""
        return {
            name: Answer(None, answer.usage) if name in self.failed else answer
            for name, answer in RunOutputs.answers(self, job).items()
        }


def test_a_failed_first_sample_is_not_the_answer_of_a_document(toys: str, tmp_path: Path) -> None:
    """Of three, the majority of the others counts; a document is unanswered where all failed."""
    task = HarnessTask("toy_often", folder=toys)
    examples = task.load(settings(chat_template=False))
    runner = EngineJobRunner(settings(chat_template=False), RunOutputs(tmp_path), CountingEngine())
    asyncio.run(task.respond(runner, examples))
    names = [*RunOutputs(tmp_path).answers()]
    assert len(names) == 9
    first = [name for name in names if name.startswith("toy_often/0")]
    second = [name for name in names if name.startswith("toy_often/2")]
    whole = task.score(examples, RunOutputs(tmp_path))
    scored = task.score(examples, Without(tmp_path, failed=frozenset([*first, second[0]])))
    assert [example.passed for example in whole.examples] == [True, False, True]
    assert [example.passed for example in scored.examples] == [False, False, True]
    assert scored.examples[2].response is not None and scored.counts["unanswered"] == 1
    assert scored.examples[0].usage == whole.examples[0].usage


def test_a_metric_that_is_better_the_lower_it_is(toys: str, tmp_path: Path) -> None:
    """No value of it is a pass, and a document without an answer is left out, not given the best value."""
    task = HarnessTask("toy_lower", folder=toys)
    examples = task.load(settings())
    runner = EngineJobRunner(settings(), RunOutputs(tmp_path), FakeEngine(lambda _: "2"))
    asyncio.run(task.respond(runner, examples))
    whole = task.score(examples, RunOutputs(tmp_path))
    assert values(whole) == {"exact_match": 0.25}
    assert [example.passed for example in whole.examples] == [None] * 4
    scored = task.score(examples, Without(tmp_path, failed=frozenset(["toy_lower/3"])))
    assert metrics(scored)["exact_match"].n == 3
    assert any("1 of 4 documents, which have no answer" in note for note in scored.notes)


def test_a_strategy_searches_replies_and_leaves_likelihoods_alone(
    toys: str, tmp_path: Path
) -> None:
    """Best-of-n writes several drafts of a reply; a likelihood is requested once."""
    search = {"strategy": "best-of-n", "budget": 3, "chat_template": False}
    run(HarnessTask("toy_reply", folder=toys), tmp_path / "reply", CountingEngine(), **search)
    trees = list(read_trees(tmp_path / "reply"))
    assert {tree.strategy for tree in trees} == {"best-of-n"}
    assert all(len(tree.nodes) == 3 for tree in trees)
    scored, _ = run(
        HarnessTask("toy_small", folder=toys), tmp_path / "choice", CountingEngine(), **search
    )
    assert {tree.strategy for tree in read_trees(tmp_path / "choice")} == {"greedy"}
    assert any("strategy had no part" in note for note in scored.notes)


# --- resuming and scoring again --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["toy_large", "toy_reply"])
def test_an_interrupted_run_goes_on_and_a_finished_one_asks_nothing(
    toys: str, tmp_path: Path, name: str
) -> None:
    """What was answered before the server stopped is not requested again, and the numbers are the same."""
    whole = CountingEngine()
    expected, _ = run(HarnessTask(name, folder=toys), tmp_path / "whole", whole)
    broken = CountingEngine(fail_at=whole.num_asked // 2)
    with pytest.raises(RunStopped, match="the server is gone"):
        run(HarnessTask(name, folder=toys), tmp_path / "part", broken, concurrency=1)
    working = CountingEngine()
    scored, _ = run(HarnessTask(name, folder=toys), tmp_path / "part", working)
    assert 0 < working.num_asked < whole.num_asked
    assert values(scored) == values(expected)
    again, runner = run(HarnessTask(name, folder=toys), tmp_path / "part", None)
    assert values(again) == values(expected)
    assert runner.ran == [""]


def test_a_likelihood_without_its_tree_is_not_asked_again(toys: str, tmp_path: Path) -> None:
    """The process may die between the two lines."""
    run(HarnessTask("toy_large", folder=toys), tmp_path, CountingEngine())
    lines = (tmp_path / "trees.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "trees.jsonl").write_text("".join(lines[:4]))
    engine = CountingEngine()
    scored, _ = run(HarnessTask("toy_large", folder=toys), tmp_path, engine)
    assert engine.num_asked == 0
    assert scored.counts["unanswered"] == 0


def test_scoring_needs_all_answers_and_no_engine(toys: str, tmp_path: Path) -> None:
    """A stage that was never run is a clear word, not a model that is loaded."""
    task = HarnessTask("toy_large", folder=toys)
    examples = task.load(settings())
    with pytest.raises(UsageError, match="no answer is stored for toy_large/0 and 6 more"):
        task.score(examples, RunOutputs(tmp_path))


def test_answers_of_a_file_take_the_place_of_searches(toys: str, tmp_path: Path) -> None:
    """Ids are those of the prompts."""
    task = HarnessTask("toy_reply", folder=toys)
    examples = task.load(settings())
    answers = {prompt.id: Answer(f"{2 * number}") for number, prompt in enumerate(examples)}
    scored = task.score(examples, RunOutputs(tmp_path, answers))
    assert values(scored) == {"exact_match,number": 1.0, "exact_match,whole": 1.0}


def test_a_limit_takes_the_first_answers_of_a_file_that_has_all(
    toys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows of the other examples, named by id or by question, are left out; one of no example, or a gap, is still an error."""
    monkeypatch.setattr(
        "spar.eval.runner.find_benchmark", lambda *_: HarnessTask("toy_reply", folder=toys)
    )
    rows: list[dict[str, str]] = [
        {"id": f"toy_reply/{n}", "response": f"{2 * n}"} for n in range(4)
    ]
    rows.append({"prompt": "4 and 4?", "response": "8"})
    file = tmp_path / "answers.jsonl"

    def scored(rows: Sequence[Mapping[str, str]], limit: int) -> Results:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        config = settings(responses=str(file), limit=limit)
        (results,), error = asyncio.run(
            evaluate(config, EvalRequest(("toy",), tmp_path / "out", overwrite=True), Listener())
        )
        assert error is None
        return results

    results = scored(rows, 2)
    assert (results.n, results.run["whole"]) == (2, 5)
    assert {metric.value for metric in results.metrics.values()} == {1.0}
    assert scored(rows, 5).n == 5
    with pytest.raises(UsageError, match=r"rows that match no example, 1 of 6: .*elsewhere"):
        scored([*rows, {"id": "elsewhere", "response": "8"}], 2)
    with pytest.raises(UsageError, match="examples without a row, 1: 'toy_reply/0'"):
        scored(rows[1:], 2)


def test_what_would_be_right_is_not_taken_for_the_reply(
    toys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of the data set with the replies in a field of another name is refused, and short answers are noted."""
    monkeypatch.setattr(
        "spar.eval.runner.find_benchmark", lambda *_: HarnessTask("toy_reply", folder=toys)
    )
    rows = [{"question": f"{n} and {n}?", "answer": str(2 * n)} for n in range(5)]
    gold = "The sum of two equal numbers is twice the number"
    file = tmp_path / "rows.jsonl"

    def scored(extra: Mapping[str, str | None]) -> Results:
        file.write_text("".join(json.dumps({**row, **extra}) + "\n" for row in rows))
        request = EvalRequest(("toy",), tmp_path / "out", overwrite=True)
        (results,), _ = asyncio.run(evaluate(settings(responses=str(file)), request, Listener()))
        return results

    results = scored({"model": "gpt-x"})
    assert results.metrics["exact_match,number"].value == 1.0
    assert any("'answer', which is scored, is the data set's own" in n for n in results.notes)
    for response, value in (("dunno", 0.0), (None, 0.0)):
        results = scored({"response": response, "model": "gpt-x"})
        assert results.metrics["exact_match,number"].value == value
        assert not any("own text" in note for note in results.notes)
    monkeypatch.setattr(HarnessTask, "row_fields", lambda *_: {"answer": gold})
    with pytest.raises(UsageError, match=r"'answer' is the data set's own.*'model'"):
        scored({"answer": gold, "model": "dunno"})


@pytest.mark.parametrize(
    ("name", "scores_texts"), [("toy_reply", False), ("toy_large", True), ("toy_text", True)]
)
def test_tasks_of_likelihoods_say_that_they_take_no_responses(
    toys: str, name: str, scores_texts: bool
) -> None:
    """Those of replies are scored from a file, as above."""
    task = HarnessTask(name, folder=toys)
    task.load(settings())
    assert bool(task.likelihoods_of) is scores_texts


# --- the requests ---------------------------------------------------------------------------------


def test_a_limit_counts_all_documents_of_a_group(toys: str) -> None:
    """Spread over its tasks, where lm-eval's own limit counts each task's."""
    prompts = HarnessTask("toy_weighted", folder=toys).load(settings(limit=5))
    names = [prompt.id for prompt in prompts]
    assert names == ["toy_small/0", "toy_small/1", "toy_small/2", "toy_large/0", "toy_large/1"]


@pytest.mark.parametrize(
    ("name", "why"), [("toy_prefix", "--no-chat-template"), ("toy_unsafe", "spar eval humaneval")]
)
def test_what_cannot_be_asked_is_said_before_a_model_is_loaded(
    toys: str, name: str, why: str
) -> None:
    """A reply that the task starts, code that it runs."""
    with pytest.raises(UsageError, match=why):
        HarnessTask(name, folder=toys).load(settings())


def test_a_prefilled_reply_can_be_asked_as_text(toys: str) -> None:
    """As lm-eval writes it: the prefix at the end of the prompt."""
    prompts = HarnessTask("toy_prefix", folder=toys).load(settings(chat_template=False))
    assert prompts[1].messages == (Message(role="user", content="1 and 1? It is"),)


def test_a_task_that_sets_zero_worked_examples_says_that_it_shows_none(
    toys: str, tmp_path: Path
) -> None:
    """lm-eval leaves it at 0 whatever is asked for; one that sets nothing shows as many as are asked for."""
    for name, shown, is_told in (("toy_zero", 0, True), ("toy_free", 1, False)):
        task = HarnessTask(name, folder=toys)
        scored, _ = run(task, tmp_path / name, CountingEngine(), num_fewshot=1)
        assert f"{shown} worked examples" in scored.notes[0]
        told = [note for note in scored.notes if "--num-fewshot has no effect" in note]
        assert len(told) == is_told and all(name in note for note in told)


def test_more_worked_examples_than_there_are(toys: str) -> None:
    """As many as lm-eval can show are shown, one less where the document itself may be among them."""
    for name, room in (("toy_free", 2), ("toy_within", 3)):
        task = HarnessTask(name, folder=toys)
        (prompt, *_) = task.load(settings(num_fewshot=room, chat_template=False))
        assert prompt.messages[0].content.count("?") == room + 1
        with pytest.raises(UsageError, match=f"{name} can show {room} at most"):
            task.load(settings(num_fewshot=room + 1))
    task = HarnessTask("toy_zero", folder=toys)
    assert len(task.load(settings(num_fewshot=9))[0].messages) == 1


@pytest.mark.data
@pytest.mark.parametrize(("name", "most"), [("mmlu_anatomy", 5), ("gsm8k_cot", 8)])
def test_tasks_show_as_many_worked_examples_as_they_have(
    data_root: Path, name: str, most: int
) -> None:
    """MMLU's five of the development set, the eight of the chain of thought: the usual numbers of both."""
    task = HarnessTask(name)
    fields = {"data": str(data_root), "limit": 2, "chat_template": False}
    (prompt, *_) = task.load(settings(num_fewshot=most, **fields))
    assert prompt.messages[0].content.count("\nA" if name == "gsm8k_cot" else "\nAnswer:") > most
    with pytest.raises(UsageError, match=f"can show {most} at most"):
        task.load(settings(num_fewshot=most + 1, **fields))


@pytest.mark.data
def test_gsm8k_is_lm_evals_task_over_local_files(data_root: Path) -> None:
    """Five worked examples, as turns or as text; the last question is the test file's."""
    task, data = GSM8K.make(), str(data_root)
    prompts = task.load(settings(data=data, limit=3))
    assert [prompt.id for prompt in prompts] == ["gsm8k/0", "gsm8k/1", "gsm8k/2"]
    turns = prompts[0].messages
    assert [message.role for message in turns] == ["user", "assistant"] * 5 + ["user"]
    assert turns[-1].content.startswith("Question: Janet\u2019s ducks lay 16 eggs per day.")
    assert all("####" in message.content for message in turns[1::2])
    (question,) = task.row_texts(prompts[0])  # by which rows of --responses may name it
    assert question.startswith("Janet\u2019s ducks") and question in turns[-1].content
    (plain,) = task.load(settings(data=data, limit=1, chat_template=False, num_fewshot=2))[
        0
    ].messages
    assert plain.content.count("Question: ") == 3
    assert plain.content.endswith("\nAnswer:")


@pytest.mark.data
def test_the_draw_of_worked_examples_follows_the_seed(data_root: Path) -> None:
    """The same seed gives the same prompts, another one others."""
    drawn = [
        GSM8K.make().load(settings(data=str(data_root), limit=2, seed=seed))[1].messages
        for seed in (0, 0, 1)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
    assert drawn[0][-1] == drawn[2][-1]


@pytest.mark.data
def test_mmlu_asks_all_subjects_and_sums_them_up_as_lm_eval(
    data_root: Path, tmp_path: Path
) -> None:
    """60 documents of 57 subjects: three subjects weigh double, in the whole and in their group."""
    task = MMLU.make()
    fields = {"data": str(data_root), "limit": 60, "num_fewshot": 1}
    scored, _ = run(task, tmp_path, CountingEngine(), chat_template=False, **fields)
    theirs, ours = official("mmlu", "mmlu/default", **fields), values(scored)
    assert len({name for name in ours if name.count("_")}) == 57 + 4
    names = {"acc": "mmlu"} | {n: n.removeprefix("acc/") for n in ours if n != "acc"}
    for name, owner in names.items():
        assert ours[name] == pytest.approx(theirs[owner]["acc,none"], rel=1e-12)
    assert 0 < ours["acc"] < 1
    (turn,) = task.load(settings(**fields, chat_template=False))[0].messages
    assert turn.content.startswith("The following are multiple choice questions (with answers)")
    assert turn.content.count("\nD. ") == 2
    assert turn.content.endswith("\nAnswer:")


@pytest.mark.data
def test_triviaqa_accepts_any_alias(data_root: Path, tmp_path: Path) -> None:
    """Whatever its case and punctuation; the note says that the questions are not lm-eval's own list."""
    task = TRIVIAQA.make()
    examples = task.load(settings(data=str(data_root), limit=2, chat_template=False))
    assert examples[1].messages[0].content.endswith("star sign is Jamie Lee Curtis??\nAnswer:")
    answers = {"triviaqa/0": Answer(" david seville."), "triviaqa/1": Answer("skorpio, or so")}
    scored = task.score(examples, RunOutputs(tmp_path, answers))
    assert values(scored) == {"exact_match,remove_whitespace": 1.0}
    assert any("rc.nocontext" in note for note in scored.notes)


@pytest.mark.data
def test_no_chatter_reaches_the_terminal(
    data_root: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither lm-eval's log nor a progress bar."""
    run(TRIVIAQA.make(), tmp_path, CountingEngine(), data=str(data_root), limit=2)
    assert capfd.readouterr() == ("", "")


def test_missing_data_are_one_clear_line(tmp_path: Path) -> None:
    """The set, the folder, and how to get it."""
    with pytest.raises(UsageError, match="spar data fetch gsm8k") as caught:
        GSM8K.make().load(settings(data=str(tmp_path)))
    assert "\n" not in str(caught.value)


def test_a_set_of_the_hub_that_cannot_be_had_is_one_clear_line(tmp_path: Path) -> None:
    """The network is closed here; the words name the set and the way out."""
    task = HarnessTask("gsm_plus", folder="gsm_plus")
    with pytest.raises(UsageError, match="HF_HOME to a cache that has it") as caught:
        task.load(settings())
    assert "\n" not in str(caught.value)


@pytest.mark.slow
def test_an_unknown_benchmark_has_a_closest_name() -> None:
    """Of spar's and of all of lm-eval's tasks."""
    from spar.eval.runner import find_benchmark

    for name, close in (("gsm8", "gsm8k"), ("hellaswagg", "hellaswag")):
        with pytest.raises(UsageError, match=f"did you mean '{close}'"):
            find_benchmark(name, EvalRequest((name,)))
    benchmark = find_benchmark("hellaswag", EvalRequest(("hellaswag",)))
    assert isinstance(benchmark, HarnessTask)
    assert benchmark.name == "hellaswag"


def test_an_engine_that_cannot_score_is_refused_first(toys: str, tmp_path: Path) -> None:
    """Before any request is sent."""

    class Mute:
        model, capacity, description = "mute", 0, "no likelihoods"

        async def generate(self, requests: Sequence[Any]) -> list[Any]:
            """Never called."""
            raise EngineError("asked")

        async def aclose(self) -> None:
            """Nothing."""

    config = settings()
    runner = EngineJobRunner(config, RunOutputs(tmp_path), Mute())  # type: ignore[arg-type]
    task = HarnessTask("toy_small", folder=toys)
    examples = task.load(config)
    with pytest.raises(UsageError, match="cannot compute log-likelihoods"):
        asyncio.run(task.respond(runner, examples))


@pytest.mark.parametrize(("max_gen_toks", "expected"), [(None, 7), (3, 3)])
def test_the_length_of_a_reply_is_the_tasks_unless_given(
    toys: str, tmp_path: Path, max_gen_toks: int | None, expected: int
) -> None:
    """Every request of the run asks for as many tokens."""
    engine = CountingEngine()
    run(HarnessTask("toy_reply", folder=toys), tmp_path, engine, max_gen_toks=max_gen_toks)
    assert {request.sampling.max_tokens for request in engine.requests} == {expected}


# --- majority and weighted vote ----------------------------------------------------------------------


class WaveringEngine(CountingEngine):
    """Adds wrongly in the greedy draft and rightly in the others."""

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, in order."""
        replies = await super().generate(requests)
        wrong = "It is 999, so 999 it is"
        return [
            replace(reply, text=wrong if request.sampling.temperature == 0 else reply.text)
            for request, reply in zip(requests, replies, strict=True)
        ]


@pytest.mark.parametrize(("rule", "right"), [("best", 0.0), ("majority", 0.6)])
def test_the_majority_of_the_filtered_replies_answers(
    toys: str, tmp_path: Path, rule: str, right: float
) -> None:
    """Three of four say the same; no vote can be read, so the first draft is the best; odd numbers are added wrongly."""
    fields: dict[str, Any] = {"strategy": "best-of-n", "budget": 4, "answer_rule": rule}
    scored, _ = run(HarnessTask("toy_reply", folder=toys), tmp_path, WaveringEngine(), **fields)
    assert values(scored)["exact_match,number"] == right
    trees = [*read_trees(tmp_path)]
    assert {tree.selected for tree in trees} == {0 if rule == "best" else 1}


def test_answers_that_the_metric_takes_for_the_same_are_the_same() -> None:
    """gsm8k ignores commas, dollars and a full stop at the end; elsewhere case, punctuation and digits."""
    gsm8k = {"regexes_to_ignore": [",", r"\$", r"\.$"], "ignore_case": True}
    assert comparable("$1,000.", gsm8k) == comparable("1000", gsm8k) == "1000"
    assert comparable("(B) 7", {"ignore_punctuation": True, "ignore_numbers": True}) == "B"


@pytest.mark.parametrize(
    ("task", "message"), [("toy_free", "toy_free has no filter"), ("toy_small", "likelihoods")]
)
def test_answers_that_cannot_be_compared_are_refused(toys: str, task: str, message: str) -> None:
    """Free text and likelihoods, in one line, before anything is sent."""
    with pytest.raises(UsageError, match=message):
        HarnessTask(task, folder=toys).load(settings(answer_rule="majority"))


def test_a_near_miss_of_a_benchmark_is_refused_before_lm_evals_index_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless a file of its tasks has the name: a task may well be named like a benchmark of spar's."""
    (tmp_path / "cot.yaml").write_text("task: gsm8k_cot\n")
    indexed: list[bool] = []

    def index() -> Sequence[str]:
        indexed.append(True)
        return ("gsm8k_cot",)

    monkeypatch.setattr("spar.eval.lm_harness.tasks._task_files", lambda: tmp_path.glob("*.yaml"))
    monkeypatch.setattr("spar.eval.lm_harness.benchmark.known_tasks", index)
    for name, meant in (("nano", "nano-if"), ("gsm8k_co", "gsm8k")):
        with pytest.raises(UsageError, match=f"{name!r}; did you mean {meant!r}"):
            find_benchmark(name, EvalRequest((name,)))
    assert not indexed
    assert isinstance(find_benchmark("gsm8k_cot", EvalRequest(("gsm8k_cot",))), HarnessTask)
    assert indexed


def test_only_the_loading_thread_is_quiet(capsys: pytest.CaptureFixture[str]) -> None:
    """What others print meanwhile is seen, and the streams are the same again after two threads that load."""
    streams, inside, go_on = (sys.stdout, sys.stderr), threading.Event(), threading.Event()

    def load() -> None:
        with quiet():
            print("a message of lm-eval")
            inside.set()
            go_on.wait(10)

    threads = [threading.Thread(target=load) for _ in range(2)]
    for thread in threads:
        thread.start()
    assert inside.wait(10)
    print("the caller's own")
    go_on.set()
    for thread in threads:
        thread.join(10)
    assert (sys.stdout, sys.stderr) == streams
    assert capsys.readouterr().out == "the caller's own\n"
