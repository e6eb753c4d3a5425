"""How much of the taxonomy the selected prompts cover. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from spar.evolve.taxonomy import CONSTRAINT_TYPES, GROUPS, group_of
from spar.record.evolution import ConstraintCoverage, EvolvedPrompt, GroupCoverage


def coverage(prompts: Sequence[EvolvedPrompt]) -> dict[str, GroupCoverage]:
    """For each group, how many prompts use it and each of its constraint types."""
    main = Counter(prompt.main_constraint for prompt in prompts)
    main_groups = Counter(group_of(prompt.main_constraint) for prompt in prompts)
    mentioned = Counter(id_ for prompt in prompts for id_ in {*prompt.constraints})
    groups = Counter(group for prompt in prompts for group in {*map(group_of, prompt.constraints)})
    return {
        group: GroupCoverage(
            main=main_groups[group],
            mentioned=groups[group],
            kinds={
                kind.name: ConstraintCoverage(main=main[kind.id], mentioned=mentioned[kind.id])
                for kind in kinds
            },
        )
        for group, kinds in GROUPS.items()
    }


def never_covered(prompts: Sequence[EvolvedPrompt]) -> tuple[str, ...]:
    """Ids of the constraint types that no prompt uses."""
    used = {id_ for prompt in prompts for id_ in prompt.constraints}
    return tuple(id_ for id_ in CONSTRAINT_TYPES if id_ not in used)
