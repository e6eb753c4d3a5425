"""Evaluation: benchmarks over models, with or without a search on top."""
