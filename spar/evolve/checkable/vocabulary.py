"""Words for constraints: an instruction's own topic words, and lists of everyday ones. Pure.

Everything is written here by hand; nothing is taken from IFEval's word list.
"""

from __future__ import annotations

import re

COMMON_NOUNS = tuple(
    """
    balance basket bridge bottle breakfast budget candle channel comfort corner courage customer detail distance
    effort evening example family feather festival finger forest freedom friend garden habit harvest holiday
    honesty journey kitchen ladder lantern lesson letter library market measure memory mirror moment morning
    mountain neighbour notebook pattern patience pencil picture pocket promise purpose question railway reason
    record result ribbon river season shadow shelter silence station summer supper teacher ticket timber tradition
    traffic travel umbrella valley village visitor weather weekend window winter wisdom wonder workshop yesterday
    """.split()
)
"""Nouns of at least five letters that fit most texts; none is a part of another."""
AVOIDABLE = tuple(
    """
    actually always amazing another basically because beautiful become certainly change clearly different easily
    enough everything exactly finally first generally great however important interesting large literally little
    many maybe never nice often only people perhaps possible probably quickly quite rather really several simple
    simply small something sometimes special strong thing usually very while wonderful
    """.split()
)
"""Words that come easily and can be left out of any text."""
OPENERS = tuple(
    """
    although another because before beyond certainly consider despite during every finally imagine instead later
    meanwhile nobody nothing often perhaps rarely remember sometimes somewhere soon still suddenly suppose though
    today tomorrow tonight unless usually whatever whenever without yesterday
    """.split()
)
"""Words that a paragraph may begin with."""
END_PHRASES = (
    "And that is the whole story.",
    "Feel free to ask me for more details.",
    "Good luck with it!",
    "I hope that clears things up.",
    "I wish you a pleasant day.",
    "Let me know how it goes.",
    "May this serve you well.",
    "Now it is your turn.",
    "Take your time and enjoy it.",
    "Tell me what you would change.",
    "Thank you for reading to the end.",
    "That is all there is to it.",
    "That sums it up.",
    "The rest is up to you.",
    "There is always more to learn.",
    "This is where I stop.",
    "What would you do?",
    "With kind regards from your assistant.",
    "You now know as much as I do.",
    "You will find your own way from here.",
)
"""Sentences to end with; none has a comma."""
SECTION_NAMES = ("Section", "Part", "Chapter", "Step", "Stage", "Topic", "Block", "Unit", "Day")
"""What precedes a section's number."""
LANGUAGES = {
    "de": "German",
    "es": "Spanish",
    "fr": "French",
    "it": "Italian",
    "pt": "Portuguese",
    "ru": "Russian",
}
"""Languages that langdetect tells apart on a few sentences, by its codes."""

_NO_TOPIC = frozenset(
    """
    broke came compose concept craft currently deserves elaborate enjoyed involve involves kinds lead leads manner needs option
    play plays popular process provides relevant required seems serve shared speak subject supposed sense thank thanks
    thoughts tomorrow tried whose wants wish world worth
    able about above according account action actual added adding advice after again against agree ahead allow
    almost along already also although always among amount analyze another answer answers anyone anything appropriate are
    around article asked asking away based basic because become been before begin behind being below best better between both
    brief briefly bring bullet came cannot case cases certain come comes compare compose consider contain contains
    content could create describe description design details develop different discuss does doing done down during each
    easily either else enough essay even ever every everything example examples explain explaining explains expert
    express few find first five follow following form format four from full gave generate gets getting give given gives
    going good great guide have having help here highlight how however idea ideas identify imagine important include including
    information input instructions into introduce just keep kind know large last least less like list little
    long look looking made main make makes making many mean means might more most much must name names need needs never
    next nice note number once only opinion other others output outline over own paragraph part people per
    person please point points possible prepare problem proper properly propose provide provided question questions
    quick quickly rather read reader reading really reason reasons recommend related reply request response result
    review rewrite right role said same says section seem sentence sentences several short should show similar simple simply
    since situation some someone something sometimes start step steps still story such suggest suggestion suggestions
    summarize summary sure take task tell text than that their them then there these they thing things think this those
    three through time times tips together told too topic toward true turn types under understand unless
    until upon use used user uses using various version very want wants ways well were what when where whether which while
    whole will with within without word words work would write writes writing written wrong year years you your yours yourself
    """.split()
)
"""Words of an instruction that say what to do, not what it is about."""
_WORD = re.compile(r"(?<![\w'’.@/-])[a-z]{5,12}(?![\w'’@/-])")


def topic_words(text: str) -> list[str]:
    """The words that an instruction is about, in order, each once; at most ten.

    Words with a capital letter may be names and are left out, and so are words that contain another.
    """
    topic: list[str] = []
    for word in _WORD.findall(text):
        if word in _NO_TOPIC or word.endswith(("ly", "ing", "ed")):
            continue
        if not any(word in other or other in word for other in topic):
            topic.append(word)
    return topic[:10]
