"""The paper's experiments as `spar report` runs them: a registry, made of evaluations, sweeps and loops.

Read `experiment.py` first, then one experiment (`search_cost.py`), then `runner.py`.
"""
