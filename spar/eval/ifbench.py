"""IFBench: instructions that no training set has, checked by programs (Pyatkin et al., arXiv 2507.02833).

Dataset: 300 prompts that carry 344 instructions of 58 types (`ifbench/IFBench_test.jsonl`).
Metric:  those of IFEval; the paper reports `prompt_level_loose_acc`, which is the headline.
Pattern: one answer a prompt, no judge. The paper decodes greedily, without a system prompt; the upstream script
         allows 4,096 new tokens (`--max-new-tokens 4096`), spar's default is 2,048.

The verifiers are a package's (`spar.ifbench_verifiers`); the results name it, since packages and versions differ.
Many are coarser than their instructions, or wrong: `DOUBTFUL` says how, each confirmed on a small text. All prompts
count in the published metrics; those with the suffix `sound` leave the prompts with a doubtful instruction out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from spar import ifbench_verifiers
from spar.eval.datasets.local import open_data
from spar.eval.instructions import (
    AVERAGE,
    FOUR,
    LOOSE,
    PROMPT_LOOSE,
    PROMPT_STRICT,
    SOUND,
    STRICT,
    InstructionBenchmark,
    InstructionVerifiers,
    named_doubts,
)
from spar.ifbench_verifiers import UPSTREAM, WORDS_FOLDER
from spar.nltk_folders import named_folders
from spar.types import Prompt

DOUBTFUL: Mapping[str, str] = {
    "count:conjunctions": "'and', 'And' and 'and,' are three different ones",
    "count:numbers": "'10-20' and '1,2,3' are one number each",
    "custom:european_capitals_sort": "the list lacks Kyiv",
    "format:line_indent": "a text of one line passes, and blank lines in a row fail",
    "format:no_bullets_bullets": "a blank line between paragraphs or bullets fails",
    "format:quotes": "an apostrophe is a quotation mark, and curly quotation marks are none",
    "format:sub-bullets": "a text without bullets passes, and a bold bullet fails",
    "format:thesis": "one thesis in italics is enough for all sections",
    "format:title_case": "'The Lord of the Rings' and every contraction fail",
    "ratio:overlap": "compares three characters at a time, not three words",
    "ratio:sentence_balance": "a text without an end of a sentence passes",
    "ratio:sentence_type": "a text without full stops and question marks passes",
    "ratio:sentence_words": "never checks that the words differ",
    "repeat:repeat_span": "leaves the last word out, and draws the first where its index is 0",
    "words:start_verb": "NLTK's tagger takes many imperatives for nouns",
    "86": "two hyphens anywhere are a list",
    "87": "two hyphens anywhere are a list",
    "89": "two hyphens anywhere are a list",
}
"""Type, or key of an item, whose verdict does not say whether the instruction is followed, and why."""
DOUBTFUL_IN_IF_VERIFIABLE: Mapping[str, str] = {
    "count:person_names": "'Miami' contains Mia",
    "count:pronouns": "only personal pronouns count",
    "words:keywords_specific_position": "punctuation marks count as words",
    "words:words_position": "the last full stop counts as a word",
    "72": "'eat' is found in 'great'",
}
"""The same, for if-verifiable 0.1.2 alone: the current upstream corrects these."""
DOUBTFUL_IN_UPSTREAM: Mapping[str, str] = {
    "repeat:repeat_span": "counts characters where the prompts say words",
}
"""The same, for the current upstream alone."""


def load_verifiers(data: str = "") -> Mapping[str, Any]:
    """Instruction type to the package's verifier, for those that can be checked on this machine.

    Raises
    ------
    MissingExtra
        There is no package with the verifiers.
    UsageError
        NLTK's tokenizer is not on this machine.
    """
    if not ifbench_verifiers.is_loaded() and not named_folders():
        open_data("nltk_data", data)  # says how to get it
    return ifbench_verifiers.checkers(data)


class IFBench(InstructionBenchmark):
    """The benchmark; see the module's docstring."""

    data = ("ifbench", "nltk_data")
    optional_data = (WORDS_FOLDER,)
    packages = ifbench_verifiers.packages()
    file = "IFBench_test.jsonl"
    verifiers = InstructionVerifiers(
        load_verifiers,
        ifbench_verifiers.check,
        ifbench_verifiers.used_package,
        ifbench_verifiers.unverifiable_types,
        ifbench_verifiers.require_packages,
    )
    order = (PROMPT_LOOSE, PROMPT_STRICT, LOOSE, STRICT)
    sound: ClassVar[Mapping[str, tuple[str, ...]]] = {PROMPT_LOOSE: (PROMPT_LOOSE,), AVERAGE: FOUR}
    headline = PROMPT_LOOSE

    def doubtful(self) -> Mapping[str, str]:
        """The doubtful types and items of the package that is used."""
        if ifbench_verifiers.used_package().startswith(f"{UPSTREAM} "):
            return {**DOUBTFUL, **DOUBTFUL_IN_UPSTREAM}
        return {**DOUBTFUL, **DOUBTFUL_IN_IF_VERIFIABLE}

    def notes(self, examples: Sequence[Prompt]) -> Iterator[str]:
        """Which types and items are doubtful."""
        if doubts := named_doubts(examples, self.doubtful()):
            names = {*doubts}
            count = sum(
                not names.isdisjoint({prompt.id, *prompt.meta["instruction_id_list"]})
                for prompt in examples
            )
            yield (
                f"types and items whose verdict is doubtful, {count} of {len(examples)} prompts, left out of "
                f"{PROMPT_LOOSE}_{SOUND} and {AVERAGE}_{SOUND} (docs/evaluate.md says why): {', '.join(doubts)}"
            )
