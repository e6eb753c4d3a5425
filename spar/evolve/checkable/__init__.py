"""Prompts that a program can check: plain instructions joined with IFEval's constraint types in our own wordings.

Read `constraint_types.py` (what is drawn), `conflicts.py` (what goes together), `witness.py` (the proof that it does),
`seeds.py` (which instructions take which types), `join.py` (the English), `draw.py` (one prompt), `runner.py` (all).
"""
