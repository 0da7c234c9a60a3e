"""One file = one algorithm on one kind of device; this folder is the list.

A file defines one subclass of `faltung.planning.Algorithm` and binds its instance to `ALGORITHM`.
Dropping a file in here is all it takes: the planner considers it and the shared tests run it. What
does forward convolutions does the gradient of the input at stride 1 as well: see `mirrored.py`;
to a result that an algorithm does not add a residual to, one is added: see `residual.py`; and an
image that lies anyhow is brought into order for it: see `dense_memory.py`.
"""

from ....planning import Algorithm
from ..dense_memory import DenseMemory
from ..residual import Adding


def adapted(algorithm: Algorithm) -> Algorithm:
    """What the planner gets for an algorithm of this folder."""
    if algorithm.tasks == {"grad_weight"}:
        return algorithm
    if not algorithm.name.endswith("_cpu"):
        return Adding(algorithm)
    if "forward" not in algorithm.tasks or "grad_input" in algorithm.tasks:
        return DenseMemory(Adding(algorithm))
    from ..mirrored import Mirrored  # noqa: PLC0415  (needs the compiler, which may be missing)

    return DenseMemory(Adding(Mirrored(algorithm)))
