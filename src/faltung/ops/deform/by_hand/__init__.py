"""Deformable convolution as the papers write it: loops and the sampling formula."""
