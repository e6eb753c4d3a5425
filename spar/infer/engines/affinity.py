"""Which replica a tree stays on, so that one prefix cache serves all of its requests.

A tree goes to the least loaded replica when it is first seen, and stays there while that replica
lives. Pure bookkeeping: knows neither clusters nor servers.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Hashable, Mapping
from typing import Generic, TypeVar

_REMEMBERED = 65_536

R = TypeVar("R", bound=Hashable)
"""What stands for a replica."""


class Affinity(Generic[R]):
    """Assigns trees to replicas.

    Parameters
    ----------
    remembered:
        Most trees whose replica is kept in mind; the one asked for longest ago is forgotten first.
    """

    def __init__(self, remembered: int = _REMEMBERED) -> None:
        self._remembered = remembered
        self._places: OrderedDict[int, R] = OrderedDict()
        self._given: Counter[R] = Counter()

    def pick(self, tree: int, loads: Mapping[R, float]) -> R:
        """The replica for a tree's next request.

        Parameters
        ----------
        tree:
            Admission number; 0 stands for no tree, whose requests go wherever there is least to do.
        loads:
            Live replica to how busy it is; not empty. Of equally busy ones, that which was given
            fewest trees so far is taken.
        """
        place = self._places.get(tree)
        if place is None or place not in loads:
            place = min(loads, key=lambda replica: (loads[replica], self._given[replica]))
            self._given[place] += 1
        if tree:
            self._remember(tree, place)
        return place

    def _remember(self, tree: int, place: R) -> None:
        self._places[tree] = place
        self._places.move_to_end(tree)
        if len(self._places) > self._remembered:
            self._places.popitem(last=False)
