"""The experiments by name, in the order in which a report runs them: cheap ones first."""

from __future__ import annotations

from collections.abc import Mapping

from spar.experiments.equal_tokens import EQUAL_TOKENS
from spar.experiments.experiment import Experiment
from spar.experiments.interfering import FIGURE4
from spar.experiments.iterations import ITERATIONS
from spar.experiments.judging import TABLE9
from spar.experiments.keeping import TABLE7
from spar.experiments.methods import FIGURE3
from spar.experiments.refining import TABLE3
from spar.experiments.search_cost import FIGURE5, TABLE10
from spar.experiments.shapes import SHAPES_TABLE
from spar.experiments.sharing import SHARING
from spar.experiments.similar_pairs import FIGURE1
from spar.experiments.strategies import FAILING, STRATEGIES_TABLE
from spar.experiments.training import TABLE2, TABLES45

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *(TABLE9, TABLE10, FIGURE5, STRATEGIES_TABLE, FAILING, SHAPES_TABLE, SHARING),
        *(FIGURE1, FIGURE4, FIGURE3, TABLE2, TABLE3, TABLE7, TABLES45, ITERATIONS, EQUAL_TOKENS),
    )
}
