"""A layer with numbers in it, and how its arguments read in words.

A figure shows the linear part of a layer on one image: bias, activation and the rest of the batch
are left away. Where the user gives no numbers, small whole ones are made up, always the same.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...errors import ArgumentError
from ...ops.conv.by_hand.definition import forward, grad_input
from ...ops.conv.spec import ConvSpec
from ...ops.geometry import Pairs, Sizes
from .figure import Figure, written
from .limits import READABLE

_MOST_NUMBERS = 2**16  # in an operand: more could not be drawn, and the definition is slow


@dataclass(frozen=True)
class Layer:
    """A layer x → y: its spec (task `forward`, or `grad_input` if transposed) and its numbers."""

    spec: ConvSpec
    x: Tensor
    w: Tensor

    @property
    def transposed(self) -> bool:
        """Whether x is the y of the spec."""
        return self.spec.task == "grad_input"

    @property
    def input_size(self) -> Sizes:
        """Spatial size of what goes in."""
        return self.spec.output_size if self.transposed else self.spec.input_size

    @property
    def output_size(self) -> Sizes:
        """Spatial size of what comes out."""
        return self.spec.input_size if self.transposed else self.spec.output_size

    @property
    def channels(self) -> tuple[int, int]:
        """Channels that go in and come out."""
        ends = self.spec.in_channels, self.spec.out_channels
        return ends[::-1] if self.transposed else ends

    @cached_property
    def y(self) -> Tensor:
        """The result, by the definition."""
        return (grad_input if self.transposed else forward)(self.x, self.w, self.spec)

    def x_text(self, index: Sequence[int]) -> str:
        """The number of x at (channel, position…), as it is written."""
        return written(_value(self.x[(0, *index)]))

    def w_text(self, index: Sequence[int]) -> str:
        """The number of w at its index, as it is written."""
        return written(_value(self.w[tuple(index)]))

    def y_text(self, index: Sequence[int]) -> str:
        """The number of y at (channel, position…), as it is written; empty if y is large.

        The definition is slow, and numbers of so many outputs are not shown anyway.
        """
        if math.prod(self.output_size) > READABLE:
            return ""
        return written(_value(self.y[(0, *index)]))


@dataclass(frozen=True)
class LayerKind:
    """A kind of picture that shows one layer; `example` is the layer that is drawn by default."""

    name: str
    summary: str
    example: str
    build: Callable[[Layer], Figure]


@dataclass(frozen=True)
class StackKind:
    """A kind of picture that shows several layers in a row; `read` makes them of words."""

    name: str
    summary: str
    example: str
    read: Callable[[Sequence[str], Sizes], Sequence[ConvSpec]]
    build: Callable[[Sequence[ConvSpec]], Figure]


def layer_of(spec: ConvSpec, x: Tensor | None = None, w: Tensor | None = None) -> Layer:
    """The layer that a spec describes, with these numbers or made-up ones.

    x is what goes in, [N, C, in…] of which the first image counts, [C, in…] or only [in…] of one
    channel; w is the weight in PyTorch's shape, or only its taps.

    Raises `ArgumentError` for the task `grad_weight` and for numbers of another shape.
    """
    if spec.task == "grad_weight":
        raise ArgumentError("a figure shows a layer: forward, or grad_input for a transposed one")
    if min(*spec.x_shape[1:], *spec.y_shape[1:]) < 1:
        raise ArgumentError(f"there is nothing to draw of a layer without numbers: {spec}")
    spec = replace(
        spec, batch=1, bias=False, activation=None, dtype="int64", device="cpu",
        layout="contiguous",
    )  # fmt: skip
    x_shape = spec.operand_shapes[0]
    made = torch.Generator().manual_seed(20)
    x = _digits(x_shape, made) if x is None else _shaped(x, x_shape, "x")
    w = _weights(spec.w_shape, made) if w is None else _shaped(w, spec.w_shape, "w")
    if x.dtype != w.dtype:
        x, w = x.double(), w.double()
    return Layer(spec, x, w)


def layer_words(layer: Layer) -> str:
    """The layer in words: sizes and every argument that is not the default."""
    spec = layer.spec
    ends = f"{times(layer.input_size)} → {times(layer.output_size)}"
    words = [f"input {ends}", f"kernel {times(spec.kernel_size)}"]
    c, o = layer.channels
    words += [f"channels {c} → {o}"] if (c, o) != (1, 1) else []
    words += [f"groups {spec.groups}"] if spec.groups > 1 else []
    for name, values in (("stride", spec.stride), ("dilation", spec.dilation)):
        words += [f"{name} {once(values)}"] if set(values) != {1} else []
    if any(pair != (0, 0) for pair in spec.padding):
        words.append(f"padding {_pairs(spec.padding)}")
    words += [spec.padding_mode] if spec.padding_mode != "zeros" else []
    return ", ".join(words)


def name_of(layer: Layer) -> str:
    """What people call such a layer."""
    spec = layer.spec
    if layer.transposed:
        name = "transposed convolution"
    elif spec.groups > 1:
        name = "depthwise" if spec.groups == spec.in_channels else "grouped"
        name += " convolution"
    else:
        name = "dilated convolution" if max(spec.dilation) > 1 else "convolution"
    return name if spec.dims == 2 else f"{spec.dims}-D {name}"


def times(sizes: Sequence[int]) -> str:
    """Sizes as they are spoken: 5×4."""
    return "×".join(str(size) for size in sizes)


def once(values: Sequence[int]) -> str:
    """One number where all axes have the same, else all of them."""
    return str(values[0]) if len(set(values)) == 1 else times(values)


def one_channel(layer: Layer, kind: str) -> None:
    """Refuse a layer with several channels where a picture shows one."""
    if layer.channels != (1, 1):
        c, o = layer.channels
        raise ArgumentError(
            f"{kind} draws one channel in and one out, got {c} and {o}: draw channels for several"
        )


def convolution_only(layer: Layer, kind: str) -> None:
    """Refuse a transposed layer."""
    if layer.transposed:
        raise ArgumentError(
            f"{kind} draws a convolution, not a transposed one: for those draw slide, scatter, "
            "zeros or matrix"
        )


def transposed_only(layer: Layer, kind: str) -> None:
    """Refuse a layer that is not transposed."""
    if not layer.transposed:
        raise ArgumentError(
            f"{kind} draws a transposed convolution, got a convolution: "
            "a problem that starts with grad_input"
        )


def middle(size: Sizes) -> int:
    """The number, in reading order, of the position in the middle of a grid."""
    number = 0
    for n in size:
        number = number * n + n // 2
    return number


def position(number: int, size: Sizes) -> Sizes:
    """The position with that number in reading order; the inverse of numbering.

    >>> position(5, (2, 3))
    (1, 2)
    """
    found = []
    for n in reversed(size):
        number, inside = divmod(number, n)
        found.append(inside)
    return tuple(reversed(found))


def _pairs(padding: Pairs) -> str:
    words = [str(low) if low == high else f"{low}+{high}" for low, high in padding]
    joined = " × " if any("+" in word for word in words) else "×"
    return words[0] if len(set(words)) == 1 else joined.join(words)


def _value(number: Tensor) -> float:
    return number.item()


def _digits(shape: Sizes, made: torch.Generator) -> Tensor:
    """Whole numbers 0 … 9."""
    if math.prod(shape) > _MOST_NUMBERS:
        raise ArgumentError(f"a tensor of shape {shape} is too large to draw")
    return torch.randint(10, shape, generator=made)


def _weights(shape: Sizes, made: torch.Generator) -> Tensor:
    """−1, 1, 2 or 3: never 0, so that every tap is seen to count."""
    levels = _digits(shape, made) % 4
    return torch.where(levels == 0, -1, levels)


def _shaped(given: Tensor, shape: Sizes, name: str) -> Tensor:
    """Given numbers in the layer's shape; leading axes of size 1 may be left out."""
    kept = given.detach().cpu()
    if kept.dim() == len(shape) and name == "x":
        kept = kept[:1]
    missing = len(shape) - kept.dim()
    if missing < 0 or (*(1,) * missing, *kept.shape) != shape:
        raise ArgumentError(f"{name} must have shape {shape}, got {tuple(given.shape)}")
    return kept.reshape(shape).to(kept.dtype if not kept.is_floating_point() else torch.float64)
