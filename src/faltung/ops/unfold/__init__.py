"""Unfold and fold: every window of an image as a column, and back."""
