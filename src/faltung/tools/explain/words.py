"""Sentences and numbers of an explanation, the same in a terminal and on a page."""

from collections.abc import Sequence
from fractions import Fraction

from ...planning import Candidate, readable_bytes
from .facts import Explanation, Task


def exact(count: int) -> str:
    """A count with its thousands set apart.

    >>> exact(57_802_752)
    '57,802,752'
    """
    return f"{count:,}"


def by(sizes: Sequence[int | Fraction]) -> str:
    """Sizes of all axes.

    >>> by((56, 48))
    '56×48'
    """
    return "×".join(map(str, sizes))


def share(part: int, whole: int) -> str:
    """A part of a whole.

    >>> share(1, 8), share(0, 0)
    ('12.5%', '–')
    """
    return f"{part / whole:.1%}" if whole else "–"


def heading(found: Explanation) -> str:
    """What goes in and what comes out."""
    spec = found.spec
    ends = [
        f"{_some(shape[1], 'channel')} of {by(shape[2:])}" for shape in (found.before, found.after)
    ]
    batch = "" if spec.batch == 1 else f"batch of {spec.batch}: "
    said = (spec.bias, "bias"), (spec.residual, "residual"), (spec.activation, spec.activation)
    extras = [str(word) for there, word in said if there]
    extras += [f"{spec.padding_mode} padding"] if spec.padding_mode != "zeros" else []
    return f"{batch}{ends[0]} → {ends[1]}" + "".join(f", {extra}" for extra in extras)


def bound_in_words(found: Explanation) -> str:
    """What sets the least time that this machine could take."""
    bound = found.bound
    least = max(bound.computing, bound.moving) * 1e6
    source = "measured" if bound.measured else "on paper"
    setter = "arithmetic" if bound.arithmetic else "memory"
    relation = "above" if found.intensity >= bound.balance else "below"
    return (
        f"This machine ({source}: {bound.peak / 1e9:,.0f} billion operations and "
        f"{readable_bytes(bound.bandwidth)} a second) balances at {bound.balance:.1f} operations "
        f"a byte; this layer lies {relation}, so {setter} sets the time: at least {least:,.3g} us."
    )


def field_in_words(found: Explanation) -> str:
    """The receptive field, and how it moves."""
    field = found.field
    steps = by(field.jump) if len(set(field.jump)) > 1 else str(field.jump[0])
    starts = ", ".join(map(str, field.start)) if len(set(field.start)) > 1 else str(field.start[0])
    seen = f"{by(field.size)} position" + ("" if set(field.size) == {1} else "s")
    return (
        f"An output sees {seen} of the input in {_some(field.channels, 'channel')}; the "
        f"next one sees {steps} further, and output 0 is centred on input {starts}."
    )


def microseconds(candidate: Candidate) -> str:
    """The time of a candidate: measured, if it was."""
    if candidate.measured is not None:
        return f"{candidate.measured * 1e6:,.1f} us measured"
    return f"{candidate.seconds * 1e6:,.1f} us estimated"


def refusals(task: Task) -> list[tuple[list[str], str]]:
    """Why algorithms cannot do a task; those with the same reasons together."""
    found: dict[str, list[str]] = {}
    for name, reasons in task.plan.rejected.items():
        found.setdefault("; ".join(reasons), []).append(name)
    return [(names, reason) for reason, names in found.items()]


def reading(transposed: bool) -> str:
    """What is counted under a position."""
    return "stamped" if transposed else "read"


def _some(count: int, what: str) -> str:
    return f"{count} {what}" + ("" if count == 1 else "s")
