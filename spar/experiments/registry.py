"""The experiments by name, in the order in which a report runs them: cheap ones first."""

from __future__ import annotations

from collections.abc import Mapping

from spar.experiments.experiment import Experiment
from spar.experiments.judging import TABLE9
from spar.experiments.search_cost import FIGURE5, TABLE10

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment for experiment in (TABLE9, TABLE10, FIGURE5)
}
