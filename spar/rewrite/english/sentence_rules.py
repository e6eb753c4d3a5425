r"""Rules for auxiliaries, "not", pronouns, determiners, quantifiers and contractions, as `spar.rewrite.english.function_words` reads them.

    is
        is not => isn't

A word stands in a line of its own, its rules follow, the first that matches counts.
"""

from __future__ import annotations

SENTENCE_RULES = r"""
am
    i am not => I'm not
    i am(?= \w) => I'm
is
    (it|he|she|that|there|here|what|who) is(?= (?!and\b|or\b|but\b)\w) => \1's
    is not => isn't
    is right (?:around|here|there|behind)\b => !
    is(?= (?:<det>|<adjective>)\b(?! to\b)) => remains
are
    (you|they|we) are(?= (?!and\b|or\b|but\b)\w) => \1're
    are not => aren't
    are(?= (?:the|our|your|my|their|<adjective>)\b(?! to\b)) => remain
was
    was not => wasn't
were
    were not => weren't
will
    (i|you|he|she|it|we|they|there) will not => \1 won't
    (i|you|he|she|it|we|they|there) will(?= \w) => \1'll
    will not => won't
    (?:the|a|an|of|my|your|his|her|their|free|good|last|own) will => !
    ~will(?= \w) => shall
would
    would not => wouldn't
    (i|you|he|she|we|they) would(?= (?!have\b)\w) => \1'd
should
    should not => shouldn't
    ~(?<!what )(?<!why )(?<!how )should(?= (?!<subject>\b)\w) => ought to
must
    (i|you|we|they) must(?= (?!not\b)\w) => \1 have to
    (he|she|it) must(?= (?!not\b)\w) => \1 has to
    must not => mustn't
    a must => !
can
    (?:\d|a|the|tin|of) can => !
    can't <subject>\b => !
    can't => cannot || could not
    can not => cannot || can't
    ^can => could
    can(?= <subject>\b) => could
    can(?= \w) => may || could
    can => could
cannot
    cannot => can't || could not
could
    could not => couldn't
    could've => might have
    ^could you => can you
    could <subject>\b => !
    could => might
may
    ^may(?! <subject>) => !
    (?:in|of|this|last|next|until|by|since|from) may => !
    may => might || could
might
    (?:the|all|with|of|their|his|her) might => !
    ~might => may || could
do
    do not => don't
    (?<=to )do(?= (?:it|this|that|the|a|my|your|our|their)\b) => carry out
    (<modal>) do(?= (?:it|this|that|the|a|my|your|our|their)\b) => \1 carry out
does
    does not => doesn't
did
    did not => didn't
have
    (<modal>) not have(?= <participle>\b) => !
    (could|would|should|might|must) have(?= <participle>\b) => \1've
    have not => haven't
    (i|you|we|they) have to => \1 must
    have to => need to
    (i|you|we|they) have (<participle>)\b => \1've \2
    have no => lack
    (?:to|will|can|could|may|might|should) have <participle>\b => !
    (to|will|can|could|may|might|should) have(?= (?:it|them|<det>)\b(?! (?:look|lot|right)\b)) => \1 get
    (i|you|we|they) have(?= (?:a|an|the|some|many|several|two|three|no|one)\b) => \1've got
    have <participle>\b => !
    have(?= (?:a|an|several|many|two|three|four|five|their)\b (?!look\b|break\b|rest\b|chat\b|cold\b)) => possess
has
    has not => hasn't
    has to => needs to
    (he|she|it) has(?= <participle>\b) => \1's
    has no => lacks
    has <participle>\b => !
    (he|she|it) has(?= (?:a|an|the|some|many|several|two|three|one)\b) => \1's got
    has(?= (?:a|an|several|many|two|three|four|five)\b (?!look\b|cold\b|right\b|point\b|lot\b)) => possesses
had
    had not => hadn't
    had to => needed to
    (i|you|he|she|it|we|they) had(?= (?:been|<participle>)\b) => \1'd
    had no => lacked
having
    having no => lacking
not
    (am) not => !
    (is|are|was|were|do|does|did|has|have|had|could|would|should|must|need) not\b(?! only\b| <subject>\b) => \1n't
    will not(?! only\b) => won't
    can not(?! only\b) => can't
    (it|he|she|that|there)'s not(?= (?!been\b|<participle>\b)\w) => \1 isn't
    (they|we|you)'re not => \1 aren't
    (they|we|you|i)'ve not => \1 haven't
    (they|we|you|i|he|she|it)'ll not => \1 won't
    whether or not => whether
no
    no\. \d => !
    no one => nobody
    no longer => !
    no matter => !
    (?:in|at) no time => !
    (?<!not )has no => lacks
    (?<!not )have no => lack
    (?<!not )had no => lacked
    (is|are|was|were) no(?= (?!<adjective>\b|\w+er\b|more\b|less\b)\w) => \1 not any
    ^no, => nope,
    ^no<end> => nope
    with no(?= \w) => without any
that
    (?:so|now|in|such|given|but|provided|except|all|with|after|before) that => !
    ^that(?= (?:<subject>|<det>)\b) => !
    ^that(?= \w) => this
    (?:of|for|to|from|by|on|at|about|like|and|is|was) that => !
    (\w+) that (<subject>|the|my|your|his|her|our|their|these|this|people)\b => \1 \2
    (people|person|man|woman|someone|anyone|everyone|those|friends?|child|children|students?|teachers?) that(?= (?:<aux>)\b) => \1 who
    (know|think|say|says|said|believe|hope|do|did|like|see|want|all|everything|something|anything|nothing) that => !
    (?<=[a-z] )that(?= (?:<aux>)\b) => which
this
    this and that => !
    this => that
these
    these => those
those
    those who => people who
    those => these
the
    (?:both|all) the (\w+s)\b(?! of\b) => !
    the (?:first|last|same|only|best|worst|most|least|other|rest|right|left|more|less|united)\b => !
    the \w+est\b => !
    (?<!of )the (?!this\b|us\b)([a-z]{2,}[b-rtv-z]s)\b(?! of\b|[-'’]) => \1
a
    (?:such|what|quite|half|many|not|is|was|be|as) a => !
    a (?:lot|bit|little|couple|great|good|while|number|few)\b => !
    (once|twice|times?) a(?= (?:day|week|month|year|hour|minute)\b) => \1 per
    ^a(?! [a-z]) => !
    (in|on|at|with|from|by|of|buy|use|take|find|add|make|wait for|need|get|see|write|put) a(?= [a-z]+(?<!ly)(?<!er)(?<!est) ) => \1 one
an
    (?:such|what|quite|half|many|not|is|was|be|as) an => !
    (an) hour (?=each\b|every\b) => !
    (in|on|at|with|from|by|of|buy|use|take|find|add|make|need|get|see|write|put) an(?= [a-z]) => \1 one
it
    (?:find|finds|found|make|makes|made) it \w+ (?:to|that|when)\b => !
    it(?: is|'s| was| would be| will be| may be| can be) (?:\w+ )?<adjective> (?:to|that|for|when|if)\b => !
    it(?: is|'s| was) (?:raining|snowing|sunny|cloudy|windy|late|early|time|dark|up to|worth|called|been|got|\w+ing)\b => !
    it(?:self| (?:takes|took|seems|seemed|appears|depends|rains|rained|snows|snowed|turns|follows|happens|looks|has been))\b => !
    it's => that's
    ^it(?= (?:is|was|has|can|could|will|would|may|might|must|should|isn't|wasn't)\b) => this
    (and|but|that|because|so|if|when|while|,) it(?= (?:is|was|has|can|could|will|would|may|might|must|should)\b) => \1 this
    (to|have|for|of|with|on|in|from|about|about|buy|use|drink|eat|make|try|put|pour|take|get|keep|add|do|see|read|find) it(?!'|’) => \1 this
its
    its own => !
    its(?= [a-z]) => the
your
    your own => !
    your (?:fault|turn|mother|father|mom|dad|parents?|brother|sister|wife|husband|son|daughter|friends?|family|name|way|best|mind)\b => !
    your(?= [a-z]) => the
our
    our own => !
    our(?= [a-z]) => the
their
    their own => !
    their (?:mother|father|mom|dad|parents?|brother|sister|wife|husband|son|daughter|friends?|family|way|best)\b => !
    their(?= [a-z]) => the
who
    (people|person|man|woman|someone|anyone|everyone|those|friends?|child|children|students?|teachers?) who(?= \w) => \1 that
you
    thank you => thanks
    %you're => people are
    %you'll => people will
    %you've => people have
    %(?<!sure )(?<!that )you(?= (?:<aux>|need|want)\b) => people
    %(as|for|to|with|than|of|helps?|gives?|lets?|makes?|tells?|shows?|allows?) you => \1 people
which
    (?:of|in|on|at|for|from|to|by|with|know|decide|see) which => !
    (?<=[a-z] )which(?= (?:<aux>|<subject>)\b) => that
i
    i (?:think|believe|guess|feel|suppose)(?: that)? (i)\b => !
    ^i (?:think|believe|guess|feel|suppose)(?: that)? (it|he|she|we|they|you|this|there|the|my|your)\b => \1
all
    (all) of the (\w+s)\b => the \2
    at all => !
    not all => !
    after all => in the end
    all of us => each of us
    all (?:things|sorts|kinds) => !
    all (day|night|year|week|morning|afternoon|evening) => the whole \1
    all (the|my|your|our|their|his|her|these|those) (\w+s)\b => \1 \2
    all(?= [a-z]\w+s\b) => the
some
    some of => !
    some(?= [a-z]\w+[b-rtv-z]s\b) => a few
every
    every(?= (?!day\b|time\b|now\b|other\b|bit\b|single\b)[a-z]) => each
each
    each(?= (?!other\b|of\b|one\b|day\b|time\b)[a-z]) => every
both
    both (\w+) and (\w+)\b => \1 and \2
many
    many an? => !
    (?:how|so|as|too|a|very|not|great|good) many => !
    many of => a lot of
    many(?= [a-z]) => numerous || lots of || countless
several
    several of => some of
    several(?= [a-z]) => various || a few
much
    (?:so|too|how|very|as|not) much => !
    much(?= (?:better|worse|\w{3,}er|more|less)\b) => far
    much of => a lot of
few
    a few => some
    a few => several
more
    more than(?= <number>\b) => over
    more or less => roughly
    no more than => at most
most
    most people => nearly all people
    the most(?= <adjective>\b) => the very
other
    each other => one another
    (?:the|every|any|no|an|on) other => !
    other than => apart from
    other(?= [a-z]\w+[b-rtv-z]s\b) => different
such
    such as(?= \w) => like
own
    on (?:my|your|his|her|its|our|their) own => alone
    own<end> => !
    (my|your|his|her|its|our|their) own(?= [a-z]) => \1
one
    no one => nobody
    one of => !
    one (?:another|more|day|thing|who|that|which)\b => !
    (with|in|for|at|on|only|just|by|from|and|have|has|had|use|add|make|take|is|was|of) one(?= [a-z]\w+) => \1 a single
two
    two(?= [a-z]) => 2
three
    three(?= [a-z]) => 3
four
    four(?= [a-z]) => 4
five
    five(?= [a-z]) => 5
too
    too (?:much|many|few|little)\b => !
    too(?= (?:<adjective>|\w+ly)\b) => overly
    (\w+) too<end> => \1 as well || \1
    , too<end> => , as well
very
    very (?:much|well|few|little)\b => !
    the very => !
    very(?= (?!much\b|well\b|few\b|little\b|same\b|first\b|last\b)\w) => extremely || really
don't
    don't(?! <subject>\b) => do not
doesn't
    doesn't(?! <subject>\b) => does not
didn't
    didn't(?! <subject>\b) => did not
isn't
    isn't(?! <subject>\b) => is not
aren't
    aren't(?! <subject>\b) => are not
wasn't
    wasn't(?! <subject>\b) => was not
weren't
    weren't(?! <subject>\b) => were not
haven't
    haven't(?! <subject>\b) => have not
hasn't
    hasn't(?! <subject>\b) => has not
hadn't
    hadn't(?! <subject>\b) => had not
couldn't
    couldn't(?! <subject>\b) => could not
wouldn't
    wouldn't(?! <subject>\b) => would not
shouldn't
    shouldn't(?! <subject>\b) => should not
won't
    won't(?! <subject>\b) => will not
i'm
    i'm => I am
you're
    you're => you are
we're
    we're => we are
they're
    they're => they are
i've
    i've => I have
you've
    you've => you have
we've
    we've => we have
they've
    they've => they have
i'll
    i'll => I will
you'll
    you'll => you will
we'll
    we'll => we will
they'll
    they'll => they will
he'll
    he'll => he will
she'll
    she'll => she will
it'll
    it'll => it will
"""
"""Of verb forms, pronouns, determiners, quantifiers and contractions."""
