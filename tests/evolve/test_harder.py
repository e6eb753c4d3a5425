"""Harder versions of prompts: which are easy, what is added, and how a loop takes them up."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from spar.errors import UsageError
from spar.evolve.harder import EASIER, harder_prompts, make_harder
from spar.nano.constraint_type import Constraint
from spar.nano.tasks import SOURCE, split_of
from spar.nano.tasks import prompts as nano_prompts
from spar.nano.writer import solve
from spar.prompts import read_prompts
from spar.train.loop import loop_pipeline
from spar.train.loop_stages import Origin, loop_stages
from spar.train.recipe import load_train
from spar.train.stage_runner import write_prompts
from spar.types import Prompt
from spar.verifiers import constraints_of, passes
from tests.fakes import make_prompt
from tests.requires import requires
from tests.test_verifiers import nltk_data
from tests.train.trees import make_tree

__all__ = ["nltk_data"]

PROMPTS = [each for each in nano_prompts("train", 0, 40) if len(constraints_of(each)) > 1]


def judged(prompt: Prompt, *votes: int) -> Any:
    """Drafts of a prompt with so many of five votes."""
    return make_tree(*((None, yes) for yes in votes)).model_copy(update={"prompt": prompt})


def test_a_harder_prompt_asks_for_one_thing_more() -> None:
    """Its text begins with the easier one's, its constraints too; it is of the same split and has a solution."""
    made = [make_harder(prompt, 0) for prompt in PROMPTS]
    assert sum(each is not None for each in made) > len(PROMPTS) // 2
    for prompt, harder in zip(PROMPTS, made, strict=True):
        if harder is None:
            continue
        before, after = constraints_of(prompt), constraints_of(harder)
        assert after[:-1] == before and len(after) == len({name for name, _ in after})
        assert harder.messages[-1].content.startswith(prompt.messages[-1].content)
        assert harder.meta[EASIER] == prompt.id and harder.source == SOURCE
        constraints = tuple(Constraint(*each) for each in after)
        assert split_of(constraints) == "train"
    assert make_harder(PROMPTS[0], 0) == made[0]


def test_the_solution_of_a_harder_prompt_passes() -> None:
    """Read from a file, as a loop reads it, nano-if's verifiers still know the prompt."""
    import random

    (tree,) = [judged(PROMPTS[0], 5)]
    made = harder_prompts([tree], easy=0.5, most=1, name="harder-2", seed=0).prompts
    prompt = made[0].model_copy(update={"source": "a file"})
    constraints = tuple(Constraint(*each) for each in constraints_of(prompt))
    text = next(filter(None, (solve(constraints, random.Random(n)) for n in range(50))))
    assert passes(text, prompt) is True


def test_what_is_easy_is_what_most_drafts_pass() -> None:
    """The easiest first; prompts without a judged draft count for nothing, and those that programs cannot check stay."""
    a, b, c = PROMPTS[:3]
    trees = [judged(a, 5, 0), judged(b, 5, 5, 5, 1), judged(c, 5, 5), judged(make_prompt("Hi"), 5)]
    made = harder_prompts([*trees, make_tree((None, None))], easy=0.75, most=9, name="x", seed=0)
    assert (made.judged, made.easy) == (4, 3)
    assert made.passed_share == pytest.approx((0.5 + 0.75 + 1 + 1) / 4)
    assert [each.meta[EASIER] for each in made.prompts] == [c.id, b.id]
    one = harder_prompts(trees, easy=0.75, most=1, name="x", seed=0)
    assert [each.meta[EASIER] for each in one.prompts] == [c.id]


@pytest.mark.usefixtures("nltk_data")
@requires("lm_eval")
def test_a_prompt_of_ifeval_gets_a_constraint_that_goes_with_its_own() -> None:
    """And a text that meets them all, as the prompt's own reply."""
    meta = {
        "instruction_id_list": ["punctuation:no_comma", "detectable_format:title"],
        "kwargs": [{}, {}],
    }
    prompt = make_prompt("Describe a red kite.", "p").model_copy(update={"meta": meta})
    harder = next(filter(None, (make_harder(prompt, seed) for seed in range(20))))
    assert len(constraints_of(harder)) == 3
    assert passes(harder.meta["output"], harder) is True


@pytest.mark.usefixtures("nltk_data")
@requires("lm_eval")
def test_a_harder_prompt_keeps_two_constraints_of_one_type() -> None:
    """Neither of two lists of forbidden words is lost."""
    words = [{"forbidden_words": ["zebra"]}, {"forbidden_words": ["quartz"]}]
    kind = "keywords:forbidden_words"
    meta = {"instruction_id_list": [kind, kind], "kwargs": words}
    prompt = make_prompt("Describe a red kite.", "p").model_copy(update={"meta": meta})
    harder = next(filter(None, (make_harder(prompt, seed) for seed in range(20))))
    found = constraints_of(harder)
    assert [*found[:2]] == [(kind, each) for each in words] and len(found) == 3
    assert passes("A zebra.", harder) is False and passes(harder.meta["output"], harder) is True


def test_a_loop_takes_harder_prompts_up(tmp_path: Path) -> None:
    """From iteration 2 on: first the harder ones, then the next ones of the file, as many as ever."""
    config = load_train("nano", {"iterations": 2, "prompts_per_iteration": 6}, ["harder.share=0.5"])
    stages = {stage.title: stage for stage in loop_stages(config, tmp_path, Origin("", ""))}
    assert "1/harder" not in stages
    spec = stages["2/harder"].spec
    assert (spec.most, spec.source) == (3, str(tmp_path / "iteration-1" / "judge"))  # type: ignore[attr-defined]
    made = harder_prompts(
        [judged(prompt, 5) for prompt in PROMPTS[:4]], easy=0.8, most=2, name="harder-2", seed=0
    )
    spec.folder.mkdir(parents=True)
    write_prompts(spec.prompts, made.prompts)  # type: ignore[attr-defined]
    loop_pipeline(config, tmp_path).prepare(stages["2/draft"])
    rows = list(read_prompts(stages["2/draft"].prompts))  # type: ignore[arg-type]
    ids = [row.id for row in rows]
    assert ids[:2] == ["nano-harder-2-0", "nano-harder-2-1"]
    assert ids[2:] == [f"nano-train-0-{number}" for number in (6, 7, 8, 9)]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("pairs=reference", "harder needs judged drafts"),
        ("functions.samples=3", "leave out functions"),
        ("harder.easy=2", "harder.easy"),
        ("harder.esy=0.5", "did you mean 'harder.easy'"),
    ],
)
def test_settings_that_do_not_go_with_it(change: str, problem: str) -> None:
    """Nothing is judged, or the prompts have other checks than programs."""
    with pytest.raises(UsageError, match=problem):
        load_train("spin", {}, ["harder.share=0.5", "by_iteration=[]", change])


def test_the_default_loop_stores_nothing_of_it() -> None:
    """So that the digests of loops without it stay."""
    assert "harder" not in json.dumps(load_train("nano", {}).stored())
