"""Sums of gy on the way, the gradient of a bias: some vectors at a time.

gb[o] = Σ_{n, q} gy[n, o, q]
"""

from collections.abc import Callable

from ...lang.routine import Operand, Routine, Value

_TOGETHER = 4  # vectors that are added at the same time, as an addition takes four cycles


def with_sum(r: Routine, total: Value, count: Operand, vector: Callable[[Value], Value]) -> Value:
    """`total` and vectors 0, 1, … below `count`; `vector(n)` records how one is loaded.

    >>> r = Routine("adding")
    >>> x, y = r.reads("x", "float32", 28), r.writes("y", "float32", 4)
    >>> with r.work():
    ...     r.store(y, 0, with_sum(r, r.const(0, "f32", 4), 7, lambda n: r.load(x, n * 4, 4)))
    """
    whole = r.const(0) + count // _TOGETHER * _TOGETHER
    nothing = [r.const(0, total.type.kind, total.type.lanes)] * (_TOGETHER - 1)
    with r.loop(0, whole, _TOGETHER, carried=[total, *nothing]) as loop:
        vectors = [vector(loop.index + n) for n in range(_TOGETHER)]
        loop.carry(*(a + b for a, b in zip(loop.carried, vectors, strict=True)))
    total, *others = loop.results
    for other in others:
        total = total + other
    with r.loop(whole, count, carried=[total]) as loop:
        loop.carry(loop.carried[0] + vector(loop.index))
    return loop.results[0]
