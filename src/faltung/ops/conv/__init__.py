"""Convolution in 1-D to 3-D: dense, grouped, depthwise, dilated, large, causal, transposed."""
