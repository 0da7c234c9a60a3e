"""Convolution as the textbook writes it, one page per way; the index is `faltung.by_hand`."""
