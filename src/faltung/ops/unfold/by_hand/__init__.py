"""Unfold and fold as the textbook has them: plain loops over the index map."""
