"""Every algorithm on every problem it accepts, against the loops."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from faltung import planning, settings
from faltung.errors import ArgumentError
from faltung.machine import this_machine
from faltung.ops.unfold.by_hand.fold import fold
from faltung.ops.unfold.by_hand.unfold import unfold
from faltung.ops.unfold.spec import UnfoldSpec
from faltung.tools.budget import Budget, assert_within

ALGORITHMS = planning.algorithms("unfold", "cpu")
PROBLEMS = [
    "n2 c5 i3x4 k2x3",
    "n1 c1 i1 k1",
    "n1 c1 i1x1x1 k1x1x1",
    "n0 c2 i5x4 k2x2 p1",
    "n1 c0 i5x4 k2x2",
    "n2 c2 i11 k3 s2 p1 d2",
    "n2 c2 i9 k3 s2 p1+2",
    "n1 c3 i7x5 k2x3 s3x1 p1x0 d1x2",
    "n1 c2 i2x3 k3x2 s5x4 p2x1",
    "n1 c2 i2x3 k4x2 s2 p1+2x0+3",
    "n2 c1 i3x4x5 k2x1x3 s1x2x2 p0+1x1x2 d2x1x1",
    "n1 c2 i5x7 k2x3 s3x1 p2+0x0+1 d1x2 reflect",
    "n1 c2 i4x3 k3x3 p2+3x1 circular",
    "n1 c2 i4x3 k3x2 s2 p3x0+2 replicate",
    "n2 c1 i4 k3 s3 p0+2 circular",
    "n1 c1 i3x2x4 k2x2x2 p2x0+1x3 reflect",
]
DTYPES = [
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128",
]  # fmt: skip


def numbers(shape: tuple[int, ...], dtype: str) -> Tensor:
    """Whole numbers so small that their sums are exact in every dtype."""
    values = torch.arange(torch.Size(shape).numel()) * 7 % 5
    if dtype.startswith("complex"):
        values = torch.complex(values.double() - 2, (values * 3 % 5).double() - 2)
    elif dtype == "bool":
        values = values % 2
    elif dtype != "uint8":
        values = values - 2
    return values.reshape(shape).to(getattr(torch, dtype))


def by_hand(spec: UnfoldSpec, operand: Tensor) -> Tensor:
    arguments = (spec.kernel_size, spec.dilation, spec.padding, spec.stride, spec.padding_mode)
    if spec.task == "unfold":
        return unfold(operand, *arguments)
    return fold(operand, spec.input_size, *arguments)


def check(build: Callable[[UnfoldSpec], Any], spec: UnfoldSpec) -> None:
    operand = numbers(spec.operand_shape, spec.dtype)
    result = build(spec)(operand)
    assert result.shape == spec.result_shape
    assert result.is_contiguous()
    assert torch.equal(result, by_hand(spec, operand))


def accepted(spec: UnfoldSpec) -> list[planning.Algorithm]:
    return [a for a in ALGORITHMS if not a.unsupported(spec)]


@pytest.mark.parametrize("task", ["unfold", "fold"])
@pytest.mark.parametrize("problem", PROBLEMS)
def test_every_problem(task: str, problem: str) -> None:
    spec = UnfoldSpec.parse(f"{task} {problem} float32 cpu")
    for algorithm in accepted(spec):
        check(algorithm.build, spec)
        assert algorithm.seconds(spec, this_machine()) > 0


@pytest.mark.parametrize("task", ["unfold", "fold"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("problem", ["n2 c3 i5x4 k2x3 s1x2 p1", "n1 c2 i4 k2 p1+0 circular"])
def test_every_dtype(task: str, dtype: str, problem: str) -> None:
    spec = UnfoldSpec.parse(f"{task} {problem} {dtype} cpu")
    for algorithm in accepted(spec):
        check(algorithm.build, spec)


@pytest.mark.parametrize("task", ["unfold", "fold"])
def test_every_view(task: str) -> None:
    spec = UnfoldSpec.parse(f"{task} n2 c3 i5x4 k2x3 p1 float32 cpu")
    operand = numbers(spec.operand_shape, spec.dtype)
    last = operand.dim() - 1
    band = torch.full([n + 2 for n in operand.shape], torch.nan)
    inside = band[tuple(slice(1, 1 + n) for n in operand.shape)]
    views = [
        operand.transpose(0, last).contiguous().transpose(0, last),
        torch.repeat_interleave(operand, 2, dim=last)[..., ::2],
        inside.copy_(operand),
    ]
    for algorithm in accepted(spec):
        for view in views:
            assert not view.is_contiguous()
            assert torch.equal(algorithm.build(spec)(view), by_hand(spec, operand))


def test_the_fold_of_two_algorithms_rounds_alike() -> None:
    spec = UnfoldSpec.parse("fold n1 c2 i9x8 k3x3 s2x1 p1 float32 cpu")
    columns = torch.randn(spec.columns_shape, generator=torch.Generator().manual_seed(1))
    found = {a.name: a.build(spec)(columns) for a in accepted(spec)}
    assert torch.equal(found["native_torch"], found["slices_torch"])  # both add tap after tap
    double, sizes = (by_hand(spec, t) for t in (columns.double(), columns.double().abs()))
    direct = by_hand(spec, columns)
    assert_within(found["indices_torch"], Budget(double, sizes, direct))  # axis after axis


@pytest.mark.parametrize(
    "wrong",
    [
        lambda spec: lambda x: x.new_zeros(spec.result_shape),
        lambda spec: lambda x: x.new_full(spec.result_shape, torch.nan),
        lambda spec: lambda x: torch.nn.functional.unfold(x, (2, 3), padding=1).flip(1),
    ],
)
def test_a_wrong_algorithm_is_found(wrong: Any) -> None:
    with pytest.raises(AssertionError):
        check(wrong, UnfoldSpec.parse("unfold n2 c3 i5x4 k2x3 p1 float32 cpu"))


def test_plans_choose_and_explain() -> None:
    small = UnfoldSpec.parse("unfold n1 c4 i8x8 k3x3 p1 float32 cpu")
    large = UnfoldSpec.parse("unfold n8 c64 i56x56 k3x3 p1 float32 cpu")
    assert planning.plan(small, "unfold", settings.current()).algorithm == "native_torch"
    assert planning.plan(large, "unfold", settings.current()).algorithm == "slices_torch"
    odd = UnfoldSpec.parse("fold n1 c4 i8 k3 p1+0 float32 cpu")
    assert "is for 2-D images only, not 1-D; pads both ends" in str(
        planning.plan(odd, "unfold", settings.current())
    )


def test_memory_limit_and_name_are_obeyed() -> None:
    spec = UnfoldSpec.parse("unfold n1 c2 i5 k3 p1 float32 cpu")
    with (
        settings.using(memory_limit=55) as tight,
        pytest.raises(planning.NoAlgorithmError, match="needs 56 B of workspace"),
    ):
        planning.plan(spec, "unfold", tight)
    with (
        settings.using(algorithm="im2col") as unknown,
        pytest.raises(ArgumentError, match="'im2col' is none of the algorithms of unfold on cpu"),
    ):
        planning.plan(spec, "unfold", unknown)
