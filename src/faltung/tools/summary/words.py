"""Numbers of a summary as people read them, the same in a terminal and on a page."""

from collections.abc import Iterator, Sequence

from ...planning import readable_bytes
from .table import Summary

_UNITS = ("", " k", " M", " G", " T")


def short(count: int) -> str:
    """A count in three or four digits; 0 is a dash.

    >>> short(73_856), short(118_013_952), short(512), short(0)
    ('73.9 k', '118 M', '512', '–')
    """
    if not count:
        return "–"
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    if unit == 0:
        return str(count)
    return f"{value:.3g}{_UNITS[unit]}" if value < 999.5 else f"{value:.0f}{_UNITS[unit]}"


def shape(sizes: Sequence[int]) -> str:
    """A tensor's sizes.

    >>> shape((1, 64, 56, 56))
    '1×64×56×56'
    """
    return "×".join(map(str, sizes))


def bytes_moved(count: int) -> str:
    """A byte count."""
    return readable_bytes(count)


def field(sizes: Sequence[int | str | None]) -> str:
    """A receptive field, once where it is the same along all axes.

    >>> field((11, 11)), field((3, 5)), field(("all", "all")), field((None, None))
    ('11×11', '3×5', 'all', '–')
    """
    if not sizes or all(size is None for size in sizes):
        return "–"
    if all(size == "all" for size in sizes):
        return "all"
    return "×".join("?" if size is None else str(size) for size in sizes)


def times(gain: float | None) -> str:
    """How many times as fast; a dash where it makes no difference.

    >>> times(2.34), times(1.0), times(None)
    ('2.3×', '–', '')
    """
    if gain is None:
        return ""
    return f"{gain:.1f}×" if gain >= 1.05 else "–"


def remarks(found: Summary) -> Iterator[str]:
    """What the table does not say by itself."""
    if found.rest:
        parts = [f"{count} {kind} ({short(size)})" for kind, count, size in found.rest]
        yield f"The parameters of {', '.join(parts)} are in the total, what these compute is not."
    if found.trainable < found.parameters:
        yield f"{short(found.parameters - found.trainable)} parameters are frozen."
    yield (
        "Multiply-adds of convolutions and matrix products, forward and for the gradients that "
        "training needs. Sees: positions of the input behind one output."
    )
    if found.gain is not None:
        yield (
            "Gain: estimated time of PyTorch's own convolution, in the faster of its two memory "
            "layouts, ÷ that of the algorithm, on this machine."
        )
