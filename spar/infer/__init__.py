"""Decoding: engines, roles, strategies, and the driver that runs a search."""
