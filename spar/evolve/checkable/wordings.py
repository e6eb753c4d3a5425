"""Our own wordings of IFEval's constraint types: full sentences that stand alone, in a paragraph or in a list. Pure.

    "Stay under {n} words."      with {"n": "80"}

A wording shares no eight consecutive words with IFEval's descriptions or prompts; a test holds that. A key is a
type, or a type and a relation where both directions exist. `{n}` is the bound, `{most}` the largest number that is
allowed by "less than".
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

LESS, LEAST = "less than", "at least"
"""IFEval's two relations."""


class Placed(str):
    """A wording that claims a place of the answer for what it asks for: two claims on one place contradict each other."""

    places: frozenset[str]
    """Of `start` and `end`."""


def places_of(wording: str) -> frozenset[str]:
    """The places that a wording claims."""
    return wording.places if isinstance(wording, Placed) else frozenset()


def places_of_all(wordings: Iterable[str]) -> frozenset[str]:
    """The places that each of these wordings claims."""
    return frozenset.intersection(*map(places_of, wordings))


def _at(places: str, *wordings: str) -> tuple[str, ...]:
    placed = tuple(Placed(wording) for wording in wordings)
    for each in placed:
        each.places = frozenset(places.split())
    return placed


WORDINGS: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("keywords:existence", ""): (
        "Work the following into your text: {words}.",
        "Mention {words} somewhere.",
        "Your text needs to contain {words}.",
        "Make sure that {words} can be found in what you write.",
        "Use {words} at some point.",
        "Bring in {words} where it fits.",
    ),
    ("keywords:frequency", LEAST): (
        "Use {word} at least {n} times.",
        "Let {word} come up {n} times or more.",
        "The word {word} has to occur {n} or more times.",
        "Write {word} no fewer than {n} times overall.",
        "Repeat {word} so that a reader counts {n} or more of it.",
    ),
    ("keywords:frequency", LESS): (
        "Use {word} no more than {most} times.",
        "Let {word} come up fewer than {n} times.",
        "At most {most} mentions of {word} are allowed.",
        "Keep the uses of {word} below {n}.",
        "The word {word} may occur {most} times at most.",
    ),
    ("keywords:forbidden_words", ""): (
        "Do without {any_words}.",
        "Never use {any_words}.",
        "Avoid {words} entirely.",
        "Find a way to write this that leaves out {words}.",
        "Steer clear of {words}.",
        "What you write must be free of {words}.",
    ),
    ("keywords:letter_frequency", LEAST): (
        "The letter {letter} has to occur {n} times or more.",
        "Use the letter {letter} no fewer than {n} times.",
        "Choose your words so that they hold at least {n} copies of the letter {letter}.",
        "Include {n} or more instances of the letter {letter}.",
    ),
    ("keywords:letter_frequency", LESS): (
        "The letter {letter} may occur at most {most} times.",
        "Use the letter {letter} fewer than {n} times overall.",
        "Choose words that keep the letter {letter} to {most} occurrences or fewer.",
        "Write the letter {letter} no more than {most} times.",
    ),
    ("language:response_language", ""): (
        "Answer in {language} only.",
        "Reply in {language}, without a sentence in any other language.",
        "Everything you write should be in {language}.",
        "Please write the whole answer in {language}.",
        "The reader speaks nothing but {language}, so use that language throughout.",
    ),
    ("length_constraints:number_sentences", LEAST): (
        "Write at least {n} sentences.",
        "Give me {n} sentences or more.",
        "Anything shorter than {n} sentences is too short.",
        "Use no fewer than {n} sentences.",
        "Make it {n} or more sentences long.",
    ),
    ("length_constraints:number_sentences", LESS): (
        "Write at most {most} sentences.",
        "Keep it to fewer than {n} sentences.",
        "Use no more than {most} sentences.",
        "Say it in {most} sentences or fewer.",
        "Stop before you reach {n} sentences.",
    ),
    ("length_constraints:number_words", LEAST): (
        "Write at least {n} words.",
        "Make it {n} words or longer.",
        "The text has to run to {n} words or more.",
        "Use no fewer than {n} words.",
        "Aim high on length: {n} words is the minimum.",
        "I expect a minimum of {n} words.",
    ),
    ("length_constraints:number_words", LESS): (
        "Stay under {n} words.",
        "Use fewer than {n} words.",
        "Keep the whole text below {n} words.",
        "Write no more than {most} words.",
        "Be brief enough to need at most {most} words.",
        "Limit yourself to {most} words.",
    ),
    ("length_constraints:number_paragraphs", ""): (
        "Split the text into exactly {n} paragraphs and put a line with *** between one and the next.",
        "Write {n} paragraphs, no more and no fewer, with the divider *** standing between them.",
        "Arrange everything in {n} paragraphs that are set apart by ***.",
        "Give it {n} paragraphs, each divided from the next by a line of three asterisks (***).",
        "Use *** as the divider between paragraphs, of which I want {n}.",
    ),
    ("length_constraints:nth_paragraph_first_word", ""): _at(
        "start",
        "Write exactly {n} paragraphs with a blank line between them, and open the {nth} one with the word {word}.",
        "Divide the text by blank lines into {n} paragraphs; {word} is to be the first word of the {nth}.",
        "I want {n} paragraphs, separated by empty lines, of which the {nth} begins with {word}.",
        "Use blank lines to form {n} paragraphs, and let {word} be the word that the {nth} paragraph opens with.",
    ),
    ("detectable_content:number_placeholders", ""): (
        "Leave at least {n} blanks for me to fill in, each a name in square brackets like [date].",
        "Put {n} or more placeholders into the text, written in square brackets, for instance [city].",
        "Wherever I could add my own details, use a bracketed placeholder such as [name]; have no fewer than {n} "
        "of them.",
        "Work with placeholders in square brackets, for example [time], and use {n} or more.",
    ),
    ("detectable_content:postscript", ""): _at(
        "end",
        "Close with a postscript that is marked {marker}",
        "After the main text, add a postscript that opens with {marker}",
        "Finish by adding one more thought after {marker}",
        "Add a short afterthought below your text and introduce it with {marker}",
    ),
    ("detectable_format:number_bullet_lists", ""): (
        "Include exactly {n} bullet points, each on a line of its own that starts with an asterisk (*).",
        "Have {n} bullet points in it, no more and no fewer, written as lines that begin with *.",
        "Put the key points into a Markdown list of exactly {n} items that start with *.",
        "Use precisely {n} Markdown bullets (lines starting with *).",
        "Among other things, give me {n} bullet points, every one beginning with an asterisk, and not one more.",
    ),
    ("detectable_format:constrained_response", ""): (
        'Reply with "My answer is yes." if it is so, with "My answer is no." if it is not, and with "My answer is '
        'maybe." if that depends.',
        'Say nothing but one of these: (a) "My answer is no." (b) "My answer is maybe." (c) "My answer is yes."',
        'Three replies are allowed: first, "My answer is maybe."; second, "My answer is yes."; third, "My answer is '
        'no."',
    ),
    ("detectable_format:number_highlighted_sections", ""): (
        "Set at least {n} passages in italics with asterisks, *like this*.",
        "Emphasise {n} or more phrases with Markdown asterisks, for example *a phrase*.",
        "Mark no fewer than {n} important parts by putting an asterisk on either side, *as shown here*.",
        "Make {n} or more key phrases stand out in Markdown, *in this way*.",
    ),
    ("detectable_format:multiple_sections", ""): (
        "Organise the text in {n} sections and head them {heads}.",
        "Divide what you write into {n} sections that are labelled {heads}.",
        "Use {n} sections with the headings {heads}.",
        "Give the text {n} parts, each introduced by its heading: {heads}.",
    ),
    ("detectable_format:json_format", ""): (
        "Return valid JSON and nothing around it.",
        "Give the whole answer as one JSON object.",
        "Format everything you say as JSON, so that a program could parse it.",
        "Reply with a JSON object only; a code fence around it is fine.",
        "Put all of it into JSON with keys that you choose.",
    ),
    ("detectable_format:title", ""): (
        "Add a title between double angle brackets, like <<Title>>.",
        "Give the text a title and write it as <<your title>>.",
        *_at(
            "start",
            "Head the text with a title that is enclosed in << and >>.",
            "Begin with a title of your own, put between << and >>.",
        ),
    ),
    ("combination:two_responses", ""): (
        "Offer two different answers and put a line of six asterisks (******) between them.",
        "Write two versions that differ from each other, divided by ******.",
        "I would like to choose: give two distinct answers with ****** between the first and the second.",
        "Provide two alternatives, and nothing but ****** to separate them.",
    ),
    ("combination:repeat_prompt", ""): _at(
        "start",
        "Copy the request below exactly before you begin, and only then respond to it.",
        "Start by writing out the request below, letter for letter, and answer it after that.",
        "Your reply should open with the request below in its exact wording, followed by your answer.",
        "Quote the request below in full and unchanged as the very first thing, and then carry it out.",
    ),
    ("startend:end_checker", ""): _at(
        "end",
        "Let the last sentence be: {phrase}",
        "End with precisely these words: {phrase}",
        "The final words have to be {phrase}",
        "Close with this line and add nothing to it: {phrase}",
        "After everything else, finish on {phrase}",
    ),
    ("change_case:capital_word_frequency", LEAST): (
        "Write at least {n} words in capitals, LIKE so.",
        "Stress {n} or more words by writing them in capital letters.",
        "Put no fewer than {n} words in ALL CAPS.",
        "Have {n} or more fully capitalised words in the text.",
    ),
    ("change_case:capital_word_frequency", LESS): (
        'Write fewer than {n} words in full capitals; "I" and "A" count as such words.',
        'At most {most} words may be in capital letters throughout, "I" and "A" included.',
        'Keep words in ALL CAPS to {most} or fewer, counting each "I" and each "A".',
        'Be sparing with capitalised words: no more than {most}, each "I" or "A" among them, may be written entirely in '
        "capitals.",
    ),
    ("change_case:english_capital", ""): (
        "Write in English and use capital letters only.",
        "Use English, with every letter a capital.",
        "Put the entire text in capitals, and keep it in English.",
        "Reply in English with nothing but uppercase letters.",
    ),
    ("change_case:english_lowercase", ""): (
        "Write in English and use small letters only.",
        "Use English, without a single capital letter.",
        "Keep everything in lower case, even names and the starts of sentences, and in English.",
        "Reply in English with nothing but lowercase letters.",
    ),
    ("punctuation:no_comma", ""): (
        "Do not use commas.",
        "Write it without a single comma.",
        "Leave out all commas.",
        "Commas are not allowed.",
        "Punctuate as you like, but without commas.",
        "Get by without any comma.",
    ),
    ("startend:quotation", ""): (
        "Put double quotation marks around everything you write.",
        "Enclose the whole text in double quotes.",
        *_at(
            "start end",
            "Start and end with a double quotation mark.",
            'Begin your text with " and close it with " as well.',
        ),
        "Present all of it as one quotation, inside double quotation marks.",
    ),
}
"""Type and relation to wordings; those that claim a place of the answer say so (`Placed`)."""
