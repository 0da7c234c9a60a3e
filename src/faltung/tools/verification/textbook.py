"""Rows 1 to 12 of the text: the convolution itself, and the ways to write it by hand."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import by_hand, functional, nn
from .checks import Check, Truth, same
from .convolution import By, Layer, checks
from .source import Numbers

# the text's own example, then what it leaves out: rectangles, unequal padding, no bias
_PLAIN = (
    "forward n1 c1 o1 i5x5 k3x3 s2 p1 bias float32 cpu",
    "forward n2 c2 o3 i5x5 k3x3 s2 p1 bias float32 cpu",
    "forward n1 c3 o2 i7x5 k3x2 s2x1 p1x0 float32 cpu",
    "forward n1 c2 o2 i6x9 k2x4 p0+1x2+0 bias float64 cpu",
)
_GENERAL = (
    "forward n2 c2 o4 i5x5 k3x3 s2 p2 d2 g2 bias float32 cpu",
    "forward n1 c6 o4 i9x7 k3x3 s2x1 p2x3 d2x3 g2 bias float32 cpu",
    "forward n1 c4 o4 i7x11 k2x3 s3 p1+0x2 d1x2 g4 float64 cpu",
)
_TRANSPOSED = (
    "grad_input n1 c1 o1 i4x4 k3x3 float32 cpu",
    "grad_input n2 c3 o2 i8x10 k3x4 s2 p1 bias float32 cpu",
    "grad_input n1 c4 o4 i8x9 k2x3 s3x2 p0x1 d2x1 g2 bias float32 cpu",
    "grad_input n1 c2 o2 i9 k4 s2 p1+0 bias float64 cpu",
)


def library(numbers: Numbers) -> Iterator[Check]:
    """Row 1: the class owns weight and bias, the function is handed them."""
    x = numbers.image((1, 1, 4, 4), torch.float32, whole=True)
    weight = numbers.weight((1, 1, 3, 3), torch.float32, whole=True)
    theirs, ours = torch.nn.Conv2d(1, 1, 3, bias=False), nn.Conv2d(1, 1, 3, bias=False)
    theirs.weight.data.copy_(weight)
    ours.load_state_dict(theirs.state_dict())
    truth = Truth(by_hand.conv, (x, weight), whole=True)
    for way, compute in {
        "torch.nn.Conv2d": lambda: theirs(x),
        "F.conv2d of the class's weight": lambda: F.conv2d(x, theirs.weight),
        "faltung.nn.Conv2d": lambda: ours(x),
        "functional.conv2d of the class's weight": lambda: functional.conv2d(x, ours.weight),
    }.items():
        yield truth.check("1×1×4×4, 3×3", way, compute)
    yield from checks(_PLAIN[:2], numbers)


def sliding_window(numbers: Numbers) -> Iterator[Check]:
    """Row 2."""
    way = _with_padding(by_hand.conv2d_sliding_window)
    yield from checks(_PLAIN, numbers, {"by hand: sliding window": way})


def im2col(numbers: Numbers) -> Iterator[Check]:
    """Row 3."""
    way = _with_everything(by_hand.conv2d_im2col)
    yield from checks((*_PLAIN, *_GENERAL[1:]), numbers, {"by hand: im2col": way})


def batch_and_channels(numbers: Numbers) -> Iterator[Check]:
    """Row 4: the definition's loops, with and without bias."""
    problems = (
        "forward n2 c2 o3 i5x5 k3x3 s2 p1 bias float32 cpu",
        "forward n2 c2 o3 i5x5 k3x3 s2 p1 float32 cpu",
        "forward n3 c5 o7 i4x3 k2x2 bias float32 cpu",
    )
    yield from checks(problems, numbers, {"by hand: definition": _with_everything(by_hand.conv)})


def kernel_matrix(numbers: Numbers) -> Iterator[Check]:
    """Row 6, dense: 4×16 for a 4×4 image, and images that are not square."""
    way = _with_everything(by_hand.conv2d_kernel_matrix)
    yield from checks((*_PLAIN, *_GENERAL), numbers, {"by hand: kernel matrix": way})
    for size, shape in (((4, 4), (4, 16)), ((5, 5), (9, 25)), ((4, 6), (8, 24))):
        weight = numbers.weight((1, 1, 3, 3), torch.float32, whole=True)
        image = numbers.image((1, 1, *size), torch.float32, whole=True)
        yield same(
            f"{size[0]}×{size[1]} image, 3×3", "by hand: shape of the matrix",
            partial(_matrix_shape, weight, size), partial(torch.tensor, shape),
        )  # fmt: skip
        yield same(
            f"{size[0]}×{size[1]} image, 3×3", "by hand: matrix times image",
            partial(_matrix_times, weight, image, sparse=False),
            partial(_flat, F.conv2d(image, weight)),
        )  # fmt: skip


def kernel_matrix_sparse(numbers: Numbers) -> Iterator[Check]:
    """Row 6, sparse: the same matrix without its zeros."""
    yield from checks(_PLAIN, numbers, {"by hand: sparse kernel matrix": _by_sparse_matrix})
    for size, stride, padding in (((4, 4), 1, 0), ((5, 7), 2, 1), ((6, 3), (1, 2), (0, 1))):
        weight = numbers.weight((2, 3, 3, 2), torch.float32, whole=True)
        yield same(
            f"{size[0]}×{size[1]} image, 3×2", "by hand: sparse equals dense",
            partial(_dense_of_sparse, weight, size, stride, padding),
            partial(by_hand.kernel_matrix, weight, size, stride, padding),
        )  # fmt: skip


def transposed_matrix(numbers: Numbers) -> Iterator[Check]:
    """Row 7: the kernel matrix transposed."""
    yield from _transposed_ways(numbers, "matrix", by_hand.conv_transpose_kernel_matrix)


def transposed_gradient(numbers: Numbers) -> Iterator[Check]:
    """Row 8: the gradient of the convolution."""
    yield from _transposed_ways(numbers, "gradient", by_hand.conv_transpose_gradient)


def transposed_zeros(numbers: Numbers) -> Iterator[Check]:
    """Row 9: zeros inserted, weight flipped, channels swapped."""
    yield from _transposed_ways(numbers, "inserted zeros", by_hand.conv_transpose_zero_insertion)


def transposed_scatter(numbers: Numbers) -> Iterator[Check]:
    """The fourth way, every input stamping the weight on the output; and output padding."""
    yield from _transposed_ways(numbers, "scatter", by_hand.conv_transpose_scatter)
    extra = (
        "grad_input n1 c2 o2 i9x9 k3x3 s2 p1 bias float32 cpu",
        "grad_input n1 c2 o2 i10x9 k3x3 s2 p1 bias float32 cpu",
        "grad_input n1 c2 o2 i10x10 k3x3 s2 p1 bias float32 cpu",
    )
    yield from checks(
        extra, numbers, {"by hand: scatter": _transposing(by_hand.conv_transpose_scatter)}
    )


def dilated(numbers: Numbers) -> Iterator[Check]:
    """Row 10: 7×7 with K=3 and d=3 gives one number."""
    problems = (
        "forward n1 c1 o1 i7x7 k3x3 d3 float32 cpu",
        "forward n1 c1 o1 i5x5 k3x3 d2 float32 cpu",
        "forward n2 c3 o2 i9x11 k3x2 s2x1 p2x3 d2x3 bias float32 cpu",
        "forward n1 c2 o2 i23 k3 p8 d8 bias float64 cpu",
    )
    yield from checks(problems, numbers, {"by hand: holes in the weight": _with_dilation})


def grouped(numbers: Numbers) -> Iterator[Check]:
    """Row 11: the text's C=2, O=4, other divisions, and the shuffle that follows."""
    problems = (
        "forward n1 c2 o4 i5x5 k3x3 float32 cpu",
        "forward n1 c2 o4 i5x5 k3x3 g2 float32 cpu",
        "forward n2 c6 o9 i5x4 k3x2 p1 g3 bias float32 cpu",
        "forward n1 c8 o8 i4x4 k3x3 s2 p1 g4 bias float64 cpu",
        "forward n1 c8 o8 i7x5 k3x3 p1 g2 channels_last float32 cpu",
    )
    yield from checks(
        problems, numbers, {"by hand: group by group": _with_everything(by_hand.grouped)}
    )
    for channels, groups in ((6, 2), (6, 3), (8, 4), (5, 1)):
        x = numbers.image((2, channels, 3, 2), torch.float32, whole=True)
        yield same(
            f"{channels} channels, {groups} groups", "by hand: channel shuffle",
            partial(by_hand.channel_shuffle, x, groups),
            partial(torch.nn.functional.channel_shuffle, x, groups),
        )  # fmt: skip


def everything(numbers: Numbers) -> Iterator[Check]:
    """Row 12: batch, channels, bias, stride, padding, dilation and groups at once."""
    ways = {
        "by hand: definition": _with_everything(by_hand.conv),
        "by hand: im2col": _with_everything(by_hand.conv2d_im2col),
        "by hand: group by group": _with_everything(by_hand.grouped),
    }
    yield from checks(_GENERAL, numbers, ways)


def arguments(layer: Layer) -> tuple[Any, ...]:
    """Stride, padding, dilation and groups, as `conv` takes them."""
    spec = layer.spec
    return spec.stride, spec.padding, spec.dilation, spec.groups


def _with_everything(function: Any) -> By:
    return lambda layer: function(layer.a, layer.w, layer.b, *arguments(layer))


def _with_padding(function: Any) -> By:
    return lambda layer: function(layer.a, layer.w, layer.b, *arguments(layer)[:2])


def _with_dilation(layer: Layer) -> Tensor:
    return by_hand.conv_dilated(layer.a, layer.w, layer.b, *arguments(layer)[:3])


def _transposing(function: Any) -> By:
    def compute(layer: Layer) -> Tensor:
        spec = layer.spec
        y: Tensor = function(
            layer.a, layer.w, layer.b, spec.stride, spec.padding, layer.output_padding,
            spec.groups, spec.dilation,
        )  # fmt: skip
        return y

    return compute


def _transposed_ways(numbers: Numbers, name: str, function: Any) -> Iterator[Check]:
    yield from checks(_TRANSPOSED, numbers, {f"by hand: {name}": _transposing(function)})


def _by_sparse_matrix(layer: Layer) -> Tensor:
    spec = layer.spec
    matrix = by_hand.kernel_matrix_sparse(layer.w, spec.input_size, *arguments(layer))
    y = (matrix @ layer.a.flatten(1).T).T.reshape(spec.y_shape)
    return y if layer.b is None else y + layer.b.reshape(-1, *(1,) * spec.dims)


def _matrix_shape(weight: Tensor, size: tuple[int, ...]) -> Tensor:
    return torch.tensor(by_hand.kernel_matrix(weight, size).shape)


def _matrix_times(weight: Tensor, image: Tensor, *, sparse: bool) -> Tensor:
    make = by_hand.kernel_matrix_sparse if sparse else by_hand.kernel_matrix
    return make(weight, tuple(image.shape[2:])) @ image.flatten()


def _dense_of_sparse(weight: Tensor, size: Any, stride: Any, padding: Any) -> Tensor:
    return by_hand.kernel_matrix_sparse(weight, size, stride, padding).to_dense()


def _flat(y: Tensor) -> Tensor:
    return y.flatten()
