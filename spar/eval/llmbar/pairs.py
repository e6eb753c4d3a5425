"""The pairs of LLMBar, and the means over its subsets.

    {"input": "...", "output_1": "...", "output_2": "...", "label": 2}

419 pairs in five files. `label` is the number of the output that follows the instruction; the other does not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from spar.errors import UsageError
from spar.eval.datasets.local import open_data
from spar.types import Prompt

DATA = "llmbar"
"""The data set's name."""
NATURAL = "Natural"
ADVERSARIAL = ("GPTInst", "GPTOut", "Manual", "Neighbor")
SUBSETS: Mapping[str, str] = {
    NATURAL: "Natural/dataset.json",
    **{name: f"Adversarial/{name}/dataset.json" for name in ADVERSARIAL},
}
"""Subset to its file, in the order of the paper's Table 2."""


@dataclass(frozen=True, slots=True)
class Pair:
    """One instruction and two outputs."""

    id: str
    """Subset and position in its file, such as `Natural/17`."""
    subset: str
    input: str
    outputs: tuple[str, str]
    preferred: int
    """Number of the output that follows the instruction, 1 or 2."""


def read_pairs(data: str = "") -> Iterator[Pair]:
    """Every pair, subset by subset.

    Parameters
    ----------
    data:
        The data folder, "" for the default places (`spar.eval.datasets.local`).

    Raises
    ------
    UsageError
        The data is missing or damaged.
    """
    folder = open_data(DATA, data)
    for subset, path in SUBSETS.items():
        for index, row in enumerate(folder.json(path)):
            if row["label"] not in (1, 2):
                raise UsageError(
                    f"{folder.path(path)}: row {index + 1} has the label {row['label']!r}; "
                    f"accepted: 1, 2; get the file with `spar data fetch {DATA}`"
                )
            outputs = (row["output_1"], row["output_2"])
            yield Pair(f"{subset}/{index}", subset, row["input"], outputs, row["label"])


def place_of(prompt: Prompt) -> int:
    """Position of an example's pair in its subset's file."""
    return int(prompt.meta["pair"].rpartition("/")[2])


def subset_means(*names: str) -> dict[str, tuple[str, ...]]:
    """Means over subsets for `Scored.means`: of `acc`, `acc/adversarial` over the four adversarial subsets and
    `acc` over all five."""
    means = {}
    for name in names:
        means[f"{name}/adversarial"] = tuple(f"{name}/{subset}" for subset in ADVERSARIAL)
        means[name] = tuple(f"{name}/{subset}" for subset in SUBSETS)
    return means
