"""What goes with cut sentences: what introduced them, and the gaps in a row of numbers."""

from __future__ import annotations

import pytest

from spar.rewrite.cuts import cut_sentences
from spar.rewrite.layout import sentences
from tests.rewrite.test_fixes import LESS, edited


@pytest.mark.parametrize(
    ("text", "cut", "expected"),
    [
        ("Tea. Here are two tips:\n\n1. Boil.\n2. Drink.\n", ("Boil.", "Drink."), "Tea.\n"),
        ("Tea. Two tips:\n\n1. Boil.\n2. Drink.\n\nEnd.", ("Boil.", "Drink."), "Tea.\n\nEnd."),
        ("Tips:\n\n* Boil.\n* Drink.\n\nEnd.", ("Boil.", "Drink."), "End."),
        ("Tips:\n\n* Boil.\n* Drink.", ("Boil.",), "Tips:\n\n* Drink."),
        ("Dear Ann:\n\nTea is hot.\n\nBye.", ("Tea is hot.",), "Dear Ann:\n\nBye."),
        ("# A\n\n## B\n\nTea.\n\n## C\n\nMilk.", ("Tea.",), "# A\n\n## C\n\nMilk."),
        ("# A\n\nTea.\n\n## B\n\nMilk.", ("Tea.",), "# A\n\n## B\n\nMilk."),
        ("Ale.\n\n# A\n\n## B\n\nTea.\n\n# C\n\nMilk.", ("Tea.",), "Ale.\n\n# C\n\nMilk."),
        ("Ale.\n\n**B**\n\nTea.\n\n**C**\n\nMilk.\n", ("Tea.", "Milk."), "Ale.\n"),
        ("Tea.\n\n---\n\nMilk.\n\n---\n\nAle.", ("Milk.",), "Tea.\n\n---\n\nAle."),
        ("<<Tea>>\n\nMilk.\n\nAle.", ("Milk.", "Ale."), "<<Tea>>"),
        ("## A\n\n```\nx\n```\n\nTea. Ale.", ("Tea.", "Ale."), "## A\n\n```\nx\n```"),
        ("1. Tea.\n2. Milk.\n3. Ale.", ("Milk.",), "1. Tea.\n2. Ale."),
        ("1. Tea.\n2. Milk.\n\n1. Ale.\n2. Rum.", ("Tea.",), "1. Milk.\n\n1. Ale.\n2. Rum."),
        (
            "1. Heat:\n   1. Tea.\n   2. Milk.\n2. Ale.",
            ("Tea.",),
            "1. Heat:\n   1. Milk.\n2. Ale.",
        ),
        ("1. One of these two:\n   * Tea.\n   * Milk.\n2. Ale.", ("Tea.", "Milk."), "1. Ale."),
        (
            "**1. Tea**\n\nHot.\n\n**2. Milk**\n\nCold.\n\n**3. Ale**\n\nBrown.",
            ("Cold.",),
            "**1. Tea**\n\nHot.\n\n**2. Ale**\n\nBrown.",
        ),
        ("Step 1: Tea.\nStep 2: Ale.\nStep 3: Go.", ("Step 2: Ale.",), "Step 1: Tea.\nStep 2: Go."),
        ("1. Tea.\n1. Milk.\n1. Ale.", ("Tea.",), "1. Milk.\n1. Ale."),
        ("3. Tea.\n5. Milk.\n9. Ale.", ("Milk.",), "3. Tea.\n9. Ale."),
    ],
)
def test_nothing_is_left_that_introduces_nothing(
    text: str, cut: tuple[str, ...], expected: str
) -> None:
    """Headings, lead-ins and rules go with all that was below them, and a row of numbers has no gap."""
    spans = [(a, b) for a, b in sentences(text, (0, len(text))) if text[a:b] in cut]
    assert len(spans) == len(cut)
    assert cut_sentences(text, spans) == expected


def test_a_limit_leaves_no_bare_heading() -> None:
    """Wherever a seed cuts."""
    text = "# Tea\n\nTea is good for many of us.\n\n## Tips\n\nBoil the water well.\n\n## More\n\nWait for five minutes."
    arguments = {"relation": LESS, "num_words": 16}
    for seed in range(6):
        shorter = edited("length_constraints:number_words", arguments, text, seed)
        assert ("## Tips" in shorter) == ("Boil" in shorter)
        assert ("## More" in shorter) == ("Wait" in shorter)
