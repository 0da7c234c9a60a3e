"""`faltung size`: the output size of a layer, with the formula filled in and what the floor drops.

convolution   ⌊(n + low + high − d·(K−1) − 1) / s⌋ + 1
transposed    (n − 1)·s − low − high + d·(K−1) + 1 + output_padding
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..ops.conv.spec import ConvSpec
from ..ops.geometry import Axis, Sizes, legal_output_paddings, transposed_output_size

_PLACES = {1: ("position",), 2: ("row", "column"), 3: ("slice", "row", "column")}
_LISTED = 4  # what is named one by one before it is shortened


@dataclass(frozen=True)
class AxisSize:
    """One axis of the answer: the sizes, the formula with its numbers, and remarks."""

    place: str
    before: int
    after: int
    formula: tuple[str, ...]
    remarks: tuple[str, ...]
    facts: dict[str, Any]


def axis_sizes(spec: ConvSpec, output_padding: Sizes) -> list[AxisSize]:
    """The answer for every axis of a layer (task `forward`, or `grad_input` if transposed)."""
    axes = zip(spec.axes, _PLACES[spec.dims], strict=True)
    if spec.task == "forward":
        return [_convolved(axis, place) for axis, place in axes]
    extra = output_padding * spec.dims if len(output_padding) == 1 else output_padding
    return [_transposed(axis, place, e) for (axis, place), e in zip(axes, extra, strict=True)]


def text(spec: ConvSpec, output_padding: Sizes = (0,)) -> str:
    """The answer for people."""
    answers = axis_sizes(spec, output_padding)
    before, after = ("×".join(str(getattr(a, end)) for a in answers) for end in ("before", "after"))
    blocks = [f"{before} → {after}"]
    for (formula, remarks), same in itertools.groupby(answers, lambda a: (a.formula, a.remarks)):
        places = [f"{answer.place}s" for answer in same]
        heading = [" and ".join(places)] if len(answers) > len(places) else []
        blocks.append("\n".join([*heading, *(f"  {line}" for line in formula)]))
        blocks.append("\n".join(remarks))
    return "\n\n".join(blocks)


def facts(spec: ConvSpec, output_padding: Sizes = (0,)) -> dict[str, Any]:
    """The answer for programs."""
    answers = axis_sizes(spec, output_padding)
    return {
        "transposed": spec.task == "grad_input",
        "input": [a.before for a in answers],
        "output": [a.after for a in answers],
        "kernel": list(spec.kernel_size),
        "stride": list(spec.stride),
        "padding": [list(pair) for pair in spec.padding],
        "dilation": list(spec.dilation),
        "axes": [a.facts for a in answers],
    }


def runs(positions: Sequence[int]) -> str:
    """Sorted positions as runs, shortened.

    >>> runs([3, 4, 5, 9])
    '3–5, 9'
    """
    found = []
    for _, group in itertools.groupby(enumerate(positions), lambda pair: pair[1] - pair[0]):
        members = [position for _, position in group]
        found.append(str(members[0]) if len(members) == 1 else f"{members[0]}–{members[-1]}")
    return ", ".join(found if len(found) <= _LISTED + 1 else [*found[:_LISTED], "…"])


def _convolved(axis: Axis, place: str) -> AxisSize:
    n, k, s, d, (low, high) = (
        axis.input_size, axis.kernel_size, axis.stride, axis.dilation, axis.padding,
    )  # fmt: skip
    room = n + low + high - axis.span
    formula = (
        "⌊(n + low + high − d·(K−1) − 1) / s⌋ + 1",
        f"= ⌊({n} + {low} + {high} − {d}·({k}−1) − 1) / {s}⌋ + 1",
        f"= ⌊{room} / {s}⌋ + 1",
        f"= {room // s} + 1 = {axis.output_size}",
    )
    left_over = room % s
    end = (axis.output_size - 1) * s - low + axis.span  # first position past the last window
    dropped = [i for i in axis.unread if i >= end]
    skipped = [i for i in axis.unread if i < end]
    found = {"left_over": left_over, "dropped": dropped, "skipped": skipped}
    return AxisSize(
        place, n, axis.output_size, formula, _remarks(left_over, dropped, skipped, place), found
    )


def _remarks(
    left_over: int, dropped: Sequence[int], skipped: Sequence[int], place: str
) -> tuple[str, ...]:
    """What the floor throws away, and what lies between the windows."""
    remarks = []
    if dropped:
        remarks.append(
            f"The floor drops the last {_count(left_over)} of the padded input: "
            f"input {_named(dropped, place)} never read."
        )
    elif left_over:
        remarks.append(
            f"The floor drops the last {_count(left_over)} of the padded input, "
            "which is padding only."
        )
    else:
        remarks.append("The last window ends exactly at the end: the floor drops nothing.")
    if skipped:
        remarks.append(f"Between taps, input {_named(skipped, place)} never read.")
    return tuple(remarks)


def _transposed(axis: Axis, place: str, output_padding: int) -> AxisSize:
    # the spec's axis is that of the convolution it adjoins: its output is what goes in here
    n, k, s, d, (low, high) = (
        axis.output_size, axis.kernel_size, axis.stride, axis.dilation, axis.padding,
    )  # fmt: skip
    least = axis.input_size - output_padding
    extra = axis.input_size - transposed_output_size(n, k, s, axis.padding, d)
    formula = (
        "(n − 1)·s − low − high + d·(K−1) + 1 + output_padding",
        f"= ({n} − 1)·{s} − {low} − {high} + {d}·({k}−1) + 1 + {extra}",
        f"= {axis.input_size}",
    )
    choices = {e: least + e for e in legal_output_paddings(s, d)}
    remarks = [f"output_padding {e} gives {size}" for e, size in choices.items()]
    if len(choices) > _LISTED:
        most = len(choices) - 1
        remarks = [f"output_padding 0 to {most} gives {least} to {least + most}"]
    if s > 1:
        remarks.append(
            f"(a convolution with these arguments maps {least} to {least + s - 1} to {n} alike)"
        )
    if d > s:
        remarks.append(f"(positions from {least + s} on get only the bias)")
    found = {"output_paddings": {str(e): size for e, size in choices.items()}}
    return AxisSize(place, n, axis.input_size, formula, tuple(remarks), found)


def _count(positions: int) -> str:
    return "position" if positions == 1 else f"{positions} positions"


def _named(positions: Sequence[int], place: str) -> str:
    return f"{place}{' ' if len(positions) == 1 else 's '}{runs(positions)}" + (
        " is" if len(positions) == 1 else " are"
    )
