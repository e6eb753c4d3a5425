"""Documents of GSM8K, MMLU and TriviaQA from the data folder, in place of those of the hub.

lm-eval's tasks say which set of the hub they read, and `datasets.load_dataset` gets it. While tasks are
loaded, that function is replaced: where the data folder (`spar.eval.datasets.local`) has the set, its
rows are returned in the hub's shape; prompts, worked examples and filters stay lm-eval's own. Every other
set comes from the hub or its cache, as before.

What the folder has is not in all points what the hub has: see `NOTES`.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from spar.errors import UsageError, first_line
from spar.eval.datasets.local import DataFolder, open_data

Rows = list[dict[str, Any]]
Splits = Mapping[str, Callable[[], Rows]]
"""Name of a split to what reads its rows."""

NOTES: Mapping[str, str] = {
    "gsm8k": "worked examples are drawn from the first 200 rows of GSM8K's training set",
    "triviaqa": "questions are TriviaQA's unfiltered validation set (11,313); lm-eval's own data are the "
    "17,944 of rc.nocontext",
}
"""Data set to how it differs from what lm-eval downloads."""

_LOCK = threading.Lock()


@contextmanager
def local_data(data: str = "") -> Iterator[None]:
    """Let the data folder answer `datasets.load_dataset` where it can.

    Parameters
    ----------
    data:
        As `spar.eval.datasets.local.open_data` takes it.
    """
    import datasets

    with _LOCK:
        hub = datasets.load_dataset
        open_set = functools.cache(functools.partial(open_data, data=data))
        datasets.load_dataset = functools.partial(_load, hub, open_set)
        try:
            yield
        finally:
            datasets.load_dataset = hub


def _load(
    hub: Callable[..., Any],
    open_set: Callable[[str], DataFolder],
    path: str,
    name: str | None = None,
    **options: Any,
) -> Any:
    local_error: UsageError | None = None
    try:
        splits = _local(open_set, path, name or "")
    except UsageError as error:
        splits, local_error = None, error
    if splits is not None:
        return _dataset(splits)
    try:
        return hub(path=path, name=name, **options)
    except Exception as error:  # a set's own code and the network may raise anything
        raise local_error or _unavailable(path, name, error) from error


def _local(open_set: Callable[[str], DataFolder], path: str, name: str) -> Splits | None:
    if path not in _DATA_SETS:
        return None
    ours, splits_of = _DATA_SETS[path]
    return splits_of(open_set(ours), name)


def _dataset(splits: Splits) -> Any:
    from datasets import Dataset, DatasetDict

    return DatasetDict({split: Dataset.from_list(read()) for split, read in splits.items()})


def _unavailable(path: str, name: str | None, error: Exception) -> UsageError:
    which = f"{path} ({name})" if name else path
    return UsageError(
        f"the hub's data set {which}: cannot be had ({first_line(error)}); connect to the network, "
        "or set HF_HOME to a cache that has it"
    )


def _gsm8k(folder: DataFolder, name: str) -> Splits | None:
    if name not in ("", "main"):
        return None
    return {
        "train": lambda: folder.jsonl("train_first200.jsonl"),
        "test": lambda: folder.jsonl("test.jsonl"),
    }


def _mmlu(folder: DataFolder, subject: str) -> Splits | None:
    files = {split: f"{split}/{subject}_{split}.csv" for split in ("test", "dev")}
    if not (folder.root / files["test"]).is_file():
        return None
    return {
        split: functools.partial(_mmlu_rows, folder, file, subject) for split, file in files.items()
    }


def _mmlu_rows(folder: DataFolder, file: str, subject: str) -> Rows:
    return [
        {
            "question": row["question"],
            "subject": subject,
            "choices": [row[f"choice{number}"] for number in range(4)],
            "answer": int(row["answer"]),
        }
        for row in folder.csv(file)
    ]


def _triviaqa(folder: DataFolder, name: str) -> Splits | None:
    if name != "rc.nocontext":
        return None
    files = {"train": "fewshot_first200.jsonl", "validation": "validation_unfiltered.jsonl"}
    return {split: functools.partial(_trivia_rows, folder, file) for split, file in files.items()}


def _trivia_rows(folder: DataFolder, file: str) -> Rows:
    return [
        {
            "question_id": str(row["id"]),
            "question": row["question"],
            "answer": {"value": row["aliases"][0], "aliases": row["aliases"]},
        }
        for row in folder.jsonl(file)
    ]


_DATA_SETS: Mapping[str, tuple[str, Callable[[DataFolder, str], Splits | None]]] = {
    "openai/gsm8k": ("gsm8k", _gsm8k),
    "gsm8k": ("gsm8k", _gsm8k),
    "cais/mmlu": ("mmlu", _mmlu),
    "hails/mmlu_no_train": ("mmlu", _mmlu),
    "mandarjoshi/trivia_qa": ("triviaqa", _triviaqa),
    "trivia_qa": ("triviaqa", _triviaqa),
}
"""Name on the hub to our data set, and to what reads its splits; that gives None for a subset which is
not there."""
