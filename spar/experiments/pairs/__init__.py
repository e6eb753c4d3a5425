"""Experiments that train on pairs of a known kind: Figures 1 and 4.

subjects.py, arms.py    the model and its prompts, and the kinds of pairs of Figure 1
trainings.py            one training on rows that an experiment makes
figure1.py, figure4.py  the experiments
"""
