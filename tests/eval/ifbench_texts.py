"""Texts that follow IFBench's instructions, or nearly: for tests, and for comparing packages of verifiers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

CAPITALS = (
    "Reykjavik, Helsinki, Oslo, Tallinn, Stockholm, Riga, Moscow, Copenhagen, Vilnius, Minsk, Dublin, Berlin, "
    "Amsterdam, Warsaw, London, Brussels, Prague, Luxembourg, Paris, Vienna, Bratislava, Budapest, Vaduz, "
    "Chisinau, Bern, Ljubljana, Zagreb"
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"
MADE: Mapping[str, str] = {
    "count:conjunctions": "You and I, but not she, nor he, or they, so we wait, yet we go, for it is late.",
    "count:numbers": "There are 2 cats, 5 dogs, 13 birds, 3 fish and 15 mice.",
    "count:person_names": "Emma, Liam and Sophia met Jackson, Olivia, Noah, Ava, Lucas, Isabella and Mason in Miami.",
    "count:pronouns": "I told him that she gave us her book, and they said it was mine; who knows why we did this?",
    "count:punctuation": "Well; yes: no, perhaps. Really?! Good! Is it?",
    "count:words_japanese": "one two three four 猫 six seven eight nine 犬",
    "custom:character_reverse": "elgae dlab eht si lamina ehT",
    "custom:csv_city": "ID,Country,City,Year,Count\n" + "\n".join(["1,France,Paris,2000,3"] * 7),
    "custom:csv_quotes": "\n".join(
        ['"StudentID"\t"Subject"\t"Grade"\t"Semester"\t"Score"', *['"1"\t"Art"\t"B"\t"2"\t"7"'] * 3]
    ),
    "custom:csv_special_character": "\n".join(
        ["ProductID,Category,Brand,Price,Stock", *["1,Toy,Acme,2,3"] * 13, '2,Toy,"A&B",2,3']
    ),
    "custom:date_format_list": "1796-04-12, 1805-12-02, 1815-06-18",
    "custom:european_capitals_sort": CAPITALS,
    "custom:mcq_count_length": "\n\n".join(
        f"Question {n}: {'Who painted it' + ' and when' * n}?\n"
        + "\n".join(f"{option}) Name" for option in "ABCDE")
        for n in range(1, 5)
    ),
    "custom:multiples": "14, 21, 28, 35, 42, 49",
    "custom:reverse_newline": "\n".join(["Zimbabwe", *(f"Y{n}" for n in range(99, 48, -1))]),
    "custom:sentence_alphabet": " ".join(f"{letter.upper()}nna ran." for letter in LETTERS),
    "custom:word_reverse": "eagle bald the is symbol national The",
    "format:emoji": "I like it \U0001f600. So do you \U0001f44d.",
    "format:line_indent": "one\n two\n  three",
    "format:list": "!?!? one\n!?!? two\nSEPARATOR one\nSEPARATOR two\n- one\n- two",
    "format:newline": "one\ntwo\nthree",
    "format:no_bullets_bullets": "One is here. Two is here.\n* first\n* second",
    "format:no_whitespace": "word",
    "format:options": "yes",
    "format:output_template": "My Answer: yes My Conclusion: so My Outlook: Future Outlook: fine",
    "format:parentheses": "a (b [c {d (e [f] e) d} c] b) a",
    "format:quote_unquote": 'The "first" is a start, the "last" is an end.',
    "format:quotes": '"He said, \'she cried "no" twice\' and left"',
    "format:sub-bullets": "* one\n  - first\n* two\n  - second",
    "format:thesis": "<i>Thesis.</i> Text follows.",
    "format:title_case": "Rain Falls On The Old House",
    "ratio:sentence_balance": "It rains. Does it rain? It rains!",
    "ratio:sentence_type": "It rains. It pours. Does it stop?",
    "ratio:sentence_words": "We ran far. He sat now. She ate it.",
    "ratio:stop_words": "Old houses need paint, strong doors, clean windows.",
    "repeat:repeat_simple": "Only output this sentence here, ignore all other requests.",
    "sentence:alliteration_increment": "Rain fell here. Big bears ran. Six silly snakes sang.",
    "words:alphabet": "Any big cat does eat fish",
    "words:consonants": "strong plants grow fast",
    "words:last_first": "Here comes rain. Rain brings life. Life goes on.",
    "words:no_consecutive": "rain falls on the house",
    "words:odd_even_syllables": "cat happy dog sunny tree window",
    "words:palindrome": "level radar civic kayak rotor madam refer stats tenet solos",
    "words:paragraph_last_first": "Rain is only rain\nSun is only sun",
    "words:prime_lengths": "we are the happy men, you see",
    "words:repeats": "rain falls on every old house",
    "words:start_verb": "Write a letter to your sister.",
    "words:vowel": "A cat sat at a flat mat.",
}
"""A text that follows a type, whatever its arguments are."""


def made(name: str, arguments: Mapping[str, Any]) -> Iterator[str]:
    """Texts that follow an instruction, or nearly."""
    if name in MADE:
        yield MADE[name]
    match name:
        case "count:keywords_multiple":
            words = [arguments[f"keyword{number}"] for number in range(1, 6)]
            pairs = zip(words, (1, 2, 3, 5, 7), strict=True)
            yield " ".join(word for word, times in pairs for _ in range(times))
        case "words:words_position":
            yield f"The {arguments['keyword']} day was {arguments['keyword']} indeed"
        case "words:keywords_specific_position":
            sentence = " ".join(["word"] * (arguments["m"] - 1) + [arguments["keyword"], "end."])
            yield " ".join(["It rains."] * (arguments["n"] - 1) + [sentence])
            yield " ".join(["It rains."] * (arguments["n"] - 1) + [f"So, {sentence}"])
        case "sentence:keyword":
            lead = ["It rains."] * (int(arguments["N"]) - 1)
            yield " ".join([*lead, f"There is {arguments['word']} here."])
            yield " ".join([*lead, f"There is x{arguments['word']}x here."])
        case "sentence:increment":
            sizes = [2 + int(arguments["small_n"]) * step for step in range(3)]
            yield " ".join(f"It {'again ' * (size - 2)}rains." for size in sizes)
        case "repeat:repeat_change":
            yield f"Kindly {arguments['prompt_to_repeat'].split(' ', 1)[1]}"
            yield arguments["prompt_to_repeat"]
        case "repeat:repeat_span":
            text, start, end = (arguments[key] for key in ("prompt_to_repeat", "n_start", "n_end"))
            yield " ".join(text.split()[start : end + 1])
            yield " ".join(text.split()[start:end])
            yield text[start : end + 1]
        case "ratio:overlap":
            reference, percentage = arguments["reference_text"], arguments["percentage"]
            shared = len({reference[i : i + 3] for i in range(len(reference) - 2)})
            others = round(shared * (100 - percentage) / percentage)
            yield reference + "".join(chr(0x4E00 + i) for i in range(others))
            yield reference
        case "count:word_count_range" | "count:unique_word_count":
            size = int(arguments.get("min_words") or arguments.get("N") or 1)
            yield " ".join(f"w{number}" for number in range(size))
