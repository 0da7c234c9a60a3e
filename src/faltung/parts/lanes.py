"""Every s-th number of a row in memory order, for strides along a row."""

from ..lang.routine import Routine, Value


def every(r: Routine, parts: list[Value], phase: int) -> Value:
    """Lanes phase, phase + s, phase + 2s … of s vectors laid end to end.

    Even strides are halved first, by picks that the other phases may need as well.
    """
    stride, lanes = len(parts), parts[0].type.lanes
    if stride % 2 == 0:
        pairs = zip(parts[::2], parts[1::2], strict=True)
        halves = [r.pick(a, b, range(phase % 2, 2 * lanes, 2)) for a, b in pairs]
        return every(r, halves, phase // 2)
    found = parts[0]
    for n in range(1, stride):
        chosen = []
        for lane in range(lanes):
            place = stride * lane + phase - n * lanes  # in this part, if it is one of its lanes
            if place >= lanes:
                place = -lanes  # in a later part: anything will do for now
            elif place < 0 and n > 1:
                place = lane - lanes  # found before, and put where it belongs
            chosen.append(lanes + place)
        found = r.pick(found, parts[n], chosen)
    return found


def picks(stride: int) -> int:
    """Picks to a vector of every s-th lane, where all phases are wanted and share what they can."""
    return stride - 1 if stride % 2 else 1 + picks(stride // 2)
