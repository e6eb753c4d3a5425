"""What of the taxonomy the kept prompts cover. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from spar.evolve.taxonomy import GROUPS, KINDS, group_of
from spar.record.evolution import EvolvedPrompt, GroupCoverage, KindCoverage


def coverage(kept: Sequence[EvolvedPrompt]) -> dict[str, GroupCoverage]:
    """Group to how many prompts have it, and each of its kinds."""
    main = Counter(prompt.main_constraint for prompt in kept)
    main_groups = Counter(group_of(prompt.main_constraint) for prompt in kept)
    mentioned = Counter(one for prompt in kept for one in {*prompt.constraints})
    groups = Counter(group for prompt in kept for group in {*map(group_of, prompt.constraints)})
    return {
        group: GroupCoverage(
            main=main_groups[group],
            mentioned=groups[group],
            kinds={
                kind.name: KindCoverage(main=main[kind.id], mentioned=mentioned[kind.id])
                for kind in kinds
            },
        )
        for group, kinds in GROUPS.items()
    }


def never_covered(kept: Sequence[EvolvedPrompt]) -> tuple[str, ...]:
    """Ids of the kinds that no prompt has."""
    named = {one for prompt in kept for one in prompt.constraints}
    return tuple(id_ for id_ in KINDS if id_ not in named)
