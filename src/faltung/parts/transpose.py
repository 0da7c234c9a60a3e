"""A square of numbers transposed in registers: channels of a row become lanes, and back.

Contiguous images have the numbers of one channel side by side; a routine whose lanes are channels
wants those of one pixel side by side. n vectors of n lanes are turned in log₂ n rounds of n picks.
All of them are picks that processors have one instruction for: numbers within groups of 16 bytes
first, then whole groups.
"""

from collections.abc import Sequence

from ..lang.routine import Routine, Value

_GROUP_BYTES = 16


def transposed(r: Routine, rows: Sequence[Value]) -> list[Value]:
    """Vector i of the result holds lane i of every row; as many rows as lanes, a power of two."""
    lanes = rows[0].type.lanes
    if len(rows) != lanes or lanes & (lanes - 1):
        raise ValueError(f"needs as many rows as lanes, a power of two: {len(rows)} and {lanes}")
    group = min(lanes, _GROUP_BYTES // (8 if rows[0].type.kind == "f64" else 4))
    size, turned = 1, list(rows)
    while size < group:
        # runs of `size` lanes of both rows in turn, from the low half of every group
        low = [
            half + start + run + n
            for start in range(0, lanes, group)
            for run in range(0, group // 2, size)
            for half in (0, lanes)
            for n in range(size)
        ]
        turned = _round(r, turned, size, low, group // 2)
        size *= 2
    in_order = [_reversed_bits(n % group, group) + n // group * group for n in range(lanes)]
    turned = [turned[n] for n in in_order]
    while size < lanes:
        # every second group of the one, then of the other
        even = [g * group + n for g in range(0, 2 * lanes // group, 2) for n in range(group)]
        turned = _round(r, turned, size, even, group)
        size *= 2
    return turned


def _round(
    r: Routine, rows: list[Value], size: int, places: list[int], further: int
) -> list[Value]:
    """Each row and the one `size` after it, picked at `places` and at places `further` on."""
    made = list(rows)
    for n in range(len(rows)):
        if not n & size:
            pair = rows[n], rows[n + size]
            made[n] = r.pick(*pair, places)
            made[n + size] = r.pick(*pair, [place + further for place in places])
    return made


def _reversed_bits(number: int, below: int) -> int:
    found = 0
    while below > 1:
        found, number, below = 2 * found + number % 2, number // 2, below // 2
    return found
