"""The Python API: what `import spar` offers, and what the commands do.

    tree = spar.search("Write two lines about rain.", model="Qwen/Qwen2.5-7B-Instruct", budget=15)
    run = spar.decode("prompts.jsonl", base_url="http://host:8000/v1", out="runs/mine")    # resumes
    evaluation = spar.evaluate("ifeval", model="Qwen/Qwen2.5-7B-Instruct", strategy=my_strategy, judge=my_function)

Keyword arguments are the settings of the commands (`spar.config`), by their Python names; `recipe` names a
YAML file or a shipped recipe that they override. `strategy`, `engine`, `judge`, `refiner` and a benchmark
may be given by name, as a spec, as an object or as a plain function (`spar.plugins`).

Each function has an async form for callers with an event loop of their own. The others work everywhere:
in a script, under pytest, and in a notebook, whose running loop they leave alone. Ctrl-C cancels what is
running; a run with a directory can be resumed by the same call.
"""

from __future__ import annotations

from spar.api.decoding import (
    decode,
    decode_async,
    open_session,
    read_trees_async,
    search,
    search_async,
)
from spar.api.evaluation import (
    Evaluation,
    compare,
    compare_async,
    evaluate,
    evaluate_async,
    sweep,
    sweep_async,
)
from spar.api.training import train, train_async

__all__ = [
    "Evaluation",
    "compare",
    "compare_async",
    "decode",
    "decode_async",
    "evaluate",
    "evaluate_async",
    "open_session",
    "read_trees_async",
    "search",
    "search_async",
    "sweep",
    "sweep_async",
    "train",
    "train_async",
]
