"""Measured numbers on pages of the documentation: each stands in a report that its section names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.docs.pages import ROOT

PAGES = (
    *("README.md", "docs/gains.md", "docs/costs.md", "docs/first-run.md", "docs/rewrite.md"),
    *(
        "docs/evolve.md",
        "docs/lm-eval.md",
        "docs/own-strategy.md",
        "docs/servers.md",
        "docs/tui.md",
    ),
)
NOT_MEASURED = {
    "README.md": {
        "2.5": "parameters of the embedded model, in millions",
        "3.11": "a version of Python",
        "2412.11605": "the paper's number at arXiv",
        "20.4": "80.6 less 60.2, of the row above it",
    },
    "docs/first-run.md": {
        "2.5": "parameters of the embedded model, in millions",
        "3.11": "a version of Python",
    },
    "docs/evolve.md": {"0.7": "a temperature"},
    "docs/tui.md": {"4.5": "the least contrast of a theme"},
}
"""Page to numbers that no report has, with what they are."""
_DECIMAL = re.compile(r"(?<![\w.-])\d[\d,]*\.\d+(?![\w.])")


@cache
def numbers_of(report: Path) -> frozenset[str]:
    """The numbers of a report: of its page as they stand, of its tables rounded, also as percentages."""
    found = {
        _plain(match) for match in re.findall(r"\d[\d,]*(?:\.\d+)?", report.read_text("utf-8"))
    }
    for table in report.parent.glob(f"{report.stem}*.csv"):
        for match in re.findall(r"\d+\.\d+(?:e-\d+)?", table.read_text("utf-8")):
            for value in (float(match), 100 * float(match)):
                found |= {_plain(f"{value:.{digits}f}") for digits in (1, 2)}
    return frozenset(found)


def _plain(number: str) -> str:
    """Without commas and zeros at the end."""
    number = number.replace(",", "")
    return number.rstrip("0").rstrip(".") if "." in number else number


def sections(page: str) -> Iterator[tuple[str, str]]:
    """Heading and text of each section, without blocks of code."""
    text = (ROOT / page).read_text("utf-8")
    for section in re.split(r"(?m)^(?=#+ )", text):
        lines = [line for line in section.split("\n") if not line.startswith("    ")]
        yield lines[0], "\n".join(lines)


def cited(page: str, section: str) -> set[Path]:
    """The reports that a section names; of README also those that the pages about gains and costs name, where it links them."""
    found: set[Path] = set()
    for link in re.findall(r"\]\(([^)#]+\.md)", section):
        path = ((ROOT / page).parent / link).resolve()
        name = path.relative_to(ROOT).as_posix()
        if name.startswith("reports/"):
            found.add(path)
        elif page == "README.md" and name in PAGES:
            found |= cited(name, path.read_text("utf-8"))
    return found


@pytest.mark.parametrize("page", PAGES)
def test_every_number_is_in_a_report_that_its_section_names(page: str) -> None:
    """A number that a report no longer has is out of date, and one that no report has cannot be checked."""
    assert [
        f"{page}, {heading}: {number}"
        for heading, section in sections(page)
        for number in re.findall(_DECIMAL, section)
        if not any(_plain(number) in numbers_of(report) for report in cited(page, section))
        and number not in NOT_MEASURED.get(page, ())
    ] == []
