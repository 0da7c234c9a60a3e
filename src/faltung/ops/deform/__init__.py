"""Deformable convolution: every tap looks where its learned offset sends it."""
