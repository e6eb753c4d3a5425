"""The paper's experiments as `spar report` runs them: a registry, made of evaluations, sweeps and loops.

Read `experiment.py` first, then one experiment (`searches/figure5_table10.py`), then `runner.py`.
"""
