"""Layers to draw, and the relation (output, input, weight) that a figure must show."""

import itertools
import random
from math import prod

import torch
import torch.nn.functional as F

from faltung.errors import ArgumentError
from faltung.ops.conv.by_hand.definition import channel_groups, index_map
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.draw.figure import read


def layers(task, seed, *, count=10, dims=(1, 2, 3), channels=False, modes=("zeros",)):
    """Spelled problems of small random layers: unequal and rectangular everything."""
    made = random.Random(seed)
    found = []
    while len(found) < count:
        d = made.choice(dims)
        groups = made.choice((1, 1, 2)) if channels else 1
        c, o = (groups * made.randint(1, 2) if channels else 1 for _ in range(2))

        def some(low, high, d=d):
            return tuple(made.randint(low, high) for _ in range(d))

        padding = tuple((made.randint(0, 2), made.randint(0, 2)) for _ in range(d))
        try:
            spec = ConvSpec(
                task, 1, c, o, some(2, 6 if d < 3 else 4), some(1, 3), (), some(1, 3), padding,
                some(1, 2), groups, made.choice(modes),
            )  # fmt: skip
        except ArgumentError:
            continue  # a window that does not fit
        if prod(spec.output_size) <= 30:
            found.append(str(spec))
    return found


def definition(spec):
    """Every (y, x, w) such that this output reads this input through this weight, by the spec."""
    found = set()
    names = ("y", "x") if spec.task == "forward" else ("x", "y")
    for (outs, ins), (q, t, i) in itertools.product(channel_groups(spec), index_map(spec)):
        for o, (number, c) in itertools.product(
            range(outs.start, outs.stop), enumerate(range(ins.start, ins.stop))
        ):
            ends = {names[0]: (o, *q), names[1]: (c, *i)}
            found.add((("y", ends["y"]), ("x", ends["x"]), ("w", (o, number, *t))))
    return found


def shown(frame, source="x"):
    """The same, read from the cells that stand out in a frame."""
    return {
        (y.ref, cell.ref, weight)
        for y in frame.lit("y")
        for cell in frame.lit(source)
        for weight in cell.weights
        if cell.ref is not None
    }


def frames(figure):
    """All frames of a figure."""
    return [figure.frame(number) for number in range(figure.frames)]


def tensor(cells, name, shape):
    """The numbers written in cells, each where its `ref` says; every one must be there."""
    found = torch.full(shape, torch.nan, dtype=torch.float64)
    for cell in cells:
        if cell.ref is not None and cell.ref[0] == name and cell.text:
            found[cell.ref[1]] = float(read(cell.text))
    assert not found.isnan().any(), f"{name}: a number is not drawn"
    return found


def matrix(cells, *, blank=0.0):
    """The numbers of a grid in rows and columns; `blank` where nothing is written."""
    rows, columns = (max(getattr(c, n) for c in cells) + 1 for n in ("row", "column"))
    found = torch.full((rows, columns), blank, dtype=torch.float64)
    for cell in cells:
        if cell.text:
            found[cell.row, cell.column] = float(read(cell.text))
    return found


def pytorch(spec, x, w):
    """The layer by PyTorch's own operator; x [C, in…] and w as they are written in the figure."""
    d = spec.dims
    if spec.task == "forward":
        padded = x[None]
        pads = [end for low, high in reversed(spec.padding) for end in (low, high)]
        mode = "constant" if spec.padding_mode == "zeros" else spec.padding_mode
        padded = F.pad(padded, pads, mode)
        call = (F.conv1d, F.conv2d, F.conv3d)[d - 1]
        y = call(padded, w, None, spec.stride, 0, spec.dilation, spec.groups)[0]
        return y[:, *(slice(n) for n in spec.output_size)]
    call = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)[d - 1]
    canvas = call(x[None], w, None, spec.stride, 0, 0, spec.groups, spec.dilation)[0]
    ends = [
        (low, low + n - size)
        for (low, _), n, size in zip(spec.padding, spec.input_size, canvas.shape[1:], strict=True)
    ]
    for axis, (low, extra) in enumerate(ends):
        pads = [0, 0] * (d - 1 - axis) + [0, max(extra, 0)]
        canvas = F.pad(canvas, pads).narrow(axis + 1, low, spec.input_size[axis])
    return canvas
