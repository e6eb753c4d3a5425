"""What stands in the place of a comma, by what it divides."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.rewrite.english.clauses import begins_clause, has_clause, is_opening
from spar.rewrite.search import rewrite
from tests.rewrite.constraints import LESS, prompt_with
from tests.rewrite.test_fixes import edited
from tests.rewrite.texts import english

SERIES = [
    ("Buy tea, milk, and sugar.", {"Buy tea and milk and sugar."}),
    ("Buy tea, milk or jam.", {"Buy tea or milk or jam."}),
    (
        "I see tea, milk, jam, and ale.",
        {"I see tea and milk as well as jam and ale.", "I see tea; milk; jam; and ale."},
    ),
    (
        "I see tea, milk, jam, ale and ham.",
        {
            "I see tea plus milk and jam as well as ale and ham.",
            "I see tea; milk; jam; ale and ham.",
        },
    ),
    ("We eat a, b, c, d, e, f, g, and h.", {"We eat a; b; c; d; e; f; g; and h."}),
    ("Needed: tea, milk, salt", {"Needed: tea; milk; salt"}),
    ("Rice, tea and milk, jam", {"Rice; tea and milk; jam"}),
    ("It is a big, red, round ball.", {"It is a big red round ball."}),
    (
        "They are good at songs, including hers, his, and ours.",
        {"They are good at songs including hers and his and ours."},
    ),
    ("Use `a`, `b`, and `c`.", {"Use `a` and `b` and `c`."}),
    ('It has "a", "b", and "c".', {'It has "a" and "b" and "c".'}),
    ('We read "Dune," "Emma," and "It."', {'We read "Dune" and "Emma" and "It."'}),
    (
        "It has uses (cooking, cleaning, etc.) here.",
        {"It has uses (cooking; cleaning; etc.) here."},
    ),
    ("Bring a pen, ink, etc., to school.", {"Bring a pen and ink etc. to school."}),
    (
        "It is at the park, where we run, jump, and sing.",
        {"It is at the park where we run and jump and sing."},
    ),
    ("It is fast, neat, and, of course, cheap.", {"It is fast and neat and of course cheap."}),
    ("Speed Mode, Level Mode and Dark Mode", {"Speed Mode and Level Mode and Dark Mode"}),
    ("TEA, MILK, AND JAM ARE HERE.", {"TEA AND MILK AND JAM ARE HERE."}),
    ("Dish: rice, Drink: tea", {"Dish: rice; Drink: tea"}),
]


@pytest.mark.parametrize(("text", "expected"), SERIES)
def test_the_items_of_a_series_stay_apart(text: str, expected: set[str]) -> None:
    """ "and" between three; pairs or semicolons between more, by seed; adjectives of one noun need nothing."""
    assert {edited("punctuation:no_comma", {}, text, seed) for seed in range(9)} == expected


OTHERS = [
    ("On Monday, May 5, 2024, we met.", "On Monday May 5 2024 we met."),
    ("He left Paris, France, for Rome, Italy.", "He left Paris (France) for Rome (Italy)."),
    ("We saw France, Italy, and Spain.", "We saw France and Italy and Spain."),
    ("In June, England won.", "In June England won."),
    ("I know Gary, IN 46402, and Ann Lee, PhD.", "I know Gary IN 46402 and Ann Lee PhD."),
    ("Ann, come here.", "Ann – come here."),
    ("Tea, please.", "Tea please."),
    ("Thank you, Ann.", "Thank you Ann."),
    ('She said, "Come in."', 'She said: "Come in."'),
    ('"Come," she said, "and eat."', '"Come" she said "and eat."'),
    ('"I am late," said Tom. "Me, too."', '"I am late" said Tom. "Me too."'),
    (
        "The firm, founded in 1990, is in Rome, Oslo, and Bern.",
        "The firm founded in 1990 is in Rome and Oslo and Bern.",
    ),
    ("The flag, torn and old, came down.", "The flag torn and old came down."),
    ("Oh, my dear, what a lovely, sunny day!", "Oh my dear what a lovely sunny day!"),
    ("Lee, K., & Ott, J. wrote it.", "Lee K. & Ott J. wrote it."),
    ("John, my brother, is here.", "John – my brother – is here."),
    ("I love my dog, Max, and my cat.", "I love my dog Max and my cat."),
    ("I like tea, it is hot.", "I like tea; it is hot."),
    ("I came, I saw, I won.", "I came; I saw; I won."),
    ("If it rains, the cat sleeps.", "If it rains the cat sleeps."),
    ("If you go, bring tea, milk, and jam.", "If you go bring tea and milk and jam."),
    ("When we ate ham, rice, and jam, we slept.", "When we ate ham and rice and jam we slept."),
    ("Even more sadly, the cat left.", "Even more sadly the cat left."),
    ("Mix it, then add eggs.", "Mix it and then add eggs."),
    ("If it is hot, then we swim.", "If it is hot then we swim."),
    (
        "The more we eat, the more fit and able we are.",
        "The more we eat the more fit and able we are.",
    ),
    ("We ran so fast that in the end, she gave up.", "We ran so fast that in the end she gave up."),
    ("I need two plums, peeled and diced.", "I need two plums peeled and diced."),
    ("She is kind, always going above and beyond.", "She is kind always going above and beyond."),
    ("Dr. Lee, who sang, left.", "Dr. Lee who sang left."),
    ("Vamos, a la playa, y a la casa.", "Vamos a la playa y a la casa."),
    (
        "Wir sahen Hunde, die Katzen, Bären und eine Maus.",
        "Wir sahen Hunde; die Katzen; Bären und eine Maus.",
    ),
    ("Dear Ann,\n\nBest,\nBob", "Dear Ann\n\nBest\nBob"),
]


@pytest.mark.parametrize(("text", "expected"), OTHERS)
def test_another_comma_goes_or_becomes_a_mark(text: str, expected: str) -> None:
    """Dashes around what names a thing once more, a semicolon between clauses, a colon before speech, else nothing."""
    assert edited("punctuation:no_comma", {}, text) == expected


def test_no_word_is_added_where_another_constraint_forbids_it() -> None:
    """Semicolons then, between three items too."""
    text = "We have tea, milk, or jam."
    prompt = prompt_with(
        ("punctuation:no_comma", {}),
        ("keywords:frequency", {"relation": LESS, "keyword": "or", "frequency": 2}),
    )
    result = rewrite(prompt, text, seed=0)
    assert result.response == "We have tea; milk; or jam."


@given(text=english(), seed=st.integers(0, 9))
def test_only_commas_go(text: str, seed: int) -> None:
    """Every other character stays, in its order."""
    prompt = prompt_with(("punctuation:no_comma", {}))
    characters = iter(rewrite(prompt, text, seed=seed).response)
    assert all(character in characters for character in text.replace(",", ""))


@pytest.mark.parametrize(
    ("part", "is_clause"),
    [
        ("We ate", True),
        ("The old dog barked", True),
        ("tea is hot", True),
        ("went home", False),
        ("to have tea", False),
        ("if it rains", False),
        ("is it hot", False),
        ("all of the cups that we have", False),
    ],
)
def test_a_clause_has_a_subject_and_a_verb(part: str, is_clause: bool) -> None:
    """A question, an infinitive and a subordinate clause are none that can stand alone."""
    assert has_clause(part) is is_clause


def test_what_comes_before_the_subject() -> None:
    """A phrase, an adverb or a subordinate clause; not a clause that begins with a phrase."""
    assert all(
        map(is_opening, ("In summer", "Every time we eat", "At the end of the day", "But so far"))
    )
    assert not any(
        map(is_opening, ("On the big table stood tea", "In the end he left", "Bring tea"))
    )
    assert begins_clause("it's hot")
    assert not begins_clause("these things")
