"""Problems for the by-hand chapter: whole numbers in float64, so that answers must be equal.

The answer of each problem comes from PyTorch, fed with padding that was worked out on paper.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.ops.conv.spec import ConvSpec

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
F_PAD_MODES = {"zeros": "constant"}


def whole_numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Whole numbers from −4 to 4, but no zeros: a number that is left out must change the sum."""
    values = torch.randint(1, 5, shape, generator=torch.Generator().manual_seed(seed))
    signs = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed + 1))
    return (values * (2 * signs - 1)).to(dtype)


def gappy(x: Tensor) -> Tensor:
    """The same numbers in a view with gaps and an offset; the gaps hold NaN."""
    wide = torch.full((*x.shape[:-1], 2 * x.shape[-1] + 1), float("nan"), dtype=x.dtype)
    view = wide[..., 1::2]
    view.copy_(x)
    return view


@dataclass(frozen=True)
class Problem:
    """One call: the shapes, its arguments, and the padding pairs that they come down to."""

    name: str
    x: tuple[int, ...]
    w: tuple[int, ...]
    arguments: dict[str, Any] = field(default_factory=dict)
    pairs: tuple[tuple[int, int], ...] | None = None
    bias: bool = False
    views: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def dims(self) -> int:
        return len(self.w) - 2

    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        x, w = whole_numbers(*self.x), whole_numbers(*self.w, seed=2)
        if self.views:
            x, w = gappy(x), gappy(w)
        return x, w, self.make_bias(self.w[0])

    def make_bias(self, channels: int) -> Tensor | None:
        return whole_numbers(channels, seed=4) if self.bias else None

    def each(self, value: Any) -> tuple[Any, ...]:
        return value if isinstance(value, tuple) else (value,) * self.dims

    def expected(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """PyTorch's answer: pad first, convolve after."""
        arguments = dict(self.arguments)
        pairs = self.pairs or tuple((p, p) for p in self.each(arguments.pop("padding", 0)))
        arguments.pop("padding", None)
        mode = arguments.pop("padding_mode", "zeros")
        if any(low or high for low, high in pairs):
            flat = [end for pair in reversed(pairs) for end in pair]
            x = F.pad(x, flat, mode=F_PAD_MODES.get(mode, mode))
        return CONV[self.dims](x, w, b, **arguments)


@dataclass(frozen=True)
class Transposed(Problem):
    """One call of a transposed convolution; `cut` is what unequal padding takes off each end."""

    cut: tuple[tuple[int, int], ...] | None = None

    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        x, w, _ = super().tensors()
        return x, w, self.make_bias(self.w[1] * self.arguments.get("groups", 1))

    def expected(self, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
        """PyTorch's answer, without the ends that unequal padding cuts off."""
        arguments = dict(self.arguments)
        if self.cut is not None:
            del arguments["padding"]
        y = CONV_TRANSPOSE[self.dims](x, w, b, **arguments)
        kept = (
            slice(low, n - high)
            for (low, high), n in zip(self.cut or (), y.shape[-self.dims :], strict=False)
        )
        return y[(..., *kept)] if self.cut else y


SPELLED = """
n1 c1 o1 i4x4 k3x3
n1 c1 o1 i5x5 k3x3 s2 p1 bias
n2 c2 o3 i5x5 k3x3 s2 p1 bias
n2 c2 o4 i5x5 k3x3 s2 p1 d2 g2 bias
n2 c3 o2 i5x8 k2x3 s1x2 p0x2 d2x1
n1 c2 o2 i9x4 k3x1 s3x1 p2x0 d1x3
n1 c2 o3 i7x8 k2x1 s3x4
n1 c1 o2 i2x3 k5x4 p2x3
n1 c2 o2 i4x5 k3x3 p2+0x1+3 bias
n1 c1 o1 i1x1 k1x1
n2 c4 o6 i4x3 k2x2 g2 bias
n1 c3 o6 i5x4 k3x2 p1 g3
n0 c2 o3 i5x4 k3x2 bias
n2 c3 o4 i9 k4 s2 p2 bias
n2 c4 o4 i11 k3 p1 d3 g2
n1 c1 o1 i7 k2 s5
n2 c2 o2 i3x4x5 k2x3x2 s1x2x1 p1x0x1 bias
n1 c4 o2 i4x3x5 k2x1x3 p1 d3x1x2 g2
"""

SPELLED_MODES = """
n2 c2 o3 i4x5 k3x3 p3x2 reflect bias
n1 c2 o2 i2x3 k4x2 p4+1x0+2 replicate
n1 c4 o2 i3x4 k3x2 p3x1 g2 circular
n1 c1 o1 i5x4 k2x3 s3x1 p2 d2x1 circular
n1 c2 o1 i5 k3 p4 reflect
n1 c1 o1 i2x3x2 k2x3x2 p1x2x1 circular
"""

FORMS = [  # what a spelling cannot say: padding words, unbatched input, views
    Problem("unbatched", (2, 5, 4), (3, 2, 3, 2), {"padding": 1}, bias=True),
    Problem("unbatched 1-D", (3, 9), (2, 3, 4)),
    Problem("unbatched 3-D", (1, 2, 3, 3), (2, 1, 1, 2, 2), {"padding": (0, 1, 0)}),
    Problem("views", (2, 4, 5, 6), (4, 2, 3, 2), {"groups": 2, "stride": 2}, bias=True, views=True),
    Problem("views without groups", (2, 2, 5, 6), (4, 2, 3, 2), {"padding": 1}, views=True),
    Problem("valid", (1, 2, 5, 6), (2, 2, 3, 2), {"padding": "valid"}, ((0, 0), (0, 0))),
    Problem("same", (1, 2, 5, 6), (2, 2, 3, 2), {"padding": "same"}, ((1, 1), (0, 1))),
    Problem("same_lower", (1, 2, 5, 6), (2, 2, 3, 2), {"padding": "same_lower"}, ((1, 1), (1, 0))),
    Problem(
        "same, stride 2",
        (1, 6, 5),
        (1, 1, 3, 3),
        {"padding": "same", "stride": 2},
        ((0, 1), (1, 1)),
    ),
    Problem("causal", (1, 2, 6), (3, 2, 3), {"padding": "causal", "dilation": 2}, ((4, 0),)),
    Problem(
        "same, reflect",
        (1, 4, 4),
        (1, 1, 4, 3),
        {"padding": "same", "padding_mode": "reflect"},
        ((1, 2), (1, 1)),
    ),
]


def spelled(lines: str) -> list[Problem]:
    """Problems by their spelling, their arguments as short as PyTorch takes them."""
    return [
        _from_spec(line, ConvSpec.parse(f"forward {line} float64 cpu"))
        for line in lines.strip().splitlines()
    ]


def _from_spec(name: str, spec: ConvSpec) -> Problem:
    def short(values: tuple[Any, ...]) -> Any:
        return values[0] if len(set(values)) == 1 and not isinstance(values[0], tuple) else values

    ends = [low if low == high else (low, high) for low, high in spec.padding]
    given = {
        "stride": short(spec.stride), "padding": short(tuple(ends)),
        "dilation": short(spec.dilation), "groups": spec.groups, "padding_mode": spec.padding_mode,
    }  # fmt: skip
    default = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1, "padding_mode": "zeros"}
    arguments = {word: value for word, value in given.items() if value != default[word]}
    return Problem(name, spec.x_shape, spec.w_shape, arguments, spec.padding, spec.bias)


ZERO_PADDING = spelled(SPELLED) + [p for p in FORMS if "padding_mode" not in p.arguments]
MODES = spelled(SPELLED_MODES) + [p for p in FORMS if "padding_mode" in p.arguments]

TRANSPOSED = [
    Transposed("row 7: 2×2 to 4×4", (1, 1, 2, 2), (1, 1, 3, 3)),
    Transposed(
        "stride and padding",
        (2, 3, 3, 4),
        (3, 2, 3, 2),
        {"stride": (2, 3), "padding": (1, 0)},
        bias=True,
    ),
    Transposed(
        "output padding",
        (1, 2, 3, 2),
        (2, 3, 2, 3),
        {"stride": (2, 3), "output_padding": (1, 2)},
        bias=True,
    ),
    Transposed(
        "output padding beyond the stride",
        (1, 2, 3, 3),
        (2, 1, 2, 3),
        {"stride": (1, 2), "dilation": (3, 4), "output_padding": (2, 3)},
        bias=True,
    ),
    Transposed("padding larger than the span", (1, 1, 7, 6), (1, 2, 2, 1), {"padding": (3, 2)}),
    Transposed(
        "padding larger than the span, strides",
        (1, 2, 5, 5),
        (2, 1, 3, 2),
        {"stride": 2, "padding": (4, 3), "output_padding": 1},
    ),
    Transposed(
        "dilation", (2, 1, 3, 4), (1, 2, 3, 2), {"dilation": (2, 3), "stride": 2, "padding": (1, 2)}
    ),
    Transposed(
        "groups",
        (1, 4, 3, 2),
        (4, 3, 2, 2),
        {"groups": 2, "stride": 2, "padding": 1, "output_padding": 1},
        bias=True,
    ),
    Transposed("depthwise", (2, 3, 3, 3), (3, 1, 3, 3), {"groups": 3, "stride": 2}),
    Transposed(
        "stride larger than the kernel", (1, 2, 3, 2), (2, 2, 2, 1), {"stride": (4, 3)}, bias=True
    ),
    Transposed(
        "unequal padding",
        (1, 2, 4, 3),
        (2, 2, 3, 3),
        {"stride": 2, "padding": ((2, 0), (1, 3))},
        cut=((2, 0), (1, 3)),
    ),
    Transposed("unbatched", (2, 3, 2), (2, 3, 2, 3), {"stride": 2}, bias=True),
    Transposed("empty batch", (0, 2, 3, 2), (2, 3, 2, 3), {"stride": 2}, bias=True),
    Transposed(
        "views", (2, 2, 3, 4), (2, 1, 3, 2), {"stride": 2, "groups": 2}, bias=True, views=True
    ),
    Transposed("1-D", (2, 3, 5), (3, 2, 4), {"stride": 2, "padding": 1}, bias=True),
    Transposed(
        "1-D output padding beyond the stride",
        (1, 2, 4),
        (2, 2, 3),
        {"dilation": 3, "output_padding": 2, "padding": 1},
    ),
    Transposed("1-D unbatched", (1, 1), (1, 1, 3)),
    Transposed(
        "3-D",
        (1, 2, 2, 3, 2),
        (2, 2, 2, 1, 3),
        {"stride": (2, 3, 1), "padding": (0, 0, 1), "output_padding": (1, 2, 0)},
        bias=True,
    ),
    Transposed(
        "3-D groups", (1, 2, 2, 2, 2), (2, 2, 2, 2, 2), {"groups": 2, "dilation": (1, 2, 1)}
    ),
]


def without(problems: list[Problem], *names: str) -> list[Problem]:
    """The problems that use none of these arguments."""
    return [p for p in problems if not set(p.arguments) & set(names)]


@pytest.fixture(params=ZERO_PADDING + MODES, ids=str)
def problem(request: pytest.FixtureRequest) -> Problem:
    """Every problem."""
    return request.param


@pytest.fixture(params=ZERO_PADDING, ids=str)
def zero_padding_problem(request: pytest.FixtureRequest) -> Problem:
    """Every problem whose padding is zeros."""
    return request.param


@pytest.fixture(params=without(ZERO_PADDING, "groups"), ids=str)
def ungrouped_problem(request: pytest.FixtureRequest) -> Problem:
    """Every problem of one group whose padding is zeros."""
    return request.param


@pytest.fixture(
    params=[p for p in without(ZERO_PADDING, "groups", "dilation") if p.dims == 2], ids=str
)
def plain_2d_problem(request: pytest.FixtureRequest) -> Problem:
    """Every 2-D problem of one group, dilation 1 and zeros for padding."""
    return request.param


@pytest.fixture(
    params=[p for p in without(ZERO_PADDING, "stride", "dilation") if p.dims < 3], ids=str
)
def unit_stride_problem(request: pytest.FixtureRequest) -> Problem:
    """Every 1-D or 2-D problem of stride 1, dilation 1 and zeros for padding."""
    return request.param


@pytest.fixture(params=TRANSPOSED, ids=str)
def transposed_problem(request: pytest.FixtureRequest) -> Transposed:
    """Every problem of a transposed convolution."""
    return request.param


@pytest.fixture(name="whole_numbers")
def whole_numbers_fixture() -> Any:
    """The function of that name, for tests with shapes of their own."""
    return whole_numbers
