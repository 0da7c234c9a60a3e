"""`fft`: convolution as one product per frequency.

    F y[k] = F x[k] · conj(F w[k])                        F the discrete Fourier transform

A complex number is a disk, its area the magnitude, with a hand at its angle. The result is a
circular convolution; the outputs of whole windows are kept, a stride apart. One frame a frequency,
beside the wave that it measures: blue where it is above zero, orange below.

Source: Mathieu, Henaff and LeCun, arXiv 1312.5851, section 2.
"""

import cmath
import math
from functools import partial

import torch
from torch import Tensor

from ....errors import ArgumentError
from ....ops.geometry import Sizes
from ..figure import Cell, Figure, Frame, Items, Key, Ref, written
from ..layer import Layer, LayerKind, convolution_only, layer_words, one_channel, position
from ..layout import arrow, beside, captioned, explained, under
from ..planes import planes
from ..window import index_text


def build(layer: Layer) -> Figure:
    """The figure of a convolution with one channel, 1-D or 2-D."""
    convolution_only(layer, "fft")
    one_channel(layer, "fft")
    if layer.spec.dims > 2:
        raise ArgumentError("fft draws 1-D and 2-D layers, got a 3-D one")
    size = _period(layer)
    count = math.prod(size)
    return Figure(
        "fft",
        "Convolution by the Fourier transform",
        f"{layer_words(layer)}: {count} products of frequencies instead of "
        f"{math.prod(layer.output_size) * layer.spec.taps}",
        count,
        partial(_frame, layer),
        min(count - 1, size[-1] + 1 if len(size) == 2 else 1),
        (
            Key(
                Cell(role="count", phasor=cmath.rect(1, 0.8)),
                "a frequency: area its magnitude, hand its angle",
            ),
            Key(Cell(text="9", role="output"), "kept"),
            Key(Cell(text="9", role="padding"), "wraps round, or between strides"),
        ),
    )


def transforms(layer: Layer) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The padded input, the weight with holes, and the transforms F x and F w, period P each."""
    size = _period(layer)
    axes = layer.spec.axes
    x = torch.zeros(size, dtype=torch.float64)
    for place in _places(size):
        found = [axis.fold_in(i - axis.padding[0]) for i, axis in zip(place, axes, strict=True)]
        inside = [i for i in found if i is not None]
        if len(inside) == len(found):
            x[place] = float(layer.x[(0, 0, *inside)])
    w = torch.zeros(size, dtype=torch.float64)
    for tap in _places(layer.spec.kernel_size):
        at = tuple(t * axis.dilation for t, axis in zip(tap, axes, strict=True))
        w[at] = float(layer.w[(0, 0, *tap)])
    return x, w, torch.fft.fftn(x), torch.fft.fftn(w)


def _frame(layer: Layer, number: int) -> Frame:
    size = _period(layer)
    k = position(number, size)
    x, w, fx, fw = transforms(layer)
    fy = fx * fw.conj()
    wrapped = torch.fft.ifftn(fy).real
    pairs = under(
        beside(
            captioned(_given(layer, x), "x, padded"), arrow(1.4, "F"),
            captioned(_spectrum("X", fx, k, "input"), "F x"),
        ),
        beside(
            captioned(_numbers("w", w), "w, with zeros"), arrow(1.4, "F"),
            captioned(_spectrum("W", fw, k, "weight"), "F w"),
        ),
        gap=0.5, align="right",
    )  # fmt: skip
    product = captioned(_spectrum("Y", fy, k, "count"), "F y")
    wave = captioned(_wave(size, k), "its wave", "blue above zero")
    y = captioned(_kept(layer, wrapped), "y", "output")
    if len(size) == 1:
        last = beside(under(product, wave, gap=0.5), arrow(1.4, "F⁻¹"), y)
        items = under(pairs, arrow(1.2, "F x · conj F w", down=True), last, align="middle")
    else:
        spectra = under(product, wave, gap=0.5, align="middle")
        items = beside(
            pairs, arrow(2.4, "F x · conj F w"), spectra, arrow(1.4, "F⁻¹"), y, gap=0.5
        )  # fmt: skip
    a, b, c = (complex(f[k]) for f in (fx, fw.conj(), fy))
    at = index_text("", k)
    words = f"F x{at} · conj(F w{at}) = ({_written(a)})·({_written(b)}) = {_written(c)} = F y{at}"
    return Frame(explained(items, words))


def _period(layer: Layer) -> Sizes:
    """P: the size of the padded input."""
    return tuple(axis.input_size + sum(axis.padding) for axis in layer.spec.axes)


def _places(size: Sizes) -> list[Sizes]:
    return [position(number, size) for number in range(math.prod(size))]


def _given(layer: Layer, x: Tensor) -> Items:
    def make(place: Sizes) -> Cell:
        inside = all(
            0 <= i - axis.padding[0] < axis.input_size
            for i, axis in zip(place, layer.spec.axes, strict=True)
        )
        return Cell(text=written(float(x[place])), role="input" if inside else "padding",
                    ref=("x", place))  # fmt: skip

    return planes("x", tuple(x.shape), make)


def _numbers(name: str, values: Tensor) -> Items:
    def make(place: Sizes) -> Cell:
        value = float(values[place])
        return Cell(text=written(value), role="weight" if value else "zero", ref=(name, place))

    return planes(name, tuple(values.shape), make)


def _spectrum(name: str, values: Tensor, k: Sizes, role: str) -> Items:
    def make(place: Sizes) -> Cell:
        ref: Ref = (name, place)
        return Cell(role=role, lit=place == k, ref=ref, phasor=complex(values[place]), shade=0.2)

    return planes(name, tuple(values.shape), make)


def _wave(size: Sizes, k: Sizes) -> Items:
    """cos(2π·k·j/P): above zero blue, below orange."""

    def make(place: Sizes) -> Cell:
        turns = sum(a * b / n for a, b, n in zip(k, place, size, strict=True))
        height = math.cos(2 * math.pi * turns)
        role = "input" if height > 0 else "weight"
        return Cell(role=role, shade=abs(height), ref=("wave", place))

    return planes("wave", size, make)


def _kept(layer: Layer, wrapped: Tensor) -> Items:
    axes = layer.spec.axes

    def make(place: Sizes) -> Cell:
        outputs = [divmod(i, axis.stride) for i, axis in zip(place, axes, strict=True)]
        kept = all(
            not rest and q < axis.output_size for (q, rest), axis in zip(outputs, axes, strict=True)
        )
        text = written(float(wrapped[place].round(decimals=6)))
        if not kept:
            return Cell(text=text, role="padding")
        return Cell(text=text, role="output", ref=("y", (0, *(q for q, _ in outputs))))

    return planes("y", tuple(wrapped.shape), make)


def _written(z: complex) -> str:
    real, imaginary = written(round(z.real, 1)), written(abs(round(z.imag, 1)))
    return f"{real} {'−' if z.imag < -0.05 else '+'} {imaginary}i"


KIND = LayerKind(
    "fft",
    "the Fourier transform: one product per frequency",
    "forward n1 c1 o1 i5x5 k3x3 p1 float32 cpu",
    build,
)
