"""Widgets: each owns its keys, its looks and its messages, and knows no screen."""
