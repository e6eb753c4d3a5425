"""Experiments that search without training: Figure 5, Tables 9 and 10, and the comparison of strategies.

sweeps.py               strategies at several budgets over several seeds
figure5_table10.py, table9.py, strategies.py, shapes.py, sharing.py    the experiments
"""
