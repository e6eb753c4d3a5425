"""IFEval decoded greedily by spar's hf engine and by lm-eval's own hf model: which replies differ, and why.

    python benchmarks/ifeval_against_lm_eval.py --model DIR --control-rows 64 --out runs/against-lm-eval
    python benchmarks/ifeval_against_lm_eval.py --lm-eval-prompts 200 --batch 100 --out runs/against-lm-eval
    python benchmarks/ifeval_against_lm_eval.py --out runs/against-lm-eval --report reports/ifeval_lm_eval.md

The same weights in float32 (TF32 off), the model's chat template, the settings of lm-eval's task (greedy, 1,280
new tokens, no stop strings). lm-eval pads batches of prompts sorted by length; spar's rows join and leave. So
sums are taken in another order, and where the two most likely tokens are as good as equal, either may win. For
each reply that differs, the model reads the prompt and the common beginning once more, alone: the difference
is a near tie if the two tokens are its two most likely ones, less than `--near-tie` nats apart. As a control
spar answers a second time with another number of rows in its batch (`--control-rows`).

spar answers every prompt. lm-eval, whose batch takes as long as its longest reply, may answer a random sample of them
(`--lm-eval-prompts`); then only the sample is compared. It takes the longest prompts first, so `--answered` compares
the longest of the sample, which is what a run that was stopped has.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ifeval_against_lm_eval_page import CONTROL, LM_EVAL, SPAR, page
from reporting import by_id, facts, parser, read_result, run_benchmark, torch_device, write_result

import spar
from spar.eval.ifeval import FOUR
from spar.models.folders import local_model

TASK = {"until": [], "do_sample": False, "temperature": 0.0}
"""`generation_kwargs` of lm-eval's task `ifeval`, version 4.0, without its `max_gen_toks`, 1,280."""


def main() -> None:
    """Measure what is missing, or write the page."""
    made = parser(__doc__, "runs/against-lm-eval")
    made.add_argument("--max-tokens", type=int, default=1280, help="new tokens of a reply")
    made.add_argument("--batch", type=int, default=128, help="prompts in a batch of lm-eval")
    made.add_argument(
        "--lm-eval-prompts", type=int, help="a random sample for lm-eval; default: all"
    )
    made.add_argument("--answered", action="store_true", help="ask lm-eval nothing more")
    made.add_argument("--control-rows", type=int, default=0, help="rows of the control; 0: none")
    made.add_argument("--near-tie", type=float, default=0.001, help="nats between two tokens")
    args = made.parse_args()
    if not args.report:
        measure(args)
    else:
        result = read_result(args.out)
        page({**result, "near_tie": args.near_tie}, args.report)


def measure(args: argparse.Namespace) -> None:
    """Answer, compare, explain, and write the result."""
    import torch

    torch.set_float32_matmul_precision("highest")
    runs = {SPAR: answer(args, SPAR, args.rows)}
    if args.control_rows:
        runs[CONTROL] = answer(args, CONTROL, args.control_rows)
    prompts = [tree.prompt for tree in spar.read_trees(args.out / SPAR / "ifeval")]
    drawn = sample(prompts[: args.limit], args.lm_eval_prompts)
    path = args.out / "lm_eval.jsonl"
    if not args.answered:
        lm_eval_replies(args, drawn, path)
    stored = stored_ids(path)
    prompts = [prompt for prompt in drawn if prompt.id in stored]
    runs[LM_EVAL] = spar.evaluate(
        "ifeval",
        out=args.out / LM_EVAL,
        responses=path,
        allow_missing=True,
        limit=args.limit,
        offline=True,
    )
    compared = {prompt.id for prompt in prompts}
    texts = {
        name: {e.id: e.response or "" for e in run.examples if e.id in compared}
        for name, run in runs.items()
    }
    differences = Explainer(args, prompts).all(texts[SPAR], texts[LM_EVAL])
    write_result(
        args.out,
        {
            "facts": facts(args),
            "answered": len(runs[SPAR].examples),
            "drawn": len(drawn),
            "n": len(prompts),
            "max_tokens": args.max_tokens,
            "batch": args.batch,
            "rows": args.rows,
            "control_rows": args.control_rows,
            "seconds": read_times(args.out),
            "tokens": runs[SPAR].results.usage.completion_tokens,
            "at_limit": sum(
                example.usage.completion_tokens >= args.max_tokens
                for example in runs[SPAR].examples
            ),
            "all_shares": by_id(runs[SPAR].examples, FOUR),
            "shares": {
                name: by_id([e for e in run.examples if e.id in compared], FOUR)
                for name, run in runs.items()
            },
            "lm_eval_own": own_scores(prompts, texts[LM_EVAL]),
            "control_differs": sum(texts[CONTROL][id_] != text for id_, text in texts[SPAR].items())
            if args.control_rows
            else None,
            "differences": differences,
        },
    )
    print(f"{len(prompts)} prompts, {len(differences)} replies differ; wrote {args.out}")


def sample(prompts: Sequence[spar.Prompt], n: int | None) -> list[spar.Prompt]:
    """`n` prompts drawn at random, the same ones at every start; all if `n` is None."""
    return list(prompts) if n is None else random.Random(0).sample(list(prompts), n)


def answer(args: argparse.Namespace, name: str, rows: int) -> spar.Evaluation:
    """IFEval answered greedily by spar's hf engine; resumes."""
    with timed(args.out, name):
        return spar.evaluate(
            "ifeval",
            out=args.out / name,
            model=args.model,
            engine="hf",
            dtype="fp32",
            device=args.device,
            max_batch_size=rows,
            limit=args.limit,
            draft={"temperature": 0.9, "top_p": 0.9, "max_tokens": args.max_tokens},
            offline=True,
        )


def lm_eval_replies(args: argparse.Namespace, prompts: Sequence[spar.Prompt], path: Path) -> None:
    """Append lm-eval's reply to every prompt that has none yet: a line each, written batch by batch."""
    stored = stored_ids(path)
    missing = [prompt for prompt in prompts if prompt.id not in stored]
    if not missing:
        return
    from lm_eval.api.instance import Instance
    from lm_eval.models.huggingface import HFLM

    with timed(args.out, LM_EVAL), path.open("a", encoding="utf-8") as stream:
        model = HFLM(
            pretrained=local_model(args.model),
            dtype="float32",
            batch_size=args.batch,
            device=torch_device(args.device),
        )
        contexts = {
            model.apply_chat_template([turn.model_dump() for turn in prompt.messages]): prompt.id
            for prompt in missing
        }
        model.set_cache_hook(ReplyWriter(contexts, stream))
        settings = {**TASK, "max_gen_toks": args.max_tokens}
        model.generate_until(
            [
                Instance("generate_until", {}, (context, settings), index)
                for index, context in enumerate(contexts)
            ]
        )


def stored_ids(path: Path) -> set[str]:
    """The ids of the prompts that lm-eval has answered."""
    if not path.is_file():
        return set()
    return {json.loads(line)["id"] for line in path.open(encoding="utf-8")}


class ReplyWriter:
    """What lm-eval hands each reply to, the moment it is there: in place of its cache."""

    def __init__(self, ids: Mapping[str, str], stream: Any) -> None:
        self._ids = ids
        self._stream = stream

    def add_partial(self, _: str, request: Sequence[Any], reply: str) -> None:
        """Write a reply."""
        row = {"id": self._ids[request[0]], "response": reply}
        self._stream.write(json.dumps(row) + "\n")
        self._stream.flush()


def own_scores(
    prompts: Iterable[spar.Prompt], replies: Mapping[str, str]
) -> dict[str, dict[str, list[float]]]:
    """The shares of lm-eval's replies by lm-eval's own scoring, without spar's seeds."""
    from lm_eval.tasks.ifeval.utils import process_results

    scores = {}
    for prompt in prompts:
        document = {**prompt.meta, "prompt": prompt.messages[-1].content}
        results = process_results(document, [replies[prompt.id]])
        scores[prompt.id] = {
            name: [float(sum(verdict)), float(len(verdict))]
            if isinstance(verdict, list)
            else [float(verdict), 1.0]
            for name, verdict in results.items()
        }
    return scores


class Explainer:
    """Says of two greedy replies why they part."""

    def __init__(self, args: argparse.Namespace, prompts: Iterable[spar.Prompt]) -> None:
        self._args = args
        self._prompts = {prompt.id: prompt for prompt in prompts}
        self._loaded: tuple[Any, Any] | None = None

    def all(self, ours: Mapping[str, str], theirs: Mapping[str, str]) -> list[dict[str, Any]]:
        """One explanation for each reply that differs."""
        parted = [id_ for id_ in ours if ours[id_] != theirs.get(id_)]
        return [
            {"id": id_, **self._explain(self._prompts[id_], ours[id_], theirs.get(id_, ""))}
            for id_ in parted
        ]

    def _explain(self, prompt: spar.Prompt, first: str, second: str) -> dict[str, Any]:
        import torch

        if first.strip() == second.strip():
            return {}
        # spar has stripped the reply; a reply's first token may begin with the space.
        first = second[: len(second) - len(second.lstrip())] + first.lstrip()
        tokenizer, model = self._load()
        turns = [turn.model_dump() for turn in prompt.messages]
        context = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        asked, left, right = (
            tokenizer(text, add_special_tokens=False)["input_ids"]
            for text in (context, first, second)
        )
        left, right = [*left, tokenizer.eos_token_id], [*right, tokenizer.eos_token_id]
        at = next(i for i, pair in enumerate(zip(left, right, strict=False)) if len({*pair}) > 1)
        with torch.inference_mode():
            ids = torch.tensor([asked + left[:at]], device=model.device)
            logits_TV = model(input_ids=ids, logits_to_keep=at + 1).logits[0].float()
            logprobs_TV = logits_TV.log_softmax(dim=-1)
            top_T2 = logprobs_TV.topk(2, dim=-1)
        gaps = (top_T2.values[:, 0] - top_T2.values[:, 1]).tolist()
        two = [left[at], right[at]]
        gap = abs(float(logprobs_TV[-1, two[0]] - logprobs_TV[-1, two[1]]))
        are_top = set(two) == set(top_T2.indices[-1].tolist())
        return {
            "position": at,
            "gap": gap,
            "are_top": are_top,
            "tokens": [tokenizer.decode([token]) for token in two],
            "median_gap": statistics.median(gaps[:-1]) if at else None,
        }

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            import torch
            from transformers import AutoModelForCausalLM, AutoTokenizer

            folder = local_model(self._args.model)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
            model.to(torch_device(self._args.device)).eval()
            self._loaded = AutoTokenizer.from_pretrained(folder), model
        return self._loaded


class timed:  # noqa: N801  reads as a verb, as contextlib's do
    """Store the seconds that a part took; of a part that was resumed, the longest start."""

    def __init__(self, out: Path, name: str) -> None:
        self._out = out
        self._name = name

    def __enter__(self) -> None:
        self._start = time.monotonic()

    def __exit__(self, *_: object) -> None:
        times = read_times(self._out)
        seconds = round(time.monotonic() - self._start, 1)
        times[self._name] = max(seconds, times.get(self._name, 0.0))
        self._out.mkdir(parents=True, exist_ok=True)
        (self._out / "times.json").write_text(json.dumps(times), encoding="utf-8")


def read_times(out: Path) -> dict[str, float]:
    """Part to its seconds."""
    path = out / "times.json"
    times: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return times


if __name__ == "__main__":
    run_benchmark(main)
