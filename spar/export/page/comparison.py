"""A comparison of runs as a page of its own: how they stand, and a table of prompts and runs.

It has no script: which prompts are shown is chosen by radio buttons and the style sheet, so it works wherever HTML does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

from spar.errors import UsageError
from spar.export.page.document import digest, head, style
from spar.export.page.run_data import run_name
from spar.record.evaluation import no_trees_to_compare
from spar.record.grades import Grades
from spar.record.outcomes import outcome_of
from spar.record.run_names import path_labels
from spar.record.standing import Standing, Standings, agreed_passes
from spar.store import Progress, last_trees
from spar.view.node_detail import ConstraintCheck
from spar.view.text import one_line, run_letter

MOST = 26
"""Runs in one comparison."""
_TITLE = 200
_FILTERS = (
    ("all", "all", ""),
    ("flips", "flips", "flip"),
    ("every", "all pass", "every"),
    ("none", "none passes", "none"),
    ("one", "only one passes", "one"),
)
"""Name, title, and the class of the rows that are shown."""
_STYLE = """
body { display: block; height: auto; padding: 1.5rem; }
h1 { font-size: 1.3rem; margin-bottom: 1rem; }
table { border-collapse: collapse; margin: 1rem 0; background: var(--card); font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: 0.3rem 0.7rem; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { position: sticky; top: 0; background: var(--raised); }
td.number { text-align: right; }
.filters label { margin-left: 0.3rem; margin-right: 1rem; }
.wide { overflow-x: auto; }
p { max-width: 60rem; color: var(--soft); }
"""


@dataclass(frozen=True, slots=True)
class ComparedPrompt:
    """A prompt that all runs have."""

    title: str
    passes: tuple[bool, ...] | None
    """Whether each run passes it; None where that is not known of all."""
    scores: tuple[float | None, ...]
    by_truth: bool


@dataclass(frozen=True, slots=True)
class RunComparison:
    """Runs on the same prompts."""

    names: tuple[str, ...]
    prompts: tuple[ComparedPrompt, ...]
    """Those on which the runs differ first, else in the order of the first run."""
    standings: tuple[Standing, ...]
    left_out: int
    """Prompts of the first run that not all others have."""


def compare_runs(
    paths: Sequence[Path],
    check: ConstraintCheck | None,
    standings: Standings,
    progress: Progress | None = None,
) -> RunComparison:
    """Read runs and compare them on the prompts that all have.

    Raises
    ------
    UsageError
        A run cannot be read or has no trees, there are too many, or they have no prompt in common.
    """
    if len(paths) > MOST:
        raise UsageError(f"{len(paths)} runs are too many for one table; give at most {MOST}")
    runs = [_read(path, check, progress) for path in paths]
    for path, run in zip(paths, runs, strict=True):
        if not run:
            raise no_trees_to_compare(path)
    shared = [key for key in runs[0] if all(key in run for run in runs)]
    if not shared:
        raise UsageError("the runs have no prompt in common; give runs on the same prompts")
    prompts = []
    for key in shared:
        results = [run[key] for run in runs]
        passes, by_truth = agreed_passes([r.truth for r in results], [r.judge for r in results])
        scores = tuple(r.score for r in results)
        prompts.append(ComparedPrompt(results[0].title, passes, scores, by_truth))
    known = [prompt.passes for prompt in prompts if prompt.passes]
    run_standings = standings([[passes[at] for passes in known] for at in range(len(paths))])
    prompts.sort(key=lambda prompt: not _is_flip(prompt.passes))
    labels = path_labels(paths, least=2)
    names = tuple(labels.get(path) or run_name(path) for path in paths)
    return RunComparison(names, tuple(prompts), tuple(run_standings), len(runs[0]) - len(shared))


def comparison_page(compared: RunComparison) -> Iterator[str]:
    """The parts of the page."""
    rules = "".join(
        f"#{name}:checked ~ .wide tbody tr:not(.{kind}) {{ display: none; }}\n"
        for name, _, kind in _FILTERS
        if kind
    )
    css = f"{style()}{_STYLE}{rules}"
    policy = f"default-src 'none'; style-src '{digest(css)}'; base-uri 'none'; form-action 'none'"
    names = [one_line(name, _TITLE) for name in compared.names]
    yield head(" · ".join(names), policy, css)
    yield f"<h1>{len(names)} runs on the same prompts</h1>\n"
    yield _standings_table(names, compared)
    for name, label, kind in _FILTERS:
        number = sum(not kind or kind in _kinds(prompt.passes) for prompt in compared.prompts)
        checked = " checked" if name == "all" else ""
        yield (
            f'<input type="radio" name="show" id="{name}"{checked}>'
            f'<label for="{name}"> {label} {number:,} </label>\n'
        )
    heads = "".join(
        f'<th title="{escape(name)}">{run_letter(at)}</th>' for at, name in enumerate(names)
    )
    yield f'<div class="wide"><table class="prompts"><thead><tr><th>prompt</th>{heads}</tr></thead><tbody>\n'
    for prompt in compared.prompts:
        yield _row(prompt)
    yield "</tbody></table></div>\n</body>\n</html>\n"


def _standings_table(names: Sequence[str], compared: RunComparison) -> str:
    titles = ("", "run", "passes", "share", "95 % interval", "points against A", "95 % interval")
    several = len(names) > 2
    heads = (*titles, "flips", "p, adjusted" if several else "p")
    head = "".join(f"<th>{each}</th>" for each in heads)
    rows = "".join(
        _standing_row(run_letter(at), name, standing)
        for at, (name, standing) in enumerate(zip(names, compared.standings, strict=True))
    )
    known = sum(prompt.passes is not None for prompt in compared.prompts)
    by_truth = sum(prompt.by_truth for prompt in compared.prompts if prompt.passes is not None)
    holm = ", adjusted by Holm's method for the number of runs" if several else ""
    note = f"{len(compared.prompts):,} prompts are in all runs; "
    if known:
        note += (
            f"{known:,} are compared, {by_truth:,} of them by ground truth, the others by the judge. "
            f"p is that of McNemar's exact test{holm}."
        )
    else:
        note += "no prompt was judged in all runs, so they cannot be compared."
    if compared.left_out:
        note += f" {compared.left_out:,} prompts of A are not in all runs."
    return (
        f'<div class="wide"><table class="standings"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>\n<p>{note}</p>\n"
    )


def _standing_row(letter: str, name: str, standing: Standing) -> str:
    low, high = standing.interval
    cells = [letter, escape(name), f"{standing.passed:,} of {standing.n:,}"]
    if standing.n:
        cells += [f"{100 * standing.share:.1f} %", f"{100 * low:.1f} to {100 * high:.1f}"]
    else:
        cells += ["-"] * 2
    change = standing.change
    if change is None:
        cells += [""] * 4
    else:
        cells += [
            f"{100 * change.value:+.1f}",
            change.interval_text or "-",
            f"{change.gained:,} gained, {change.lost:,} lost",
            f"{change.reported_p:.2g}",
        ]
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>\n"


def _row(prompt: ComparedPrompt) -> str:
    cells = []
    for at, score in enumerate(prompt.scores):
        passed = None if prompt.passes is None else prompt.passes[at]
        glyph, kind = (
            ("?", "unjudged") if passed is None else ("✓", "pass") if passed else ("✗", "fail")
        )
        shown = "" if score is None else f" {score:.2f}"
        cells.append(f'<td class="{kind}">{glyph}{shown}</td>')
    kinds = " ".join(_kinds(prompt.passes))
    return f'<tr class="{kinds}"><td>{escape(prompt.title)}</td>{"".join(cells)}</tr>\n'


def _kinds(passes: tuple[bool, ...] | None) -> list[str]:
    """The classes of a prompt, by which filters show it."""
    if passes is None:
        return []
    number = sum(passes)
    kinds = {
        "flip": _is_flip(passes),
        "every": number == len(passes),
        "none": number == 0,
        "one": number == 1,
    }
    return [kind for kind, holds in kinds.items() if holds]


def _is_flip(passes: tuple[bool, ...] | None) -> bool:
    return passes is not None and 0 < sum(passes) < len(passes)


@dataclass(frozen=True, slots=True)
class _RunResult:
    title: str
    truth: bool | None
    judge: bool | None
    score: float | None


def _read(
    path: Path, check: ConstraintCheck | None, progress: Progress | None
) -> dict[tuple[str, str], _RunResult]:
    """Prompt, by id and content, to what the run has of it."""
    grades = Grades.of(path)
    checked = grades.check(check)
    results = {}
    for tree in last_trees(path, progress):
        outcome = outcome_of(tree, checked, graded=grades.passed.get(tree.prompt.id))
        judge = outcome.solved if outcome.is_judged else None
        title = one_line(tree.prompt.messages[-1].content, _TITLE)
        key = tree.prompt.id, tree.prompt.digest
        results[key] = _RunResult(title, outcome.after.truth, judge, outcome.after.score)
    return results
