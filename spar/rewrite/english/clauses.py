"""What a part of an English sentence is: a clause, a phrase before the subject, an item of a series.

These are rules of thumb over word lists, not a parser: a verb that no list has is not seen. So each caller makes an edit
where a rule says yes, and the more careful edit where it says no.
"""

from __future__ import annotations

import re

_SURE = (
    r"am|is|are|was|were|has|have|had|do|does|did|can|could|would|shall|should|might|must|cannot|(?-i:may|will)"  # no month or name
    r"|(?:is|are|was|were|has|have|had|do|does|did|ca|could|wo|would|should|must)n['’]t"
    r"|became|began|came|chose|fell|gave|grew|knew|lay|ran|sat|saw|stood|took|went|woke|wrote"
    r"|says|makes|takes|needs|gets|goes|comes|gives|means|seems|looks|wants|helps|works|lives|keeps|brings|becomes|begins"
    r"|remains|contains|includes|requires|allows|provides|believes|thinks|knows|loves|likes|sings|stands|tells|feels|plays"
)
_FINITE = (
    rf"(?:{_SURE}|bought|brought|built|caught|felt|found|got|held|hung|kept|led|left|lost|made|meant|met|paid|said|sent|sold"
    r"|spent|told|thought|understood|won)"
)
"""With those that may be participles, and are verbs for sure only after a pronoun."""
_OBJECTS = r"(?:and|or|but|to|in|on|at|for|with|the|a|an|of|from|by|as|if|when|because|so|too|who|that|which)\b"
_SUBJECT = (
    rf"(?:(?:i|we|he|she|they|you)(?:['’](?:m|re|s|ve|d|ll))?[ ](?!{_OBJECTS})\w"
    r"|(?:it|that|there|he|she|who|what)['’](?:s|ll|d)\b"
    rf"|(?:it|this|that|there|these|those|everyone|everything|nobody|nothing|someone|something|one)[ ](?:\w+ly[ ])?{_FINITE}\b"
    r"|(?:it|everyone|everything|nobody|nothing|someone|something)[ ](?:\w+ly[ ])?\w+(?:[^s]s|ed)\b)"
)
_BEGINS_CLAUSE = re.compile(_SUBJECT, re.IGNORECASE)
_HAS_PRONOUN = re.compile(
    rf"(?:^|(?<=[ ]))(?:i|we|he|she|they)(?:['’](?:m|re|s|ve|d|ll))?[ ](?!{_OBJECTS})\w",
    re.IGNORECASE,
)
_HAS_VERB = re.compile(rf"(?<=\w)[ ](?<!\bto )(?<!n't )(?:{_SURE})\b", re.IGNORECASE)
_HAS_PAST = re.compile(
    r"^(?:the|a|an|my|our|your|his|her|their|its|this|that|these|those|[A-Z][\w'’-]*)(?:[ ][\w'’-]+){1,3}?[ ]"
    r"(?!(?:need|speed|seed|breed|hundred|indeed|red|bed)\b)\w{2,}ed\b"
)
_FIRST_VERB = re.compile(rf"{_FINITE}\b", re.IGNORECASE)
_MARKER = re.compile(r"\d{1,3}[-.)][ ]+")
_CONJUNCTION = re.compile(r"(?:and|but|or|nor|so|yet|plus)[ ]", re.IGNORECASE)
_SUBORDINATE = re.compile(
    r"(?:(?:even |just |only )?(?:if|when|whenever|while|as|because|although|though|unless|once|where|wherever|after|before"
    r"|since|until|till|whereas|like|whether)|every time|each time|in case|now that|so that|considering|assuming|provided|seeing|supposing)\b",
    re.IGNORECASE,
)
_SUBORDINATOR = re.compile(
    r"\b(?:if|when|whenever|while|because|although|though|unless|once|whether|until|since|whereas)\b",
    re.IGNORECASE,
)
_RELATIVE = re.compile(r"\b(?:that|which|who|whom|whose|where|what)\b", re.IGNORECASE)
_OPENING = re.compile(
    r"(?:(?:in|on|at|by|for|from|with|without|during|under|over|through|throughout|to|among|between|around|across|along"
    r"|above|below|behind|beyond|despite|given|unlike|within|towards?|upon|via|of|per"
    r"|first|second|third|next|then|now|today|tonight|yesterday|tomorrow|finally|also|however|moreover|furthermore|therefore"
    r"|thus|hence|instead|meanwhile|overall|still|sometimes|often|yes|no|nope|well|oh|ah|hey|hi|hello|dear|thanks|sorry|okay|ok"
    r"|sure|please|alas|so|here|there|afterwards|later|soon|indeed|otherwise|besides|nevertheless|nonetheless|perhaps|maybe"
    r"|except|plus|additionally|again|regardless|rather|always|never|and|but|or|yet|armed|based|compared|located|made|born)\b"
    r"|(?:last|this|that|these|next|each|every|one|some|most|two|three|a few|the (?:next|other|first|following))[ ](?:\w+[ ])?"
    r"(?:days?|weeks?|months?|years?|mornings?|evenings?|nights?|afternoons?|summer|winter|spring|autumn|time|times|minutes?|hours?)\b"
    r"|\w+ly\b|(?!(?:thing|king|ring|bring|sing|sling|cling|swing|fling|sting|spring|string|wing|morning|evening|building|something|nothing|everything|anything)\b)\w+ing\b)",
    re.IGNORECASE,
)
MOST_OPENING = 4
"""Words of a phrase that is one whatever verbs seem to be in it."""


def begins_clause(part: str) -> bool:
    """Whether a part begins with a pronoun as its subject, and a verb."""
    return _BEGINS_CLAUSE.match(part.strip()) is not None


def has_clause(part: str) -> bool:
    """Whether a part has a subject and a verb, and is not only a subordinate clause or a question."""
    stripped = part.strip(" \t\"'“‘(*_#>")
    without = _CONJUNCTION.sub("", stripped, count=1) if _CONJUNCTION.match(stripped) else stripped
    if _SUBORDINATE.match(without) or _FIRST_VERB.match(without):
        return False
    before = (
        _RELATIVE.split(without)[0] if without[:5].lower() not in ("that ", "what ") else without
    )
    return bool(
        begins_clause(without)
        or _HAS_PRONOUN.search(before)
        or _HAS_VERB.search(before)
        or _HAS_PAST.match(before)
    )


def is_subordinate(part: str) -> bool:
    """Whether a part begins as a subordinate clause does, which the main one follows."""
    return _SUBORDINATE.match(_without_conjunction(part)) is not None


def has_subordinator(part: str) -> bool:
    """Whether there is a subordinate clause somewhere in a part."""
    return _SUBORDINATOR.search(part) is not None


def is_opening(part: str) -> bool:
    """Whether a part is a phrase or a subordinate clause before a sentence's subject: "In summer", "If it rains"."""
    words = _without_conjunction(part)
    is_adverb = len(words.split()) <= MOST_OPENING and words.endswith("ly")
    if is_adverb or _SUBORDINATE.match(words):
        return True
    if not _OPENING.match(words):
        return False
    if len(words.split()) <= MOST_OPENING and not _HAS_PRONOUN.search(words):
        return True
    has_verb = _HAS_PRONOUN.search(words) or _HAS_VERB.search(words)
    return not has_verb or _RELATIVE.search(words[: has_verb.start()]) is not None


def _without_conjunction(part: str) -> str:
    words = _MARKER.sub("", part.strip(" \t\"'“‘(*_#>-•"), count=1)
    return _CONJUNCTION.sub("", words, count=1) if _CONJUNCTION.match(words) else words
