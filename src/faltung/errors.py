"""The two errors a user's mistake raises.

Both are also `RuntimeError`, because that is what PyTorch's own convolutions raise: code written
around `torch.nn.functional` catches ours too.
"""


class ArgumentError(ValueError, RuntimeError):
    """An argument has the right type and an impossible value."""


class ArgumentTypeError(TypeError, RuntimeError):
    """An argument is not the kind of thing the function takes."""
