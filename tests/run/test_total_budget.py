"""A budget across prompts: never exceeded, spent where it helps, the same however the run was interrupted."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spar.cli.run_export import Export
from spar.cli.run_export import run as export
from spar.config import DecodeConfig, load_decode
from spar.errors import ConfigChanged, UsageError
from spar.estimate.calls import dry_run_text, most_calls
from spar.eval.external_answers.rows import read_rows
from spar.eval.job_outputs import RunOutputs
from spar.infer.engine import Completion, EngineSpec, Request
from spar.infer.engine_wrappers import InstrumentedEngine
from spar.infer.engines.fake import FakeEngine
from spar.infer.replay import replay
from spar.infer.rounds import RoundResult, grants
from spar.infer.search import run_search
from spar.infer.summary import Summary, responses_spent
from spar.plugins import ENGINES
from spar.run import placement
from spar.run.build import make_manifest, open_roles, search_settings
from spar.run.decoding import source_of
from spar.run.engine_pool import EnginePool
from spar.run.engines import Engines
from spar.run.resolve import deployments, resolve_config
from spar.run.resume import is_complete
from spar.run.session import Run
from spar.run.two_phase import FOLDER
from spar.store import RunStore, last_trees, read_trees
from spar.types import Prompt, SearchTree
from tests.fakes import DelayedEngine, World, make_prompt, timeless
from tests.strategies import SEARCHED

PROMPTS = [make_prompt(f"Line {i}.", str(i)) for i in range(8)]
WORLD = World(yes=0.3, broken=0.1, mute=0.1)


class KilledError(Exception):
    """Stands for the death of the process."""


class MortalEngine(DelayedEngine):
    """Answers so many calls and then no more; `num_calls` counts all that it answered."""

    def __init__(self, order: int, life: int = 10**9) -> None:
        super().__init__(WORLD, order)
        self.life, self.num_calls = life, 0

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """One completion per request, or the end."""
        replies = await super().generate(requests)
        self.num_calls += len(requests)
        if self.num_calls > self.life:
            raise KilledError
        return replies


def config_of(**changes: Any) -> DecodeConfig:
    """Settings of a run in rounds with the fake engine."""
    fields = {
        "engine": "fake",
        "strategy": "best-of-n",
        "budget": 2,
        "total_budget": 40,
        "votes": 3,
    }
    config = load_decode(None, fields).model_copy(update=changes)
    return resolve_config(config, lambda line: None)


async def start(
    directory: Path,
    config: DecodeConfig,
    engine: FakeEngine,
    *,
    in_turn: bool = False,
    prompts: Sequence[Prompt] = PROMPTS,
) -> Summary:
    """One start of the run; with `in_turn` its actor and its refiner do not fit in memory together."""
    pool = None if in_turn else _pool(config, engine)
    with (
        RunStore.open(directory, make_manifest(config)) as store,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setitem(TURNS, "engine", engine)
        patch.setattr(placement, "free_memory", lambda device: (0, False))
        return await Run(config, source_of(prompts), store, pool=pool).execute()


TURNS: dict[str, Any] = {}
"""The engine behind the models that take turns, and the one that is open."""


class Turn(DelayedEngine):
    """One of two models that take turns."""

    def __init__(self, model: str) -> None:
        super().__init__(WORLD, 1)
        assert model == TURNS.setdefault("model", model), "another model is still open"
        self.model = model

    async def generate(self, requests: Sequence[Request]) -> list[Completion]:
        """What the engine behind it answers."""
        engine: FakeEngine = TURNS["engine"]
        return await engine.generate(requests)

    async def aclose(self) -> None:
        """Make room."""
        TURNS.pop("model", None)


IN_TURN = EngineSpec(lambda deployment, config, note: Turn(deployment.model), in_process=True)


def in_turn_config(**changes: Any) -> DecodeConfig:
    """Settings of a run with two models whose sizes are not known, so that they take turns."""
    two = {"engine": ENGINES.name_of(IN_TURN), "actor_model": "one", "model": "two"}
    return config_of(**two, **changes)


def _pool(config: DecodeConfig, engine: FakeEngine) -> EnginePool:
    pool = EnginePool()
    pool.engines.update(dict.fromkeys(deployments(config).values(), InstrumentedEngine(engine)))
    return pool


def trees_of(directory: Path) -> dict[str, SearchTree]:
    """The trees of a run by prompt, each prompt once."""
    trees = [*read_trees(directory)]
    assert len({tree.prompt.id for tree in trees}) == len(trees)
    return {tree.prompt.id: timeless(tree) for tree in trees}


@pytest.mark.parametrize(("strategy", "options"), SEARCHED)
async def test_every_strategy_spends_the_total_and_no_more(
    strategy: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """Whatever the order of replies, the trees are the same; what is left had nothing to be spent on."""
    config = config_of(strategy=strategy, strategy_args=options)
    summary = await start(tmp_path / "a", config, MortalEngine(1))
    await start(tmp_path / "b", config, MortalEngine(2))
    trees = trees_of(tmp_path / "a")
    assert trees == trees_of(tmp_path / "b")
    spent = sum(responses_spent(tree) for tree in trees.values())
    assert spent == summary.responses <= 40
    unspent = [tree for tree in trees.values() if tree.stop == "budget"]
    assert spent == 40 or not unspent


@pytest.mark.parametrize(("strategy", "options"), [s for s in SEARCHED if s[0] != "greedy"])
async def test_a_later_round_makes_the_tree_of_the_larger_budget(
    strategy: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """As a plain search with that budget, which its replay is too, without asking again for what the record holds."""
    engine = MortalEngine(1)
    config = config_of(strategy=strategy, strategy_args=options)
    summary = await start(tmp_path, config, engine)
    trees = trees_of(tmp_path)
    raised = [tree for tree in trees.values() if len(tree.rounds) > 1]
    assert raised
    assert engine.num_calls == summary.usage.calls
    for tree in raised:
        plain = await start_plain(tree, config)
        assert tree.model_copy(update={"rounds": ()}) == plain
        for budget, _ in tree.rounds:
            smaller = config.model_copy(update={"budget": budget})
            replayed = await replay(tree, search_settings(smaller, tree.config))
            assert replayed is not None
            searched = await start_plain(tree, smaller, budget)
            assert timeless(replayed) == searched


async def start_plain(
    tree: SearchTree, of_run: DecodeConfig, budget: int | None = None
) -> SearchTree:
    """The search of a tree's prompt with a budget, by default its last one, from the start."""
    changes = {"budget": budget or tree.rounds[-1][0], "total_budget": None}
    config = of_run.model_copy(update=changes)
    engines = Engines(
        config,
        opened=dict.fromkeys(deployments(config).values(), InstrumentedEngine(FakeEngine(WORLD))),
    )
    made = await run_search(
        tree.prompt, open_roles(config, engines), search_settings(config, tree.config)
    )
    return timeless(made)


@pytest.mark.parametrize("life", [10, 60, 100])
async def test_a_run_that_dies_in_any_round_ends_as_if_it_had_not(
    life: int, tmp_path: Path
) -> None:
    """Same trees, and the calls that were answered and written before are not made again."""
    config = config_of()
    whole = MortalEngine(1)
    await start(tmp_path / "whole", config, whole)
    with pytest.raises(KilledError):
        await start(tmp_path / "killed", config, MortalEngine(1, life))
    resumed = MortalEngine(2)
    await start(tmp_path / "killed", config, resumed)
    assert trees_of(tmp_path / "killed") == trees_of(tmp_path / "whole")
    assert resumed.num_calls < whole.num_calls


@pytest.mark.parametrize(("strategy", "options"), SEARCHED)
async def test_a_raised_total_goes_on_from_the_record(
    strategy: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """The trees of the larger total from the start, for the price of the difference; also after a plain run."""
    whole, more = MortalEngine(1), MortalEngine(2)
    config = config_of(strategy=strategy, strategy_args=options, total_budget=60)
    await start(tmp_path / "whole", config, whole)
    for total in (None, 29, 40, 43, 60, 60):
        with_total = config.model_copy(update={"total_budget": total})
        summary = await start(tmp_path / "raised", with_total, more)
        assert summary.responses <= (total or 60)
    assert trees_of(tmp_path / "raised") == trees_of(tmp_path / "whole")
    # A response beyond the last step of the smaller total may be asked for again.
    assert whole.num_calls <= more.num_calls <= whole.num_calls + 4


@pytest.mark.parametrize(("strategy", "options"), SEARCHED)
async def test_models_that_take_turns_spend_the_total_in_the_same_way(
    strategy: str, options: dict[str, Any], tmp_path: Path
) -> None:
    """For every strategy: the trees of a run with both models loaded."""
    config = in_turn_config(strategy=strategy, strategy_args=options)
    summary = await start(tmp_path / "turns", config, MortalEngine(1), in_turn=True)
    whole = await start(tmp_path / "whole", config, MortalEngine(2))
    assert trees_of(tmp_path / "turns") == trees_of(tmp_path / "whole")
    assert summary.responses == whole.responses <= 40


@pytest.mark.parametrize("first_in_turn", [True, False])
@pytest.mark.parametrize("strategy", ["best-of-n", "bfs", "mcts"])
async def test_models_that_take_turns_spend_a_total_that_is_given_later(
    strategy: str, first_in_turn: bool, tmp_path: Path
) -> None:
    """The drafts that a plain run has left, if any, are added to."""
    plain = in_turn_config(strategy=strategy, total_budget=None)
    await start(tmp_path / "raised", plain, MortalEngine(1), in_turn=first_in_turn)
    for total in (24, 40):
        config = in_turn_config(strategy=strategy, total_budget=total)
        summary = await start(tmp_path / "raised", config, MortalEngine(1), in_turn=True)
        assert summary.responses <= total
        await start(tmp_path / str(total), config, MortalEngine(2))
        assert trees_of(tmp_path / "raised") == trees_of(tmp_path / str(total))


async def test_a_model_that_takes_turns_writes_each_draft_once(tmp_path: Path) -> None:
    """A later round adds to the drafts of the one before, and the actor is loaded where some are missing alone."""
    config = in_turn_config()
    await start(tmp_path, config, MortalEngine(1), in_turn=True)
    drafts = {tree.prompt.id: responses_spent(tree) for tree in read_trees(tmp_path / FOLDER)}
    searched = {name: responses_spent(tree) for name, tree in trees_of(tmp_path).items()}
    assert drafts == searched
    calls = {tree.prompt.id: tree.usage.calls for tree in read_trees(tmp_path / FOLDER)}
    assert calls == drafts
    idle = MortalEngine(1)
    await start(tmp_path, config, idle, in_turn=True)
    assert idle.num_calls == 0


async def test_a_lowered_total_is_refused_where_it_would_be_exceeded(tmp_path: Path) -> None:
    """A run that was killed in a round of the larger total; what is stored and what comes next both count."""
    with pytest.raises(KilledError):
        await start(tmp_path, config_of(total_budget=60), MortalEngine(1, 90))
    last = {tree.prompt.id: responses_spent(tree) for tree in read_trees(tmp_path)}
    assert sum(last.values()) > 17
    with pytest.raises(
        UsageError, match=r"--total-budget 17: the stored trees .* raise it to that"
    ):
        await start(tmp_path, config_of(total_budget=17), MortalEngine(1, 0))


async def test_a_run_that_has_spent_its_total_is_finished_in_any_order(tmp_path: Path) -> None:
    """Equal scores share out the last responses by the order of the prompts; where all are spent there are none."""
    config, idle = config_of(votes=1, total_budget=21), MortalEngine(1, 0)
    await start(tmp_path, config, MortalEngine(1))
    before = trees_of(tmp_path)
    assert sum(map(responses_spent, before.values())) == 21
    orders = [PROMPTS[shift:] + PROMPTS[:shift] for shift in range(len(PROMPTS))]
    for prompts in [*orders, *(order[::-1] for order in orders)]:
        await start(tmp_path, config, idle, prompts=prompts)
    assert idle.num_calls == 0 and trees_of(tmp_path) == before


async def test_the_trees_of_a_total_are_not_those_of_a_run_without(tmp_path: Path) -> None:
    """Left out on the same directory, they would pass for trees of `--budget`."""
    await start(tmp_path, config_of(), MortalEngine(1))
    plain = config_of(total_budget=None)
    with pytest.raises(ConfigChanged, match="that --total-budget searched further than --budget 2"):
        await start(tmp_path, plain, MortalEngine(1, 0))
    with pytest.raises(ConfigChanged, match="give --total-budget again, or another --out"):
        is_complete(tmp_path, plain, source_of(PROMPTS))
    assert is_complete(tmp_path, config_of(), source_of(PROMPTS))


async def test_of_two_trees_of_a_prompt_the_last_counts(tmp_path: Path) -> None:
    """As a run has them that was killed in a round: wherever the trees of a run are read."""
    await start(tmp_path, config_of(), MortalEngine(1))
    whole = list(read_trees(tmp_path))
    twice = whole[0].model_copy(update={"nodes": whole[0].nodes[:1], "selected": 0, "rounds": ()})
    path = tmp_path / "trees.jsonl"
    path.write_text(f"{twice.to_json()}\n{path.read_text()}")
    assert len(list(read_trees(tmp_path))) == len(whole) + 1
    assert list(last_trees(tmp_path)) == whole == list(RunOutputs(tmp_path).trees(""))
    rows = {row.ids[0]: row for row in read_rows(tmp_path)}
    assert rows.keys() == {tree.prompt.id for tree in whole}
    export(Export(tmp_path, "jsonl", out=tmp_path / "table.jsonl"))
    assert len((tmp_path / "table.jsonl").read_text().splitlines()) == len(whole)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"total_budget": 15},
            "--total-budget 15 is less than .* 8 prompts; raise it to 16, or --budget to 1",
        ),
        ({"total_budget": 4}, "or --limit to 4 at most"),
        ({"seed": None}, "needs a seed"),
        ({"max_seconds": 3.0}, "exclude each other"),
    ],
)
async def test_what_cannot_be_shared_out_is_refused(
    changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """In one line, before anything is generated."""
    with pytest.raises(UsageError, match=message):
        await start(tmp_path, config_of(**changes), MortalEngine(1, 0))


@given(
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.0, 0.2, 0.4]), st.booleans())),
    st.integers(0, 99),
    st.integers(1, 9),
)
def test_grants_stay_within_the_total(
    rows: list[tuple[int, float, bool]], left: int, step: int
) -> None:
    """The best open prompts get a step each, the last what is left; no other prompt gets anything."""
    results = {
        str(i): RoundResult(budget, budget, score, is_open)
        for i, (budget, score, is_open) in enumerate(rows)
    }
    total = sum(budget for budget, *_ in rows) + left
    granted = grants(results, total=total, step=step)
    raised = [budget - results[name].budget for name, budget in granted.items()]
    num_open = sum(result.is_open for result in results.values())
    assert sum(raised) == min(left, step * num_open)
    assert all(raise_ == step for raise_ in raised[:-1])
    worst = min((results[name].score for name in granted), default=1.0)
    passed_over = [s.score for name, s in results.items() if s.is_open and name not in granted]
    assert all(score <= worst for score in passed_over)


def test_dry_run_counts_the_total() -> None:
    """Forty responses and three votes on each, whatever the number of prompts."""
    config = config_of()
    assert most_calls(config, 8)[0] == 40 * (1 + 3)
    assert "2 responses each in the first round, 40 in all" in dry_run_text(config, PROMPTS[0], 8)
