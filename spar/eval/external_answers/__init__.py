"""Answers and grader replies that were written elsewhere, read from files and matched to examples.

rows.py       which files are read, their formats, and the prompt that each row names
texts.py      the response or the replies in a row
matching.py   rows to the examples of a benchmark, and what matches nothing
"""
