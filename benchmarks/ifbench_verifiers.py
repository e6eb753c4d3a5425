"""The verdicts of two packages of IFBench's verifiers on the same texts: where they differ, type by type.

    git clone https://github.com/allenai/IFBench /tmp/IFBench
    python benchmarks/ifbench_verifiers.py --upstream /tmp/IFBench --report reports/ifbench_verifiers.md

Both are called through `spar.instruction_checks`, with the same arguments and seeds: the installed if-verifiable,
and the package `ifbench` of a checkout of upstream. The texts of an instruction of the data are

- stored:  the response to its own prompt in the checkout's `data/sample_output.jsonl`,
- swapped: `--swapped` responses to other prompts, whole, their first sentence and their first paragraph,
- made:    a text of `tests/eval/ifbench_texts.py` that follows a type, as it is and changed in nine ways near the border.

Texts of the last two kinds are no sample of any model's replies: they say where verdicts can differ, not how often.
NLTK's stop words and tagger come from `NLTK_DATA` or the data folder (`spar data fetch nltk_words`).
"""

from __future__ import annotations

import argparse
import random
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reporting import facts, run_benchmark, table, write_page

from spar import ifbench_verifiers
from spar.eval.datasets.local import open_data
from spar.eval.datasets.readers import read_jsonl
from spar.eval.ifbench import IFBench, load_verifiers
from spar.instruction_checks import VerifierSet, check_instructions
from spar.nltk_folders import without_downloads
from tests.eval.ifbench_texts import made

KINDS = ("stored", "swapped", "made")
SEED = 0
SHOWN = 70
"""Characters of a text that the page shows."""
CHANGES: Mapping[str, Callable[[str], str]] = {
    "as it is": lambda text: text,
    "closed by a full stop": lambda text: f"{text}.",
    "closed by a line break": lambda text: f"{text}\n",
    "lower case": str.lower,
    "upper case": str.upper,
    "first word twice": lambda text: f"{text.split(' ')[0]} {text}",
    "last word gone": lambda text: text.rsplit(" ", 1)[0],
    "spaced twice": lambda text: text.replace(" ", "  "),
    "in bold": lambda text: f"**{text}**",
    "lines apart": lambda text: text.replace("\n", "\n\n"),
}


@dataclass(frozen=True, slots=True)
class Outcome:
    """The two strict verdicts on one text."""

    name: str
    kind: str
    text: str
    ours: bool
    theirs: bool
    errors: tuple[str, str]

    @property
    def differs(self) -> bool:
        """Whether the verdicts do."""
        return self.ours != self.theirs


def main() -> None:
    """Compare the verdicts and write the page."""
    args = _arguments()
    load_verifiers(args.data)
    if lacking := ifbench_verifiers.unverifiable_types():
        print("not compared:", *(f"{name}: {why}" for name, why in lacking.items()), sep="\n  ")
    rows = open_data("ifbench", args.data).jsonl(IFBench.file)
    sample = args.upstream / "data" / "sample_output.jsonl"
    stored = read_jsonl(sample.name, sample.read_bytes(), {"prompt": "str", "response": "str"})
    responses = {row["prompt"].strip(): row["response"] for row in stored}
    theirs = VerifierSet(_upstream(args.upstream))
    outcomes = [
        outcome
        for row in rows
        for outcome in _outcomes(row, responses, theirs, args.swapped)
        if outcome.name not in lacking
    ]
    measured = facts(args)
    write_page(
        args.report,
        "IFBench's verifiers: if-verifiable against upstream",
        measured,
        _parts(args, outcomes),
    )


def _arguments() -> argparse.Namespace:
    made = argparse.ArgumentParser(description=(__doc__ or "").split("\n", 1)[0])
    made.add_argument("--upstream", type=Path, required=True, help="a checkout of allenai/IFBench")
    made.add_argument("--revision", default="", help="its commit, where it is no git repository")
    made.add_argument("--data", default="", help="the data folder")
    made.add_argument("--swapped", type=int, default=8, help="responses to other prompts")
    made.add_argument("--report", type=Path, default=Path("reports/ifbench_verifiers.md"))
    made.add_argument("--device", default="cpu", help=argparse.SUPPRESS)
    made.add_argument("--commit", default="", help="the commit, where there is no git")
    return made.parse_args()


def _upstream(checkout: Path) -> Mapping[str, Any]:
    sys.path.insert(0, str(checkout))
    with without_downloads():
        from ifbench.instructions_registry import INSTRUCTION_DICT
    return dict(INSTRUCTION_DICT)


def _outcomes(
    row: Mapping[str, Any], responses: Mapping[str, str], theirs: VerifierSet, swapped: int
) -> Iterator[Outcome]:
    classes = ifbench_verifiers.checkers()
    own = responses.get(row["prompt"].strip())
    others = [text for prompt, text in responses.items() if prompt != row["prompt"].strip()]
    chosen = random.Random(f"{SEED} {row['key']}").sample(others, swapped)
    for name, arguments in zip(row["instruction_id_list"], row["kwargs"], strict=True):
        if name not in classes:
            continue
        parts = [
            part for text in chosen for part in (text, text.split(". ")[0], text.split("\n\n")[0])
        ]
        changed = [change(text) for text in made(name, arguments) for change in CHANGES.values()]
        texts = {"stored": [own] if own else [], "swapped": parts, "made": changed}
        for kind, several in texts.items():
            for text in dict.fromkeys(several):
                checked = [
                    check_instructions(
                        verifiers, text, [(name, arguments)], seed=row["key"], loosely=False
                    )[0]
                    for verifiers in (VerifierSet(classes), theirs)
                ]
                first, second = checked
                errors = (first.error, second.error)
                yield Outcome(name, kind, text, first.strict, second.strict, errors)


def _parts(args: argparse.Namespace, outcomes: Sequence[Outcome]) -> Iterator[str]:
    installed = ifbench_verifiers.used_package()
    yield (
        f"First: {installed}. Second: the package `ifbench` of allenai/IFBench{f' at {args.revision}' if args.revision else ''}. "
        "Strict verdicts, the same arguments and seeds. *stored* are the responses that upstream keeps to its own prompts; "
        "*swapped* (responses to other prompts and their beginnings) and *made* (texts near the border) show where "
        "verdicts can differ, not how often they do."
    )
    totals = []
    for kind in KINDS:
        of_kind = [outcome for outcome in outcomes if outcome.kind == kind]
        differing = sum(outcome.differs for outcome in of_kind)
        both = sum(outcome.ours and outcome.theirs for outcome in of_kind)
        failed = [sum(bool(o.errors[side]) for o in of_kind) for side in (0, 1)]
        share = f"{100 * differing / max(1, len(of_kind)):.1f} %"
        totals.append(
            (kind, *(f"{n:,}" for n in (len(of_kind), both, differing)), share, *map(str, failed))
        )
    heads = (
        "texts",
        "n",
        "both pass",
        "verdicts that differ",
        "share",
        "first fails with an error",
        "second does",
    )
    yield table(heads, totals)
    yield "## By type"
    equal = []
    lines = []
    for name in sorted({outcome.name for outcome in outcomes}):
        of_type = [outcome for outcome in outcomes if outcome.name == name]
        if not any(outcome.differs for outcome in of_type):
            passing = sum(outcome.ours for outcome in of_type)
            equal.append(f"`{name}` ({passing} of {len(of_type)} pass)")
            continue
        counts = Counter((o.kind, o.ours) for o in of_type if o.differs)
        sizes = Counter(o.kind for o in of_type)
        cells = [f"{counts[kind, True]} + {counts[kind, False]} of {sizes[kind]}" for kind in KINDS]
        shortest = min((o for o in of_type if o.differs), key=lambda o: len(o.text))
        text = " ".join(shortest.text.split())
        shown = text if len(text) <= SHOWN else f"{text[:SHOWN]}..."
        side = "first" if shortest.ours else "second"
        lines.append((f"`{name}`", *cells, f"{side}: {shown!a}".replace("|", "\\|")))
    yield (
        "The first alone passes a text + the second alone does, of all texts; then the shortest text on which they "
        "differ, with the one that passes it:"
    )
    yield table(("type", *KINDS, "passed by the"), lines)
    yield f"No verdict differs for {len(equal)} types: {', '.join(equal)}."


if __name__ == "__main__":
    run_benchmark(main)
