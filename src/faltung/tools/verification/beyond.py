"""What the text has no row for: other algorithms, gradients, padding, 3-D, modules, dtypes."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial, reduce
from operator import add
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import by_hand, functional, nn
from ...ops.conv.spec import ConvSpec
from .checks import Check, Truth
from .convolution import (
    Layer,
    able,
    by_faltung,
    by_pytorch,
    by_task,
    checks,
    in_dtype,
    laid_out,
    layer_of,
)
from .source import Numbers
from .textbook import arguments

_ROOT = math.sqrt(0.5)
_WINOGRAD_POINTS = (0, _ROOT, -_ROOT, 2 * _ROOT, -2 * _ROOT)  # those of the smallest error
# how much more than a direct sum they may round, on the problems below: F(2, 3) no more, its
# halves are exact; F(4, 3) has entries up to 4; a transform errs with the norm of the whole image
_WINOGRAD_FACTORS = {"by hand: F(4, 3)": 4.0}
_FFT_FACTOR = 2.0

_SMALL = (
    "forward n1 c3 o2 i9x7 k3x3 p1 bias float32 cpu",
    "forward n2 c4 o4 i10x11 k3x3 p1+0x2 g2 float32 cpu",
)
_LARGE = (
    "forward n1 c2 o3 i12x9 k7x5 p3x2 bias float32 cpu",
    "forward n1 c2 o2 i11x13 k4x5 s2 p3 d2x1 g2 float64 cpu",
    "forward n2 c1 o2 i37 k11 p5 bias float32 cpu",
)
_DIFFERENTIATED = (
    "forward n2 c2 o3 i5x5 k3x3 s2 p1 bias float32 cpu",
    "forward n1 c4 o4 i7x6 k3x2 s2x1 p1+2x0 d1x2 g2 bias float32 cpu",
    "forward n2 c3 o3 i9 k3 p2 d2 g3 bias float64 cpu",
    "forward n1 c2 o2 i4x3x5 k2x1x3 p0x0x1 bias float32 cpu",
    "forward n2 c6 o6 i7x5 k3x3 p1 g6 bias channels_last float32 cpu",
)
_MODES = tuple(
    f"forward n1 c2 o3 {sizes} {mode} bias float32 cpu"
    for mode in ("zeros", "reflect", "replicate", "circular")
    for sizes in ("i6x5 k3x3 p2", "i7x4 k3x4 s2 p1+2x3+1", "i9 k4 p3+0 d2")
)
_THREE_D = (
    "forward n1 c2 o3 i4x5x3 k2x3x2 p1 bias float32 cpu",
    "forward n2 c4 o4 i5x3x4 k3x1x3 s2x1x1 p1x0x2 d1x1x2 g2 bias float32 cpu",
    "forward n1 c3 o3 i4x4x4 k3x3x3 p1 g3 float64 cpu",
    "grad_input n1 c2 o3 i5x6x4 k3x2x2 s2x2x1 p1x0x1 bias float32 cpu",
)
_DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
_EVERY_DTYPE = (
    "forward n1 c2 o2 i6x5 k3x3 s2 p1 bias float32 cpu",
    "forward n1 c3 o3 i7x7 k3x3 p1 g3 float32 cpu",
    "grad_input n1 c2 o3 i6x7 k2x3 s2 float32 cpu",
)
_LAYOUTS = tuple(
    problem.replace("float32", f"{layout} float32")
    for layout in ("channels_last", "strided")
    for problem in (
        "forward n2 c4 o3 i7x5 k3x3 p1 bias float32 cpu",
        "forward n2 c6 o6 i7x5 k3x3 s2 p1 g6 float32 cpu",
        "forward n2 c8 o4 i5x6 k1x1 bias float32 cpu",
        "grad_input n2 c3 o4 i8x6 k2x2 s2 bias float32 cpu",
        "grad_input n1 c6 o6 i9x8 k4x4 s2 p1 g6 float32 cpu",
    )
)
_EDGES = (
    "forward n1 c1 o1 i1x1 k1x1 float32 cpu",
    "forward n0 c3 o2 i5x5 k3x3 p1 bias float32 cpu",
    "forward n1 c2 o2 i11x13 k2x3 s5x4 bias float32 cpu",
    "forward n1 c2 o3 i2x3 k5x5 p2 bias float32 cpu",
    "forward n1 c3 o2 i13x1 k3x1 p0+2x0 float32 cpu",
    "forward n3 c7 o11 i17x19 k5x3 s3x2 p1x2 bias float32 cpu",
    "forward n1 c2 o2 i5x5 k3x3 p1 bias relu float32 cpu",
    "forward n1 c2 o2 i5x5 k1x5 p3x0 float64 cpu",
    "grad_input n0 c2 o2 i8x8 k2x2 s2 float32 cpu",
    "grad_input n1 c1 o2 i9x7 k2x1 s4x3 bias float32 cpu",
)


def winograd(numbers: Numbers) -> Iterator[Check]:
    """F(2, 3) and F(4, 3)."""
    ways = {
        "by hand: F(2, 3)": lambda layer: by_hand.conv2d_winograd(
            layer.a, layer.w, layer.b, layer.spec.padding, layer.spec.groups, m=2
        ),
        "by hand: F(4, 3)": lambda layer: by_hand.conv2d_winograd(
            layer.a,
            layer.w,
            layer.b,
            layer.spec.padding,
            layer.spec.groups,
            m=4,
            points=_WINOGRAD_POINTS,
        ),
    }
    yield from checks(_SMALL, numbers, ways, _WINOGRAD_FACTORS)


def fourier(numbers: Numbers) -> Iterator[Check]:
    """A product of transforms."""
    way = "by hand: product of transforms"
    ways = {way: lambda layer: by_hand.conv_fft(layer.a, layer.w, layer.b, *arguments(layer))}
    yield from checks(_LARGE, numbers, ways, {way: _FFT_FACTOR})


def gradients(numbers: Numbers) -> Iterator[Check]:
    """Three tasks: backward through PyTorch, through us, and every algorithm by itself."""
    for problem, whole in ((p, whole) for p in _DIFFERENTIATED for whole in (True, False)):
        spec = ConvSpec.parse(problem)
        layer = layer_of(spec, numbers, whole=whole)
        gy = laid_out(numbers.weight(spec.y_shape, layer.a.dtype, whole=whole), spec.layout)
        truths = _gradient_truths(layer, gy, whole=whole)
        for name, (truth, position) in truths.items():
            for way, through in (("PyTorch", by_pytorch), ("planned", _planned)):
                run = partial(_backward, through, layer, gy, position)
                yield truth.check(f"{name} of {problem}", way, run)
        for task, operands in (("grad_input", (gy, layer.w)), ("grad_weight", (layer.a, gy))):
            adjoint = spec.with_task(task)
            for algorithm in able(adjoint):
                yield truths[task][0].check(
                    str(adjoint), algorithm.name,
                    partial(by_task, adjoint, algorithm.name, *operands), algorithm.error_factor,
                )  # fmt: skip


def double_backward(numbers: Numbers) -> Iterator[Check]:
    """The derivatives of ⟨u, gx⟩ + ⟨v, gw⟩ in gy, w and x: again the three tasks."""
    for problem, whole in ((p, whole) for p in _DIFFERENTIATED for whole in (True, False)):
        spec = replace(ConvSpec.parse(problem), bias=False)
        layer = layer_of(spec, numbers, whole=whole)
        dtype = layer.a.dtype
        shapes = (spec.y_shape, spec.x_shape, spec.w_shape)
        gy, u, v = (numbers.weight(shape, dtype, whole=whole) for shape in shapes)
        truths = {
            "d/dgy": Truth(
                lambda u, w, x, v, s=spec: by_hand.forward(u, w, s) + by_hand.forward(x, v, s),
                (u, layer.w, layer.a, v), whole=whole,
            ),
            "d/dw": Truth(partial(by_hand.grad_weight, spec=spec), (u, gy), whole=whole),
            "d/dx": Truth(partial(by_hand.grad_input, spec=spec), (gy, v), whole=whole),
        }  # fmt: skip
        for position, (name, truth) in enumerate(truths.items()):
            for way, through in (("PyTorch", by_pytorch), ("planned", _planned)):
                run = partial(_twice, through, layer, (gy, u, v), position)
                yield truth.check(f"{name} of {spec}", way, run)


def padding_modes(numbers: Numbers) -> Iterator[Check]:
    """Zeros, reflect, replicate and circular; equal and unequal ends."""
    ways = {
        "by hand: definition": lambda layer: by_hand.conv(
            layer.a, layer.w, layer.b, *arguments(layer), padding_mode=layer.spec.padding_mode
        ),
        "by hand: im2col": lambda layer: by_hand.conv_im2col(
            layer.a, layer.w, layer.b, *arguments(layer), padding_mode=layer.spec.padding_mode
        ),
    }
    yield from checks(_MODES, numbers, ways)


def same_with_stride(numbers: Numbers) -> Iterator[Check]:
    """⌈n/s⌉ outputs, as TensorFlow and ONNX pad; PyTorch refuses a stride."""
    for (n, k, s, d), lower in (
        (case, lower)
        for case in ((7, 3, 2, 1), (8, 3, 2, 1), (9, 4, 3, 1), (10, 3, 2, 2), (5, 2, 1, 1))
        for lower in (False, True)
    ):
        x = numbers.image((1, 2, n, n + 1), torch.float32, whole=True)
        w = numbers.weight((3, 2, k, k), torch.float32, whole=True)
        word = "same_lower" if lower else "same"
        ends = [end for size in (n + 1, n) for end in _same_ends(size, k, s, d, lower=lower)]
        truth = Truth(partial(_padded, ends, (s, 0, d)), (x, w), whole=True)
        problem = f"{word}: i{n}x{n + 1} k{k} s{s} d{d}"
        ways: dict[str, Callable[[], Tensor]] = {
            "PyTorch": partial(F.conv2d, F.pad(x, ends), w, None, s, 0, d),
            "by hand: definition": partial(by_hand.conv, x, w, None, s, word, d),
            "planned": partial(functional.conv2d, x, w, None, s, word, d),
        }
        for way, compute in ways.items():
            yield truth.check(problem, way, compute)


def three_d(numbers: Numbers) -> Iterator[Check]:
    """Volumes, both ways."""
    yield from checks(_THREE_D, numbers)


def modules(numbers: Numbers) -> Iterator[Check]:
    """Our modules with PyTorch's parameters against PyTorch's modules."""
    pairs: dict[str, tuple[Any, tuple[int, ...]]] = {
        "Conv1d": ((4, 6, 3, 2, 1, 1, 2), (2, 4, 9)),
        "Conv2d": ((4, 6, 3, 2, 1, 1, 2), (2, 4, 7, 6)),
        "Conv3d": ((2, 3, 2, 1, 1), (1, 2, 4, 3, 5)),
        "ConvTranspose1d": ((4, 6, 4, 2, 1, 1, 2), (2, 4, 5)),
        "ConvTranspose2d": ((4, 6, 3, 2, 1, 1, 2), (2, 4, 4, 5)),
        "ConvTranspose3d": ((2, 3, 2, 2), (1, 2, 2, 3, 2)),
        "LazyConv2d": ((6, 3, 2, 1), (2, 4, 7, 6)),
        "Unfold": (((2, 3), 1, 1), (2, 5, 3, 4)),
        "Fold": (((3, 4), (2, 3)), (2, 30, 4)),
    }
    for name, (settings, shape) in pairs.items():
        theirs = getattr(torch.nn, name)(*settings)
        ours = getattr(nn, name)(*settings)
        x = numbers.image(shape, torch.float32, whole=True)
        theirs(x)  # a lazy module gets its parameters
        whole = {
            key: numbers.weight(tuple(value.shape), value.dtype, whole=True)
            for key, value in theirs.state_dict().items()
        }
        theirs.load_state_dict(whole)
        ours.load_state_dict(whole)
        truth = Truth(partial(_in_double, theirs), (x,), whole=True)
        yield truth.check(f"{name}{settings}", "module", partial(ours, x))
        yield truth.check(f"{name}{settings}", "module, unbatched", partial(_one_by_one, ours, x))


def dtypes(numbers: Numbers) -> Iterator[Check]:
    """float16, bfloat16, float32, float64 and both complex dtypes."""
    yield from checks([in_dtype(p, d) for p in _EVERY_DTYPE for d in _DTYPES], numbers)


def layouts(numbers: Numbers) -> Iterator[Check]:
    """Channels-last images, and views between NaN."""
    yield from checks(_LAYOUTS, numbers)


def edges(numbers: Numbers) -> Iterator[Check]:
    """One pixel, empty batch, stride beyond the kernel, kernel beyond the image, primes."""
    yield from checks(_EDGES, numbers)


def _planned(layer: Layer) -> Tensor:
    return by_faltung(layer, None)


def _gradient_truths(layer: Layer, gy: Tensor, *, whole: bool) -> dict[str, tuple[Truth, int]]:
    """Each gradient by its definition, with its operand's position."""
    spec = layer.spec
    return {
        "grad_input": (
            Truth(partial(by_hand.grad_input, spec=spec), (gy, layer.w), whole=whole), 0,
        ),
        "grad_weight": (
            Truth(partial(by_hand.grad_weight, spec=spec), (layer.a, gy), whole=whole), 1,
        ),
        "grad_bias": (Truth(_summed, (gy,), whole=whole), 2),
    }  # fmt: skip


def _summed(gy: Tensor) -> Tensor:
    """The bias's gradient: the incoming one added up per channel, one value after the other."""
    return reduce(add, gy.transpose(0, 1).flatten(1).unbind(1))


def _backward(
    through: Callable[[Layer], Tensor], layer: Layer, gy: Tensor, position: int
) -> Tensor:
    assert layer.b is not None
    leaves = [t.detach().requires_grad_() for t in (layer.a, layer.w, layer.b)]
    y = through(Layer(layer.spec, *leaves))
    return torch.autograd.grad(y, leaves, gy)[position]


def _twice(
    through: Callable[[Layer], Tensor],
    layer: Layer,
    cotangents: tuple[Tensor, Tensor, Tensor],
    position: int,
) -> Tensor:
    """The derivative of ⟨u, gx⟩ + ⟨v, gw⟩ in gy, w or x."""
    gy, u, v = cotangents
    x, w, gy = (t.detach().requires_grad_() for t in (layer.a, layer.w, gy))
    y = through(Layer(layer.spec, x, w, None))
    gx, gw = torch.autograd.grad(y, (x, w), gy, create_graph=True)
    return torch.autograd.grad((gx * u).sum() + (gw * v).sum(), (gy, w, x))[position]


def _same_ends(n: int, k: int, s: int, d: int, *, lower: bool) -> tuple[int, int]:
    """TensorFlow's SAME, written out here so that the library's own is not its own judge."""
    total = max((math.ceil(n / s) - 1) * s + (k - 1) * d + 1 - n, 0)
    return (total - total // 2, total // 2) if lower else (total // 2, total - total // 2)


def _padded(ends: list[int], geometry: tuple[int, int, int], x: Tensor, w: Tensor) -> Tensor:
    return by_hand.conv(F.pad(x, ends), w, None, *geometry)


def _in_double(module: torch.nn.Module, x: Tensor) -> Tensor:
    """PyTorch's module in float64."""
    y: Tensor = module.double()(x)
    return y


def _one_by_one(module: torch.nn.Module, x: Tensor) -> Tensor:
    return torch.stack([module(one) for one in x])
