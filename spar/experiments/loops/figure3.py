"""Figure 3 with Tables 1 and 6: scores over the iterations of SPaR's loop, with a search on top, beside other methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from spar.eval.paper import IFEVAL
from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.experiment import (
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    line,
    paper_table,
)
from spar.experiments.loops.health_tables import HEALTH_IN_WORDS, health_table
from spar.experiments.loops.loops import (
    GREEDY,
    OWN,
    PAPERS,
    SAMPLED,
    Loops,
    Sizes,
    only_embedded,
    rivals,
    sizes_in_words,
    stand_ins,
)
from spar.experiments.loops.pool import Arm, run_loops
from spar.experiments.loops.tested import calls_of_drafts, shares_on_tests, with_drafts
from spar.record.evaluation import Share
from spar.record.experiments import Cell, Measured, Panel, Plot, Table

SEARCHED = "bfs"

IMPROVES = Wordings(
    "Self-play training improves the actor (sampled drafts).",
    holds="It holds: {last} iterations gain {difference}.",
    fails="It does not hold: {last} iterations change it by {difference}.",
    open="Inconclusive: {last} iterations change it by {difference}.",
)
GOES_ON = Wordings(
    "It goes on improving after the first iteration.",
    holds="It holds: from iteration 1 to {last} it gains {difference}.",
    fails="It does not hold: from iteration 1 to {last} it loses, {difference}.",
    open="Inconclusive: from iteration 1 to {last} it changes by {difference}.",
)
SEARCH_ADDS = Wordings(
    "Tree search at inference adds to what training gave.",
    holds="It holds: with BFS on top the trained models gain {difference} over greedy decoding.",
    fails="It does not hold: with BFS on top the trained models lose {difference} against greedy decoding.",
    open="Inconclusive: BFS on top changes it by {difference}.",
)
BEATS_RIVAL = Wordings(
    "{whose}SPaR ends above {rival}.",
    holds="It holds: by {difference}, sampled; tokens generated for training: {ours:,.0f} and {theirs:,.0f}.",
    fails="It does not hold: it ends below, {difference}, sampled; tokens generated for training: {ours:,.0f} and {theirs:,.0f}.",
    open="Inconclusive: they differ by {difference}, sampled; tokens generated for training: {ours:,.0f} and {theirs:,.0f}.",
)


async def measure_figure3(plan: Plan) -> Measured:
    """A loop a seed and method, and the last models with a search on top."""
    recipes = {OWN: PAPERS, **rivals(plan)}
    trained = await run_loops(plan, *(Arm(recipe, recipe=recipe) for recipe in recipes))
    methods = {}
    for (recipe, method), loops in zip(recipes.items(), trained, strict=True):
        methods[method] = await with_drafts(plan, recipe, loops)
    own = methods[PAPERS]
    searched = await _with_search(plan, own)
    greedy = own.shares(GREEDY, "pass", own.last)
    gain = own.gain(SAMPLED, "pass", 0, own.last)
    claims = [
        IMPROVES.judge(gain, last=own.last),
        GOES_ON.judge(own.gain(SAMPLED, "pass", 1, own.last), last=own.last),
        SEARCH_ADDS.judge(over_seeds(searched, greedy)),
    ]
    for method, loops in list(methods.items())[1:]:
        difference = own.ahead_of(loops, SAMPLED, "pass")
        tokens = {"ours": own.tokens(own.last), "theirs": loops.tokens(loops.last)}
        claims.append(_beats(method).judge(difference, **tokens))
    return Measured(
        tables=(
            _figure3_table(methods, over_seeds(searched)),
            _tokens_table(methods),
            health_table("figure3-drafts", methods),
        ),
        plots=(_figure3_plot(methods, gain.n), tokens_plot("figure3-tokens", methods, gain.n)),
        claims=tuple(claims),
        notes=(
            "Every loop has the same training prompts in the same order and the same test prompts; a rival takes its own recipe's number of "
            "drafts and judgements, so the tokens that it generates for its training data differ: they are in the table.",
            f"Drafts are tested on {gain.n} prompts, whatever the share of training prompts, one greedy and one sampled at temperature 0.9 for every "
            "method, whatever its recipe trains on.",
            "Iteration 0 is the embedded model, the start of every method, and all end after as many iterations, whatever their recipes have. A "
            "method that the paper compares with and that has no recipe here is left out.",
            stand_ins(plan),
            f"{HEALTH_IN_WORDS}.",
            f"The stages of all loops took {sum(loops.seconds() for loops in methods.values()) / 3600:.1f} hours, added up, whenever they ran.",
        ),
        headline=f"{own.last} iterations: {100 * gain.value:+.1f} points, sampled",
    )


def _beats(method: str) -> Wordings:
    """The claim against a method; the paper has rows of most."""
    ours = any(row.startswith(method) for row in IFEVAL.rows)
    return BEATS_RIVAL.of(rival=method, whose="" if ours else "(Not in the paper.) ")


def methods_table(
    name: str, methods: Mapping[str, Loops], more: Iterable[tuple[Cell, ...]] = ()
) -> Table:
    """A row a method and iteration, then some more: drafts that pass, greedy and sampled, and the tokens generated for training by then."""
    rows: list[tuple[Cell, ...]] = [
        (
            method,
            time,
            as_number(loops.mean(GREEDY, "pass", time)),
            as_number(loops.mean(SAMPLED, "pass", time)),
            round(loops.tokens(time)),
        )
        for method, loops in methods.items()
        for time in loops.times
    ]
    return Table(
        name=name,
        title="One row a method and iteration.",
        columns=("method", "iteration", "greedy, %", "sampled, %", "tokens for training"),
        rows=(*rows, *more),
    )


def _figure3_table(methods: Mapping[str, Loops], searched: SeedMean) -> Table:
    own = methods[PAPERS]
    on_top = f"{PAPERS} with tree search"
    row = (on_top, own.last, as_number(searched), None, round(own.tokens(own.last)))
    return methods_table("figure3", methods, [row])


def _tokens_table(methods: Mapping[str, Loops]) -> Table:
    """Each rival after its last iteration, beside the paper's method where it had generated about as many tokens."""
    own = methods[PAPERS]
    rows: list[tuple[Cell, ...]] = []
    for method, loops in list(methods.items())[1:]:
        tokens = loops.tokens(loops.last)
        time = min(own.times[1:], key=lambda time: _times_apart(own.tokens(time), tokens))
        rows.append(
            (
                method,
                loops.last,
                round(tokens),
                time,
                round(own.tokens(time)),
                *(
                    as_number(own.ahead_of(loops, title, "pass", time=time), "points")
                    for title in (GREEDY, SAMPLED)
                ),
            )
        )
    return Table(
        name="figure3-tokens",
        title=f"Each method after its last iteration, and {PAPERS} after the iteration whose tokens for training are nearest to it in ratio; "
        f"by how many points {PAPERS} is ahead, with 95 % intervals. Where {PAPERS} has generated many more, being ahead is no gain.",
        columns=(
            "method",
            "iteration",
            "tokens",
            f"{PAPERS}'s iteration",
            f"{PAPERS}'s tokens",
            "ahead, greedy",
            "ahead, sampled",
        ),
        rows=tuple(rows),
    )


def _times_apart(one: float, other: float) -> float:
    """How many times as large the larger number of tokens is."""
    low, high = sorted((max(one, 1.0), max(other, 1.0)))
    return high / low


def _figure3_plot(methods: Mapping[str, Loops], n: int) -> Plot:
    panels = tuple(
        Panel(
            x=f"iteration ({title} drafts)",
            series=tuple(
                line(method, loops.points(title, "pass")) for method, loops in methods.items()
            ),
        )
        for title in (GREEDY, SAMPLED)
    )
    title = f"Drafts that meet every constraint, n = {n}"
    return Plot(name="figure3", title=title, y="pass, %", panels=panels)


def tokens_plot(name: str, methods: Mapping[str, Loops], n: int) -> Plot:
    """What a method has reached with the tokens that it had generated, from its first iteration on."""
    series = tuple(
        line(method, [(loops.tokens(t), loops.mean(SAMPLED, "pass", t)) for t in loops.times[1:]])
        for method, loops in methods.items()
    )
    return Plot(
        name=name,
        title=f"Sampled drafts by tokens generated for training, n = {n}",
        y="pass, %",
        panels=(Panel(x="tokens generated for training", series=series, log=True),),
    )


async def _with_search(plan: Plan, loops: Loops) -> list[dict[str, Share]]:
    """Each seed's last models with the paper's search on top."""
    found = []
    for seed, models in zip(plan.seed_values, loops.models(loops.last), strict=True):
        out = plan.folder("figure3") / f"searched-{seed}"
        settings = {"actor_model": models.actor, "refiner_model": models.refiner}
        found.append(await shares_on_tests(plan, out, seed, strategy=SEARCHED, **settings))
    return found


FIGURE3 = Experiment(
    name="figure3",
    source="Figure 3, Tables 1 and 6",
    title="Scores over the iterations of self-play",
    question="How much does the actor gain from each iteration, what does a search add, and how does that compare with other methods?",
    measure=measure_figure3,
    cost=lambda plan: Cost(
        plan.seeds * Sizes.of(plan).tested * (15 + calls_of_drafts(plan, 1 + len(rivals(plan)))),
        f"SPaR and {len(rivals(plan))} other methods, {sizes_in_words(plan, tested=True)}, a search on top",
        loops=(OWN, *rivals(plan)),
    ),
    sizes=lambda plan: {**Sizes.of(plan).stored_tested(), "methods": [OWN, *rivals(plan)]},
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(IFEVAL),),
)
