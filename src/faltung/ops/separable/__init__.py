"""Depthwise-separable convolution: a depthwise and a pointwise convolution in a row."""
