"""The layer that the explorer opens on: a spec and, if given, real tensors, as the page's state.

A page draws every number, so large layers are drawn small: the same arguments on fewer positions
and channels, which `shrunk` says in sentences.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from ...errors import ArgumentError
from ...ops.conv.spec import ConvSpec
from ...ops.geometry import transposed_output_size

# what the page takes, the same numbers as MOST in state.js (a test compares them)
MOST_INPUT = {1: 64, 2: 48, 3: 8}
MOST_KERNEL = {1: 32, 2: 11, 3: 4}
MOST_STEP = 8
MOST_PADDING = 16
MOST_CHANNELS = 8
_FEW_CHANNELS = 4
_USUAL_INPUT = {1: 16, 2: 9, 3: 4}  # how large a large image is drawn


@dataclass(frozen=True)
class Drawn:
    """A layer as it will be drawn, and what was left out to draw it."""

    spec: ConvSpec
    notes: tuple[str, ...]


def shrunk(spec: ConvSpec) -> Drawn:
    """The layer on few enough positions and channels to be drawn number by number.

    Raises `ArgumentError` for the task `grad_weight` and for kernels, strides, dilations and
    padding that are too large to be drawn: with smaller ones it would be another layer.

    >>> drawn = shrunk(ConvSpec.parse("forward n8 c64 o128 i56x56 k3x3 s2 p1 float32 cpu"))
    >>> print(drawn.spec)
    forward n1 c2 o2 i9x9 k3x3 s2 p1 float32 cpu
    >>> drawn.notes
    ('1 of 8 images', '2 of 64 input channels', '2 of 128 output channels', '9×9 of 56×56 inputs')
    """
    _check(spec)
    small = _fewer_positions(_fewer_channels(replace(spec, batch=1, output_size=spec.output_size)))
    before, after = _ends(spec), _ends(small)
    notes = [f"1 of {spec.batch} images"] if spec.batch != 1 else []
    for which, what in ((0, "input"), (1, "output")):
        if before[which][0] != after[which][0]:
            notes.append(f"{after[which][0]} of {before[which][0]} {what} channels")
    if before[0][1] != after[0][1]:
        sizes = (after[0][1], before[0][1])
        few, many = ("×".join(str(n) for n in size) for size in sizes)
        notes.append(f"{few} of {many} inputs")
    return Drawn(small, tuple(notes))


def state(
    spec: ConvSpec, x: Tensor | None = None, w: Tensor | None = None, b: Tensor | None = None
) -> dict[str, Any]:
    """The page's state for a spec of the task `forward` or, transposed, `grad_input`.

    Tensors have the shapes that the layer takes; what is not given the page makes up.

    >>> found = state(ConvSpec.parse("forward n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu"))
    >>> found["input"], found["stride"], found["low"], found["bias"]
    ([5, 5], [2, 2], [1, 1], False)
    """
    transposed = spec.task == "grad_input"
    (channels, size), (outputs, _) = _ends(spec)
    found: dict[str, Any] = {
        "dims": spec.dims,
        "transposed": transposed,
        "input": list(size),
        "kernel": list(spec.kernel_size),
        "stride": list(spec.stride),
        "dilation": list(spec.dilation),
        "low": [low for low, _ in spec.padding],
        "high": [high for _, high in spec.padding],
        "extra": _output_padding(spec) if transposed else [0] * spec.dims,
        "mode": spec.padding_mode,
        "channels": channels,
        "outputs": outputs,
        "groups": spec.groups,
        "bias": spec.bias,
    }
    shapes = {"x": spec.operand_shapes[0], "w": spec.w_shape, "b": (outputs,)}
    for name, tensor in (("x", x), ("w", w), ("b", b)):
        if tensor is not None:
            found[name] = _values(name, tensor, shapes[name])
    return found


def _values(name: str, tensor: Tensor, shape: tuple[int, ...]) -> dict[str, Any]:
    """A tensor as the page keeps it: without batch."""
    expected = shape[1:] if name == "x" else shape
    given = tuple(tensor.shape)
    if given != expected and (name != "x" or given != shape):
        raise ArgumentError(f"{name} must have the shape {expected}, got {given}")
    flat = tensor.detach().double().reshape(-1)
    if not flat.isfinite().all():
        raise ArgumentError(f"{name} must be finite to be drawn")
    return {"values": flat.tolist(), "shape": list(expected)}


def _output_padding(spec: ConvSpec) -> list[int]:
    """What a transposed result is longer by than its other arguments say."""
    return [
        axis.input_size
        - transposed_output_size(
            axis.output_size, axis.kernel_size, axis.stride, axis.padding, axis.dilation
        )
        for axis in spec.axes
    ]


def _ends(spec: ConvSpec) -> tuple[tuple[int, tuple[int, ...]], tuple[int, tuple[int, ...]]]:
    """Channels and sizes of what goes in and of what comes out."""
    image, result = (spec.in_channels, spec.input_size), (spec.out_channels, spec.output_size)
    return (result, image) if spec.task == "grad_input" else (image, result)


def _check(spec: ConvSpec) -> None:
    if spec.task == "grad_weight":
        raise ArgumentError("the explorer draws layers: forward or grad_input, not grad_weight")
    if spec.batch == 0 or spec.in_channels == 0 or 0 in spec.input_size:
        raise ArgumentError(f"there is nothing to draw in an empty layer: {spec}")
    if spec.task == "forward" and spec.output_size != spec.full_output_size:
        raise ArgumentError(
            f"the explorer draws every output that exists, {spec.full_output_size}, but the "
            f"layer has {spec.output_size}"
        )
    for what, values, most in (
        ("kernel size", spec.kernel_size, MOST_KERNEL[spec.dims]),
        ("stride", spec.stride, MOST_STEP),
        ("dilation", spec.dilation, MOST_STEP),
        ("padding", tuple(max(pair) for pair in spec.padding), MOST_PADDING),
    ):
        if max(values) > most:
            raise ArgumentError(
                f"the explorer draws every number: {what} {values} is more than {most}"
            )
    if spec.task == "grad_input" and max(_output_padding(spec)) >= MOST_STEP:
        raise ArgumentError(f"output padding {_output_padding(spec)} is more than {MOST_STEP - 1}")


def _fewer_channels(spec: ConvSpec) -> ConvSpec:
    """Two channels stand for many, two groups for many; few stay as they are."""
    if max(spec.in_channels, spec.out_channels) <= MOST_CHANNELS:
        return spec
    groups = min(spec.groups, 2)
    per_group = (count // spec.groups for count in (spec.in_channels, spec.out_channels))
    inside, outside = (count if groups * count <= _FEW_CHANNELS else 2 for count in per_group)
    return replace(spec, in_channels=groups * inside, out_channels=groups * outside, groups=groups)


def _fewer_positions(spec: ConvSpec) -> ConvSpec:
    """Axes that are too long, cut to a usual length, or to what one window needs."""
    transposed = spec.task == "grad_input"
    given = _ends(spec)[0][1]
    before = []
    for n, axis in zip(given, spec.axes, strict=True):
        least = 1 if transposed else axis.span - sum(axis.padding)
        if spec.padding_mode == "reflect":
            least = max(least, max(axis.padding) + 1)
        usual = min(n, max(_USUAL_INPUT[spec.dims], least))
        before.append(n if n <= MOST_INPUT[spec.dims] else usual)
    small = tuple(before)
    if small == given:
        return spec
    if max(small) > MOST_INPUT[spec.dims]:
        raise ArgumentError(
            f"the explorer draws at most {MOST_INPUT[spec.dims]} positions along an axis, and one "
            f"window of this layer needs {max(small)}"
        )
    if not transposed:
        return replace(spec, input_size=small, output_size=())
    extra = _output_padding(spec)
    after = tuple(
        transposed_output_size(n, a.kernel_size, a.stride, a.padding, a.dilation, e)
        for n, a, e in zip(small, spec.axes, extra, strict=True)
    )
    return replace(spec, input_size=after, output_size=small)
