"""Figure 3 with Tables 1 and 6: scores over the iterations of a loop, with a search on top, beside the rivals.

Also Table 2 over iterations (how well the refiner judges), and Tables 4 and 5: the loop without one of its parts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from spar.config import load_eval
from spar.eval.paper import ACTOR_ABLATIONS, IFEVAL, LLMBAR, REFINER_ABLATIONS
from spar.eval.statistics import SeedMean, over_seeds
from spar.experiments.evaluations import run_evaluation
from spar.experiments.experiment import (
    Cost,
    Experiment,
    Plan,
    Wordings,
    as_number,
    line,
    paper_table,
)
from spar.experiments.loops import (
    OWN,
    Loops,
    Sizes,
    iteration_plot,
    iteration_table,
    rivals,
    run_loops,
)
from spar.record.evaluation import Share, shares_of
from spar.record.experiments import Cell, Claim, Measured, Panel, Plot, Series, Table

GREEDY, SAMPLED, REFINER = "greedy", "sampled", "refiner"
"""Evaluations of the recipe: greedy and sampled drafts of the actor, and the refiner on the first actor's drafts."""
VOTE, MAJORITY, F1 = "judge_vote_acc", "judge_majority_acc", "judge_f1"
PAPERS = "SPaR"
"""The paper's method, as it stands on a page."""
SEARCHED = "bfs"
SAMPLED_PASS, VOTE_RIGHT = "sampled, %", "one vote right, %"
MEASURES: Mapping[str, tuple[str, str]] = {
    "greedy, %": (GREEDY, "pass"),
    SAMPLED_PASS: (SAMPLED, "pass"),
    VOTE_RIGHT: (REFINER, VOTE),
    "majority right, %": (REFINER, MAJORITY),
    "refinements pass, %": (REFINER, "refine_pass"),
}
"""Column of Tables 4 and 5 to the evaluation and its metric."""
SHARED_TIME = "The loops are those of `figure3`: where they were there already, their time is not in this page's."
ARMS: Mapping[str, tuple[str, str]] = {
    "no-search": ("without tree search", "search.strategy=iterative"),
    "no-iteration": ("without iterative training", "iterative=false"),
    "no-refinement": ("without refinement", "pairs=independent"),
    "shuffled": ("shuffled labels (ours)", "shuffle_labels=true"),
}
"""Arm to its name in the paper and the setting that makes it."""
_QUICK_ARMS = ("no-search", "no-refinement")

IMPROVES = Wordings(
    "Self-play training improves the actor (sampled drafts).",
    holds="It holds: {last} iterations gain {difference}.",
    fails="It does not hold: {last} iterations change it by {difference}.",
    open="It cannot be told: {last} iterations change it by {difference}.",
)
GOES_ON = Wordings(
    "It goes on improving after the first iteration.",
    holds="It holds: from iteration 1 to {last} it gains {difference}.",
    fails="It does not hold: from iteration 1 to {last} it loses, {difference}.",
    open="It cannot be told: from iteration 1 to {last} it changes by {difference}.",
)
SEARCH_ADDS = Wordings(
    "Tree search at inference adds to what training gave.",
    holds="It holds: with BFS on top the trained models gain {difference} over greedy decoding.",
    fails="It does not hold: with BFS on top the trained models lose {difference} against greedy decoding.",
    open="It cannot be told: BFS on top changes it by {difference}.",
)
BEATS_RIVAL = Wordings(
    "SPaR ends above {rival}.",
    holds="It holds: by {difference}, sampled; tokens generated for training: {ours:,.0f} and {theirs:,.0f}.",
    fails="It does not hold: it ends below, {difference}, sampled; tokens generated for training: {ours:,.0f} and {theirs:,.0f}.",
    open="It cannot be told: they differ by {difference}, sampled; tokens generated for training: {ours:,.0f} and {theirs:,.0f}.",
)
JUDGES_BETTER = Wordings(
    "The refiner judges better after training ({which}).",
    holds="It holds: {difference} after {last} iterations.",
    fails="It does not hold: {difference} after {last} iterations.",
    open="It cannot be told: {difference} after {last} iterations.",
)
PART_HELPS = Wordings(
    "{part}, the {role} is worse.",
    holds="It holds: the whole loop is ahead by {difference}, {what}.",
    fails="It does not hold: the whole loop is behind, {difference}, {what}.",
    open="It cannot be told: they differ by {difference}, {what}.",
)


async def measure_figure3(plan: Plan) -> Measured:
    """A loop a seed and method, and the last models with a search on top."""
    own = await run_loops(plan, OWN)
    methods = {PAPERS: own}
    for recipe, method in rivals(plan).items():
        methods[method] = await run_loops(plan, recipe, recipe=recipe)
    searched = await _with_search(plan, own)
    greedy, sampled = own.shares(GREEDY, "pass", own.last), own.shares(SAMPLED, "pass", own.last)
    gain = own.gain(SAMPLED, "pass", 0, own.last)
    claims = [
        IMPROVES.judge(gain, last=own.last),
        GOES_ON.judge(own.gain(SAMPLED, "pass", 1, own.last), last=own.last),
        SEARCH_ADDS.judge(over_seeds(searched, greedy)),
    ]
    for method, loops in list(methods.items())[1:]:
        difference = over_seeds(sampled, loops.shares(SAMPLED, "pass", loops.last))
        tokens = {"ours": own.tokens(own.last), "theirs": loops.tokens(loops.last)}
        claims.append(BEATS_RIVAL.of(rival=method).judge(difference, **tokens))
    return Measured(
        tables=(_figure3_table(methods, over_seeds(searched)),),
        plots=(_figure3_plot(methods, gain.n),),
        claims=tuple(claims),
        notes=(
            "Every loop has the same training prompts in the same order and the same test prompts; a rival takes its own recipe's number of "
            "drafts and judgements, so the tokens that it generates for its training data differ: they are in the table.",
            "Test prompts are sampled at temperature 0.9 for every method, whatever its recipe trains on.",
            "Iteration 0 is the embedded model, the start of every method. A method that the paper compares with and that has no recipe here "
            "is left out.",
            f"The stages of all loops took {sum(loops.seconds() for loops in methods.values()) / 3600:.1f} hours, added up, whenever they ran.",
        ),
        headline=f"{own.last} iterations: {100 * gain.value:+.1f} points, sampled",
    )


def _figure3_table(methods: Mapping[str, Loops], searched: SeedMean) -> Table:
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
    own = methods[PAPERS]
    rows.append(
        (
            f"{PAPERS} with tree search",
            own.last,
            as_number(searched),
            None,
            round(own.tokens(own.last)),
        )
    )
    return Table(
        name="figure3",
        title="One row a method and iteration.",
        columns=("method", "iteration", "greedy, %", "sampled, %", "tokens for training"),
        rows=tuple(rows),
    )


def _figure3_plot(methods: Mapping[str, Loops], n: int) -> Plot:
    panels = tuple(
        Panel(
            x=f"iteration ({title} drafts)",
            series=tuple(
                line(method, [(float(t), loops.mean(title, "pass", t)) for t in loops.times])
                for method, loops in methods.items()
            ),
        )
        for title in (GREEDY, SAMPLED)
    )
    title = f"Drafts that meet every constraint, n = {n}"
    return Plot(name="figure3", title=title, y="pass, %", panels=panels)


async def _with_search(plan: Plan, loops: Loops) -> list[dict[str, Share]]:
    """Each seed's last models with the paper's search on top."""
    sizes, found = Sizes.of(plan), []
    for seed, models in zip(plan.seed_values, loops.models(loops.last), strict=True):
        out = plan.folder("figure3") / f"searched-{seed}"
        settings = {
            "engine": plan.engine,
            "strategy": SEARCHED,
            "seed": seed,
            "limit": sizes.limit,
            "prompt_seed": sizes.prompt_seed,
            "actor_model": models.actor,
            "refiner_model": models.refiner,
        }
        examples = await run_evaluation(plan, "nano-if-answers", load_eval(OWN, settings), out)
        found.append(shares_of(examples, "pass"))
    return found


async def measure_table2(plan: Plan) -> Measured:
    """The refiners of the iterations as judges of the same drafts."""
    loops = await run_loops(plan, OWN)
    shown = {VOTE_RIGHT: VOTE, "majority of five right, %": MAJORITY, "F1, %": F1}
    rows: list[tuple[Cell, ...]] = [
        (time, *(as_number(loops.mean(REFINER, metric, time)) for metric in shown.values()))
        for time in loops.times
    ]
    gains = {metric: loops.gain(REFINER, metric, 0, loops.last) for metric in (VOTE, MAJORITY)}
    claims = tuple(
        JUDGES_BETTER.of(which=which).judge(gains[metric], last=loops.last)
        for which, metric in (("a single vote", VOTE), ("the majority of five", MAJORITY))
    )
    lines = [
        line(name.removesuffix(", %"), [(float(t), loops.mean(REFINER, m, t)) for t in loops.times])
        for name, m in shown.items()
    ]
    title = f"The refiner as a judge, n = {gains[VOTE].n}"
    return Measured(
        tables=(iteration_table("table2", shown, rows),),
        plots=(iteration_plot("table2", title, lines),),
        claims=claims,
        notes=(
            SHARED_TIME,
            "The drafts are the first actor's, sampled, the same for the refiners of all iterations: harder drafts of a better actor would hide "
            "the progress of its judge. A tied or unread judgement is wrong, and a No in F1.",
        ),
        headline=f"a single vote right: {100 * gains[VOTE].value:+.1f} points",
    )


async def measure_tables45(plan: Plan) -> Measured:
    """The whole loop, and loops without one part each, from the same models and prompts."""
    whole, parts = await run_loops(plan, OWN), _arms(plan)
    arms = {name: await run_loops(plan, arm, [change]) for arm, (name, change) in parts.items()}
    against = {
        name: {
            column: over_seeds(whole.shares(*m, whole.last), loops.shares(*m, loops.last))
            for column, m in MEASURES.items()
        }
        for name, loops in arms.items()
    }
    first = against[ARMS["no-refinement"][0]][SAMPLED_PASS]
    return Measured(
        tables=(_tables45_table({"the whole loop": whole, **arms}, against),),
        plots=(_tables45_plot(against, first.n),),
        claims=tuple(_tables45_claims(against)),
        notes=(
            SHARED_TIME,
            "Settings of the arms: "
            + ", ".join(f"{n} `--set {c}`" for n, c in parts.values())
            + ".",
            "Without iterative training all prompts are used in one iteration, from the first models.",
            "Without refinement, the pairs are of the prompts that have a passing and a failing draft: other ones, and easier, than those whose "
            "search was solved. benchmarks/pair_ablation.py compares both kinds on the same prompts.",
        ),
        headline=f"without refinement: {-100 * first.value:+.1f} points, sampled",
    )


Differences = Mapping[str, Mapping[str, SeedMean]]
"""Arm to how far the whole loop is ahead of it, by column."""


def _tables45_table(loops: Mapping[str, Loops], against: Differences) -> Table:
    rows: list[tuple[Cell, ...]] = [
        (name, *(as_number(of.mean(*measure, of.last)) for measure in MEASURES.values()))
        for name, of in loops.items()
    ]
    rows += [
        (f"the whole loop - {name}", *(as_number(d, "points") for d in differences.values()))
        for name, differences in against.items()
    ]
    return Table(
        name="tables45",
        title="The last models of each loop, and how far the whole loop is ahead.",
        columns=("loop", *MEASURES),
        rows=tuple(rows),
    )


def _tables45_plot(against: Differences, n: int) -> Plot:
    series = tuple(
        Series(
            label=column.removesuffix(", %"),
            x=tuple(float(index) for index in range(len(against))),
            y=tuple(100 * differences[column].value for differences in against.values()),
            error=tuple(100 * (d[column].stderr or 0.0) for d in against.values()),
        )
        for column in (SAMPLED_PASS, VOTE_RIGHT)
    )
    x = ", ".join(f"{index}: {name}" for index, name in enumerate(against))
    title = f"How far the whole loop is ahead, n = {n}"
    return Plot(name="tables45", title=title, y="points", panels=(Panel(x=x, series=series),))


def _tables45_claims(against: Differences) -> Iterator[Claim]:
    """On the actor for every arm, then on the refiner for those of the paper's Table 5."""
    for name, differences in against.items():
        wordings = PART_HELPS.of(part=name.capitalize(), role="actor")
        yield wordings.judge(differences[SAMPLED_PASS], what="sampled drafts")
    for name, differences in against.items():
        if name in REFINER_ABLATIONS.rows:
            wordings = PART_HELPS.of(part=name.capitalize(), role="refiner")
            yield wordings.judge(differences[VOTE_RIGHT], what="a single vote")


def only_embedded(plan: Plan) -> str:
    """Why a loop cannot be trained with the plan."""
    if plan.embedded:
        return ""
    return "the loops of the reports train the embedded model; train another with spar train and a recipe"


def _arms(plan: Plan) -> dict[str, tuple[str, str]]:
    return {arm: part for arm, part in ARMS.items() if not plan.quick or arm in _QUICK_ARMS}


def _sizes_in_words(plan: Plan) -> str:
    sizes = Sizes.of(plan)
    return f"{sizes.iterations} iterations of {sizes.prompts} prompts, {sizes.limit} test prompts"


FIGURE3 = Experiment(
    name="figure3",
    source="Figure 3, Tables 1 and 6",
    title="Scores over the iterations of self-play",
    question="How much does the actor gain from each iteration, what does a search add, and how does that compare with other methods?",
    measure=measure_figure3,
    cost=lambda plan: Cost(
        plan.seeds * Sizes.of(plan).limit * 15,
        f"SPaR and {len(rivals(plan))} other methods, {_sizes_in_words(plan)}, a search on top",
        loops=(OWN, *rivals(plan)),
    ),
    sizes=lambda plan: {**Sizes.of(plan).stored(), "methods": [OWN, *rivals(plan)]},
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(IFEVAL),),
)

TABLE2 = Experiment(
    name="table2",
    source="Table 2",
    title="The refiner as a judge, over the iterations",
    question="Does training on its own judgements make the refiner a better judge?",
    measure=measure_table2,
    cost=lambda plan: Cost(0, _sizes_in_words(plan), loops=(OWN,)),
    sizes=lambda plan: Sizes.of(plan).stored(),
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(LLMBAR),),
)

TABLES45 = Experiment(
    name="tables45",
    source="Tables 4 and 5",
    title="The loop without one of its parts",
    question="What does each part of the loop contribute to the actor and to the refiner?",
    measure=measure_tables45,
    cost=lambda plan: Cost(
        0,
        f"the whole loop and {len(_arms(plan))} others, {_sizes_in_words(plan)}",
        loops=(OWN, *_arms(plan)),
    ),
    sizes=lambda plan: {**Sizes.of(plan).stored(), "arms": list(_arms(plan))},
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(ACTOR_ABLATIONS), paper_table(REFINER_ABLATIONS)),
)
