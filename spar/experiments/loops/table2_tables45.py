"""Tables 2 and 8 over the iterations of a loop (how well the refiner judges), and Tables 4 and 5: the loop without one of its parts.

RUNS/embedded/tests/nano-2-seed-0/adversarial/     a loop's refiner after its second iteration, judging adversarial outputs
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from spar.eval.nano_if import F1, MAJORITY, VOTE
from spar.eval.paper import ACTOR_ABLATIONS, LLMBAR, REFINER_ABLATIONS
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
from spar.experiments.loops.agreement import agreement_table
from spar.experiments.loops.loops import (
    GREEDY,
    OWN,
    REFINER,
    SAMPLED,
    Loops,
    Measures,
    Sizes,
    first_drafts,
    gain_table,
    only_embedded,
    score_table,
    sizes_in_words,
)
from spar.experiments.loops.pool import WHOLE, Arm, run_loops
from spar.experiments.loops.refiners import (
    BROKEN_RIGHT,
    VOTE_RIGHT,
    VOTES,
    Judgings,
    examples_table,
    judge_outputs,
    judge_tests,
    judging_table,
)
from spar.experiments.loops.tested import calls_of_drafts, tests_folder, with_drafts
from spar.experiments.searches.table9 import ADVERSARIAL, BROKEN, NATURAL
from spar.record.evaluation import Share, shares_of
from spar.record.experiments import Cell, Claim, Measured, Panel, Plot, Series, Table

SAMPLED_PASS = "sampled, %"
MEASURES: Measures = {"greedy, %": (GREEDY, "pass"), SAMPLED_PASS: (SAMPLED, "pass")}
"""Column of Table 4 to the evaluation and its metric."""
JUDGED = {NATURAL: REFINER, ADVERSARIAL: ADVERSARIAL}
"""Set of outputs to the evaluation of the refiners as their judges: the loops' own, and that of this page."""
JUDGE_METRICS = {"one vote right, %": VOTE, "majority of five right, %": MAJORITY, "F1, %": F1}
SHARED_TIME = "The loops are those of `figure3`: where they were there already, their time is not in this page's."
ARMS: Mapping[str, tuple[str, str]] = {
    "no-search": ("without tree search", "search.strategy=iterative"),
    "no-iteration": ("without iterative training", "iterative=false"),
    "no-refinement": ("without refinement", "pairs=independent"),
    "shuffled": ("shuffled labels (ours)", "shuffle_labels=true"),
}
"""Arm to its name in the paper and the setting that makes it."""
_QUICK_ARMS = ("no-search", "no-refinement")
_START, _WHOLE = "the start", "the whole loop"
_CALLS_OF_JUDGING = 1.4 * VOTES
"""Votes on a test prompt's draft, and on its broken form where it passes."""

JUDGES_BETTER = Wordings(
    "The refiner judges {which} outputs better after training ({how}).",
    holds="It holds: {difference} after {last} iterations.",
    fails="It does not hold: {difference} after {last} iterations.",
    open="Inconclusive: {difference} after {last} iterations.",
)
PART_HELPS = Wordings(
    "{whose}{part}, the {role} is worse.",
    holds="It holds: the whole loop is ahead by {difference}, {what}.",
    fails="It does not hold: the whole loop is behind, {difference}, {what}.",
    open="Inconclusive: they differ by {difference}, {what}.",
)


async def measure_table2(plan: Plan) -> Measured:
    """The refiners of the iterations as judges of the same outputs."""
    (loops,) = await run_loops(plan, WHOLE)
    loops = await _with_adversarial(plan, loops)
    shown = {
        f"{name}: {column}": (title, metric)
        for name, title in JUDGED.items()
        for column, metric in JUDGE_METRICS.items()
    }
    gains = {
        (name, metric): loops.gain(title, metric, 0, loops.last)
        for name, title in JUDGED.items()
        for metric in (VOTE, MAJORITY)
    }
    ways = {VOTE: "a single vote", MAJORITY: "the majority of five"}
    headline = (f"{100 * gains[name, VOTE].value:+.1f} points, {name}" for name in JUDGED)
    return Measured(
        tables=(
            score_table("table2", loops, shown),
            gain_table("table2-gains", loops, shown),
            agreement_table("table2-agreement", plan, loops),
        ),
        plots=(_table2_plot(loops),),
        claims=tuple(
            JUDGES_BETTER.of(which=name, how=ways[metric]).judge(gain, last=loops.last)
            for (name, metric), gain in gains.items()
        ),
        notes=(
            SHARED_TIME,
            "The natural outputs are the first actor's drafts, sampled, the same for the refiners of all iterations: harder drafts of a better "
            f"actor would hide the progress of its judge. The adversarial ones are of these: {BROKEN}. Outputs of one prompt count as one draw.",
            "F1 is of Yes, by the majority of five votes: outputs that meet their prompts are the positives. A tied or unread judgement is wrong, "
            "and a No in F1.",
            "All agree: the five votes on an output have one verdict. Where they are wrong together, no majority is right. This was looked at after the "
            "majority had been found to judge worse.",
        ),
        headline=f"a single vote right: {'; '.join(headline)}",
    )


async def _with_adversarial(plan: Plan, loops: Loops) -> Loops:
    """The loops with their refiners as judges of adversarial outputs, as many votes on each as a loop's evaluation casts."""
    judged: dict[tuple[str, str, int], list[dict[str, Share]]] = {}
    for time in loops.times:
        for seed, loop, models in zip(
            plan.seed_values, loops.folders, loops.models(time), strict=True
        ):
            out = tests_folder(plan, OWN, time, seed) / ADVERSARIAL
            drafts = first_drafts(loop)
            examples = await judge_outputs(
                plan, out, seed, models.refiner, drafts, only=ADVERSARIAL
            )
            for metric in JUDGE_METRICS.values():
                shares = shares_of(examples, f"{metric}/{ADVERSARIAL}")
                judged.setdefault((ADVERSARIAL, metric, time), []).append(shares)
    return replace(loops, tested=judged)


def _table2_plot(loops: Loops) -> Plot:
    panels = tuple(
        Panel(
            x=f"iteration, {name} outputs of {loops.mean(title, VOTE, 0).n} prompts",
            series=tuple(
                line(column.removesuffix(", %"), loops.points(title, metric))
                for column, metric in JUDGE_METRICS.items()
            ),
        )
        for name, title in JUDGED.items()
    )
    return Plot(name="table2", title="The refiner as a judge", y="%", panels=panels)


async def measure_tables45(plan: Plan) -> Measured:
    """The whole loop, and loops without one part each, from the same models and prompts."""
    parts = _arms(plan)
    without = [Arm(arm, (change,)) for arm, (_, change) in parts.items()]
    trained = await run_loops(plan, WHOLE, *without)
    whole, *others = [
        await with_drafts(plan, arm.name, loops)
        for arm, loops in zip((WHOLE, *without), trained, strict=True)
    ]
    arms = dict(zip((name for name, _ in parts.values()), others, strict=True))
    against = {
        name: {column: whole.ahead_of(loops, *measure) for column, measure in MEASURES.items()}
        for name, loops in arms.items()
    }
    judged = await _judgings(plan, whole, {arm: arms[name] for arm, (name, _) in parts.items()})
    last = (_WHOLE, whole.last)
    of_arms = {name: (name, loops.last) for name, loops in arms.items()}
    refiners = {
        name: {c: over_seeds(judged[last][c], judged[key][c]) for c in (VOTE_RIGHT, BROKEN_RIGHT)}
        for name, key in of_arms.items()
    }
    first = against[ARMS["no-refinement"][0]][SAMPLED_PASS]
    compared = [(last, key) for key in ((_START, 0), *of_arms.values())]
    return Measured(
        tables=(
            _tables45_table({_WHOLE: whole, **arms}, against),
            judging_table("tables45-refiners", judged, compared),
            examples_table("tables45-examples", {_WHOLE: whole, **arms}),
        ),
        plots=(_tables45_plot(against, refiners, first.n),),
        claims=tuple(_tables45_claims(against, refiners)),
        notes=(
            SHARED_TIME,
            f"Drafts, and the refiners' judgements of the first actor's, are of {Sizes.of(plan).tested} prompts, refinements of those of its drafts "
            f"of {Sizes.of(plan).limit} that fail and that the refiner rejects. Adversarial outputs: {BROKEN}. Outputs of one prompt count as one draw.",
            "Settings of the arms: "
            + ", ".join(f"{n} `--set {c}`" for n, c in parts.values())
            + ".",
            "Without iterative training all prompts are used in one iteration, from the first models.",
            "Without refinement, the pairs are of the prompts that have a passing and a failing draft: other ones, and easier, than those whose "
            "search was solved. benchmarks/pair_ablation.py compares both kinds on the same prompts.",
            "Without refinement, and with shuffled labels, only the actor's pairs are others: the refiner's examples are made as in the whole loop, "
            "so its first iteration is the same, and later ones differ by the drafts of another actor alone. The paper's Table 5 has neither.",
            "The refiner learns judgements that are not unanimous, with the majority as the label, and as many Yes as No. A vote on the same: of the "
            "votes behind these labels. Programs, which know the truth, have no part in the training.",
        ),
        headline=f"without refinement: {-100 * first.value:+.1f} points, sampled",
    )


async def _judgings(
    plan: Plan, whole: Loops, arms: Mapping[str, Loops]
) -> dict[tuple[str, int], Judgings]:
    """Loop and iteration to how its refiners judge: the start, the whole loop at each iteration, the others at their last."""
    judged = {(_START, 0): await judge_tests(plan, OWN, whole, 0)}
    for time in whole.times[1:]:
        judged[_WHOLE, time] = await judge_tests(plan, OWN, whole, time)
    for arm, loops in arms.items():
        name, _ = _arms(plan)[arm]
        judged[name, loops.last] = await judge_tests(plan, arm, loops, loops.last)
    return judged


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
        title="The last actors of each loop, and how far the whole loop is ahead.",
        columns=("loop", *MEASURES),
        rows=tuple(rows),
    )


def _tables45_plot(against: Differences, refiners: Differences, n: int) -> Plot:
    series = tuple(
        Series(
            label=label,
            x=tuple(float(index) for index in range(len(arms))),
            y=tuple(100 * differences[column].value for differences in arms.values()),
            error=tuple(100 * (d[column].stderr or 0.0) for d in arms.values()),
        )
        for label, arms, column in (
            ("actor: sampled drafts that pass", against, SAMPLED_PASS),
            ("refiner: one vote right", refiners, VOTE_RIGHT),
            ("refiner: one vote right, adversarial", refiners, BROKEN_RIGHT),
        )
    )
    panel = Panel(x="a loop with one thing changed", series=series, names=tuple(against))
    title = f"How far the whole loop is ahead, n = {n}"
    return Plot(name="tables45", title=title, y="points", panels=(panel,))


def _tables45_claims(against: Differences, refiners: Differences) -> Iterator[Claim]:
    """On the actor for every arm, then on the refiner for those of the paper's Table 5, on its two sets of outputs."""
    for name, differences in against.items():
        whose, part = "", name.capitalize()
        if name not in ACTOR_ABLATIONS.rows:
            whose, part = "(Not in the paper.) ", f"With {name.removesuffix(' (ours)')}"
        wordings = PART_HELPS.of(whose=whose, part=part, role="actor")
        yield wordings.judge(differences[SAMPLED_PASS], what="sampled drafts")
    for name, differences in refiners.items():
        if name in REFINER_ABLATIONS.rows:
            for column, outputs in ((VOTE_RIGHT, NATURAL), (BROKEN_RIGHT, ADVERSARIAL)):
                role = f"refiner's judging of {outputs} outputs"
                wordings = PART_HELPS.of(whose="", part=name.capitalize(), role=role)
                yield wordings.judge(differences[column], what="a single vote")


def _arms(plan: Plan) -> dict[str, tuple[str, str]]:
    """The arms; the one that learns from all prompts at once is another loop for each number of iterations."""
    iterations = Sizes.of(plan).iterations
    return {
        f"{arm}-of-{iterations}" if arm == "no-iteration" else arm: part
        for arm, part in ARMS.items()
        if not plan.quick or arm in _QUICK_ARMS
    }


TABLE2 = Experiment(
    name="table2",
    source="Tables 2 and 8",
    title="The refiner as a judge, over the iterations",
    question="Does training on its own judgements make the refiner a better judge?",
    measure=measure_table2,
    cost=lambda plan: Cost(
        plan.seeds * (Sizes.of(plan).iterations + 1) * Sizes.of(plan).limit * VOTES,
        f"{sizes_in_words(plan)}, those that pass broken, {VOTES} votes on each at each iteration",
        loops=(OWN,),
    ),
    sizes=lambda plan: {**Sizes.of(plan).stored(), "sets": list(JUDGED), "votes": VOTES},
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
        plan.seeds
        * Sizes.of(plan).tested
        * (
            calls_of_drafts(plan, 1 + len(_arms(plan)))
            + (1 + Sizes.of(plan).iterations + len(_arms(plan))) * _CALLS_OF_JUDGING
        ),
        f"the whole loop and {len(_arms(plan))} others, {sizes_in_words(plan, tested=True)}",
        loops=(OWN, *_arms(plan)),
    ),
    sizes=lambda plan: {
        **Sizes.of(plan).stored_tested(),
        "judged_prompts": Sizes.of(plan).tested,
        "refined_prompts": Sizes.of(plan).limit,
        "arms": list(_arms(plan)),
    },
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(ACTOR_ABLATIONS), paper_table(REFINER_ABLATIONS)),
)
