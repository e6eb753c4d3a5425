"""FollowBench's rows: what becomes of them, and the measured facts of the real ones."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.datasets.local import DataFolder
from spar.eval.followbench import dataset
from spar.eval.followbench.benchmark import FollowBench
from spar.eval.followbench.metrics import FILES
from spar.types import Message, Prompt


@dataclass(frozen=True, slots=True)
class FakeFolder:
    """Files out of a table."""

    files: Mapping[str, list[dict[str, Any]]]

    def json(self, relative: str) -> list[dict[str, Any]]:
        """Its rows, none where the table lacks it."""
        return self.files.get(relative, [])

    def path(self, relative: str) -> Path:
        """A constructed one."""
        return Path("data", relative)


def raw(level: int, **fields: Any) -> dict[str, Any]:
    """A row of a file."""
    row = {"example_id": 3, "level": level, "instruction": f"I{level}", "target": "['a']"}
    return {**row, "source": "koala", "category": "style", **fields}


def loaded(rows: list[dict[str, Any]], file: str = "style") -> list[Prompt]:
    """The prompts of one file."""
    folder = FakeFolder({f"{file}_constraints.json": rows})
    return dataset.prompts(cast("DataFolder", folder))


def test_rows_become_prompts() -> None:
    """Levels 1 to 5 are used; the judge also gets the instructions that led to each."""
    prompts = loaded([raw(0, instruction=""), *map(raw, range(1, 6))])
    assert [prompt.id for prompt in prompts] == [f"style/3/{level}" for level in range(1, 6)]
    assert prompts[1].messages == (Message(role="user", content="I2"),)
    assert prompts[1].meta == {
        "file": "style",
        "group": 3,
        "level": 2,
        "rule": "",
        "path": ["", "I1", "I2"],
        "target": "['a']",
        "source": "koala",
        "category": "style",
    }


def test_rows_with_a_rule_need_no_way() -> None:
    """The example file has no level 0, and no judge."""
    prompts = loaded(list(map(raw, range(1, 6))), "example")
    assert [(p.meta["rule"], p.meta["path"]) for p in prompts] == [("example", [])] * 5


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([raw(0), raw(1), raw(2), raw(4), raw(5)], "has the levels [0, 1, 2, 4, 5], not 0 to 5"),
        ([raw(0), raw(1), raw(1)], "has level 1 twice"),
        ([*map(raw, range(5)), raw(5, instruction=" ")], "has no instruction at level 5"),
        ([*map(raw, range(5)), raw(5, source="CONLL2003", target="a")], "that is no list"),
    ],
)
def test_damaged_groups(rows: list[dict[str, Any]], says: str) -> None:
    """A group that lacks something is named, with the next step."""
    with pytest.raises(UsageError) as caught:
        loaded(rows)
    assert says in str(caught.value)
    assert "style_constraints.json: the group 3" in str(caught.value)
    assert "spar data fetch followbench" in str(caught.value)


@pytest.fixture(scope="module")
def real(data_root: Path) -> list[Prompt]:
    """All rows of the benchmark."""
    return FollowBench().load(EvalConfig(data=str(data_root)))


@pytest.mark.data
def test_the_split_of_the_real_data(real: list[Prompt]) -> None:
    """820 rows: 350 by rules, 470 for the judge, as measured per file."""
    files = Counter(prompt.meta["file"] for prompt in real)
    assert [files[file] for file in FILES] == [125, 110, 150, 150, 200, 85]
    judged = Counter(prompt.meta["file"] for prompt in real if not prompt.meta["rule"])
    assert [judged[file] for file in FILES] == [65, 70, 150, 140, 0, 45]
    by_rule = {
        file: sorted({p.meta["group"] for p in real if p.meta["file"] == file and p.meta["rule"]})
        for file in files
    }
    assert by_rule == {
        "content": list(range(14, 26)),
        "situation": list(range(1, 9)),
        "style": [],
        "format": [22, 30],
        "example": list(range(1, 41)),
        "mixed": [3, 4, 5, 11, 12, 13, 14, 15],
    }


@pytest.mark.data
def test_real_rows_are_told_apart(real: list[Prompt]) -> None:
    """Stored answers can be matched by id and by the instruction's text."""
    assert len({prompt.id for prompt in real}) == 820
    assert len({prompt.messages[0].content for prompt in real}) == 820
    assert {len(prompt.meta["path"]) for prompt in real} == {0, 2, 3, 4, 5, 6}
    assert real[2].id == "content/1/3"
