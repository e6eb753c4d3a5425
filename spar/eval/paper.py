"""The paper's numbers (arXiv 2412.11605, tables 1 to 8), in percent, to print below the results and in reports.

A benchmark names its table in its class (`Benchmark.paper`); the ablations (`ACTOR_ABLATIONS`, `REFINER_ABLATIONS`) and
`GENERAL`, which average several benchmarks, stand beside the experiments of `spar report`.

The source is two public transcriptions of the paper (deep-diver/ai-paper-reviewer, 2412.11605, English and Korean). They are alike
but for 12 cells of Table 2, in the rows of GLM-4 and LLaMA3-70B: those here are of the Korean one, since in the other they are no
whole number of the subset's outputs, or not the mean that the row prints. Neither has numbers of tables 9 and 10 and of the figures.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class PaperTable:
    """The paper's results on one benchmark."""

    source: str
    """The tables of the paper."""
    columns: Mapping[str, str]
    """Our metric's name to the paper's column; metrics with the same column share a cell."""
    rows: Mapping[str, tuple[float, ...]]
    """Model to its values in percent, in the order of the metrics."""

    @property
    def headings(self) -> tuple[str, ...]:
        """The columns, each once."""
        return tuple(dict.fromkeys(self.columns.values()))

    def cells(self, values: Sequence[float | None]) -> list[str]:
        """One text a column: percent with one decimal place, several values of a cell separated by a slash."""
        shown = ["-" if value is None else f"{value:.1f}" for value in values]
        named = list(zip(self.columns.values(), shown, strict=True))
        return [" / ".join(v for c, v in named if c == heading) for heading in self.headings]


def _rows(text: str) -> dict[str, tuple[float, ...]]:
    """`model: value value ...` a line."""
    pairs = (line.rpartition(":") for line in text.strip().splitlines())
    return {name.strip(): tuple(map(float, values.split())) for name, _, values in pairs}


IFEVAL = PaperTable(
    "Tables 1 and 6",
    {
        "prompt_level_loose_acc": "P(L)",
        "inst_level_loose_acc": "I(L)",
        "prompt_level_strict_acc": "P(S)",
        "inst_level_strict_acc": "I(S)",
        "average": "avg",
    },
    _rows(
        """
        LLaMA3-8B-Instruct: 77.6 84.5 70.6 78.9 77.9
        AutoIF-8B: 43.1 56.0 28.8 42.2 42.5
        SELF: 78.2 84.5 76.0 82.9 80.4
        Humpback: 72.5 80.2 70.1 78.1 75.2
        Self-Rewarding: 77.3 84.2 74.1 81.7 79.3
        Meta-Rewarding: 77.8 84.1 75.4 82.3 79.9
        SPaR-8B-SFT: 75.4 82.5 73.4 80.6 78.0
        SPaR-8B-DPO-iter1: 78.0 84.7 75.8 82.6 80.3
        SPaR-8B-DPO-iter2: 78.9 85.0 77.1 83.3 81.1
        SPaR-8B-DPO-iter3: 79.9 85.4 78.0 83.7 81.8
        SPaR-8B-DPO-iter3 with tree search: 82.4 87.5 79.5 85.3 83.7
        GLM-4-9B-Chat: 71.5 79.9 68.0 77.2 74.2
        SPaR-9B-SFT: 71.5 80.5 68.8 78.1 74.7
        SPaR-9B-DPO-iter1: 73.8 81.2 70.6 78.5 76.0
        SPaR-9B-DPO-iter2: 76.7 83.3 73.2 80.9 78.5
        SPaR-9B-DPO-iter3: 77.3 84.1 73.6 81.4 79.1
        LLaMA3-70B-Instruct: 83.7 88.9 77.1 83.8 83.4
        AutoIF-70B: 85.6 90.4 80.2 86.7 85.7
        SPaR-70B-DPO-iter1: 84.5 89.2 80.2 85.7 84.9
        SPaR-70B-DPO-iter2: 85.0 89.4 81.5 87.2 85.8
        SPaR-70B-DPO-iter3: 85.6 90.2 81.3 87.3 86.1
        Mistral-7B-Instruct: 55.1 64.9 49.9 60.2 57.5
        SELF (Mistral-7B): 71.3 79.7 68.0 76.9 74.0
        Humpback (Mistral-7B): 60.4 71.0 56.6 67.6 63.9
        Self-Rewarding (Mistral-7B): 64.3 73.5 61.0 70.7 67.4
        Meta-Rewarding (Mistral-7B): 65.1 74.7 61.0 71.1 68.0
        SPaR-7B-SFT: 62.7 72.3 59.3 68.7 65.8
        SPaR-7B-DPO-iter1: 68.2 76.6 64.7 73.6 70.8
        SPaR-7B-DPO-iter2: 70.0 78.1 65.8 74.2 72.0
        SPaR-7B-DPO-iter3: 74.1 80.9 69.7 77.1 75.5
        """
    ),
)
"""Rows of Table 6 alone, here and in `FOLLOWBENCH`: the Mistral-7B models, and iterations 1 and 2 of SPaR-9B and SPaR-70B."""

FOLLOWBENCH = PaperTable(
    "Tables 1 and 6 (SSR)",
    {
        **{f"ssr_level_{level}": f"Lv{level}" for level in range(1, 6)},
        "ssr_avg": "avg",
    },
    _rows(
        """
        LLaMA3-8B-Instruct: 69.4 62.2 63.1 61.9 60.9 63.5
        AutoIF-8B: 54.6 52.1 50.0 49.0 43.7 49.9
        SELF: 68.3 65.7 65.2 62.2 62.4 64.8
        Humpback: 66.8 66.1 67.2 60.2 62.6 64.6
        Self-Rewarding: 72.8 66.6 66.8 64.9 64.1 67.0
        Meta-Rewarding: 73.9 71.9 66.0 62.3 62.6 67.3
        SPaR-8B-SFT: 73.9 67.4 68.1 63.1 61.3 66.8
        SPaR-8B-DPO-iter1: 75.3 67.7 67.6 64.7 62.3 67.5
        SPaR-8B-DPO-iter2: 73.9 71.9 69.1 64.0 62.2 68.2
        SPaR-8B-DPO-iter3: 73.0 72.3 70.0 64.1 64.7 68.8
        SPaR-8B-DPO-iter3 with tree search: 73.9 71.7 70.3 66.8 64.1 69.4
        GLM-4-9B-Chat: 80.8 75.1 67.4 64.3 65.4 70.6
        SPaR-9B-SFT: 79.4 70.9 68.2 65.1 63.7 69.5
        SPaR-9B-DPO-iter1: 82.6 76.0 67.9 64.9 63.6 71.0
        SPaR-9B-DPO-iter2: 80.4 76.6 67.4 68.7 64.1 71.4
        SPaR-9B-DPO-iter3: 82.7 76.7 67.9 68.3 64.2 72.0
        LLaMA3-70B-Instruct: 77.1 72.5 69.4 68.7 66.3 70.8
        AutoIF-70B: 71.0 67.2 66.2 64.6 63.5 66.5
        SPaR-70B-DPO-iter1: 77.6 74.0 70.2 70.6 66.9 71.9
        SPaR-70B-DPO-iter2: 80.4 76.4 69.9 73.7 70.2 74.1
        SPaR-70B-DPO-iter3: 80.3 75.7 71.4 73.7 70.5 74.3
        Mistral-7B-Instruct: 65.1 61.6 61.6 56.8 57.2 60.4
        SELF (Mistral-7B): 71.5 64.2 60.8 58.0 57.0 62.3
        Humpback (Mistral-7B): 70.7 63.9 63.8 59.8 57.9 63.2
        Self-Rewarding (Mistral-7B): 70.8 64.8 62.3 61.9 58.3 63.6
        Meta-Rewarding (Mistral-7B): 73.2 64.6 64.5 60.6 57.6 64.1
        SPaR-7B-SFT: 74.4 64.3 62.5 58.2 55.0 62.9
        SPaR-7B-DPO-iter1: 73.2 64.6 63.1 60.3 56.6 63.6
        SPaR-7B-DPO-iter2: 72.2 65.7 61.4 62.4 57.5 63.8
        SPaR-7B-DPO-iter3: 74.6 63.8 66.1 61.0 58.0 64.7
        """
    ),
)

_SUBSETS = {
    "/Natural": "Natural",
    "/GPTInst": "GPTInst",
    "/GPTOut": "GPTOut",
    "/Manual": "Manual",
    "/Neighbor": "Neighbor",
    "/adversarial": "Adversarial",
    "": "all",
}

LLMBAR = PaperTable(
    "Tables 2 and 8 (accuracy / F1)",
    {what + end: name for end, name in _SUBSETS.items() for what in ("acc", "f1")},
    _rows(
        """
        GPT-4o-Mini: 74.5 70.5 69.2 61.6 60.9 51.4 59.8 51.9 72.8 66.4 65.7 57.8 67.4 60.4
        LLaMA3-8B-Instruct: 60.0 51.8 55.4 46.1 47.9 39.5 51.1 36.6 54.5 45.0 52.2 41.8 53.8 43.8
        SELF: 69.5 61.6 62.0 50.7 64.9 54.8 57.6 41.8 64.6 51.3 62.2 49.6 63.7 52.0
        Self-Rewarding: 71.0 66.3 70.1 66.7 63.8 59.5 62.0 55.7 67.5 61.7 65.9 60.9 66.9 61.9
        Meta-Rewarding: 70.5 66.3 68.5 64.6 64.9 60.2 64.1 58.3 69.0 63.1 66.6 61.6 67.4 62.5
        SPaR-8B-SFT: 68.5 60.9 67.9 62.4 59.6 50.0 63.0 54.1 68.3 59.3 64.7 56.5 65.5 57.3
        SPaR-8B-RFT-iter1: 68.5 63.2 66.8 60.6 63.8 55.3 62.0 53.3 66.8 59.0 64.9 57.1 65.6 58.3
        SPaR-8B-RFT-iter2: 70.5 64.2 66.8 61.6 66.0 60.0 65.2 57.9 69.0 62.4 66.8 60.5 67.5 61.2
        SPaR-8B-RFT-iter3: 70.5 65.9 70.7 66.7 63.8 57.5 68.5 63.3 68.3 62.2 67.8 62.4 68.3 63.1
        GLM-4-9B-Chat: 74.5 76.5 74.5 75.9 57.4 62.3 53.3 56.6 69.8 72.0 63.7 66.7 65.9 68.6
        SPaR-9B-SFT: 70.5 65.5 72.8 70.2 59.6 55.8 64.1 53.5 71.3 67.2 66.9 61.7 67.7 62.5
        SPaR-9B-RFT-iter3: 71.0 68.8 75.5 74.6 58.5 55.2 68.5 64.2 68.7 65.9 67.8 64.9 68.4 65.7
        LLaMA3-70B-Instruct: 75.0 71.9 73.4 69.6 69.1 66.7 66.3 60.8 69.0 63.4 69.5 65.1 70.6 66.5
        SPaR-70B-RFT-iter3: 78.0 74.7 78.8 76.9 64.9 61.2 67.4 59.5 72.4 68.1 70.9 66.4 72.3 68.1
        Mistral-7B-Instruct: 58.0 69.1 57.1 68.8 50.0 64.1 45.6 61.5 47.8 62.6 50.1 64.3 51.7 65.2
        SELF (Mistral-7B): 68.0 65.2 71.2 68.7 56.4 56.8 62.0 52.6 67.5 62.3 64.3 60.1 65.0 61.1
        Self-Rewarding (Mistral-7B): 68.0 64.0 69.0 63.7 59.6 53.7 63.0 57.5 69.4 64.3 65.3 59.8 65.8 60.6
        Meta-Rewarding (Mistral-7B): 67.5 62.4 71.7 68.7 56.4 51.8 63.0 56.4 66.8 62.1 64.5 59.7 65.1 60.3
        SPaR-7B-SFT: 69.5 63.9 71.7 67.5 55.3 48.8 55.4 45.3 69.4 62.3 63.0 56.1 64.3 57.6
        SPaR-7B-RFT-iter1: 67.0 62.1 66.3 62.7 56.4 52.9 60.9 52.6 64.2 60.7 61.9 57.2 63.0 58.2
        SPaR-7B-RFT-iter2: 68.0 64.4 68.5 64.6 60.6 57.5 62.0 52.1 64.2 60.0 63.8 58.5 64.7 59.7
        SPaR-7B-RFT-iter3: 71.0 66.7 72.3 67.5 57.4 55.6 60.9 51.4 68.3 62.6 64.7 59.2 66.0 60.7
        """
    ),
)
"""Rows of Table 8: the Mistral-7B models, from Mistral-7B-Instruct on. All others are of Table 2."""

REFINEMENT = PaperTable(
    "Table 3 (an outside judge; SPaR-8B-RFT-iter3 as judge)",
    {"acc_grader": "outside judge", "acc_self": "SPaR's own"},
    _rows(
        """
        GPT-4o-Mini: 79.0 71.0
        SPaR-8B-SFT: 73.5 71.0
        SPaR-8B-RFT-iter1: 77.5 77.0
        SPaR-8B-RFT-iter2: 74.5 76.0
        SPaR-8B-RFT-iter3: 79.0 90.5
        """
    ),
)

ACTOR_ABLATIONS = PaperTable(
    "Table 4",
    {
        "prompt_level_strict_acc": "IFEval P(S)",
        "inst_level_strict_acc": "IFEval I(S)",
        "ssr_avg": "FollowBench",
    },
    _rows(
        """
        SPaR-8B-DPO-iter3: 78.0 83.7 68.8
        without tree search: 76.0 82.9 67.1
        without iterative training: 77.1 83.5 66.8
        without refinement: 75.4 82.1 65.7
        """
    ),
)
"""The paper prints the differences to the first row."""

REFINER_ABLATIONS = PaperTable(
    "Table 5 (accuracy / F1)",
    {
        **{f"{what}/Natural": "LLMBar Natural" for what in ("acc", "f1")},
        **{f"{what}/adversarial": "LLMBar Adversarial" for what in ("acc", "f1")},
    },
    _rows(
        """
        SPaR-8B-RFT-iter3: 70.5 65.9 67.8 62.4
        without tree search: 70.0 64.7 63.5 54.2
        without iterative training: 70.0 63.4 66.1 58.9
        """
    ),
)
"""The paper prints the differences to the first row."""

_GENERAL_ROWS = _rows(
    """
    LLaMA3-8B-Instruct: 75.4 75.9 63.6 55.5 67.6
    SPaR-8B-SFT: 75.6 76.0 64.0 61.6 69.3
    SPaR-8B-DPO-iter1: 78.8 75.2 63.8 60.4 69.6
    SPaR-8B-DPO-iter2: 77.0 74.9 63.1 60.4 68.9
    SPaR-8B-DPO-iter3: 77.7 75.1 63.1 60.9 69.2
    GLM-4-9B-Chat: 80.6 69.7 71.9 74.3 74.1
    SPaR-9B-SFT: 82.9 69.4 71.8 73.8 74.5
    SPaR-9B-DPO-iter1: 82.6 68.8 71.6 75.0 74.5
    SPaR-9B-DPO-iter2: 82.8 68.9 71.8 73.8 74.3
    SPaR-9B-DPO-iter3: 83.0 69.0 72.1 73.2 74.3
    LLaMA3-70B-Instruct: 92.2 87.2 80.8 79.3 84.9
    SPaR-70B-DPO-iter1: 92.5 90.4 81.0 79.3 85.8
    SPaR-70B-DPO-iter2: 92.9 89.5 80.4 78.7 85.4
    SPaR-70B-DPO-iter3: 93.4 86.7 80.6 79.9 85.2
    Mistral-7B-Instruct: 42.9 72.5 57.9 32.9 51.6
    SPaR-7B-SFT: 56.4 72.8 56.7 44.5 57.6
    SPaR-7B-DPO-iter1: 55.6 72.2 55.3 46.3 57.4
    SPaR-7B-DPO-iter2: 54.4 72.1 55.8 45.1 56.9
    SPaR-7B-DPO-iter3: 58.2 71.6 55.1 46.3 57.8
    """
)

GENERAL = PaperTable(
    "Table 7",
    {
        "gsm8k": "GSM8K",
        "triviaqa": "TriviaQA",
        "mmlu": "MMLU",
        "humaneval": "HumanEval",
        "average": "avg",
    },
    _GENERAL_ROWS,
)


def _general(metric: str, column: int) -> PaperTable:
    rows = {model: (values[column],) for model, values in _GENERAL_ROWS.items()}
    return PaperTable("Table 7", {metric: "accuracy"}, rows)


GSM8K = _general("exact_match,flexible-extract", 0)
TRIVIAQA = _general("exact_match,remove_whitespace", 1)
MMLU = _general("acc", 2)
HUMANEVAL = _general("pass@1", 3)
