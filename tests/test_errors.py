"""Our errors are Python's kinds, and PyTorch's."""

from faltung.errors import ArgumentError, ArgumentTypeError


def test_kinds() -> None:
    assert issubclass(ArgumentError, ValueError) and issubclass(ArgumentError, RuntimeError)
    assert issubclass(ArgumentTypeError, TypeError)
    assert issubclass(ArgumentTypeError, RuntimeError)
