"""Screens, each with its layout and key bindings."""
