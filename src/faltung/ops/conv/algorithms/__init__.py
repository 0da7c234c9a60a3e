"""One file = one algorithm on one kind of device; this folder is the list.

A file defines one subclass of `faltung.planning.Algorithm` and binds its instance to `ALGORITHM`.
Dropping a file in here is all it takes: the planner considers it and the shared tests run it. What
does forward convolutions does the gradient of the input at stride 1 as well: see `mirrored.py`.
"""

from ....planning import Algorithm


def adapted(algorithm: Algorithm) -> Algorithm:
    """What the planner gets for an algorithm of this folder."""
    if "forward" not in algorithm.tasks or "grad_input" in algorithm.tasks:
        return algorithm
    from ..mirrored import Mirrored  # noqa: PLC0415  (needs the compiler, which may be missing)

    return Mirrored(algorithm)
