"""Words that fixes add or put in place of others: synonyms, short sentences, placeholders. No commas in any of them."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterator

FUNCTION_WORDS = frozenset(
    """
    a about above after again against all also although always am an and another any are as at be because been before
    being below between both but by can cannot could did do does doing down during each either even every few for from
    further had has have having he her here hers herself him himself his how however i if in into is it its itself just
    less many may me might more most much must my myself neither no nor not now of off often on once one only or other
    our ours ourselves out over own per quite rather really same several shall she should since so some something still
    such than that the their theirs them themselves then there these they this those though through thus to too under
    until up upon us very was we well were what when where whether which while who whom whose why will with within
    without would yet you your yours yourself
    """.split()
)
"""Words that carry no topic."""

DETERMINERS = frozenset(
    "a an the this that these those my your his her its our their each every some any no many several most all".split()
)
PREPOSITIONS = frozenset(
    "about after against among around at before behind beside between by during for from in into like near of off on over "
    "through to toward towards under with within without".split()
)
VERB_BEFORE = frozenset(
    "to will would can could should may might must shall cannot i you we they who please don't didn't doesn't not".split()
)
"""Words after which a verb stands."""

DROPPABLE = frozenset(
    """
    absolutely actually already also always basically certainly clearly completely definitely easily especially even
    exactly extremely finally generally highly however just literally maybe often perhaps possibly pretty probably
    quickly quite rather really simply slowly still surely together too totally truly unfortunately usually very
    damn yo
    """.split()
)
"""Words that a sentence stays a sentence without."""
KEPT_LY = frozenset(
    """
    ally anomaly apply assembly beastly belly bodily brotherly bubbly bully burly butterfly chilly comely comply costly
    cowardly crumbly cuddly curly daily dally deadly disassembly disorderly doily dolly dragonfly early earthly elderly
    family fatherly filly firefly fly folly friendly frilly fully gentlemanly ghastly ghostly gnarly godly goodly grisly
    grizzly gully heavenly hilly holly holy homely homily hourly imply italy jelly jolly july kindly kingly leisurely
    likely lily lively lonely lovely manly masterly measly melancholy misapply miserly monopoly monthly motherly
    multiply neighborly neighbourly nightly oily only orderly oversupply panoply pearly ply poly portly prickly princely
    quarterly queenly rally reapply rely reply resupply saintly scholarly seemly shapely sickly silly sisterly smelly
    sparkly sprightly stately steely subassembly sully supply surly tally telly timely ugly underbelly unearthly
    unfriendly unholy unlikely unruly unseemly unsightly untimely wally weekly wily wobbly womanly woolly worldly
    wrinkly yearly billy beverly carly emily kelly kimberly molly nelly polly sally shelly sicily willy
    """.split()
)
"""Words in -ly that are no adverbs."""
WEIGHTY_ADVERBS = frozenset(
    """
    allegedly apparently badly barely falsely formerly hardly incorrectly mostly nearly partially partly poorly potentially
    presumably previously purportedly rarely reportedly roughly scarcely separately seemingly seldomly supposedly
    wrongly
    """.split()
)
"""Adverbs that a sentence says something else without."""
DEGREES = frozenset("as how less more most pretty quite rather so too very".split())
"""Words that the adverb after them belongs to."""
MONTHS = frozenset(
    "january february march april may june july august september october november december".split()
)
DAYS = frozenset("monday tuesday wednesday thursday friday saturday sunday".split())

MOTIONS = frozenset(
    "arrive arrived came come drive drove fled flew flight flights fly go goes going gone journey leave left move moved "
    "moving return returned road sail sailed train travel traveled travelled travels trip trips walk walked way went".split()
)
"""Words that tell of a way, so that a name after "to" or "from" is a place's."""
PEOPLE = frozenset(
    """
    actor artist author baker boss boy captain chef citizen coach colleague customer doctor driver employee employer engineer expert
    farmer fisherman girl guest guy king lady lawyer leader manager musician neighbor nurse officer owner patient player poet
    professor queen reader scientist singer soldier speaker student teenager traveler traveller tourist user viewer waiter worker
    writer
    """.split()
)
"""Nouns for people, who are no things."""
UNITS = frozenset(
    "century day days decade hour hours inch inches kilometre metre mile miles minute minutes month months ounce pair percent "
    "piece pieces pound second seconds week weeks year years".split()
)
"""Nouns that measure, for which no other noun stands."""
PLURALS = frozenset("children feet men mice people teeth women".split())
"""Plurals without an "s"."""

ADJECTIVES = frozenset(
    """
    amazing another bad beautiful certain crazy damn dead different difficult easy essential fake final first free fresh
    good great happy hard high important interesting key large last little long main many new nice old own perfect
    popular possible positive prehistoric pretty quick real rich right sad several short simple slow small special strong
    sure true unique useful various whole wonderful young
    """.split()
)
"""Words that a noun stays a noun without."""

_SYNONYMS = """
    able: capable | according: true | act: deed | actually: really, in fact | again: once more | aim: goal
    allow: let | also: too, as well | always: at all times, constantly | amazing: remarkable, striking
    another: one more, a further | answer: reply, response | approach: method, way | area: region | ask: question
    balance: equilibrium | bad: poor, harmful | bark: woof | basic: simple | basket: hamper | batted: hit | beautiful: lovely, pretty
    beauty: charm, grace | become: turn, grow | begin: start | best: finest | better: finer
    big: large, great | blizzard: snowstorm | bottle: flask | breakfast: morning meal | bridge: crossing | bring: carry
    budget: spending plan | build: construct, make | buy: purchase | capsule: pod | careful: cautious
    certainly: surely, of course | challenge: difficulty | chance: opportunity | change: shift, alter | check: verify, inspect | child: youngster
    choose: pick, select | city: town | clear: plain | clearly: plainly, evidently | client: patron | collaborator: partner
    come: arrive | company: firm | computer: machine | consider: weigh, ponder | cook: prepare, make | coop: pen | corner: nook | courage: bravery | crazy: wild
    create: make, form | culture: way of life, tradition | customer: client, patron | day: date | dead: lifeless, gone | decide: resolve | demand: need
    detail: particular, point | develop: build, grow | die: perish, pass away | died: perished, passed away | different: distinct, unlike
    difficult: hard, tough | distance: gap | divide: split, separate | drowned: sank | during: throughout
    easily: with ease, readily | easy: simple | economy: market | education: schooling, learning | effect: impact | effort: work, labour
    energy: power | enjoy: like, relish | enough: sufficient, adequate | ensure: see to | especially: above all | essential: vital, key
    evening: dusk | everyone: all, everybody | everything: all of it, the whole | exactly: precisely, just
    example: case, instance | explain: describe | fact: truth | fake: false, sham | family: household | fast: quick | feather: plume | feed: nourish, supply
    feel: sense | festival: celebration | field: area, domain | final: last | finally: at last, in the end | find: discover, see
    finger: digit | first: initial, earliest | flesh: meat, skin | forest: woods, woodland | found: discovered, located | founding: creation, origin
    free: open, at liberty | freedom: liberty | fresh: new | friend: companion, pal | fuel: gas, petrol | fun: enjoyable | future: time ahead, tomorrow
    garden: yard | generally: mostly, in general | get: obtain, gain | give: offer, provide | go: move, head | goal: aim | good: fine, sound
    great: grand, splendid | group: set, team | grow: rise, expand | habit: routine, custom | happy: glad, joyful | hard: tough, difficult
    harvest: crop | health: well-being | help: aid, assist | helpful: useful | high: elevated
    holiday: vacation, break | home: house | honesty: candour | house: home | however: still, even so, yet | human: person | idea: thought, notion | impact: effect
    important: vital, weighty, key | improve: enhance | include: contain, cover | increase: rise, raise | instead: rather
    interesting: engaging, curious | invasion: attack | issue: matter, problem | job: post, work | journey: trip, voyage | just: simply, only | key: main, central
    kid: child, youngster | kill: slay, end | killer: slayer | kind: type, sort | kitchen: galley | know: understand | lantern: lamp | large: big, sizeable | last: final
    law: rule, statute | lawsuit: case, legal action | learn: study, find out | lesson: teaching | letter: note, message | library: book collection | life: existence
    list: set | literally: truly, really | little: small, slight | long: lengthy | look: glance | lot: great deal
    love: affection, fondness | main: chief, major | make: create, produce | man: fellow, gentleman | many: numerous, lots of, countless | market: marketplace | matter: issue
    maybe: perhaps, possibly | mean: signify | meanwhile: at the same time | measure: gauge | memory: recollection | method: way, approach
    mileage: distance | mirror: looking glass | moment: instant | money: cash, funds | morning: dawn | mountain: peak | move: shift
    name: title, label | need: require | neighbour: person next door | never: at no time, not ever | new: fresh, novel | nice: pleasant, kind | nickname: pet name | night: evening
    notebook: jotter | number: figure, amount | nursery: playroom | obviously: plainly | occupy: hold, fill | offer: provide, give | often: frequently, many times
    old: aged | only: just, merely | open: start | opportunity: chance | order: sequence | outcome: result
    parody: spoof | part: piece, portion | patience: calm | pattern: design | peace: calm, harmony | pencil: crayon | people: folks, individuals
    perfect: ideal | perfume: scent, fragrance | perhaps: maybe, possibly | person: individual, human being | photography: taking pictures | picture: image, photo | place: spot, location
    plan: scheme | play: perform | pocket: pouch | point: matter | popular: well-liked | positive: good | possible: feasible, conceivable | power: strength
    prehistoric: ancient | president: leader, head of state | pretty: lovely, rather | probably: likely, in all likelihood | problem: issue, difficulty
    process: procedure | project: plan, undertaking | promise: pledge, vow | proposal: plan, offer | provide: give, supply | purpose: aim, goal | put: place
    question: query | quick: fast, swift | quickly: fast, swiftly, rapidly | quiet: silent | quite: fairly, rather | railway: train line | rather: fairly, somewhat
    read: study | real: true, actual | really: truly, indeed | reason: cause, ground | receive: get | record: account | reduce: lower, cut | remember: recall
    rename: relabel | require: need | reschedule: move | result: outcome, effect | revolution: uprising, upheaval | ribbon: band | rich: wealthy, affluent | ride: travel, drive
    right: correct | river: stream, waterway | rock: stone, boulder | room: space, chamber | run: operate, sprint | sad: unhappy, sorrowful | safe: secure
    say: state, remark | said: stated, remarked | science: research, knowledge | season: time of year | see: notice, view | seem: appear | sell: trade | several: some, a few, various
    shadow: shade | shelter: refuge | short: brief | show: display, reveal | silence: quiet | simple: plain, easy | simply: just, merely
    skill: ability | slaughter: killing | sleep: rest, slumber | slow: gradual, unhurried | small: little, tiny | smart: clever, bright | someone: a person, somebody | something: a thing, one thing
    sometimes: at times, now and then | song: tune, melody | soon: shortly | special: particular, distinctive | spend: use | start: begin | startup: young company, new firm
    state: condition | station: stop, depot | stay: remain | step: stage, move | still: even now, yet | stop: halt, cease | story: tale, account | storytelling: narration
    stress: strain, pressure | strong: sturdy, powerful | study: research | success: triumph | suggest: propose | summer: warm season | supper: evening meal | supply: provide, stock
    support: back, help | surely: no doubt | swift: fast, quick | take: grab, carry | talk: speak | task: job, duty | tax: levy, duty | teacher: instructor, tutor | tell: inform
    thing: item, matter | think: believe, feel | thought: idea | ticket: pass | time: period, moment
    tip: hint, pointer | today: now, at present | together: jointly, as one | tool: device | top: best, peak | town: city | tradition: custom | traffic: road use
    travel: journey, go | true: real, right | truly: really | try: attempt | type: kind, sort | umbrella: parasol | underperform: fall short | unfortunately: sadly, alas | unique: distinctive, singular
    university: college, school | use: employ, apply | used: employed, applied | useful: helpful, handy | using: employing, with | usually: mostly, as a rule
    valley: vale | various: several, diverse | vary: differ, change | very: extremely, really | view: outlook | village: hamlet | visit: see, call on
    visitor: guest, caller | walk: stroll | want: wish, desire | way: manner, method | weather: climate | week: seven days | weekend: days off
    whole: entire | window: pane | winter: cold season | wisdom: insight, good sense | woman: lady | wonder: marvel | wonderful: delightful, marvellous, splendid | work: labour, effort
    workshop: studio | world: globe, earth | write: pen, compose | wrong: mistaken | year: twelve months | yes: indeed, sure | yesterday: the day before | young: youthful
    youngins: children
"""
_AFTER_ARTICLE = """
    aim: goal | answer: reply | approach: method | change: shift, alteration | check: test | cook: chef | cut: reduction
    demand: request | divide: gap | feed: fodder | feel: texture | field: area | fun: joy | help: aid | kill: catch | kind: sort
    increase: rise, growth | key: secret | like: match | look: glance, appearance | love: affection | make: brand | measure: step | move: step | need: requirement
    open: outdoors | order: sequence | place: spot | plan: scheme | play: drama | present: gift | process: procedure | promise: pledge
    record: account | result: outcome | ride: trip | rise: increase | rock: stone | run: sprint | say: voice | show: display | sleep: rest
    start: beginning | top: peak | state: condition | step: stage | stop: halt | study: survey | supply: stock | support: backing | swift: bird
    take: view | talk: lecture | tax: levy | thought: idea | travel: journey | try: attempt | use: usage, application | walk: stroll
    watch: clock | work: labour, effort
"""
_AFTER_PRONOUN = """
    answer: reply | approach: near | check: verify, inspect | cook: prepare | cut: reduce | demand: require | feed: nourish
    increase: raise | issue: release, publish | open: unlock
    field: handle | help: assist | kill: slay | like: enjoy, love | look: glance | love: adore | make: create, produce | measure: gauge | mind: care
    name: call | need: require | order: request | place: put | plan: intend | play: perform | record: note | result: end | ride: travel
    run: sprint | show: display | sleep: rest, slumber | slow: ease | star: shine | start: begin | state: declare | step: tread | stop: halt
    study: examine | supply: provide | support: back | talk: speak | tax: burden | travel: journey | try: attempt | use: employ, apply
    walk: stroll | work: labour, toil
"""


def _table(entries: str) -> dict[str, tuple[str, ...]]:
    pairs = [entry.split(":") for entry in re.split(r"[|\n]", entries) if ":" in entry]
    return {w.strip(): tuple(c.strip() for c in choices.split(",")) for w, choices in pairs}


SYNONYMS = _table(_SYNONYMS)
"""Word to words that can stand in its place."""
NOUN_SYNONYMS = _table(_AFTER_ARTICLE)
"""The same for words that are nouns after an article and mean something else as verbs."""
VERB_SYNONYMS = _table(_AFTER_PRONOUN)
"""The same for words that are verbs after a pronoun or "to"."""

VERBS = frozenset(
    """
    allow ask become begin bring build buy change choose come consider create decide develop die divide ensure enjoy explain find get
    give go grow improve include increase know learn make mean need occupy offer prepare provide put read receive reduce remember
    rename require reschedule run say see seem sell spend stay stop suggest support take tell think try underperform use vary visit walk
    want write batted died drowned found said used using
    """.split()
)
"""Words whose synonyms in `SYNONYMS` are verbs: only those have synonyms for "-ing" and "-ed" there."""

MENTIONS = (
    "Another word that fits here is {0}.",
    "A related word is {0}.",
    "This also brings {0} to mind.",
    "Think of {0} as well.",
    "It is also worth mentioning {0}.",
)
"""Sentences that a word of any kind can be put into."""
MENTIONS_OF_SEVERAL = (
    "Other words that fit here are {0}.",
    "Related words are {0}.",
    "This also brings {0} to mind.",
    "Think of {0} as well.",
    "It is also worth mentioning {0}.",
)
"""The same for several words."""
REPEATS = (
    "Think of {0} and remember {0}.",
    "Start with {0} and end with {0}.",
    "It is all about {0} and still more {0}.",
    "Consider {0} and keep {0} in mind.",
    "Read about {0} and talk about {0}.",
    "Some like {0} and some need {0}.",
    "Ask what {0} is and where {0} comes from.",
    "First comes {0} and then more {0}.",
    "Without {0} there is no {0}.",
    "Look at {0} and then look at {0} again.",
)
"""Sentences with a word twice."""
LETTER_SENTENCES = ("Related words are {0}.", "Other words that fit are {0}.", "Also think of {0}.")
"""Sentences for words with a letter, joined by "and"."""
LETTER_WORDS = {
    letter: tuple(words.split())
    for letter, words in {
        "a": "banana panorama avocado canal banana-cake",
        "b": "bubble rabbit babble bumblebee hobby",
        "c": "circle concert bicycle coconut accuracy",
        "d": "added daydream hidden riddle duckling",
        "e": "evergreen between seventeen sleeve here",
        "f": "fluffy coffee daffodil offer waffle",
        "g": "giggle baggage foggy garage jogging",
        "h": "health hitchhike high cheetah rhythm",
        "i": "visibility liking civic icing limit",
        "j": "jigsaw jam journey enjoy joyful",
        "k": "kick knack bookmark kayak cookie",
        "l": "lullaby village lively pillow hillside",
        "m": "memory momentum hammock summer minimum",
        "n": "nonsense announcement linen cannon onion",
        "o": "outdoor bookshop monsoon moonlight tomorrow",
        "p": "puppet apple happy pepper paper-clip",
        "q": "quick question quiet quality unique",
        "r": "river mirror horror carrier arrow",
        "s": "success session grass lessons sunset",
        "t": "tattoo tomato attention attitude potato",
        "u": "unusual museum future luxury sunburn",
        "v": "vivid survive valve velvet evolve",
        "w": "window willow wigwam swallow arrow-weed",
        "x": "mix extra complex relax box",
        "y": "yearly symmetry yesterday mystery yummy",
        "z": "puzzle pizza buzz dazzle zigzag",
    }.items()
}
"""Letter to everyday words with it."""
PLACEHOLDERS = (
    *(
        "name",
        "date",
        "address",
        "phone number",
        "email address",
        "city",
        "company",
        "website",
        "time",
        "place",
    ),
    *(
        "job title",
        "signature",
        "postal code",
        "reference number",
        "country",
        "contact person",
        "department",
    ),
    *("street", "opening hours", "price", "deadline", "topic", "language", "age", "comment"),
)
"""What a placeholder can stand for."""
POSTSCRIPT_SENTENCES = (
    "I hope this helps.",
    "Thank you for reading.",
    "Feel free to ask if anything is unclear.",
    "Take care and good luck.",
    "Let me know what you think.",
)
"""Postscripts that fit any text."""


def topic_words(text: str, prompt: str, rng: random.Random) -> Iterator[str]:
    """Titles made of words that the text repeats, or shares with the prompt."""
    words = re.findall(r"[A-Za-z][a-z]{3,}", text)
    content = [word for word in words if word.lower() not in FUNCTION_WORDS and len(word) < 16]
    counts = Counter(word.lower() for word in content)
    asked = set(re.findall(r"[a-z]{4,}", prompt.lower()))
    counts.update({word: 2 for word in counts if word in asked})
    first = {word: place for place, word in reversed([*enumerate(counts)])}
    common = [word for word, _ in counts.most_common(4)]
    sizes = [2, 1, 3]
    rng.shuffle(sizes)
    for size in sizes:
        chosen = sorted(rng.sample(common, min(size, len(common))), key=lambda word: first[word])
        if chosen:
            yield " ".join(word.capitalize() for word in chosen)
    yield from ("A Short Answer", "The Answer", "In Brief")
