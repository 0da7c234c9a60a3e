"""Problems for the by-hand chapter: whole numbers in float64, so that answers must be equal.

The answer of each problem comes from PyTorch, fed with padding that was worked out on paper.
"""

from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
CONV_TRANSPOSE = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}
F_PAD_MODES = {"zeros": "constant"}


def whole_numbers(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    """Whole numbers from −4 to 4, but no zeros: a number that is left out must change the sum."""
    values = torch.randint(1, 5, shape, generator=torch.Generator().manual_seed(seed))
    signs = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed + 1))
    return (values * (2 * signs - 1)).to(dtype)


def gappy(x: Tensor) -> Tensor:
    """The same numbers as a view that is not contiguous and does not start at its storage's start."""
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


PROBLEMS = [
    Problem("row 1: 4×4, K=3", (1, 1, 4, 4), (1, 1, 3, 3)),
    Problem("row 2: 5×5, K=3, s=2, p=1", (1, 1, 5, 5), (1, 1, 3, 3), {"stride": 2, "padding": 1}, bias=True),
    Problem("row 4: batch and channels", (2, 2, 5, 5), (3, 2, 3, 3), {"stride": 2, "padding": 1}, bias=True),
    Problem("row 12: everything", (2, 2, 5, 5), (4, 1, 3, 3), {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}, bias=True),
    Problem("rectangles", (2, 3, 5, 8), (2, 3, 2, 3), {"stride": (1, 2), "padding": (0, 2), "dilation": (2, 1)}),
    Problem("tall rectangles", (1, 2, 9, 4), (2, 2, 3, 1), {"stride": (3, 1), "padding": (2, 0), "dilation": (1, 3)}),
    Problem("stride larger than the kernel", (1, 2, 7, 8), (3, 2, 2, 1), {"stride": (3, 4)}),
    Problem("kernel larger than the picture", (1, 1, 2, 3), (2, 1, 5, 4), {"padding": (2, 3)}),
    Problem("unequal padding", (1, 2, 4, 5), (2, 2, 3, 3), {"padding": ((2, 0), (1, 3))}, pairs=((2, 0), (1, 3)), bias=True),
    Problem("one number everywhere", (1, 1, 1, 1), (1, 1, 1, 1)),
    Problem("groups with more outputs", (2, 4, 4, 3), (6, 2, 2, 2), {"groups": 2}, bias=True),
    Problem("depthwise", (1, 3, 5, 4), (6, 1, 3, 2), {"groups": 3, "padding": 1}),
    Problem("unbatched", (2, 5, 4), (3, 2, 3, 2), {"padding": 1}, bias=True),
    Problem("empty batch", (0, 2, 5, 4), (3, 2, 3, 2), bias=True),
    Problem("views", (2, 2, 5, 6), (4, 1, 3, 2), {"groups": 2, "stride": 2, "padding": 1}, bias=True, views=True),
    Problem("words: valid", (1, 2, 5, 6), (2, 2, 3, 2), {"padding": "valid"}, pairs=((0, 0), (0, 0))),
    Problem("words: same", (1, 2, 5, 6), (2, 2, 3, 2), {"padding": "same"}, pairs=((1, 1), (0, 1))),
    Problem("words: same_lower", (1, 2, 5, 6), (2, 2, 3, 2), {"padding": "same_lower"}, pairs=((1, 1), (1, 0))),
    Problem("words: same with stride", (1, 1, 6, 5), (1, 1, 3, 3), {"padding": "same", "stride": 2}, pairs=((0, 1), (1, 1))),
    Problem("1-D", (2, 3, 9), (4, 3, 4), {"stride": 2, "padding": 2}, bias=True),
    Problem("1-D groups and dilation", (2, 4, 11), (4, 2, 3), {"dilation": 3, "groups": 2, "padding": 1}),
    Problem("1-D unbatched", (3, 9), (2, 3, 4)),
    Problem("1-D causal", (1, 2, 6), (3, 2, 3), {"padding": "causal", "dilation": 2}, pairs=((4, 0),)),
    Problem("3-D", (2, 2, 3, 4, 5), (2, 2, 2, 3, 2), {"stride": (1, 2, 1), "padding": (1, 0, 1)}, bias=True),
    Problem("3-D groups and dilation", (1, 4, 4, 3, 5), (2, 2, 2, 1, 3), {"groups": 2, "dilation": (3, 1, 2), "padding": 1}),
    Problem("3-D unbatched", (1, 2, 3, 3), (2, 1, 1, 2, 2), {"padding": ((1, 0), (0, 0), (0, 2))}, pairs=((1, 0), (0, 0), (0, 2))),
]  # fmt: skip

MODES = [
    Problem("reflect", (2, 2, 4, 5), (3, 2, 3, 3), {"padding": (3, 2), "padding_mode": "reflect"}, bias=True),
    Problem("replicate", (1, 2, 2, 3), (2, 2, 4, 2), {"padding": ((4, 1), (0, 2)), "padding_mode": "replicate"}, pairs=((4, 1), (0, 2))),
    Problem("circular", (1, 4, 3, 4), (2, 2, 3, 2), {"padding": (3, 1), "groups": 2, "padding_mode": "circular"}),
    Problem("circular with stride and dilation", (1, 1, 5, 4), (1, 1, 2, 3), {"padding": 2, "stride": (3, 1), "dilation": (2, 1), "padding_mode": "circular"}),
    Problem("reflect same", (1, 1, 4, 4), (1, 1, 4, 3), {"padding": "same", "padding_mode": "reflect"}, pairs=((1, 2), (1, 1))),
    Problem("1-D reflect", (2, 5), (1, 2, 3), {"padding": 4, "padding_mode": "reflect"}),
    Problem("3-D circular", (1, 1, 2, 3, 2), (1, 1, 2, 3, 2), {"padding": (1, 2, 1), "padding_mode": "circular"}),
]  # fmt: skip

TRANSPOSED = [
    Transposed("row 7: 2×2 to 4×4", (1, 1, 2, 2), (1, 1, 3, 3)),
    Transposed("stride and padding", (2, 3, 3, 4), (3, 2, 3, 2), {"stride": (2, 3), "padding": (1, 0)}, bias=True),
    Transposed("output padding", (1, 2, 3, 2), (2, 3, 2, 3), {"stride": (2, 3), "output_padding": (1, 2)}, bias=True),
    Transposed("output padding beyond the stride", (1, 2, 3, 3), (2, 1, 2, 3), {"stride": (1, 2), "dilation": (3, 4), "output_padding": (2, 3)}, bias=True),
    Transposed("padding larger than the span", (1, 1, 7, 6), (1, 2, 2, 1), {"padding": (3, 2)}),
    Transposed("padding larger than the span, strides", (1, 2, 5, 5), (2, 1, 3, 2), {"stride": 2, "padding": (4, 3), "output_padding": 1}),
    Transposed("dilation", (2, 1, 3, 4), (1, 2, 3, 2), {"dilation": (2, 3), "stride": 2, "padding": (1, 2)}),
    Transposed("groups", (1, 4, 3, 2), (4, 3, 2, 2), {"groups": 2, "stride": 2, "padding": 1, "output_padding": 1}, bias=True),
    Transposed("depthwise", (2, 3, 3, 3), (3, 1, 3, 3), {"groups": 3, "stride": 2}),
    Transposed("stride larger than the kernel", (1, 2, 3, 2), (2, 2, 2, 1), {"stride": (4, 3)}, bias=True),
    Transposed("unequal padding", (1, 2, 4, 3), (2, 2, 3, 3), {"stride": 2, "padding": ((2, 0), (1, 3))}, cut=((2, 0), (1, 3))),
    Transposed("unbatched", (2, 3, 2), (2, 3, 2, 3), {"stride": 2}, bias=True),
    Transposed("empty batch", (0, 2, 3, 2), (2, 3, 2, 3), {"stride": 2}, bias=True),
    Transposed("views", (2, 2, 3, 4), (2, 1, 3, 2), {"stride": 2, "groups": 2}, bias=True, views=True),
    Transposed("1-D", (2, 3, 5), (3, 2, 4), {"stride": 2, "padding": 1}, bias=True),
    Transposed("1-D output padding beyond the stride", (1, 2, 4), (2, 2, 3), {"dilation": 3, "output_padding": 2, "padding": 1}),
    Transposed("1-D unbatched", (1, 1), (1, 1, 3)),
    Transposed("3-D", (1, 2, 2, 3, 2), (2, 2, 2, 1, 3), {"stride": (2, 3, 1), "padding": (0, 0, 1), "output_padding": (1, 2, 0)}, bias=True),
    Transposed("3-D groups", (1, 2, 2, 2, 2), (2, 2, 2, 2, 2), {"groups": 2, "dilation": (1, 2, 1)}),
]  # fmt: skip


def without(problems: list[Problem], *names: str) -> list[Problem]:
    """The problems that use none of these arguments."""
    return [p for p in problems if not set(p.arguments) & set(names)]


@pytest.fixture(params=PROBLEMS + MODES, ids=str)
def problem(request: pytest.FixtureRequest) -> Problem:
    """Every problem."""
    return request.param


@pytest.fixture(params=PROBLEMS, ids=str)
def zero_padding_problem(request: pytest.FixtureRequest) -> Problem:
    """Every problem whose padding is zeros."""
    return request.param


@pytest.fixture(params=without(PROBLEMS, "groups"), ids=str)
def ungrouped_problem(request: pytest.FixtureRequest) -> Problem:
    """Every problem of one group whose padding is zeros."""
    return request.param


@pytest.fixture(params=[p for p in without(PROBLEMS, "groups", "dilation") if p.dims == 2], ids=str)
def plain_2d_problem(request: pytest.FixtureRequest) -> Problem:
    """Every 2-D problem of one group, dilation 1 and zeros for padding."""
    return request.param


@pytest.fixture(params=[p for p in without(PROBLEMS, "stride", "dilation") if p.dims < 3], ids=str)
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
