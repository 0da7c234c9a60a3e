"""Gradients of weights: sums over all pixels of what a tap reads times what came of it."""
