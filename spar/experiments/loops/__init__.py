"""Experiments that read training loops: Figure 3, Tables 2 to 5 and 7, and those of the reader's checks.

loops.py, pool.py       the loops of an experiment, and how they are trained, several at once
tested.py               drafts of their actors on more test prompts
refiners.py             their refiners as judges
figure3.py, table2_tables45.py, table3.py, table7.py, equal_tokens.py, iterations.py    an experiment each, or two that share their loops
agreement.py, health_tables.py, general_tasks.py    what these measure besides
"""
