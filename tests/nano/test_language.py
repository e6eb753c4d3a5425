"""nano-if: its lexicon, drafts, writer, prompts and splits."""

from __future__ import annotations

import itertools
import random

import pytest

from spar.nano import draft as edit
from spar.nano.constraints import CONSTRAINT_TYPES
from spar.nano.lexicon import CATEGORY, ENDINGS, KEYWORDS
from spar.nano.synthetic import SYNTHETIC_TASKS
from spar.nano.tasks import Split, Task, prompts, sample_task, split_of
from spar.nano.teacher import FlawRates, observe, write_critique, write_draft, write_refinement
from spar.nano.writer import break_constraints, repair, solve, violated
from spar.own_verifiers import VERIFIERS, verify
from spar.verifiers import passes

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
PERFECT = FlawRates(ignored={}, broken_draft=0.0, wrong_line=0.0, broken_refinement=0.0)


def tasks(split: Split, count: int) -> list[Task]:
    return [sample_task(split, 0, index) for index in range(count)]


def test_no_keyword_is_part_of_another_word_or_of_an_ending() -> None:
    """IFEval matches keywords inside words, so a keyword inside another would be counted twice."""
    texts = [*CATEGORY, *(ending.lower() for ending in ENDINGS)]
    assert [(k, text) for k in KEYWORDS for text in texts if k != text and k in text] == []


def test_every_constraint_type_has_a_verifier_and_occurs() -> None:
    """Every type occurs in five hundred tasks and has a verifier."""
    seen = {c.id for task in tasks("train", 500) for c in task.constraints}
    assert seen == {*CONSTRAINT_TYPES, *SYNTHETIC_TASKS}
    assert seen <= set(VERIFIERS)


def test_splits_are_disjoint() -> None:
    """No set of constraints is in two splits, and no prompt text either."""
    keys = {s: {repr(sorted(map(repr, t.constraints))) for t in tasks(s, 400)} for s in SPLITS}
    texts = {split: {task.text for task in tasks(split, 400)} for split in SPLITS}
    for first, second in itertools.combinations(SPLITS, 2):
        assert not keys[first] & keys[second]
        assert not texts[first] & texts[second]
    assert all(
        split_of(task.constraints) == split for split in SPLITS for task in tasks(split, 400)
    )


def test_the_split_ignores_the_order_of_constraints() -> None:
    """The same constraints in another order belong to the same split."""
    for task in tasks("train", 100):
        assert split_of(task.constraints[::-1]) == "train"


def test_tasks_are_a_function_of_the_seed() -> None:
    """The same seed gives the same prompts; another seed gives others."""
    assert [t.text for t in tasks("test", 50)] == [t.text for t in tasks("test", 50)]
    assert sample_task("test", 1, 0) != sample_task("test", 0, 0)


def test_prompts_carry_ifevals_fields() -> None:
    """A prompt's meta has one kwargs entry an instruction id."""
    for prompt in prompts("test", limit=50):
        ids, kwargs = prompt.meta["instruction_id_list"], prompt.meta["kwargs"]
        assert len(ids) == len(kwargs) >= 1
        assert passes("some response", prompt) is not None


def test_every_task_can_be_solved_broken_and_repaired() -> None:
    """The writer's solutions and repairs meet every constraint; its breakages mostly do not."""
    rng = random.Random(0)
    num_broken = 0
    for task in tasks("train", 400):
        solution = next(filter(None, (solve(task.constraints, rng) for _ in range(50))))
        assert violated(solution, task.constraints) == []
        chosen = rng.choice(task.constraints)
        broken = break_constraints(solution, task.constraints, [chosen], rng)
        num_broken += not verify(broken, chosen.id, chosen.kwargs)
        repaired = repair(broken, task.constraints, rng)
        assert repaired is None or violated(repaired, task.constraints) == []
    assert num_broken > 380


def test_parsing_and_rendering_round_trip() -> None:
    """A draft parsed from a text renders to the same text, whatever its case, quotes and ending."""
    rng = random.Random(1)
    for task in tasks("train", 400):
        if task.constraints[0].id not in SYNTHETIC_TASKS:
            text = write_draft(task, FlawRates(), rng)
            assert edit.parse(text).render() == text


def test_a_perfect_teacher_is_always_right() -> None:
    """Without planned flaws, drafts pass, verdicts are correct and refinements pass."""
    rng = random.Random(2)
    for task in tasks("train", 200):
        draft = write_draft(task, PERFECT, rng)
        assert violated(draft, task.constraints) == []
        assert write_critique(task, draft, PERFECT, rng).endswith("Final Judgement: Yes")
        broken = break_constraints(draft, task.constraints, list(task.constraints), rng)
        critique = write_critique(task, broken, PERFECT, rng)
        assert critique.endswith("Yes" if not violated(broken, task.constraints) else "No")
        refined = write_refinement(task, broken, PERFECT, rng)
        body = refined.split("[[start]]\n")[1].removesuffix("\n[[end]]")
        assert violated(body, task.constraints) == []


def test_the_planned_weakness_is_systematic() -> None:
    """Drafts violate the ignored types at about their rates, and others rarely."""
    rng, rates = random.Random(3), FlawRates()
    broken: dict[bool, list[bool]] = {True: [], False: []}
    for task in tasks("train", 1500):
        draft = write_draft(task, rates, rng)
        for c in task.constraints:
            broken[c.id in rates.ignored].append(not verify(draft, c.id, c.kwargs))
    assert 0.55 < sum(broken[True]) / len(broken[True]) < 0.8
    assert sum(broken[False]) / len(broken[False]) < 0.2


@pytest.mark.parametrize("constraint_id", sorted(CONSTRAINT_TYPES))
def test_observations_determine_the_verdict(constraint_id: str) -> None:
    """The same observation never goes with both a met and a violated constraint."""
    rng = random.Random(constraint_id)
    verdicts: dict[tuple[str, str], set[bool]] = {}
    for task in tasks("train", 600):
        for c in task.constraints:
            if c.id == constraint_id:
                text = write_draft(task, FlawRates(), rng)
                key = (repr(c.kwargs), observe(c, text))
                verdicts.setdefault(key, set()).add(verify(text, c.id, c.kwargs))
    assert verdicts
    assert all(len(values) == 1 for values in verdicts.values())
