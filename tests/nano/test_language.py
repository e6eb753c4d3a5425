"""nano-if: its lexicon, drafts, writer, prompts and splits."""

from __future__ import annotations

import itertools
import random

import pytest

from spar.nano import draft as edit
from spar.nano.constraints import KINDS
from spar.nano.lexicon import CATEGORY, ENDINGS, KEYWORDS
from spar.nano.synthetic import SYNTHETIC
from spar.nano.tasks import Split, Task, prompts, sample_task, split_of
from spar.nano.teacher import Dials, observe, write_critique, write_draft, write_refinement
from spar.nano.writer import break_some, mend, solve, unmet
from spar.verifiers import VERIFIERS, passes, verify

SPLITS: tuple[Split, ...] = ("train", "validation", "test")
PERFECT = Dials(ignored={}, broken_draft=0.0, wrong_line=0.0, broken_refinement=0.0)


def tasks(split: Split, count: int) -> list[Task]:
    return [sample_task(split, 0, index) for index in range(count)]


def test_no_keyword_stands_inside_another_word_or_an_ending() -> None:
    """IFEval matches keywords inside words, so one inside another would be counted twice."""
    texts = [*CATEGORY, *(ending.lower() for ending in ENDINGS)]
    assert [(k, text) for k in KEYWORDS for text in texts if k != text and k in text] == []


def test_every_constraint_type_has_a_verifier_and_occurs() -> None:
    """Five hundred tasks show every type, and each type can be verified."""
    seen = {c.id for task in tasks("train", 500) for c in task.constraints}
    assert seen == {*KINDS, *SYNTHETIC}
    assert seen <= set(VERIFIERS)


def test_splits_are_disjoint() -> None:
    """No set of constraints stands in two splits, and none of their prompt texts either."""
    keys = {s: {repr(sorted(map(repr, t.constraints))) for t in tasks(s, 400)} for s in SPLITS}
    texts = {split: {task.text for task in tasks(split, 400)} for split in SPLITS}
    for one, other in itertools.combinations(SPLITS, 2):
        assert not keys[one] & keys[other]
        assert not texts[one] & texts[other]
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
        assert passes("some response", prompt.meta) is not None


def test_every_task_can_be_solved_broken_and_mended() -> None:
    """The writer's solutions and repairs meet every constraint; its breakages mostly do not."""
    rng = random.Random(0)
    num_broken = 0
    for task in tasks("train", 400):
        solution = next(filter(None, (solve(task.constraints, rng) for _ in range(50))))
        assert unmet(solution, task.constraints) == []
        chosen = rng.choice(task.constraints)
        broken = break_some(solution, task.constraints, [chosen], rng)
        num_broken += not verify(broken, chosen.id, chosen.kwargs)
        mended = mend(broken, task.constraints, rng)
        assert mended is None or unmet(mended, task.constraints) == []
    assert num_broken > 380


def test_parsing_a_rendered_text_gives_it_back() -> None:
    """Drafts survive the way into text and back, in every case and with quotes and endings."""
    rng = random.Random(1)
    for task in tasks("train", 400):
        if task.constraints[0].id not in SYNTHETIC:
            text = write_draft(task, Dials(), rng)
            assert edit.parse(text).render() == text


def test_a_perfect_teacher_is_always_right() -> None:
    """Without planned flaws drafts pass, verdicts are true, and refinements pass."""
    rng = random.Random(2)
    for task in tasks("train", 200):
        draft = write_draft(task, PERFECT, rng)
        assert unmet(draft, task.constraints) == []
        assert write_critique(task, draft, PERFECT, rng).endswith("Final Judgement: Yes")
        broken = break_some(draft, task.constraints, list(task.constraints), rng)
        critique = write_critique(task, broken, PERFECT, rng)
        assert critique.endswith("Yes" if not unmet(broken, task.constraints) else "No")
        refined = write_refinement(task, broken, PERFECT, rng)
        body = refined.split("[[start]]\n")[1].removesuffix("\n[[end]]")
        assert unmet(body, task.constraints) == []


def test_the_planned_weakness_is_systematic() -> None:
    """Drafts break the ignored types about as often as the dials say, and others rarely."""
    rng, dials = random.Random(3), Dials()
    broken: dict[bool, list[bool]] = {True: [], False: []}
    for task in tasks("train", 1500):
        draft = write_draft(task, dials, rng)
        for c in task.constraints:
            broken[c.id in dials.ignored].append(not verify(draft, c.id, c.kwargs))
    assert 0.55 < sum(broken[True]) / len(broken[True]) < 0.8
    assert sum(broken[False]) / len(broken[False]) < 0.2


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_observations_tell_met_from_unmet(kind: str) -> None:
    """For each type, the same observation never goes with both a met and an unmet constraint."""
    rng = random.Random(kind)
    verdicts: dict[tuple[str, str], set[bool]] = {}
    for task in tasks("train", 600):
        for c in task.constraints:
            if c.id == kind:
                text = write_draft(task, Dials(), rng)
                key = (repr(c.kwargs), observe(c, text))
                verdicts.setdefault(key, set()).add(verify(text, c.id, c.kwargs))
    assert verdicts
    assert all(len(values) == 1 for values in verdicts.values())
