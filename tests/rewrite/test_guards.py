"""Addresses and markup are left whole by edits of the case and by placeholders."""

from __future__ import annotations

import pytest

from spar.rewrite.guards import addresses, path_of, unclosed
from spar.rewrite.search import rewrite
from tests.rewrite.constraints import LEAST, prompt_with
from tests.rewrite.test_fixes import edited

CASES = "change_case:english_capital", "change_case:english_lowercase"


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
def test_an_address_keeps_its_case() -> None:
    """Where that has no meaning, in a host, a text that must have one case has it."""
    arguments = {"capital_relation": LEAST, "capital_frequency": 3}
    text = "See https://youtu.be/abc_De for it and go."
    for seed in range(6):
        changed = edited("change_case:capital_word_frequency", arguments, text, seed)
        assert "https://youtu.be/abc_De" in changed
    for name in CASES:
        result = rewrite(prompt_with((name, {})), text, seed=0)
        assert result.unfixed == (f"{name} (that would change an address)",)
    mail = "Mail ann@site.org for it now please."
    assert edited(CASES[0], {}, mail) == mail.upper()


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize(
    "text",
    [
        "<strong>Hello</strong> to you all.",
        "<name>Ann</name> is here.",
        "<<My story>>\n\nIt was fine.",
        "Write to mailto:ann@site.org soon.",
        "See https://site.org/{name} now.",
        "Tea.\n\n_____\n\nMilk.",
        r"We get \frac{distance}{time} now.",
    ],
)
def test_markup_is_no_blank(text: str) -> None:
    """A placeholder is added where nothing can be one."""
    changed = edited("detectable_content:number_placeholders", {"num_placeholders": 1}, text)
    assert changed.startswith(text)


@pytest.mark.evalharness
@pytest.mark.data
@pytest.mark.usefixtures("verifiers")
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello <your name>, hi.", "Hello [your name], hi."),
        ("Dear {name}, hi.", "Dear [name], hi."),
        ("Name: _____", "Name: [text]"),
        ("Mail ann@site.org soon.", "Mail [email address] soon."),
    ],
)
def test_a_blank_becomes_a_placeholder(text: str, expected: str) -> None:
    """In its place."""
    arguments = {"num_placeholders": 1}
    assert edited("detectable_content:number_placeholders", arguments, text) == expected


def test_what_an_address_and_a_path_are() -> None:
    """A URL with its path, a link's target, an e-mail address, a host; not a file or an abbreviation."""
    text = "At https://a.b/C?d, [x](y/z.md), a@b.de or example.com, e.g. in a.b or main.py."
    found = [text[start:end] for start, end in addresses(text)]
    assert found == ["https://a.b/C?d", "y/z.md", "a@b.de", "example.com"]
    assert [path_of(address) for address in found] == ["/C?d", "/z.md", "", ""]


@pytest.mark.parametrize(
    ("text", "number"), [("", 0), ("(a [b", 2), ("a) b", 0), ('**a "b', 2), ("“a” (b)", 0)]
)
def test_what_is_open_at_the_end(text: str, number: int) -> None:
    """Brackets, quotation marks and marks of emphasis; what only closes does not count."""
    assert unclosed(text) == number
