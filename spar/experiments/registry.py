"""The experiments by name, in the order in which a report runs them: cheap ones first."""

from __future__ import annotations

from collections.abc import Mapping

from spar.experiments.experiment import Experiment
from spar.experiments.loops.equal_tokens import EQUAL_TOKENS
from spar.experiments.loops.figure3 import FIGURE3
from spar.experiments.loops.iterations import ITERATIONS
from spar.experiments.loops.table2_tables45 import TABLE2, TABLES45
from spar.experiments.loops.table3 import TABLE3
from spar.experiments.loops.table7 import TABLE7
from spar.experiments.pairs.figure1 import FIGURE1
from spar.experiments.pairs.figure4 import FIGURE4
from spar.experiments.searches.figure5_table10 import FIGURE5, TABLE10
from spar.experiments.searches.shapes import SHAPES_TABLE
from spar.experiments.searches.sharing import SHARING
from spar.experiments.searches.strategies import FAILING, STRATEGIES_TABLE
from spar.experiments.searches.table9 import TABLE9

EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        *(TABLE9, TABLE10, FIGURE5, STRATEGIES_TABLE, FAILING, SHAPES_TABLE, SHARING),
        *(FIGURE1, FIGURE4, FIGURE3, TABLE2, TABLE3, TABLE7, TABLES45, ITERATIONS, EQUAL_TOKENS),
    )
}
