"""A benchmark of checkable instructions as a plug-in: its own rows and verifiers, and everything else for nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from spar.cli.app import app
from spar.config import EvalConfig
from spar.errors import UsageError
from spar.eval.instructions import (
    LOOSE,
    PROMPT_LOOSE,
    PROMPT_STRICT,
    STRICT,
    InstructionBenchmark,
    InstructionVerifiers,
)
from spar.instruction_checks import Checked, VerifierSet, check_instructions
from spar.record.evaluation import read_results
from spar.types import Prompt


class Ends:
    """A verifier of IFEval's shape: the last character of a text."""

    def __init__(self, name: str) -> None:
        self.id, self.mark = name, ""

    def build_description(self, mark: str = ".") -> str:
        self.mark = mark
        return f"End with {mark}"

    def get_instruction_args(self) -> dict[str, str]:
        return {"mark": self.mark}

    def check_following(self, text: str) -> bool:
        return text.endswith(self.mark)


CLASSES = {"form:ends": Ends}


def check(
    response: str,
    ids: Sequence[str],
    kwargs: Sequence[Mapping[str, Any]],
    *,
    seed: str | int,
    prompt: str = "",
) -> list[Checked]:
    """The verdicts of `CLASSES`."""
    pairs = zip(ids, kwargs, strict=True)
    return check_instructions(VerifierSet(CLASSES), response, pairs, seed=seed, prompt=prompt)


class Marks(InstructionBenchmark):
    """Three rows with ids and arguments."""

    verifiers = InstructionVerifiers(lambda _: CLASSES, check, lambda: "marks 1.0")
    order = (PROMPT_STRICT, STRICT, PROMPT_LOOSE, LOOSE)
    headline = PROMPT_STRICT
    third = "form:ends"

    def rows(self, config: EvalConfig) -> Iterable[Mapping[str, Any]]:
        """Made here, as another plug-in would read its file."""
        ends = {"instruction_id_list": ["form:ends"]}
        yield {"key": 1, "prompt": "One.", **ends, "kwargs": [{"mark": "!", "padding": None}]}
        yield {"key": 2, "prompt": "Two.", **ends, "kwargs": [{}]}
        yield {
            "key": 3,
            "prompt": "Three.",
            "instruction_id_list": ["form:ends", self.third],
            "kwargs": [{"mark": "!"}, {}],
        }

    def doubtful(self) -> Mapping[str, str]:
        """The second row's verdict is not to be trusted."""
        return {"2": "a full stop is in the prompt"}

    def notes(self, examples: Sequence[Prompt]) -> Iterator[str]:
        """One line."""
        yield f"{len(examples)} marks"


def test_a_plug_in_has_everything_but_rows_and_verifiers(tmp_path: Path) -> None:
    """`spar eval module:Class` scores stored answers with all metrics, types, notes and the sound mean."""
    answers = tmp_path / "answers.jsonl"
    texts = {1: "yes!", 2: "no", 3: "Here:\\n*so*!"}
    answers.write_text(
        "\n".join(f'{{"id": "{key}", "response": "{text}"}}' for key, text in texts.items())
    )
    command = [
        "eval",
        f"{__name__}:Marks",
        "--responses",
        str(answers),
        "--out",
        str(tmp_path / "r"),
    ]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == 0, done.output
    (folder,) = (tmp_path / "r").iterdir()
    results = read_results(folder)
    values = {name: metric.value for name, metric in results.metrics.items()}
    assert next(iter(values)) == PROMPT_STRICT
    assert values[PROMPT_STRICT] == pytest.approx(1 / 3)
    assert values["inst_level_strict_acc/form:ends"] == 2 / 4
    assert results.metrics["average_sound"].n == 2
    assert values["average_sound"] == pytest.approx((1 / 2 + 2 / 3 + 1 / 2 + 2 / 3) / 4)
    assert {"verifiers of marks 1.0", "3 marks"} <= {*results.notes}


def test_a_row_with_an_unknown_type_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The key of the row and the closest type are in the message."""
    monkeypatch.setattr(Marks, "third", "form:end")
    with pytest.raises(UsageError, match=r"marks, key 3.*did you mean 'form:ends'"):
        Marks().load(EvalConfig())


def test_a_benchmark_without_a_data_set_has_no_prompts_to_keep_out() -> None:
    """`spar evolve` asks every benchmark for its prompts, plug-ins too."""
    assert list(Marks.prompt_texts(None)) == []
