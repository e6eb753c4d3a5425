"""Shipped recipes: YAML files that `--recipe NAME` finds."""
