"""Session affinity: a tree stays on one replica, so that one prefix cache serves all of its requests.

A tree is assigned to the least loaded replica at its first request, and stays there while that replica is
up. Pure bookkeeping; knows neither clusters nor servers.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

_MAX_TREES = 65_536

R = TypeVar("R", bound=Hashable)
"""Identifies a replica."""


class Affinity(Generic[R]):
    """Assigns trees to replicas.

    Parameters
    ----------
    max_trees:
        Number of assignments to remember; the least recently used one is forgotten first.
    """

    def __init__(self, max_trees: int = _MAX_TREES) -> None:
        self._max_trees = max_trees
        self._assigned: OrderedDict[int, R] = OrderedDict()
        self._num_assigned: Counter[R] = Counter()

    def pick(self, tree: int, loads: Mapping[R, float]) -> R:
        """The replica for a tree's next request.

        Parameters
        ----------
        tree:
            Admission number; requests with 0 belong to no tree and go to the least loaded replica.
        loads:
            Load of each live replica; not empty. Ties go to the replica with the fewest assignments.
        """
        replica = self._assigned.get(tree)
        if replica is None or replica not in loads:
            replica = min(loads, key=lambda each: (loads[each], self._num_assigned[each]))
            self._num_assigned[replica] += 1
        if tree:
            self._assigned[tree] = replica
            self._assigned.move_to_end(tree)
            if len(self._assigned) > self._max_trees:
                self._assigned.popitem(last=False)
        return replica
