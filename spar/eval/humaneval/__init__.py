"""HumanEval: functions to write, and the confined child process that runs a model's code."""
