r"""Rules for conjunctions, prepositions, adverbs and set phrases, as `spar.rewrite.english.function_words` reads them.

    as
        such as => like

A set phrase with `!` is one in which a word means something else than by itself: "in order to", "last year".
"""

from __future__ import annotations

PHRASE_RULES = r"""
and
    ^and so on => !
    ^and (\w+) => \1
    , and (<subject>|this|that|these)\b => ; \1
    (\w+) and \1 => !
    (?<=\w)(,?) and(?= \w) => \1 &
or
    whether or not => whether
    more or less => roughly
but
    not (?:\w+ ){1,3}but => !
    ^but (why|what|how|who|where|when) => \1
    not only .{1,30}, but also => !
    but (?:also|rather|instead|not) => !
    (?:nothing|anything|all|none|everyone|everything|no one) but => !
    ^but(?= \w) => yet
    (?<=\w)(,?) but(?= \w) => \1 yet
because
    because of => owing to || due to
    because(?= \w) => since || as
    because => !
if
    as if(?= \w) => as though
    even if(?= \w) => even when
    what if => !
    if (?:only|any|so|not)\b => !
    if (possible|necessary|needed) => where \1
    (know|see|ask|asked|wonder|wondered|check|decide|determine|sure|tell|unsure|test|verify|out) if => \1 whether
    if \w+(?: \w+)? (?:were|had|would|could)\b => !
    if(?= \w) => when
when
    when(?= \w+ing\b) => while
    when(?= <subject> (?:am|is|are|was|were)\b) => while
so
    so that(?: is| was)\b => !
    so that => in order that
    so far => until now
    and so on => etc.
    (?:do|think|hope|or|if|even|ever|is|did|does|and) so => !
    so as to => in order to
    so (?:much|many|few|little)\b => !
    ^so,? (\w+) => \1
    , so(?= (?:<subject>|this|these|the|my|your|his|her|our|their|a)\b) => ; thus
    so (?:<adjective>|\w+) that\b => !
    (is|are|was|were|am|be|been|feel|feels|felt|'s|'re|'m) so(?= (?!<subject>\b|<det>\b)\w) => \1 very
as
    ^as well as => besides
    , as well as => , and
    as well as => and
    as well<end> => too
    such as(?= \w) => like
    as to => about
than
    (?:no|not) (?:more|less) than => !
    more than(?= (?:<number>)\b) => over
    less than(?= (?:<number>)\b) => under
of
    because of => owing to || due to
    instead of => rather than
    (\d[\d.]*) out of (\d+) => \1/\2
    (came|come|made|taken|took|walk|walked) out of(?= (?:the|a|an|my|your|his|her|this|that)\b) => \1 from
    of course => naturally
    full of => filled with
    (?<!not )all of (the|my|your|our|their|his|her|these|those|this|that)\b => all \1
    half of (the|my|your|our|their|his|her|these|those)\b => half \1
    (inside|outside|off) of (the|a|an|my|your|his|her|our|their)\b => \1 \2
    made of => made from
    a number of => several
    a couple of => a few
    (think|thinks|thought|thinking|dream|dreamed|heard|hear|speak|speaking|talk) of => \1 about
    one of the (most|best|largest|oldest) => among the \1
    north|south|east|west of => !
    in front of => before
    in spite of => despite
    a lot of people => many people
    lots of => many
    on top of => atop
to
    (have|need|needs|has) to(?= \w) => must
    ought to => should
    due to => because of
    close to => near
    next to => beside
    in addition to => besides
    prior to => before
    thanks to => because of
    similar to => like
    compared to => compared with
    (help|helps|helped) to(?= \w) => \1
    in order to(?= \w) => !
    from (\d+) to (\d+) => \1–\2
    (\d+) to (\d+) => \1–\2
in
    in (?:order|case|front|terms|spite|addition to|charge|love|need|mind|touch|which|that)\b => !
    in fact => actually
    in general => generally
    in addition => additionally
    in particular => particularly
    in conclusion => to conclude
    in short => briefly
    in summary => to sum up
    (?:interested|involved|engaged|believe|believes|believed|result|results|succeed|participate|specialize|invest|invested|interest|live|come|fill|step|dressed|join|joins|add|whisk|fold|mix|stir|sift|rub|put|bring|give|take|turn|check|log|sign|plug) in => !
    in the (past|morning|afternoon|evening|middle|future)\b => !
    in \w+ (?:case|opinion|view|life|mind|time|way|sense|own|turn|cases|ways)\b => !
    in(?= (?:the|a|an|this|that|every|each|my|your|our|their|its)\b (?!same\b|way\b|end\b|world\b|first\b|morning\b|afternoon\b|evening\b|sun\b|middle\b|other\b|following\b|past\b|future\b)) => within
    in(?= (?:january|february|march|april|may|june|july|august|september|october|november|december|\d{4})\b) => during
on
    (?:turn|turned|put|go|goes|went|come|carry|keep|kept|try|move|hold|get|later|early|and so|from|switch|so) on => !
    on(?= (?:monday|tuesday|wednesday|thursday|friday|saturday|sunday)\b) => !
    on (?:the (?:other|one|contrary|whole|way|go|internet|web|phone|spot|market|rise|basis|side|top|left|right)|\w+ own)\b => !
    \d%? on => !
    on(?= (?:the|a|an|this|that|every|each|my|your|our|their|its)\b) => upon
at
    at first => initially
    at last => finally
    at once => immediately
    at least(?= <number>) => no fewer than
for
    for example => e.g.
    for instance => e.g.
by
    by(?= (?!morning\b|evening\b|spring\b)\w{2,}ing\b) => through
about
    about(?= <number>\b) => around
    (?:what|how|is|are|was|were|bring|brings|come) about => !
    about to => !
    about(?= (?:the same|half|halfway|as)\b) => roughly
    about(?= (?:<det>|\w+s|it|them|him|her|us|me|you)\b) => regarding
over
    over(?= (?:[$€£]?\d|<number>\b)) => more than
after
    after(?= <subject>\b) => once
    after(?= (?:the|a|an|\d+|\w{2,}ing)\b) => following
before
    before(?= (?:the|a|an|\w{2,}ing)\b) => prior to
through
    through(?= (?!morning\b|evening\b|spring\b)\w{2,}ing\b) => by
without
    without (?:a|an|any)(?= \w) => with no
    without(?= (?:the|\w+ing|my|your|his|her|its|our|their|it|them)\b) => !
    without(?= [a-z]) => with no
upon
    once upon => !
    upon => on
until
    until => till
since
    since(?= (?:<subject>|the)\b) => because
then
    (more|back|until|since|by|than|only|just) then => !
    ^then,? (\w+) => after that \1
    (?:if|when) .{1,40}, then (\w+) => !
    and then(?= \w) => and afterwards
now
    now that => since
    by now => !
    (?:right|until|from|till) now => !
    now => currently
ever
    (?:hardly|than|for|if|happily) ever => !
    ever (?:since|after|so)\b => !
    (\w+) ever(?= \w) => \1
yet
    as yet => so far
    (?:not|\w+n't) yet => !
    ^yet => but
    , yet(?= \w) => , but
though
    (?:even|as) though => !
    ^though => although
    , though(?= \w) => , although
although
    although => though || even though
while
    (?:a|the|once|worth|long|short) while => !
    while(?= (?:<subject>|the|my|your|our|their|some|others?)\b) => as || whereas
like
    ^like(?= (?:me|him|her|them|us|it|<det>)\b) => !
    (look|looks|looked|feel|feels|felt|sound|sounds|seem|seems|taste|tastes|smell|smells|just|is|are|was|were|be) like => !
    (would|'d) like to => \1 love to
    like to => love to
    (i|you|we|they|would|don't|to|people|not|really) like(?= (?!<end>)\w) => \1 enjoy
    (he|she|it|who) likes(?= \w) => \1 enjoys
    (\w+s),? like(?= [a-z]) => \1 such as
well
    ^as well as => besides
    as well as => and
    as well<end> => too
    (?:very|so|may|might|just|how|pretty|quite|the|a|oil|all|be|is|am|are|was|get|feel|do|doing|it|too|not) well => !
    ^well, (\w+) => \1
    (\w+) well<end> => \1 nicely
rather
    rather than(?= (?:<det>|\w+ing)\b) => instead of
    (?:rather than|would rather|'d rather|or rather|but rather) => !
    rather(?= <adjective>\b) => fairly || quite
order
    in order to(?= \w) => to
    in order that => so that
    out of order => !
time
    at the same time => simultaneously
    (?:for the first|in|on|at a|same|all the|first|last|this|next|every|each|one|any|some|long|of the) time => !
first
    at first => initially
    ^first, (\w+) => to begin, \1
    (?:look|come|comes|came|go|goes|went) first => !
    first(?= (?:is|was|time|name|lady|person|class|aid|hand|come|of)\b) => !
    (?<=the )first => initial || earliest
last
    last but not least => finally
    at last => finally
    last (week|year|month|night|summer|winter|spring|century|time|name)\b => the previous \1
    (?:will|would|can|could|to|they|may|you|should) last => !
    (?<=the )last(?= [a-z]) => final
day
    every day => daily
    one day => once
    (?:all|each|some|to this|other|per|a|of the|birth|all) day => !
long
    as long as => provided
    (?:no|how|so|not|for|before|too) long => !
    long (?:ago|for|before|after|enough)\b => !
right
    right now => now
    right away => at once
    (?:all|on the|to the|the|a|have the|human|turn|your|my|its) right => !
high
    high (?:school|tech|sea|seas|level|quality|end|time|speed|street)\b => !
course
    of course => naturally
think
    think of => imagine
    think about => consider
    think(?! (?:that|it|this|i|you|we|he|she|they|the)\b) => !
work
    work (?:with|for|in|at|on|as)\b => !
    (?:at|to|doesn't|don't|not|must|will) work => !
working
    working (?:with|for|in|at|on|as)\b => !
used
    used to => !
still
    (?:stand|stands|stood|sit|sat|stay|stayed|keep|hold|lie|lay) still => !
way
    by the way => incidentally
    (?:all the|on the|in the|in any|in a|no|half|the other|the same|under|give|gave|make|long|your|my|his|her|their) way => !
fact
    in fact => actually
addition
    in addition to => besides
    in addition => moreover
general
    in general => generally
conclusion
    in conclusion => to conclude
example
    for example => for instance
instance
    for instance => for example
behalf
    on behalf of => for
human
    human(?= (?!is\b|was\b|can\b|has\b|who\b|and\b|or\b|will\b)\w) => !
look
    look (?:forward|up|after|for|into|out) => !
    look at => see
instead
    instead of => rather than
make
    make sure => ensure
    make (?:you|me|us|him|her|them|it|people|sense|use|fun|up|friends|progress|room|way|do)\b => !
take
    take (?:pride|care|place|part|time|turns|notice|note|off|over|on|up|out|away|it|me|you|us|them)\b => !
    take advantage of => exploit
    take a look at => look at
future
    in the future => later on
    ^future(?= [a-z]{5,}) => later
    (?:the|a|in|of|our|your|my|their|his|her) future(?= [a-z]{5,}) => !
thank
    thank you (?:so|very) much => many thanks
    thank you => thanks
    thank(?= (?:him|her|them|us|me|the|my|our|their|everyone|all)\b) => express gratitude to
thanks
    thanks to => because of
    thanks(?= for\b) => thank you
    ^thanks => thank you
ask
    ask for => request
    ask(?= (?:how|what|why|where|when|who|whether|if)\b) => inquire
asked
    asked for => requested
come
    come (?:in|on|up|from|true|with|to|out|back|of|across|into|down|over)\b => !
know
    let (me|you|us|them|him|her|people) know => tell \1
good
    (?:common|for|any|no|greater|much) good => !
best
    (?:my|your|his|her|our|their|its|at|do) best => !
world
    in the world => on earth
    around the world => across the globe
summer
    (in|during|like|until|of|for|by) summer<end> => \1 the warm season
    (?:in|during|like|until|of|for|by|like) summer => !
winter
    (in|during|like|until|of|for|by) winter<end> => \1 the cold season
    (?:in|during|like|until|of|for|by|like) winter => !
breakfast
    (after|before|for|at|during) breakfast => \1 the morning meal
also
    but also(?= \w) => but
    also<end> => too || as well
    ^also, => besides,
    (\w+) also(?= \w) => \1
however
    , however, => , though,
    ^however, => still, || even so,
    however(?= \w) => !
week
    a week => seven days
    (?:the|this|last|next|each|every|per|of|our|your|my) week => !
weekend
    (?:a|this|last|next|each|every) weekend => !
year
    a year => twelve months
    (?:the|this|last|next|each|every|per|of|new|school|old|leap) year => !
today
    today's => the current
something
    something else => another thing
    something (?:like|<adjective>)\b => !
someone
    someone else => another person
    someone <adjective>\b => !
help
    (?:to|can|will|may|could|would|might|they|we|you|i|and|also|that) help (?:<det> )?[a-z]+ (?:to )?[a-z]+ => !
learn
    learn (?:how )?to(?= \w) => find out how to
    learn about => study
need
    (i|you|we|they) need to => \1 must
    need to => must
    need not => !
only
    (the|my|your|his|her|its|our|their|an) only(?= [a-z]) => \1 sole
pretty
    pretty(?= (?:<adjective>|\w+ly|much|well)\b) => rather || fairly
    pretty => lovely
together
    together with => along with
result
    as a result => consequently
run
    in the long run => over time
    run(?= (?:a|an|the|my|your|our|his|her|their|it|this)\b) => operate
ride
    ride(?= (?:a|the|my|your|our|his|her|their)\b) => take
night
    at night => after dark
    good night => !
"""
"""Of words that join others, and of words in set phrases."""
