"""Which instructions take constraints, and which constraint types each of them takes. Pure.

An instruction that fixes the form of its answer itself (program code, a table, one word, a sum) is left out: it would
contradict what is added, or nobody could follow it. One that asks for a list, a length, a poem, a headline only gets
types that leave this alone. Both are decided by words of the instruction, strictly: a useful seed prompt that is
lost costs less than a prompt with a contradiction.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from spar.evolve.checkable import constraint_types as types
from spar.evolve.checkable.conflicts import CONFLICTS
from spar.evolve.checkable.constraint_types import CONSTRAINT_TYPES
from spar.types import Prompt
from spar.verifiers import CONSTRAINTS

MOST_WORDS = 120
"""A longer instruction is a document to work on, and leaves a small context no room for an answer."""
MOST_REPEATED = 60
"""Words of a request that a response is asked to repeat."""


def _any_of(listed: str, *patterns: str) -> re.Pattern[str]:
    """A pattern of whole words and phrases, listed with commas between them, and of other patterns."""
    phrases = "|".join(
        r"\s+".join(phrase.split()) for phrase in re.split(r"(?<!\\),", listed) if phrase.strip()
    )
    return re.compile("|".join((rf"\b(?:{phrases})\b", *patterns)), re.IGNORECASE | re.MULTILINE)


UNSUITED: Mapping[str, re.Pattern[str]] = {
    "asks for program code or is about it": _any_of(
        r"""
        code, coding, codebase, coder, python, java, javascript, typescript, react, angular, vue\w*, node\w*, npm, cpp,
        sql, mysql, postgres\w*, html, css, php, ruby, rust, golang, kotlin, swift, scala, haskell, matlab, perl, bash,
        shell, powershell, linux, unix, docker\w*, kubernetes, terraform, ansible, aws, azure, git, github, apis?, json,
        xml, yaml, csv, excel, spreadsheet, formula, vba, latex, tex, markdown, regex\w*, scripts?, functions?,
        algorithms?, pytorch, tensorflow, numpy, pandas, matplotlib, dataframe, databases?, query, queries, compiler,
        compile, debug\w*, software, programming, programmer, server, servers, sdk, gpu, cuda, jupyter, unity, unreal,
        arduino, raspberry, django, flask, firebase, ffmpeg, nginx, vim, selenium, pytest, webpage, websites?, urls?,
        plugin, cli, implement, implementation, variable, arrays?, string, integer, boolean, loop, nix, gradle, ios,
        android, wordpress, testbench, verilog, vhdl, vbs, sap, closure, trait, cocotb, kernel, toolbar, backend,
        frontend, assembly, nasm, seaborn, barplot, jax, sklearn, pyqt\w*, xaml, odoo, tftp, config\w*, sshd?, error,
        extension, huggingface, snowflake, wifi, encoders?, decoders?, contract logic, fuzzer, simulink, ls-dyna,
        econometric, runtime, threads?, multithread\w*, parser, schema, endpoint, lambda, cron, http\w*, tls, dns, vpn,
        firmware, driver, pdf, files?, commands?, prompts?, midjourney, chatgpt, gpt\w*, llms?
        """,
        r"[`{}]|\w\(\)|=>|==|<-|<\w+>|</|\\\w+|c\+\+|c#|\.net\b",
        r"^\s*(?:#include|import|from|def|class|for|if|select)\b.*[(:;]\s*$",
    ),
    "has one right answer": _any_of(
        r"""
        calculate, compute, solve, equations?, integral, derivative, probability, theorem, prove, proof, sum of,
        classif\w+, category, indicate, how long, remainder, vertices, sqrt, scramble, rational, father of, categori\w+,
        labels?, true or false, true\, false, be true, multiple[- ]choice, fill in, fill the, blanks?, grammatical\w*,
        correct (?:the|this|any|all), grammar, spelling, translat\w+, synonym\w*, antonym\w*, rhym\w+, rearrange,
        reorder, reverse, convert\w*, sort, extract, identify, detect, recognize, how many, how much, how old, how far,
        how tall, what year, what time, percentage, square, odd, even number, next (?:number|word|term|in), sequence,
        pattern, puzzle, riddle, chess, anagram\w*, acronym\w*, abbreviat\w*, count, choose (?:the|one|from|between),
        select (?:the|one|from), which (?:one|of), is it (?:true|correct), sarcas\w*, sentiment, entit\w+, predict,
        premise, hypothesis, proofread, complete the, continue, continuation, unscramble, decode, \w+crypt, cipher,
        output, (?:decide|tell me|determine|judge|check) (?:if|whether), determine an?, fact checking,
        in which (?:year|genres?), address of, number of, relation between, syllogism, does the information,
        supports? the claim, \d+ ?(?:km|kw|m/s|mph|cents)
        """,
        r"answer:|[=≤≥∑∫√]|\$[^$\n]+\$|\d\s*[*+/^]\s*\d|^\s*\(?[a-e][).]\s|(?:\d+[,\s]+){3}",
    ),
    "asks for a form of its own": _any_of(
        r"""
        tables?, charts?, graph, diagrams?, ascii, emojis?, emoticon\w*, haiku, limerick, acrostic, crossword, sudoku,
        tweets?, twitter, hashtags?, slogans?, tagline, captions?, headlines?, subject line, title for, titles, puns?,
        columns?, template, form, checklist, survey, quiz, questionnaire, yes or no, menu, logo, images?, notation,
        (?:one|a single|1)[- ](?:word|line|sentence|liner), melody, chords?, charsheet, card, deck, draw, drawing,
        picture, photo, svg, bullets?, numbered, citations?, references, bibliography, flowchart, timeline, schedule,
        calendar, rows?, format\w*, brackets?, quotes?, quotation\w*, commas?, asterisk\w*, capitals?, capitalized,
        uppercase, lowercase, letters, alphabet\w*, postscript, placeholder\w*, dialogu?e?, transcript, conversation,
        chat, respond (?:to|with), only (?:answer|reply|respond|output|the), phrases?, words?, keywords?, vocabulary,
        sentences?, expressions?, definition\w*, names? of, name for, domain, password, username, search for, links?,
        find (?:a|an|the|out|some|sentences)
        """
    ),
    "plays on rules or roles": _any_of(
        r"""
        ignore, jailbreak, previous instructions, act (?:as|like), role-?play, pretend, simulate, i want you to,
        you are (?:an?|now|the) \w+, i will (?:give|provide|send|type), your (?:first|next) task, who are you, as an ai,
        can you (?:see|browse|access), do you (?:know|have|feel|think|understand)
        """,
        r"^are you\b",
    ),
}
"""Reason why an instruction is left out to what it looks like; the first that matches is counted."""

_LENGTH = {types.WORDS, types.SENTENCES, types.PARAGRAPHS, types.FIRST_WORD, types.TWO}
_PARTS = {types.PARAGRAPHS, types.FIRST_WORD, types.BULLETS, types.SECTIONS, types.JSON}
_STRUCTURE = {*_PARTS, types.SENTENCES, types.TWO, types.QUOTATION}
_COUNT = r"(?:\d+|one|two|three|four|five|six|seven|eight|nine|ten|a few|several|single)"

_FIXED_TEXT = {
    *(types.EXISTENCE, types.FREQUENCY, types.FORBIDDEN, types.LETTER, types.FIRST_WORD),
    *(types.SECTIONS, types.POSTSCRIPT, types.REPEAT, types.ENDING, types.LANGUAGE),
    *(types.CAPITALS, types.LOWER_CASE, types.NO_COMMA, types.CONSTRAINED, types.JSON),
}
"""Types that require a text as it stands, or may exclude one that the instruction requires."""
_AT_START = {types.TITLE, types.QUOTATION, types.TWO}
_AT_END = {types.QUOTATION, types.TWO, types.BULLETS}
_ADDS_TEXT = {
    *_LENGTH,
    *_STRUCTURE,
    *(types.FREQUENCY, types.LETTER, types.PLACEHOLDERS, types.POSTSCRIPT, types.HIGHLIGHTS),
    *(types.TITLE, types.REPEAT, types.ENDING, types.CAPITAL_WORDS),
}
_PUNCTUATED = {
    *(types.PLACEHOLDERS, types.POSTSCRIPT, types.HIGHLIGHTS, types.TITLE, types.REPEAT),
    *(types.ENDING, types.NO_COMMA, types.CAPITAL_WORDS, types.CAPITALS, types.CONSTRAINED),
}

RESTRICTED: Mapping[str, tuple[re.Pattern[str], Collection[str]]] = {
    "asks for a list": (
        _any_of(
            rf"""
            lists?, steps?, step-by-step, itinerary, agenda, ingredients, outline, instructions, recipes?, examples,
            items, tips, ideas, ways, reasons, suggestions, plans?, guide, pros and cons, top \d+, each,
            {_COUNT} (?:[\w-]+ )?(?:[\w-]+ )?(?:[\w-]+ )?\w+s
            """
        ),
        _STRUCTURE,
    ),
    "asks for a length": (
        _any_of(
            r"""
            pages?, lines?, lengthy?, short\w*, brief\w*, concise\w*, long, detailed, in detail, thorough\w*,
            comprehensive, in[- ]depth, quick\w*, minutes?, extensive\w*
            """
        ),
        _LENGTH,
    ),
    "asks for one paragraph": (_any_of(r"paragraphs?"), _LENGTH | _STRUCTURE),
    "asks for verse or a scene": (
        _any_of(
            "poems?, poetry, verses?, songs?, lyrics, rap, sonnet, stanzas?, scene, screenplay, play, speech"
        ),
        _LENGTH | _STRUCTURE,
    ),
    "asks for a letter": (
        _any_of(
            "letter, e-?mails?, message, note, memo, resume, cv, invitation, toast, greeting, regards"
        ),
        _STRUCTURE | {types.ENDING, types.TITLE},
    ),
    "asks for a title or headings": (
        _any_of("title, headings?, headers?, sections?, subheadings?, chapters?"),
        _STRUCTURE | {types.TITLE},
    ),
    "asks for a rewriting": (
        _any_of(
            r"""
            rewrit\w+, rephrase, edit, improve, revise, simplify, shorten, expand, summari[sz]e, summary, paraphrase\w*,
            fix, polish, corrected, given (?:text|article|email)
            """
        ),
        _LENGTH | _STRUCTURE | {types.LANGUAGE, types.FREQUENCY, types.PLACEHOLDERS},
    ),
    "names a language": (
        _any_of(
            """
            languages?, dialects?, slang, accent, pidgin, creole, bilingual, shakespeare\\w*, afrikaans, albanian, amharic,
            arabic, armenian, azerbaijani, basque, belarusian, bengali, bosnian, bulgarian, burmese, cantonese, catalan,
            chinese, croatian, czech, danish, dutch, english, esperanto, estonian, farsi, filipino, finnish, flemish,
            french, gaelic, galician, georgian, german, greek, gujarati, hausa, hebrew, hindi, hinglish, hungarian,
            icelandic, igbo, indonesian, irish, italian, japanese, javanese, kannada, kazakh, khmer, korean, kurdish, kyrgyz,
            lao, latin, latvian, lithuanian, macedonian, malay, malayalam, maltese, mandarin, maori, marathi, mongolian,
            nepali, norwegian, pashto, persian, polish, portuguese, punjabi, quechua, romanian, russian, sanskrit, serbian,
            sinhala, slovak, slovene, slovenian, somali, spanglish, spanish, swahili, swedish, tagalog, tajik, tamil, telugu,
            thai, tibetan, turkish, turkmen, ukrainian, urdu, uzbek, vietnamese, welsh, xhosa, yiddish, yoruba, zulu
            """,
            r"\b(?i:in)\s+(?-i:[A-Z])\w+(?:ish|ese|ian|ic|ch|ean)\b",
        ),
        CONFLICTS[types.LANGUAGE],
    ),
    "asks for a case": (
        _any_of(
            r"""
            caps, all[- ]caps, cap[- ]?locks?, (?:upper|lower|title|sentence|camel|mixed)[- ]?case\w*, shout\w*,
            uncapitali\w+, capitali\w+
            """
        ),
        CONFLICTS[types.CAPITALS] | CONFLICTS[types.LOWER_CASE] | _FIXED_TEXT,
    ),
    "asks for an ending": (
        _any_of(
            r"""
            p\.\s?s, sign[- ]?offs?, sign(?:ed|ature), moral, call to action, cliff-?hanger, farewell, punch-?line,
            (?:last|final|closing) (?:line|remark|thought|part|paragraph|question)s?
            """,
            r"\b(?:end(?:s|ed|ing)?|clos(?:e|es|ed|ing)|conclud\w+|finish\w*)\b[^.?!\n]{0,40}?\b(?:with|on|in|by)\b",
        ),
        _FIXED_TEXT | _AT_END,
    ),
    "asks for a beginning": (
        _any_of(
            "opening, (?:first|opening) (?:line|remark|thought|part|paragraph|question)s?",
            r"\b(?:beg[aiu]n\w*|start\w*|open(?:s|ed)?|introduc\w+|head(?:ed)?)\b[^.?!\n]{0,40}?\b(?:with|on|in|by)\b",
        ),
        _FIXED_TEXT | _AT_START,
    ),
    "asks for few characters": (
        _any_of(
            r"characters? (?:or|limit|max\w*|at most), sms, text message, tiny, minimal\w*",
            r"(?:\d|hundred)[\s-]*characters?\b",
        ),
        _ADDS_TEXT,
    ),
    "states a number": (
        _any_of(
            rf"(?:under|below|within|at most|at least|(?:less|fewer|more) than|up to|exactly|min\w*|max\w*|limit\w*) (?:of )?(?:{_COUNT}|\d)"
        ),
        _LENGTH | _STRUCTURE,
    ),
    "asks to leave something out": (
        _any_of(
            r"""
            without, avoid\w*, exclud\w+, except, omit\w*, refrain\w*, leav\w+ out, free of, lipogram,
            (?:not|never|don't|doesn't|don’t|doesn’t|no) (?:\w+ )?(?:us|mention|contain|includ|say|repeat|writ|nam)\w*
            """
        ),
        _FIXED_TEXT | {types.LETTER, types.FORBIDDEN, types.NO_COMMA},
    ),
    "asks for certain letters": (
        _any_of(r"letter \W?[a-z]\W?, letters?, alliterat\w+, vowels?, consonants?, palindrom\w*"),
        _FIXED_TEXT | {types.LETTER, types.FORBIDDEN, types.LANGUAGE},
    ),
    "asks to mention something": (
        _any_of(
            "mention\\w*, includ\\w+, contain\\w*, incorporat\\w+, featur\\w+, us(?:e|es|ing) (?:the|a|an)"
        ),
        {types.FORBIDDEN, types.LETTER, types.LANGUAGE},
    ),
    "asks to repeat something": (
        _any_of(rf"repeat\w*, restat\w+, copy, refrain, chorus, once, twice, {_COUNT} times"),
        {types.REPEAT, types.FREQUENCY, types.FORBIDDEN, types.LETTER, types.LANGUAGE},
    ),
    "asks for several answers": (
        _any_of(
            "versions?, variants?, variations?, alternatives?, options?, drafts?, another, different answers?"
        ),
        _STRUCTURE | _LENGTH,
    ),
    "asks for emphasis or none": (
        _any_of(
            "bold\\w*, italic\\w*, highlight\\w*, emphasi\\w+, underlin\\w+, plain text, punctuation, unpunctuated, full stops?"
        ),
        _STRUCTURE | _PUNCTUATED,
    ),
    "has places to fill in": (
        _any_of("fill[- ]?ins?, insert", r"\[[^\]\n]*\]|_{3,}"),
        {types.PLACEHOLDERS, types.REPEAT},
    ),
    "is short of matter": (
        _any_of("motto, compliment, jokes?, fun fact, greeting, proverb, metaphor, hook"),
        _LENGTH | _STRUCTURE,
    ),
}
"""What an instruction asks for, what that looks like, and the types that it excludes: every type is excluded by what asks
for the same, or for its contrary."""

_ORDINARY = _any_of(
    """
    a, about, an, and, are, at, by, come, compare, create, describe, design, discuss, do, explain, for, from, give, how, i,
    in, is, it, list, make, me, my, name, of, on, or, plan, prepare, provide, suggest, tell, that, the, this, to, was, what,
    which, who, why, with, write, you, your
    """
)
_AUXILIARY = "is|are|was|were|do|does|did|can|could|should|will|would|has|have"
_QUESTION = re.compile(rf"(?:^|[.!?]\s+|\n\s*)(?:{_AUXILIARY})\s+[^.!?\n]+\?\s*$", re.IGNORECASE)
_ALTERNATIVE = re.compile(r"\bor\b|\b(?:can|could|would|will) (?:you|i get)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class SeedUse:
    """What an instruction is good for."""

    skipped: str = ""
    """Why it takes no constraints, "" where it does."""
    restricted: tuple[str, ...] = ()
    """What it asks for itself, so that it does not take every type."""
    types: tuple[str, ...] = ()
    """The constraint types that it takes."""


def use_of(seed: Prompt) -> SeedUse:
    """What a seed prompt is good for; of a conversation, its last turn counts."""
    text = seed.messages[-1].content
    if seed.meta.get(CONSTRAINTS):
        return SeedUse("carries constraints already")
    words = len(text.split())
    if words > MOST_WORDS:
        return SeedUse(f"longer than {MOST_WORDS} words")
    if words < 3:
        return SeedUse("shorter than three words")
    if text.rstrip()[-1] in ":,;-(":
        return SeedUse("unfinished")
    if not _is_english(text):
        return SeedUse("not in English")
    for reason, pattern in UNSUITED.items():
        if pattern.search(text):
            return SeedUse(reason)
    restricted = {
        reason: excluded
        for reason, (pattern, excluded) in RESTRICTED.items()
        if pattern.search(text)
    }
    excluded = {each for types_ in restricted.values() for each in types_}
    if words > MOST_REPEATED or len(seed.messages) > 1 or "\n" in text.strip():
        excluded |= {types.REPEAT}
    if not _is_yes_or_no(text):
        excluded |= {types.CONSTRAINED}
    allowed = tuple(each for each in CONSTRAINT_TYPES if each not in excluded)
    return SeedUse(restricted=tuple(restricted), types=allowed)


def _is_english(text: str) -> bool:
    """Whether nearly all characters are ASCII and one of the most common words is there."""
    ascii_share = sum(character.isascii() for character in text) / len(text)
    return ascii_share > 0.97 and _ORDINARY.search(text) is not None


def _is_yes_or_no(text: str) -> bool:
    match = _QUESTION.search(text)
    return match is not None and not _ALTERNATIVE.search(match.group())
