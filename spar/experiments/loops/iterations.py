"""What happens after the third iteration: one loop gone on with, its scores and the health of its data."""

from __future__ import annotations

from dataclasses import replace

from spar.eval.nano_if import VOTE
from spar.experiments.experiment import (
    NOT_IN_THE_PAPER,
    Cost,
    Experiment,
    Plan,
    Wordings,
)
from spar.experiments.loops.health_tables import HEALTH_IN_WORDS, health_table
from spar.experiments.loops.loops import (
    GREEDY,
    OWN,
    PAPERS,
    REFINER,
    SAMPLED,
    Sizes,
    gain_table,
    only_embedded,
    score_plot,
    score_table,
    sizes_in_words,
)
from spar.experiments.loops.pool import WHOLE, run_loops
from spar.experiments.loops.table2_tables45 import MEASURES, SHARED_TIME
from spar.experiments.loops.tested import calls_of_drafts, with_drafts
from spar.record.experiments import Measured

PAPERS_LAST = 3
"""Iterations of the paper."""
ITERATIONS_HERE = 6

GOES_ON = Wordings(
    "(Not in the paper.) The actor still improves after iteration {since} ({how} drafts).",
    holds="It holds: it gains {difference} from there to iteration {last}.",
    fails="It does not hold: it loses, {difference} from there to iteration {last}.",
    open="Inconclusive, as on a plateau: it changes by {difference} from there to iteration {last}.",
)
STILL_JUDGES = Wordings(
    "(Not in the paper.) The refiner still improves as a judge after iteration {since} (a single vote).",
    holds="It holds: {difference} from there to iteration {last}.",
    fails="It does not hold: it loses, {difference} from there to iteration {last}.",
    open="Inconclusive, as on a plateau: it changes by {difference} from there to iteration {last}.",
)


async def measure_iterations(plan: Plan) -> Measured:
    """SPaR's loop over six iterations, tested after each."""
    plan = _plan(plan)
    (loops,) = await run_loops(plan, WHOLE)
    loops = await with_drafts(plan, OWN, loops)
    since = min(PAPERS_LAST, loops.last - 1)
    gains = {how: loops.gain(how, "pass", since, loops.last) for how in (SAMPLED, GREEDY)}
    judging = loops.gain(REFINER, VOTE, since, loops.last)
    words = {"since": str(since)}
    return Measured(
        tables=(
            score_table("iterations", loops, MEASURES),
            gain_table("iterations-gains", loops, MEASURES),
            health_table("iterations-drafts", {PAPERS: loops}),
        ),
        plots=(
            score_plot(
                "iterations",
                f"Scores over the iterations, n = {gains[SAMPLED].n} drafts",
                loops,
                MEASURES,
            ),
        ),
        claims=(
            *(
                GOES_ON.of(how=how, **words).judge(gain, last=loops.last)
                for how, gain in gains.items()
            ),
            STILL_JUDGES.of(**words).judge(judging, last=loops.last),
        ),
        notes=(
            SHARED_TIME,
            f"Drafts are tested on {gains[SAMPLED].n} prompts, the refiner on the first actor's drafts of {judging.n}, which are the same for all "
            "iterations.",
            f"{HEALTH_IN_WORDS}. They are of other prompts in each iteration.",
        ),
        headline=f"from iteration {since} to {loops.last}: {100 * gains[SAMPLED].value:+.1f} points, sampled",
    )


def _plan(plan: Plan) -> Plan:
    """The plan with this experiment's iterations, where none are asked for."""
    return plan if plan.iterations or plan.quick else replace(plan, iterations=ITERATIONS_HERE)


ITERATIONS = Experiment(
    name="iterations",
    source=NOT_IN_THE_PAPER,
    title="More iterations of self-play than the paper's three",
    question="Does the loop go on improving, reach a plateau or collapse?",
    measure=measure_iterations,
    cost=lambda plan: Cost(
        plan.seeds * Sizes.of(_plan(plan)).tested * calls_of_drafts(_plan(plan), 1),
        sizes_in_words(_plan(plan), tested=True),
        loops=(OWN,),
        iterations=_plan(plan).iterations,
    ),
    sizes=lambda plan: Sizes.of(_plan(plan)).stored_tested(),
    lacks=only_embedded,
)
