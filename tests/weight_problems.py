"""What the three algorithms for gradients of weights are tried on, and how."""

import torch
from torch import Tensor

from faltung.ops.conv.bias_gradient import OnTheWay
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm
from faltung.tools.budget import Budget, assert_within

# strides, dilations and paddings of every kind, wider than a tile and narrower than a vector
SHAPES = (
    "i9x7 k3x3 p1", "i5x37 k3x5 s1x2 p1x2+0", "i11x6 k2x3 s3x1 d1x2", "i8x9 k5x4 s2x3 d3x2 p5x3",
    "i3x70 k1x3 p0x1", "i40x5 k5x1 p2x0", "i4x5 k4x5", "i6x6 k3x3 p4 y7x6", "i2x3 k3x3 s2 p2+1",
    "i7x7 k13x13 p6", "i3x19 k2x9 s1x5 p1x4", "i4x5x9 k3x2x3 p1x0x1 s1x1x2",
    "i3x4x5 k2x3x2 p1 d2x1x1 s2x1x1", "i1x1 k1x1", "i9x18 k1x1 s2", "i6x20 k3x3 p12 d12",
)  # fmt: skip

# channels in, channels out and groups
CHANNELS = (
    (1, 1, 1), (3, 3, 3), (5, 15, 5), (4, 4, 1), (3, 8, 1), (8, 8, 2), (12, 12, 4), (17, 17, 17),
    (16, 32, 4), (20, 10, 5), (7, 9, 1), (35, 6, 1), (40, 20, 2),
)  # fmt: skip

DTYPES = ("float32", "float64", "bfloat16", "float16")


def problems(algorithm: Algorithm, layout: str) -> list[str]:
    """Shapes, channels and dtypes in turns; what the algorithm refuses is left out."""
    found = []
    for n in range(3 * len(SHAPES)):
        c, o, g = CHANNELS[n % len(CHANNELS)]
        shape, dtype = SHAPES[n % len(SHAPES)], DTYPES[(n + n // len(SHAPES)) % len(DTYPES)]
        words = f"grad_weight n{1 + n % 3} c{c} o{o} {shape} g{g} {layout} {dtype} cpu"
        text = str(ConvSpec.parse(" ".join(words.split())))
        if not algorithm.unsupported(ConvSpec.parse(text)):
            found.append(text)
    return found


def operands(spec: ConvSpec) -> list[Tensor]:
    """Real numbers in the spec's memory layout."""
    order = torch.contiguous_format
    if spec.layout == "channels_last":
        order = torch.channels_last if spec.dims == 2 else torch.channels_last_3d
    dtype = getattr(torch, spec.dtype)
    return [
        torch.randn(shape).to(dtype).contiguous(memory_format=order)
        for shape in spec.operand_shapes
    ]


def check_sums(algorithm: Algorithm, text: str) -> None:
    """The bias's gradient that comes on the way is gy's sum, to the bit for whole numbers.

    Of real ones it rounds as any order of adding does, in numbers as wide as in registers.
    """
    spec = ConvSpec.parse(text)
    x, gy = operands(spec)
    run = algorithm.build(spec)
    assert isinstance(run, OnTheWay)
    found = run.both(x, torch.round(gy))
    assert torch.equal(found[0], run(x, torch.round(gy)))
    over = (0, *range(2, gy.dim()))
    assert torch.equal(found[1], torch.round(gy).double().sum(over).to(gy.dtype))
    budget = Budget.of(lambda gy: gy.sum(over), [gy])
    assert_within(run.both(x, gy)[1], budget)


def results_by_threads(algorithm: Algorithm, text: str) -> list[Tensor]:
    """What comes out with 1, 2, 3 and 5 threads; the bias's gradient too, if there is one."""
    spec = ConvSpec.parse(text)
    given = operands(spec)
    run, before, found = algorithm.build(spec), torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3, 5):
            torch.set_num_threads(threads)
            both = run.both(*given) if isinstance(run, OnTheWay) else [run(*given)]
            found.append(torch.cat([one.reshape(-1) for one in both]))
    finally:
        torch.set_num_threads(before)
    return found
