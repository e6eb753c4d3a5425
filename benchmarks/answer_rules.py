"""Majority and weighted vote against greedy decoding and single samples, on lm-eval tasks whose answers can be compared.

    python benchmarks/answer_rules.py verdicts --limit 500 --max-tokens 256 --out runs/answer-rules
    python benchmarks/answer_rules.py mmlu_generative --model smollm2-135m --plain --limit 114 --max-tokens 8 --data DATA
    python benchmarks/answer_rules.py --report reports/answer_rules.md

`verdicts` is a task of the embedded model's: does a greedy draft to a nano-if prompt meet every constraint? The reply is a
critique that ends with Yes or No, as a judge's vote is, and programs know the answer. Any other name is lm-eval's.

The most of `--samples` replies are drawn once for each document (`best-of-n`, all sampled), and every rule chooses among the
first of them, by `spar.infer.answers.select`: what `spar eval TASK --strategy best-of-n --budget N --no-greedy-first --answer RULE`
answers. The score of a reply is the mean probability of its tokens (the geometric mean), so that it needs a model that scores
text and no judge; `weighted` is then the normalized weighted sum of https://arxiv.org/abs/2203.11171. `weighted-whole`
weighs by the probability of the whole reply, its unnormalized one.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel
from reporting import (
    Rows,
    change,
    facts,
    flips,
    paired,
    parser,
    percent,
    read_result,
    run_benchmark,
    shares,
    stored_result,
    table,
    write_page,
    write_result,
)

import spar
from spar.eval.benchmark import BenchmarkSpec
from spar.eval.lm_harness.benchmark import HarnessTask
from spar.infer.answers import AnswerRule, Extract, select
from spar.infer.engine import Continuation
from spar.infer.engine_wrappers import scorer
from spar.infer.roles import Seeds
from spar.run.keywords import eval_config
from spar.templates import load

VERDICTS = "verdicts"
RULES: tuple[AnswerRule, ...] = get_args(AnswerRule)
WHOLE = "weighted-whole"
"""The rule `weighted`, by the probability of the whole reply."""
RIGHT = "right"
TASK = """
task: verdicts
dataset_path: json
dataset_kwargs: {{data_files: {{test: {rows}}}}}
test_split: test
output_type: generate_until
doc_to_text: "{{{{question}}}}"
doc_to_target: "{{{{answer}}}}"
generation_kwargs: {{until: [], max_gen_toks: 256, do_sample: false}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
filter_list:
  - name: verdict
    filter:
      - {{function: regex, regex_pattern: "Final Judgement: (Yes|No)", group_select: -1}}
      - {{function: take_first}}
"""


class LikelihoodOptions(BaseModel):
    """Options of the judge."""

    plain: bool = False
    """Whether prompts are texts without the chat template."""


@dataclass(frozen=True, slots=True)
class LikelihoodJudge:
    """Scores a reply by the mean probability that the model gives its tokens."""

    settings: spar.JudgeSettings
    options: LikelihoodOptions

    async def judge(
        self, prompt: spar.Prompt, response: str, seeds: Seeds
    ) -> tuple[spar.Judgement, spar.Usage]:
        """Score the text; costs no call, and samples nothing."""
        context = prompt.messages[0].content if self.options.plain else prompt.messages
        (likelihood,) = await scorer(self.settings.engine).score([Continuation(context, response)])
        probability = math.exp(likelihood.logprob / max(likelihood.tokens, 1))
        verdicts = (probability > 0.5,)
        return spar.Judgement(verdicts=verdicts, critique="", probability=probability), spar.Usage()


LIKELIHOOD = spar.JudgeSpec(LikelihoodJudge, calls=lambda _: 0, options=LikelihoodOptions)
"""The probability of a reply as its score."""


def main() -> None:
    """Measure a task, or write the page of all that were measured."""
    made = parser(__doc__, "runs/answer-rules")
    made.add_argument("task", nargs="?", default=VERDICTS, help=f"{VERDICTS}, or a task of lm-eval")
    made.add_argument("--samples", default="1,3,5,9", help="numbers of replies to vote among")
    made.add_argument("--temperature", type=float, default=0.7, help="of the samples, top-p 1")
    made.add_argument("--max-tokens", type=int, default=256, help="new tokens of a reply")
    made.add_argument("--plain", action="store_true", help="prompts without the chat template")
    made.add_argument("--num-fewshot", type=int, help="worked examples")
    made.add_argument("--data", default="", help="folder of the benchmarks' data")
    made.add_argument("--seed", type=int, default=0)
    made.set_defaults(model="")
    args = made.parse_args()
    if args.report:
        page(read_result(args.out), args.report)
        return
    measured = measure(
        args.task,
        args.out / args.task,
        [int(part) for part in args.samples.split(",")],
        {
            "model": args.model,
            "device": args.device,
            "max_batch_size": args.rows,
            "limit": args.limit,
            "seed": args.seed,
            "data": args.data,
            "max_gen_toks": args.max_tokens,
            "chat_template": not args.plain,
            "num_fewshot": args.num_fewshot,
            "draft": {"temperature": args.temperature, "top_p": 1.0, "max_tokens": args.max_tokens},
        },
    )
    task = {"facts": facts(args), "temperature": args.temperature, **measured}
    write_result(args.out, {**stored_result(args.out), args.task: task})


def measure(
    name: str, out: Path, samples: Sequence[int], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Which documents greedy decoding answers rightly, and each rule among the first replies.

    Parameters
    ----------
    samples:
        Numbers of replies to choose among.
    settings:
        Those of `spar.evaluate`, but for the search.
    """
    out.mkdir(parents=True, exist_ok=True)
    folder = write_verdicts(out, settings) if name == VERDICTS else ""
    task = BenchmarkSpec(partial(HarnessTask, name, folder=folder))
    evaluate = partial(spar.evaluate, task, offline=True, **settings)
    greedy = evaluate(out=out / "greedy")
    sampled = evaluate(
        out=out / "sampled",
        strategy="best-of-n",
        budget=max(samples),
        greedy_first=False,
        judge=LIKELIHOOD,
        judge_args={"plain": not settings["chat_template"]},
        answer_rule="majority",
    )
    assert sampled.directory is not None
    trees = list(spar.read_trees(sampled.directory))
    right = [_right(evaluate, trees, index, out) for index in range(max(samples))]
    opened = HarnessTask(name, folder=folder)
    opened.load(eval_config(None, {**settings, "answer_rule": "majority"}))
    assert opened.extract is not None
    return {
        "metric": next(iter(greedy.results.metrics)),
        "greedy": {example.id: bool(example.passed) for example in greedy.examples},
        "tokens": {
            tree.prompt.id: [node.usage.completion_tokens for node in tree.nodes] for tree in trees
        },
        "right": {tree.prompt.id: [each[tree.prompt.id] for each in right] for tree in trees},
        "chosen": {tree.prompt.id: choices(tree, samples, opened.extract) for tree in trees},
        "without": sum(
            opened.extract(t.prompt, n.response) is None for t in trees for n in t.nodes
        ),
    }


def choices(
    tree: spar.SearchTree, samples: Sequence[int], extract: Extract
) -> dict[str, dict[str, int | None]]:
    """Rule to number of replies to the index of the one that answers."""
    chosen: dict[str, dict[str, int | None]] = {
        rule: {str(n): select(rule, extract, tree.prompt, tree.nodes[:n]) for n in samples}
        for rule in RULES
    }
    nodes = [_by_whole(node) for node in tree.nodes]
    whole = {str(n): select("weighted", extract, tree.prompt, nodes[:n]) for n in samples}
    return {**chosen, WHOLE: whole}


def _by_whole(node: spar.Node) -> spar.Node:
    """The node, its score to the power of the number of its tokens."""
    if node.judgement is None or node.judgement.probability is None:
        return node
    probability = node.judgement.probability**node.usage.completion_tokens
    judgement = node.judgement.model_copy(update={"probability": probability})
    return node.model_copy(update={"judgement": judgement})


def write_verdicts(out: Path, settings: Mapping[str, Any]) -> str:
    """Write the task `verdicts` of greedy drafts to nano-if prompts; returns its folder."""
    folder = out.resolve() / "task"
    folder.mkdir(exist_ok=True)
    names = ("model", "engine", "device", "limit", "seed")
    common = {name: settings[name] for name in names if name in settings}
    drafts = spar.evaluate("nano-if-answers", out=out / "drafts", prompt_seed=3, **common)
    assert drafts.directory is not None
    prompts = {tree.prompt.id: tree.prompt for tree in spar.read_trees(drafts.directory)}
    templates = load()
    rows = []
    for example in drafts.examples:
        prompt = prompts[example.id]
        (asked,) = templates.judge_conversation(prompt.messages, example.response or "")
        rows.append({"question": asked.content, "answer": "Yes" if example.passed else "No"})
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    (folder / f"{VERDICTS}.yaml").write_text(TASK.format(rows=json.dumps(str(path))), "utf-8")
    return str(folder)


def _right(
    evaluate: Callable[..., spar.Evaluation],
    trees: Iterable[spar.SearchTree],
    index: int,
    out: Path,
) -> dict[str, bool]:
    """Whether the reply at an index is right, by lm-eval, of every document."""
    path = out / f"replies-{index}.jsonl"
    rows = [
        {"id": tree.prompt.id, "response": tree.nodes[index].response}
        for tree in trees
        if index < len(tree.nodes)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    scored = evaluate(responses=path, allow_missing=True)
    return {example.id: bool(example.passed) for example in scored.examples}


def page(result: Mapping[str, Any], path: Path) -> None:
    """Write the report of every task that was measured."""
    parts = [part for name, measured in result.items() for part in parts_of(name, measured)]
    first = next(iter(result.values()))["facts"]
    write_page(path, "Majority and weighted vote", first, parts)


def parts_of(name: str, measured: Mapping[str, Any]) -> Iterable[str]:
    """A task's heading and table."""
    chosen, right = measured["chosen"], measured["right"]
    greedy = _rows({id_: measured["greedy"][id_] for id_ in chosen})
    numbers = [*next(iter(chosen.values()))["best"]]
    most = max(map(int, numbers))
    single = _rows({id_: any(marks[:1]) for id_, marks in right.items()})
    replies = sum(map(len, right.values()))
    mean = {id_: {RIGHT: (float(sum(marks)), float(len(marks)))} for id_, marks in right.items()}
    yield (
        f"## {name}\n\n- `{measured['facts']['command']}`\n- commit {measured['facts']['commit']}\n\n"
        f"{len(chosen)} documents, {most} replies to each, sampled at temperature {measured['temperature']} and top-p 1; "
        f"the filter finds no answer in {measured['without']:,} of {replies:,} replies. A reply chosen at random is right "
        f"in {percent(shares(mean)[RIGHT])} %. `{measured['metric']}`, plus or minus one standard error over documents; "
        "differences are paired over documents, with a 95 % bootstrap interval; documents gained and lost are "
        "counted against greedy decoding."
    )
    lines = [
        [
            "greedy",
            "1",
            percent(shares(greedy)[RIGHT]),
            "-",
            change(paired(single, greedy)[RIGHT]),
            "-",
        ]
    ]
    for number in numbers:
        for rule in next(iter(chosen.values())) if number != "1" else RULES[:1]:
            answers = {id_: rules[rule][number] for id_, rules in chosen.items()}
            rows = _rows({id_: i is not None and right[id_][i] for id_, i in answers.items()})
            gained, lost, _ = flips(greedy, rows, RIGHT)
            lines.append(
                [
                    rule if number != "1" else "one sample",
                    number,
                    percent(shares(rows)[RIGHT]),
                    change(paired(greedy, rows)[RIGHT]),
                    "-" if number == "1" else change(paired(single, rows)[RIGHT]),
                    f"{gained}, {lost}",
                ]
            )
    some = _rows({id_: any(marks) for id_, marks in right.items()})
    lines.append(["any of them is right", f"{most}", percent(shares(some)[RIGHT]), "-", "-", "-"])
    yield table(
        (
            "rule",
            "replies",
            "right, %",
            "against greedy, points",
            "against one sample",
            "gained, lost",
        ),
        lines,
    )


def _rows(right: Mapping[str, bool]) -> Rows:
    return {id_: {RIGHT: (float(each), 1.0)} for id_, each in right.items()}


if __name__ == "__main__":
    run_benchmark(main)
