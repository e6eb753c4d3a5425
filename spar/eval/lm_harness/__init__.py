"""lm-eval's tasks as benchmarks of spar, and spar as a model of lm-eval.

requests.py     requests of a task, as prompts to search and as texts to score
tasks.py        a task with its documents, made ready by lm-eval
local_data.py   documents from the data folder in place of the hub's
roles.py        who answers: drafts that end where the task says, and likelihoods
likelihoods.py  likelihoods on the disk
replay.py       lm-eval's own scoring of the stored replies, without a model
scored.py       lm-eval's results as examples and metrics
benchmark.py    the benchmarks
model.py        the model `spar`, for lm-eval's command line (`python -m spar.eval.lm_harness`)
"""
