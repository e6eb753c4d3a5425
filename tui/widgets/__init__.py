"""Widgets; each owns its bindings, styles and messages, and none depends on a screen."""
