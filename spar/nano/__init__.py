"""The embedded model: its instruction language nano-if, trainer and checkpoint."""
