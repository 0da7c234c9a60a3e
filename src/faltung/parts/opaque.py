"""An index that LLVM cannot see through."""

from ..lang.routine import Routine, Value

_MOST = 1 << 62  # no index is as large


def opaque(r: Routine, index: Value) -> Value:
    """The same number, but LLVM does not see what it is made of.

    It would otherwise weigh every address that is made of it against the index of every loop around
    (LoopStrengthReduce), which takes several times as long as the rest of compiling.
    """
    return r.select(index < _MOST, index, r.const(0))
