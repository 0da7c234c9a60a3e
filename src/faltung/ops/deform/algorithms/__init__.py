"""The algorithms of deformable convolution: the folder is the list."""
