"""Table 3: how many failing responses the refiners of the iterations fix, by the truth, by themselves, and by the last refiner."""

from __future__ import annotations

from spar.config import load_eval
from spar.eval.paper import REFINEMENT
from spar.eval.statistics import over_seeds
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
from spar.experiments.loops.loops import (
    OWN,
    Sizes,
    iteration_plot,
    iteration_table,
    only_embedded,
)
from spar.experiments.loops.pool import WHOLE, run_loops
from spar.experiments.loops.table2_tables45 import SHARED_TIME
from spar.experiments.loops.tested import first_tested_drafts
from spar.record.evaluation import Example, Share, shares_of
from spar.record.experiments import Cell, Measured

TRUTH, ITSELF, OTHER = "acc_verifier", "acc_self", "acc_grader"
VIEWS = {
    TRUTH: "by ground truth, %",
    ITSELF: "by its own judgement, %",
    OTHER: "by the last refiner, %",
}

FIXES_MORE = Wordings(
    "The refiner fixes more failing responses after training.",
    holds="It holds: {difference} after {last} iterations, by ground truth.",
    fails="It does not hold: {difference} after {last} iterations, by ground truth.",
    open="Inconclusive: {difference} after {last} iterations, by ground truth.",
)
FLATTERS_ITSELF = Wordings(
    "The refiner's own judgement of its refinements is higher than another judge's (paper: 90.5 against 79.0 after iteration 3).",
    holds="It holds against the truth: its own judgement is higher by {difference}.",
    fails="It does not hold against the truth: its own judgement is lower, {difference}.",
    open="Inconclusive: its own judgement and the truth differ by {difference}.",
)


async def measure_table3(plan: Plan) -> Measured:
    """One greedy refinement of the same failing drafts by each iteration's refiner."""
    (loops,) = await run_loops(plan, WHOLE)
    drafts, graders = await first_tested_drafts(plan, loops), loops.models(loops.last)
    shares: dict[int, dict[str, list[dict[str, Share]]]] = {}
    for time in loops.times:
        found: dict[str, list[dict[str, Share]]] = {view: [] for view in VIEWS}
        for seed, models in zip(plan.seed_values, loops.models(time), strict=True):
            settings = {
                "responses": str(drafts[seed]),
                "refiner_model": models.refiner,
                "grader_model": graders[seed].refiner,
            }
            examples = await _refine(plan, seed, time, settings)
            for view in VIEWS:
                found[view].append(shares_of(examples, view))
        shares[time] = found
    rows: list[tuple[Cell, ...]] = [
        (time, *(as_number(over_seeds(found[view])) for view in VIEWS))
        for time, found in shares.items()
    ]
    last = shares[loops.last]
    gain = over_seeds(last[TRUTH], shares[0][TRUTH])
    claims = (
        FIXES_MORE.judge(gain, last=loops.last),
        FLATTERS_ITSELF.judge(over_seeds(last[ITSELF], last[TRUTH])),
    )
    lines = [
        line(
            name.removesuffix(", %"),
            [(float(time), over_seeds(found[view])) for time, found in shares.items()],
        )
        for view, name in VIEWS.items()
    ]
    title = f"Failing drafts that one refinement fixes, n = {gain.n}"
    return Measured(
        tables=(iteration_table("table3", VIEWS.values(), rows),),
        plots=(iteration_plot("table3", title, lines),),
        claims=claims,
        notes=(
            SHARED_TIME,
            "The responses are the first actor's sampled drafts that fail their verifiers, the same for all iterations of a seed; each refiner "
            "judges them itself and refines greedily, once. A response that it accepts is not refined, and counts as not fixed.",
            "The paper's outside judge is a strong model; here the truth is known, and the last refiner stands beside it.",
        ),
        headline=f"fixed: {100 * gain.value:+.1f} points, by ground truth",
    )


async def _refine(plan: Plan, seed: int, time: int, settings: dict[str, str]) -> list[Example]:
    """The refinements of one iteration's refiner, of those drafts that fail."""
    values = plan.settings(seed=seed, strategy="greedy", limit=Sizes.of(plan).tested, **settings)
    out = plan.folder("table3") / f"seed-{seed}" / f"iteration-{time}"
    return await run_evaluation(plan, "refinement", load_eval(OWN, values), out)


TABLE3 = Experiment(
    name="table3",
    source="Table 3",
    title="Refinement over the iterations",
    question="Do the refiners of later iterations fix more, and can their own judgement of it be trusted?",
    measure=measure_table3,
    cost=lambda plan: Cost(
        plan.seeds * (Sizes.of(plan).iterations + 1) * Sizes.of(plan).tested * 0.5 * 13,
        f"the failing ones of {Sizes.of(plan).tested} drafts, each iteration's refiner",
        loops=(OWN,),
    ),
    sizes=lambda plan: Sizes.of(plan).stored_tested(),
    lacks=only_embedded,
    paper_numbers=lambda: (paper_table(REFINEMENT),),
)
