"""Strided scatter as ordinary convolutions, one for each phase."""
