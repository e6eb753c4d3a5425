"""Commas that belong to a date, a place or a title.

On May 5, 2024 -> On May 5 2024     Paris, France -> Paris (France)     Springfield, IL 62704 -> Springfield IL 62704
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from spar.rewrite.changes import Change

_MONTH = (
    r"(?:Jan(?:uary)?|Feb(?:ruary)?|Mar(?:ch)?|Apr(?:il)?|May|June?|July?|Aug(?:ust)?|Sept?(?:ember)?|Oct(?:ober)?"
    r"|Nov(?:ember)?|Dec(?:ember)?)\b\.?"
)
_PLAIN = re.compile(
    r"\b(?:Mon|Tue|Tues|Wed|Wednes|Thu|Thurs|Fri|Sat|Satur|Sun)(?:day)?(?P<a>,)(?=[ ]?(?:the )?"
    rf"(?:{_MONTH}|\d))|\b(?:{_MONTH}[ ](?:\d{{1,2}}(?:st|nd|rd|th)?)?|\d{{1,2}}(?:st|nd|rd|th)?[ ]{_MONTH})(?P<b>,)(?=[ ]?\d{{4}}\b)"
    r"|\w(?P<c>,)(?=[ ](?:Jr|Sr|PhD|Ph\.D|MD|M\.D|Esq|Inc|Ltd|LLC|II|III)\b)"
    r"|\b[A-Z][a-z'’-]+(?P<d>,)(?=[ ](?:A[KLRZ]|C[AOT]|D[CE]|FL|GA|HI|I[ADLN]|K[SY]|LA|M[ADEINOST]|N[CDEHJMVY]|O[HKR]|PA|RI|S[CD]|T[NX]"
    r"|UT|V[AT]|W[AIVY])(?:[ ]\d{5}|[ ]*(?:[,.;)\n]|$)))"
)
"""Dates, titles after a name, and states by their two letters."""
_COUNTRY = (
    r"(?:Afghanistan|Albania|Algeria|Argentina|Armenia|Australia|Austria|Bangladesh|Belgium|Bolivia|Brazil|Bulgaria|Cambodia"
    r"|Canada|Chile|China|Colombia|Costa Rica|Croatia|Cuba|Cyprus|Czechia|Denmark|Ecuador|Egypt|England|Estonia|Ethiopia"
    r"|Finland|France|Germany|Ghana|Greece|Hungary|Iceland|India|Indonesia|Iran|Iraq|Ireland|Israel|Italy|Jamaica|Japan"
    r"|Kenya|Korea|South Korea|Latvia|Lebanon|Lithuania|Luxembourg|Malaysia|Malta|Mexico|Mongolia|Morocco|Nepal"
    r"|Netherlands|New Zealand|Nigeria|Northern Ireland|Norway|Pakistan|Panama|Peru"
    r"|Philippines|Poland|Portugal|Romania|Russia|Saudi Arabia|Scotland|Senegal|Serbia|Singapore|Slovakia|Slovenia"
    r"|South Africa|Spain|Sri Lanka|Sweden|Switzerland|Syria|Taiwan|Tanzania|Thailand|Tunisia|Uganda|Ukraine|UK|U\.K"
    r"|United Kingdom|USA|U\.S\.A|United States|Uruguay|Venezuela|Vietnam|Wales|Zimbabwe"
    r"|Alabama|Alaska|Arizona|Arkansas|California|Colorado|Connecticut|Delaware|Florida|Hawaii|Idaho|Illinois|Indiana|Iowa"
    r"|Kansas|Kentucky|Louisiana|Maine|Maryland|Massachusetts|Michigan|Minnesota|Mississippi|Missouri|Montana|Nebraska"
    r"|Nevada|New Hampshire|New Jersey|New Mexico|New York|North Carolina|North Dakota|Ohio|Oklahoma|Oregon|Pennsylvania"
    r"|Rhode Island|South Carolina|South Dakota|Tennessee|Texas|Utah|Vermont|West Virginia|Wisconsin|Wyoming|Ontario|Quebec"
    r"|British Columbia|Alberta|New South Wales|Queensland|Victoria)"
)
_PLACE = re.compile(
    rf"(?P<city>\b[A-Z][\w'’-]+(?:[ ][A-Z][\w'’-]+)*)(?P<a>,[ ])(?P<country>{_COUNTRY}\b(?:,[ ]{_COUNTRY}\b)*)(?!['’-])"
    r"(?P<code>[ ][A-Z]?\d)?"
)
_NO_CITY = re.compile(
    rf"\b(?:{_COUNTRY}|{_MONTH}|[A-Z]\w*ly|In|However|Also|Then|Now|Yes|No|Well|So)\Z"
)


def comma_changes(text: str) -> Iterator[Change]:
    """What stands in place of such commas; a country goes into brackets, where there are none around it."""
    for match in _PLAIN.finditer(text):
        start, end = match.span(match.lastgroup or 0)
        yield start, end, "" if text[end : end + 1] == " " else " "
    end = 0
    for match in _PLACE.finditer(text):
        is_listed = text[: match.start()].endswith(", ") and match.start() - end > 2
        if is_listed or _NO_CITY.search(match["city"]):
            continue  # one of a list of countries, or "In June, England ..."
        end = match.end()
        line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
        is_bare = match["code"] is not None or line.count("(") > line.count(")")
        start, end = match.span("a")
        yield (start, end, " ") if is_bare else (start, end, " (")
        for comma in re.finditer(",", match["country"]):
            place = match.start("country") + comma.start()
            yield place, place + 1, ""
        if not is_bare:
            yield match.end("country"), match.end("country"), ")"
