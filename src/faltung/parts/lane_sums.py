"""Vectors summed up across their lanes, as many of them at once as there are lanes.

Each round adds the halves of two vectors and leaves both side by side in one, so n vectors of n
lanes take n − 1 additions and 2·(n − 1) picks, where one after the other would take n·log₂ n of
both. All picks are such that processors have one instruction for.
"""

from collections.abc import Sequence

from ..lang.routine import Routine, Value

_GROUP_BYTES = 16


def lane_sums(r: Routine, vectors: Sequence[Value]) -> Value:
    """Lane i of the result is the sum of all lanes of vector i; as many vectors as lanes."""
    lanes = vectors[0].type.lanes
    if len(vectors) != lanes or lanes & (lanes - 1):
        raise ValueError(f"needs as many vectors as lanes, a power of two: {len(vectors)}, {lanes}")
    group = min(lanes, _GROUP_BYTES // (8 if vectors[0].type.kind == "f64" else 4))
    found, size = list(vectors), 1
    while size < group:  # runs of `size` lanes of both in turn, from the low halves of the groups
        low = [
            half + start + run + n
            for start in range(0, lanes, group)
            for run in range(0, group // 2, size)
            for half in (0, lanes)
            for n in range(size)
        ]
        found = _added(r, found, low, group // 2)
        size *= 2
    while size < lanes:  # every second group of the one, then of the other
        even = [g * group + n for g in range(0, 2 * lanes // group, 2) for n in range(group)]
        found = _added(r, found, even, group)
        size *= 2
    return found[0]


def _added(r: Routine, vectors: list[Value], places: list[int], further: int) -> list[Value]:
    """Neighbours in pairs: what is picked from both, and what lies `further` on, added."""
    others = [place + further for place in places]
    pairs = zip(vectors[::2], vectors[1::2], strict=True)
    return [r.pick(a, b, places) + r.pick(a, b, others) for a, b in pairs]
