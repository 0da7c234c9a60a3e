"""Every convolution for PyTorch, by hand and at full speed."""

__version__ = "0.1.0"
