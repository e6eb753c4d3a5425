"""English texts for the rewriter's tests: paragraphs, lists, headings, code, and the line ends of other systems."""

from __future__ import annotations

from hypothesis import strategies as st

SENTENCES = tuple(
    """
    Solar panels turn light into power, and they last for many years.
    First, you should check your roof with a friend.
    It must be strong enough to hold the panels.
    A good installer will visit your home, measure the roof and explain the plan.
    The price has fallen to $1,200 for a small set.
    Everyone can enjoy clean energy!
    Have you ever asked what your neighbours pay?
    Dr. Weber says that most people save money after five years.
    In the city, however, the yield is lower because of the shade.
    My sister really likes her new kitchen, which she painted green.
    We walked along the river; the water was cold and very clear.
    Bread needs flour, water, salt, and time.
    Leave the dough in a warm place for 2.5 hours.
    Perhaps the weather will change tomorrow.
    I think it depends on the size of the garden.
    The naïve café owner paid 3 € for the “special” tea – twice.
    They met in São Paulo, e.g. at the station, in June.
    Nobody knows why the library closed so early.
    """.strip().splitlines()
)
SENTENCES = tuple(sentence.strip() for sentence in SENTENCES)
HEADINGS = ("# A plan for the year", "**What to do**", "Dear Anna,", "---", "***")
CODE = '```python\nprint("a, b")\n```'

_paragraph = st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=5).map(" ".join)
_bullets = st.lists(st.sampled_from(SENTENCES), min_size=2, max_size=5).map(
    lambda items: "\n".join(f"* {item}" for item in items)
)
_numbered = st.lists(st.sampled_from(SENTENCES), min_size=2, max_size=4).map(
    lambda items: "\n".join(f"{number}. {item}" for number, item in enumerate(items, 1))
)
_heading = st.sampled_from(HEADINGS)
_block = st.one_of(_paragraph, _paragraph, _paragraph, _bullets, _numbered, _heading, st.just(CODE))


def english() -> st.SearchStrategy[str]:
    """A text of one to six blocks, its line ends LF or CRLF, with or without a last one."""
    return st.builds(
        lambda blocks, eol, end: ("\n\n".join(blocks) + end).replace("\n", eol),
        st.lists(_block, min_size=1, max_size=6),
        st.sampled_from(("\n", "\n", "\r\n")),
        st.sampled_from(("", "\n", " \n\n")),
    )
