"""How large the demo is: everything that costs time and may be smaller in a test."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Sizes:
    """What the demo works on.

    `photograph` is (rows, columns) of the fitted photograph; its proportions are kept as they are
    in the file, 6 to 5. `layers` says how many of the real network layers are run, None all of
    them. `steps` are the steps of gradient descent.
    """

    photograph: tuple[int, int] = (300, 250)
    layers: int | None = None
    steps: int = 600


FULL = Sizes()
"""What `faltung demo` shows."""

QUICK = Sizes(photograph=(120, 100), layers=4, steps=600)
"""The same scenes in a few seconds: for the tests."""
