"""Pairs and fours of rows at either end of an image, by the same code as all others.

A product of a pair adds up two rows of the image, and often one of them is there for every pair:

    d0 − d2 = −(d2 − d0)          d0 may lie above the image, d2 never does

With that one first, the other is added or taken away in those lanes where a mask says so, all or
none of them. Vectors of an instruction that adds have such a mask for nothing, and its operand from
memory is one of a row that is there: the nearest to the one that is not. Loads under a mask would
take a part of the core that multiplies, and those of rows that are not there touch memory before or
behind the image: it may be the result that another core writes, which then waits for it.
"""

from ...ops.geometry import Axis
from ..rows.pairs import Combined, Pairing


def steady_rows(axis: Axis, lines: int, down: int) -> range:
    """Rows that all of so many lines of tiles, of `down` rows of outputs, find in the image.

    They are counted from the row that the first tap sees for the line's first output.

    >>> steady_rows(Axis(input_size=56, kernel_size=3, stride=1, padding=(1, 1)), lines=28, down=2)
    range(1, 3)
    """
    last = down * axis.stride * (lines - 1)
    return range(axis.padding[0], axis.input_size + axis.padding[0] - last)


def steady_first(pairing: Pairing, steady: range) -> Pairing:
    """The same sums, of products that begin with a row that is always there, if they have one."""
    return Pairing(
        tuple(tuple(_begun(product, steady) for product in group) for group in pairing.groups)
    )


def _begun(product: Combined, steady: range) -> Combined:
    first = next((one for one in product.rows if one[0] in steady), product.rows[0])
    sign = first[1]
    rows = (first, *(one for one in product.rows if one is not first))
    return Combined(
        product.to,
        tuple((row, sign * factor) for row, factor in rows),
        tuple((tap, sign * factor) for tap, factor in product.taps),
    )
