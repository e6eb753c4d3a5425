"""Screens: what a person sees at once, and what each key does there."""
