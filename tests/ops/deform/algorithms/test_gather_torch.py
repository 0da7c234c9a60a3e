"""Gathering against the loops, on numbers whose products and sums are exact."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from faltung.machine import this_machine
from faltung.ops.deform.algorithms.gather_torch import ALGORITHM
from faltung.ops.deform.by_hand.definition import deform_conv2d
from faltung.ops.deform.spec import DeformSpec

PROBLEMS = [
    "n1 c1 o1 i1x1 k1x1",
    "n2 c3 o4 i4x5 k3x2 p1 bias",
    "n1 c4 o6 i5x6 k2x3 s2x1 p1x0 g2 mask",
    "n2 c4 o2 i5x4 k3x3 s2 p1+2x0+1 d1x2 f2 mask bias",
    "n1 c6 o3 i4x4 k2x2 g3 f2",
    "n1 c4 o4 i4x3 k3x3 p1 g4 f4 mask",
    "n1 c2 o2 i2x3 k4x4 s3 p3 d2x1",
    "n0 c2 o3 i4x5 k3x3 p1 f2 mask bias",
    "n0 c4 o2 i4x5 k3x3 p1 g2",
    "n2 c2 o2 i5x4 k2x2 d2 relu",
]


def numbers(shape: tuple[int, ...], step: int, spread: int, dtype: torch.dtype) -> Tensor:
    """Whole numbers from −spread to spread."""
    values = torch.arange(math.prod(shape)) * step % (2 * spread + 1) - spread
    return values.reshape(shape).to(dtype)


def operands(spec: DeformSpec) -> list[Tensor | None]:
    """x, offset in quarter pixels up to three each way, w, b and mask."""
    dtype = getattr(torch, spec.dtype)
    return [
        numbers(spec.x_shape, 7, 4, dtype),
        numbers(spec.offset_shape, 17, 12, dtype) / 4,
        numbers(spec.w_shape, 5, 2, dtype),
        numbers((spec.out_channels,), 3, 5, dtype) if spec.bias else None,
        numbers(spec.mask_shape, 3, 2, dtype) if spec.mask else None,
    ]


def by_hand(spec: DeformSpec, given: list[Tensor | None]) -> Tensor:
    x, offset, w, b, mask = given
    assert x is not None
    assert offset is not None
    assert w is not None
    y = deform_conv2d(x, offset, w, b, spec.stride, spec.padding, spec.dilation, mask)
    return y.relu() if spec.activation == "relu" else y


def check(build: Callable[[DeformSpec], Any], spec: DeformSpec) -> None:
    given = operands(spec)
    y = build(spec)(*given)
    assert y.shape == spec.y_shape
    assert torch.equal(y, by_hand(spec, given))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem(problem: str, dtype: str) -> None:
    spec = DeformSpec.parse(f"forward {problem} {dtype} cpu")
    assert ALGORITHM.unsupported(spec) == []
    check(ALGORITHM.build, spec)
    assert ALGORITHM.seconds(spec, this_machine()) > 0
    assert ALGORITHM.workspace(spec) >= spec.columns_bytes


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("problem", ["n1 c4 o2 i4x5 k1x1 g2 mask", "n2 c2 o2 i4x5 k2x2 p1 f2"])
def test_half_precision_rounds_the_columns_and_the_result_only(problem: str, dtype: str) -> None:
    spec = DeformSpec.parse(f"forward {problem} float64 cpu")
    given = operands(spec)
    given[1] = (given[1] * 4 % 9 - 4) / 2 if given[1] is not None else None  # halves: exact columns
    exact = by_hand(spec, given)
    half = [None if t is None else t.to(getattr(torch, dtype)) for t in given]
    y = ALGORITHM.build(DeformSpec.parse(f"forward {problem} {dtype} cpu"))(*half)
    assert torch.equal(y, exact.to(y.dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_knows_where_it_is_in_a_wide_image(dtype: str) -> None:
    spec = DeformSpec.parse(f"forward n1 c1 o1 i1x4099 k1x1 {dtype} cpu")
    x = numbers(spec.x_shape, 7, 5, getattr(torch, dtype))
    offset = torch.zeros(spec.offset_shape, dtype=x.dtype)
    offset[:, 1] = 1
    y = ALGORITHM.build(spec)(x, offset, torch.ones(spec.w_shape, dtype=x.dtype), None, None)
    assert torch.equal(y[..., :-1], x[..., 1:])
    assert y[..., -1] == 0


def test_every_view() -> None:
    spec = DeformSpec.parse("forward n2 c4 o4 i5x6 k3x2 p1 g2 f2 mask float32 cpu")
    given = operands(spec)
    expected = by_hand(spec, given)
    last = [None if t is None else t.contiguous(memory_format=torch.channels_last) for t in given]
    wide = [None if t is None else torch.repeat_interleave(t, 2, dim=3)[..., ::2] for t in given]
    run = ALGORITHM.build(spec)
    assert torch.equal(run(*last), expected)
    assert torch.equal(run(*wide), expected)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda spec: lambda *_: torch.zeros(spec.y_shape),
        lambda spec: lambda *_: torch.full(spec.y_shape, torch.nan),
        lambda spec: lambda x, delta, *rest: ALGORITHM.build(spec)(x, -delta, *rest),
        lambda spec: lambda x, delta, *rest: ALGORITHM.build(spec)(x, delta.roll(1, 1), *rest),
    ],
)
def test_a_wrong_algorithm_is_found(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        check(wrong, DeformSpec.parse("forward n2 c3 o4 i4x5 k3x2 p1 bias float32 cpu"))


def test_nothing_is_read_outside_the_image() -> None:
    """The image lies between NaN bands; only taps beyond its border could bring one in."""
    spec = DeformSpec.parse("forward n1 c2 o2 i4x5 k3x3 p3 f2 float32 cpu")
    given = operands(spec)
    expected = by_hand(spec, given)
    band = torch.full((3, 4, 6, 7), torch.nan)
    band[1:2, 1:3, 1:5, 1:6] = given[0]
    run = ALGORITHM.build(spec)
    assert torch.equal(run(band[1:2, 1:3, 1:5, 1:6], *given[1:]), expected)


@pytest.mark.parametrize("far", [1e6, -1e6, 3e38, math.inf, -math.inf])
@pytest.mark.parametrize("coordinate", [0, 1])
def test_far_out_is_zero(far: float, coordinate: int) -> None:
    spec = DeformSpec.parse("forward n1 c1 o1 i3x4 k1x1 float32 cpu")
    x, w = numbers(spec.x_shape, 1, 20, torch.float32), torch.ones(spec.w_shape)
    offset = torch.zeros(spec.offset_shape)
    offset[0, coordinate, 1, 2] = far
    expected = x.clone()
    expected[0, 0, 1, 2] = 0
    assert torch.equal(ALGORITHM.build(spec)(x, offset, w, None, None), expected)
    assert torch.equal(deform_conv2d(x, offset, w), expected)


@pytest.mark.parametrize("coordinate", [0, 1])
def test_nan_stays_where_it_is(coordinate: int) -> None:
    spec = DeformSpec.parse("forward n1 c2 o1 i3x4 k1x1 f2 float32 cpu")
    x, w = numbers(spec.x_shape, 1, 20, torch.float32), torch.ones(spec.w_shape)
    offset = torch.zeros(spec.offset_shape)
    offset[0, coordinate, 1, 2] = math.nan
    ours, loops = ALGORITHM.build(spec)(x, offset, w, None, None), deform_conv2d(x, offset, w)
    for y in (ours, loops):
        assert y[0, 0, 1, 2].isnan()
        assert torch.equal(y.nan_to_num(0), x.sum(1, keepdim=True) * ~y.isnan())


def test_an_infinite_pixel_outside_the_window_does_no_harm() -> None:
    spec = DeformSpec.parse("forward n1 c1 o1 i2x2 k1x1 float32 cpu")
    x = torch.tensor([[[[math.inf, 1.0], [2.0, 3.0]]]])
    offset = torch.full(spec.offset_shape, -9.0)
    y = ALGORITHM.build(spec)(x, offset, torch.ones(spec.w_shape), None, None)
    assert torch.equal(y, torch.zeros(1, 1, 2, 2))
