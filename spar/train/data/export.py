"""Writes training data in the formats of trainers.

| format | `dpo.jsonl` | `rft.jsonl`, `sft.jsonl` |
|---|---|---|
| `trl` | `prompt`, `chosen`, `rejected`: lists of messages | `messages` |
| `llamafactory` | sharegpt with ranking: `conversations`, `chosen`, `rejected` | sharegpt: `conversations` |
| `jsonl` | a `Pair` | a `RefinerExample`, an `Answer` |

Every line also names its source (`run`, `prompt_id`, the nodes); trainers ignore columns that they do not know.
`llamafactory` adds `spar_dpo`, `spar_rft` and `spar_sft` to the `dataset_info.json` beside the files. The lines are ASCII JSON,
which every reader accepts and no unusual line separator can split.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from spar.errors import RunStopped, UsageError
from spar.files import replace_lines
from spar.record.layout import DPO_FILE, RFT_FILE, SFT_FILE
from spar.record.training_data import Conversation, ExportFormat, Pair, RefinerExample
from spar.types import Message

DATASET_INFO = "dataset_info.json"

_SHAREGPT = {"user": "human", "assistant": "gpt", "system": "system"}


def _sharegpt_info(name: str) -> Mapping[str, Any]:
    return {
        "file_name": f"{name}.jsonl",
        "formatting": "sharegpt",
        "columns": {"messages": "conversations"},
    }


_INFO: Mapping[str, Any] = {
    "spar_dpo": {
        "file_name": DPO_FILE,
        "formatting": "sharegpt",
        "ranking": True,
        "columns": {"messages": "conversations", "chosen": "chosen", "rejected": "rejected"},
    },
    "spar_rft": _sharegpt_info("rft"),
    "spar_sft": _sharegpt_info("sft"),
}

Row = dict[str, Any]


def export(
    format_: ExportFormat,
    folder: Path,
    *,
    pairs: Sequence[Pair] | None,
    examples: Sequence[Conversation] | None,
    answers: Sequence[Conversation] | None = None,
) -> dict[str, str]:
    """Write the files, each replaced as a whole; returns file name to the SHA-256 of its bytes.

    Parameters
    ----------
    pairs, examples, answers:
        The content of each file; None where it is not to be written.

    Raises
    ------
    RunStopped
        The disk is full or fails. Existing files are unchanged.
    UsageError
        An existing `dataset_info.json` cannot be read.
    """
    pair_row, example_row = _ROWS[format_]
    path = folder / DATASET_INFO
    info = _existing_info(path) if format_ == "llamafactory" else None
    written = {}
    if pairs is not None:
        written[DPO_FILE] = write_lines(folder / DPO_FILE, map(pair_row, pairs))
    if examples is not None:
        written[RFT_FILE] = write_lines(folder / RFT_FILE, map(example_row, examples))
    if answers is not None:
        written[SFT_FILE] = write_lines(folder / SFT_FILE, map(example_row, answers))
    if info is not None:
        info |= {name: of for name, of in _INFO.items() if of["file_name"] in written}
        written[DATASET_INFO] = _replace(path, [json.dumps(info, indent=2)])
    return written


def export_conversations(
    format_: ExportFormat, folder: Path, sets: Mapping[str, Sequence[Conversation]]
) -> dict[str, str]:
    """Write `NAME.jsonl` for each set of conversations; returns and raises as `export`.

    `llamafactory` describes them as `spar_NAME`.
    """
    sharegpt, path = format_ == "llamafactory", folder / DATASET_INFO
    row: Callable[[Conversation], Row] = _sharegpt_example if sharegpt else _plain_example
    info = {**_existing_info(path), **{f"spar_{name}": _sharegpt_info(name) for name in sets}}
    written = {
        f"{name}.jsonl": write_lines(folder / f"{name}.jsonl", map(row, conversations))
        for name, conversations in sets.items()
    }
    if sharegpt:
        written[DATASET_INFO] = _replace(path, [json.dumps(info, indent=2)])
    return written


def write_lines(path: Path, rows: Iterable[Row]) -> str:
    """Replace a file by one JSON object on each line; returns the SHA-256 of its bytes."""
    return _replace(path, (json.dumps(row, separators=(",", ":")) for row in rows))


def trl_pair(pair: Pair) -> Row:
    """A row of TRL's preference trainers: the prompt and both sides as messages, then where the pair comes from."""
    return {
        "prompt": [message.model_dump() for message in pair.prompt],
        "chosen": [{"role": "assistant", "content": pair.chosen}],
        "rejected": [{"role": "assistant", "content": pair.rejected}],
        **pair.model_dump(exclude={"prompt", "chosen", "rejected"}),
    }


def read_pairs(path: Path) -> Iterator[Pair]:
    """Stream the pairs of a file in the format `jsonl`."""
    with path.open("rb") as handle:
        for line in handle:
            yield Pair.model_validate(json.loads(line))


def read_examples(path: Path) -> Iterator[RefinerExample]:
    """Stream the refiner's examples of a file in the format `jsonl`."""
    with path.open("rb") as handle:
        for line in handle:
            yield RefinerExample.model_validate(json.loads(line))


def _existing_info(path: Path) -> Row:
    """The data sets in an existing `dataset_info.json`, such as LLaMA-Factory's own."""
    if not path.exists():
        return {}
    try:
        info = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not JSON: {error}; fix it or choose another --out") from error
    if not isinstance(info, dict):
        raise UsageError(f"{path} is not a JSON object; fix it or choose another --out")
    return info


def _replace(path: Path, lines: Iterable[str]) -> str:
    try:
        return replace_lines(path, lines)
    except OSError as error:
        raise RunStopped(
            f"cannot write {path}: {error.strerror or error}; fix this and build again"
        ) from error


def _sharegpt_pair(pair: Pair) -> Row:
    return {
        "conversations": [_sharegpt(message) for message in pair.prompt],
        "chosen": {"from": "gpt", "value": pair.chosen},
        "rejected": {"from": "gpt", "value": pair.rejected},
        **pair.model_dump(exclude={"prompt", "chosen", "rejected"}),
    }


def _plain_example(example: Conversation) -> Row:
    return example.model_dump()


def _sharegpt_example(example: Conversation) -> Row:
    return {
        "conversations": [_sharegpt(message) for message in example.messages],
        **example.model_dump(exclude={"messages"}),
    }


def _sharegpt(message: Message) -> Row:
    return {"from": _SHAREGPT[message.role], "value": message.content}


_ROWS: Mapping[ExportFormat, tuple[Callable[[Pair], Row], Callable[[Conversation], Row]]] = {
    "trl": (trl_pair, _plain_example),
    "llamafactory": (_sharegpt_pair, _sharegpt_example),
    "jsonl": (Pair.model_dump, _plain_example),
}
