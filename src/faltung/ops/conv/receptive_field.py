"""What one output of a stack of layers sees of the stack's input.

    size   the number of input positions from the first to the last that one output depends on
    jump   how far that field moves when the output moves by one
    start  where the centre of output 0's field lies, counted in input positions

For convolutions  r ← r + (d·(K−1))·j,  j ← j·s;  a transposed layer divides the jump instead, and
what an output sees then depends on its phase. So sizes are not taken from a formula but counted:
positions are followed back through the index map of every layer, for every phase.

Source: Araujo, Norris and Sim, "Computing Receptive Fields of Convolutional Neural Networks",
Distill 2019, sections 2 and 3, for the linear recurrences of jump and start.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ...errors import ArgumentError
from ..geometry import window_span
from .spec import ConvSpec


@dataclass(frozen=True)
class ReceptiveField:
    """Receptive field of a stack: a number per spatial axis, and the channels it spans."""

    size: tuple[int, ...]
    jump: tuple[Fraction, ...]
    start: tuple[Fraction, ...]
    channels: int


def receptive_field(layers: Sequence[ConvSpec]) -> ReceptiveField:
    """The field of one output position and channel after all layers, first layer first.

    Layers are specs of the task `forward` or, for transposed convolution, `grad_input`; image
    sizes and borders play no part. `size` is that of the largest phase, `channels` the most input
    channels that any output channel depends on (grouped layers keep channels apart).

    Raises `ArgumentError` if the stack is empty or a layer's channels or axes do not fit.

    >>> stem = ConvSpec.parse("forward n1 c3 o64 i224x224 k7x7 s2 p3 float32 cpu")
    >>> block = ConvSpec.parse("forward n1 c64 o64 i112x112 k3x3 p2 d2 float32 cpu")
    >>> field = receptive_field([stem, block])
    >>> field.size, [int(j) for j in field.jump], field.channels
    ((15, 15), [2, 2], 3)
    """
    _check(layers)
    axes = range(layers[0].dims)
    return ReceptiveField(
        size=tuple(_size(layers, axis) for axis in axes),
        jump=tuple(_jump_and_start(layers, axis)[0] for axis in axes),
        start=tuple(_jump_and_start(layers, axis)[1] for axis in axes),
        channels=_channels(layers),
    )


def _size(layers: Sequence[ConvSpec], axis: int) -> int:
    """Largest hull of inputs over the phases of the output position."""
    phases = math.prod(layer.stride[axis] for layer in layers if _is_transposed(layer))
    hulls = []
    for phase in range(phases):
        positions: set[int] = {phase}
        for layer in reversed(layers):
            positions = set(_inputs(layer, axis, positions))
        hulls.append(max(positions) - min(positions) + 1 if positions else 0)
    return max(hulls)


def _inputs(layer: ConvSpec, axis: int, outputs: Iterable[int]) -> Iterable[int]:
    """Positions that a layer's outputs read, on an unbounded axis."""
    s, d, low = layer.stride[axis], layer.dilation[axis], layer.padding[axis][0]
    for q in outputs:
        for t in range(layer.kernel_size[axis]):
            if not _is_transposed(layer):
                yield q * s - low + t * d
            elif (q + low - t * d) % s == 0:
                yield (q + low - t * d) // s


def _jump_and_start(layers: Sequence[ConvSpec], axis: int) -> tuple[Fraction, Fraction]:
    jump, start = Fraction(1), Fraction(0)
    for layer in layers:
        s, low = layer.stride[axis], layer.padding[axis][0]
        middle = Fraction(window_span(layer.kernel_size[axis], layer.dilation[axis]) - 1, 2)
        if _is_transposed(layer):
            start += jump * (low - middle) / s
            jump /= s
        else:
            start += jump * (middle - low)
            jump *= s
    return jump, start


def _channels(layers: Sequence[ConvSpec]) -> int:
    """Most input channels behind one output channel: intervals of channels, followed back."""
    most = 0
    last = layers[-1]
    for channel in range(_channels_out(last)):
        first, end = channel, channel + 1
        for layer in reversed(layers):
            inside, outside = (
                _channels_in(layer) // layer.groups,
                _channels_out(layer) // layer.groups,
            )
            first, end = first // outside * inside, -(-end // outside) * inside
        most = max(most, end - first)
    return most


def _is_transposed(layer: ConvSpec) -> bool:
    return layer.task == "grad_input"


def _channels_in(layer: ConvSpec) -> int:
    return layer.out_channels if _is_transposed(layer) else layer.in_channels


def _channels_out(layer: ConvSpec) -> int:
    return layer.in_channels if _is_transposed(layer) else layer.out_channels


def _check(layers: Sequence[ConvSpec]) -> None:
    if not layers:
        raise ArgumentError("receptive_field needs at least one layer, got none")
    for number, layer in enumerate(layers):
        if layer.task == "grad_weight":
            raise ArgumentError(f"layer {number} is {layer.task!r}; a layer maps images to images")
        if layer.dims != layers[0].dims:
            raise ArgumentError(
                f"layer {number} is {layer.dims}-D but layer 0 is {layers[0].dims}-D"
            )
        if number and _channels_in(layer) != _channels_out(layers[number - 1]):
            raise ArgumentError(
                f"layer {number} takes {_channels_in(layer)} channels but layer {number - 1} "
                f"gives {_channels_out(layers[number - 1])}"
            )
