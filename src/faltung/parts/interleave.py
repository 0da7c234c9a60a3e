"""Vectors woven into a row: the inverse of picking every s-th number."""

from collections.abc import Sequence

from ..lang.routine import Routine, Value


def interleaved(r: Routine, parts: Sequence[Value]) -> list[Value]:
    """Lane 0 of every part, then lane 1 of every part, …, as many vectors as there are parts.

    Even numbers of parts are woven in pairs, with picks that processors have one instruction for,
    others by their factors.
    """
    count, lanes = len(parts), parts[0].type.lanes
    if count == 1:
        return list(parts)
    if count % 2 == 0:
        pairs = zip(interleaved(r, parts[::2]), interleaved(r, parts[1::2]), strict=True)
        woven = []
        for a, b in pairs:
            for first in (0, lanes // 2):
                places = [
                    n for lane in range(first, first + lanes // 2) for n in (lane, lanes + lane)
                ]
                woven.append(r.pick(a, b, places))
        return woven
    factor = _factor(count)
    kinds = zip(*(interleaved(r, parts[n::factor]) for n in range(factor)), strict=True)
    return [_one(r, kind, number) for kind in kinds for number in range(factor)]


def weaving(count: int) -> int:
    """Picks to a vector of the result.

    >>> [weaving(count) for count in (1, 2, 3, 4, 6, 9)]
    [0, 1, 2, 2, 3, 4]
    """
    if count == 1:
        return 0
    factor = _factor(count)
    return factor - 1 + weaving(count // factor)


def _factor(count: int) -> int:
    """The smallest factor but 1."""
    return next(n for n in range(2, count + 1) if count % n == 0)


def _one(r: Routine, parts: Sequence[Value], number: int) -> Value:
    """The vector of that number, from an odd number of parts."""
    count, lanes = len(parts), parts[0].type.lanes
    places = [divmod(number * lanes + lane, count) for lane in range(lanes)]  # (lane, part)
    found = parts[0]
    for n in range(1, count):
        chosen = []
        for lane, (source, part) in enumerate(places):
            if part == n:
                chosen.append(lanes + source)
            elif n == 1 and part == 0:
                chosen.append(source)
            else:
                chosen.append(lane)
        found = r.pick(found, parts[n], chosen)
    return found
