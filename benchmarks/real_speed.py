"""Tokens a second of a real model by engine, number format and rows, and the hours of training loops by stage.

    python benchmarks/real_speed.py --model DIR --device cuda --rows 1,8,32,128,256,512 --rounds 3
    python benchmarks/real_speed.py --loops runs/loop-0 runs/loop-1
    python benchmarks/real_speed.py --report reports/real_speed.md

As many prompts of a file as there are rows are sent at once, and each is answered greedily with exactly `--tokens`
tokens: a copy of the model's folder (its weights are links) names a token as its end of turn that it never writes,
for every engine alike. spar's engines are opened once for each format, as `spar decode` opens them; beside them
`transformers.generate` on one batch. Prefill counts. The order of engines and rows is the same in every round.
Where vLLM is not installed it is left out. Everything is stored the moment it is measured, and a rerun measures
what is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hf_rows import generate_rate, requests_of
from reporting import (
    facts,
    parser,
    read_result,
    run_benchmark,
    stored_result,
    table,
    torch_device,
    write_page,
    write_result,
)

from spar.config import load_decode
from spar.infer.engine import Deployment, Request
from spar.models.folders import local_model
from spar.plugins import ENGINES
from spar.record.training import BUILD_REPORT
from spar.train.build import read_report
from spar.train.status import read_loop

GENERATE = "transformers.generate"
ENDLESS = "endless"
CONFIGS = ("config.json", "generation_config.json", "tokenizer_config.json")


def main() -> None:
    """Measure what is missing, or write the page."""
    made = parser(__doc__, "runs/real-speed", rows=False)
    made.add_argument("--prompts", type=Path, help="JSON lines with as many prompts as rows")
    made.add_argument("--tokens", type=int, default=256, help="tokens of every reply")
    made.add_argument("--dtypes", default="fp32,bf16")
    made.add_argument("--engines", default=f"hf,vllm,{GENERATE}")
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--loops", type=Path, nargs="*", default=[], help="finished training loops")
    made.add_argument("--rows", default="1,8,32,128,256,512", help="sequences in a batch")
    args = made.parse_args()
    if args.report:
        page(read_result(args.out), args.report)
        return
    result = stored_result(args.out)
    if args.prompts or "facts" not in result:
        result["facts"] = facts(args)
    if args.loops:
        result["loops"] = [loop_hours(run) for run in args.loops]
        write_result(args.out, result)
    if args.prompts:
        result["tokens"] = args.tokens
        measure(args, result)


def measure(args: argparse.Namespace, result: dict[str, Any]) -> None:
    """Tokens a second of every cell that has fewer values than rounds."""
    rows = [int(part) for part in str(args.rows).split(",")]
    requests = requests_of(str(args.prompts), max(rows), args.tokens)
    if len(requests) < max(rows):
        raise SystemExit(f"{args.prompts} has {len(requests)} prompts, and {max(rows)} are needed")
    folder = endless(Path(local_model(args.model)), args.out / ENDLESS)
    cells = result.setdefault("cells", [])
    for dtype in args.dtypes.split(","):
        for engine in args.engines.split(","):
            values = [cell for cell in cells if (cell["engine"], cell["dtype"]) == (engine, dtype)]
            measured = Counter(cell["rows"] for cell in values)
            open_rows = [n for done in range(args.rounds) for n in rows if measured[n] <= done]
            if not open_rows or (engine != GENERATE and not _installed(engine)):
                continue
            rate = generated if engine == GENERATE else served
            for count, value in rate(args, folder, engine, dtype, requests, open_rows):
                cell = {"engine": engine, "dtype": dtype, "rows": count, "rate": value}
                cells.append(cell)
                write_result(args.out, result)
                print(f"{engine} {dtype} {count} rows: {value:,.0f} tokens/s", flush=True)


def served(
    args: argparse.Namespace,
    folder: Path,
    name: str,
    dtype: str,
    requests: Sequence[Request],
    counts: Sequence[int],
) -> Iterator[tuple[int, float]]:
    """Rows and tokens a second of one of spar's engines."""
    config = load_decode(
        "paper",
        {
            "model": str(folder),
            "engine": name,
            "dtype": dtype,
            "device": args.device,
            "max_batch_size": max(counts),
            "speculative_decoding": "off",
        },
    )
    with asyncio.Runner() as runner:
        spec = ENGINES.spec(name)
        engine = spec.open(Deployment(str(folder), engine=name), config, print)
        runner.run(engine.generate(requests[:2]))  # kernels are compiled and loaded when first used
        for count in counts:
            start = time.perf_counter()
            replies = runner.run(engine.generate(requests[:count]))
            seconds = time.perf_counter() - start
            yield count, sum(reply.completion_tokens for reply in replies) / seconds
        runner.run(engine.aclose())


def generated(
    args: argparse.Namespace,
    folder: Path,
    _: str,
    dtype: str,
    requests: Sequence[Request],
    counts: Sequence[int],
) -> Iterator[tuple[int, float]]:
    """Rows and tokens a second of `transformers.generate`."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    dtypes = {"fp32": torch.float32, "bf16": torch.bfloat16}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtypes[dtype])
    model.to(torch_device(args.device)).eval()
    generate_rate(model, tokenizer, 2, requests[:2], time.perf_counter)
    for count in counts:
        yield (
            count,
            generate_rate(model, tokenizer, count, requests[:count], time.perf_counter),
        )


def endless(model: Path, copy: Path) -> Path:
    """A copy of a model's folder, with links to its weights, that names an unused token as its end of turn."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(model)
    used = {tokenizer.eos_token, tokenizer.bos_token, tokenizer.pad_token, tokenizer.unk_token}
    added = {token.content: id_ for id_, token in tokenizer.added_tokens_decoder.items()}
    unused = [token for token in added if token not in used]
    if not unused:
        raise SystemExit(f"{model} has no special token that its chats leave unused")
    copy.mkdir(parents=True, exist_ok=True)
    for path in model.iterdir():
        target = copy / path.name
        target.unlink(missing_ok=True)
        if path.name not in CONFIGS:
            target.symlink_to(path.resolve())
            continue
        values = json.loads(path.read_text(encoding="utf-8"))
        if "eos_token_id" in values:
            values["eos_token_id"] = added[unused[-1]]
        if "eos_token" in values:
            values["eos_token"] = unused[-1]
        target.write_text(json.dumps(values), encoding="utf-8")
    return copy


def loop_hours(run: Path) -> dict[str, Any]:
    """Seconds of a loop's stages over all its iterations, and its pairs."""
    loop = read_loop(run)
    seconds: dict[str, float] = {}
    pairs = 0
    for state in loop.stages:
        if state.record is None:
            continue
        seconds[state.stage.name] = seconds.get(state.stage.name, 0.0) + state.record.seconds
        if (state.stage.folder / BUILD_REPORT).is_file():
            pairs += read_report(state.stage.folder).pairs.pairs
    return {"run": run.name, "seconds": seconds, "pairs": pairs}


def page(result: Mapping[str, Any], path: Path) -> None:
    """Write the report."""
    write_page(path, "A real model: speed", result["facts"], _parts(result))


def _parts(result: Mapping[str, Any]) -> Iterable[str]:
    if cells := result.get("cells"):
        rates: dict[tuple[str, str], dict[int, list[float]]] = {}
        for cell in cells:
            by_rows = rates.setdefault((cell["engine"], cell["dtype"]), {})
            by_rows.setdefault(cell["rows"], []).append(cell["rate"])
        rows = sorted({cell["rows"] for cell in cells})
        yield (
            f"Generated tokens a second, all rows together, {result['tokens']} tokens a reply; median of the rounds, "
            "in brackets the lowest and the highest:"
        )
        yield table(
            ("engine", "format", *(f"{count} rows" for count in rows)),
            [
                (engine, dtype, *(_cell(by_rows.get(count, ())) for count in rows))
                for (engine, dtype), by_rows in rates.items()
            ],
        )
        yield from _ratios(rates, max(rows))
    if loops := result.get("loops"):
        stages = list(dict.fromkeys(name for loop in loops for name in loop["seconds"]))
        yield "Minutes of training loops by stage, summed over their iterations:"
        yield table(
            ("loop", *stages, "all", "pairs", "pairs an hour"),
            [_loop_row(loop, stages) for loop in loops],
        )
        yield "Pairs an hour are all pairs of a loop over the hours of all its stages, training and evaluation with them."


def _cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = f"{statistics.median(values):,.0f}"
    return f"{middle} ({min(values):,.0f}, {max(values):,.0f})" if len(values) > 1 else middle


def _ratios(
    rates: Mapping[tuple[str, str], Mapping[int, Sequence[float]]], rows: int
) -> Iterable[str]:
    """The engines against `generate` at the most rows."""
    for (engine, dtype), by_rows in rates.items():
        base = rates.get((GENERATE, dtype), {}).get(rows)
        if engine != GENERATE and base and by_rows.get(rows):
            ratio = statistics.median(by_rows[rows]) / statistics.median(base)
            yield f"At {rows} rows in {dtype}, {engine} is {ratio:.2f} times as fast as `{GENERATE}` on one batch."


def _loop_row(loop: Mapping[str, Any], stages: Sequence[str]) -> list[str]:
    seconds = loop["seconds"]
    whole = sum(seconds.values())
    return [
        loop["run"],
        *(f"{seconds.get(stage, 0.0) / 60:.1f}" for stage in stages),
        f"{whole / 60:.1f}",
        f"{loop['pairs']:,}",
        f"{loop['pairs'] / whole * 3600:,.0f}" if whole else "-",
    ]


def _installed(engine: str) -> bool:
    return all(find_spec(package) is not None for package in ENGINES.spec(engine).packages)


if __name__ == "__main__":
    run_benchmark(main)
