"""Pieces of routines that two or more algorithms use unchanged."""
