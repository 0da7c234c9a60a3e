"""The routine language: routines recorded from Python, read, interpreted, counted and compiled.

It knows nothing of PyTorch and nothing of convolution.
"""
