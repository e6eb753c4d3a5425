"""spar: inference scaling and self-improvement of instruction following by tree-search refinement."""

__version__ = "0.1.0"
