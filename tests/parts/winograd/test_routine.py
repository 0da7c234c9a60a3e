"""The routine, cut by hand: with points 0, ±1 its arithmetic on whole numbers is exact."""

import itertools
from dataclasses import replace

import pytest
import torch

from faltung.lang.count import count
from faltung.lang.target import host_target
from faltung.parts.winograd.problem import Cutting, Layout, Problem
from faltung.parts.winograd.routine import BUFFERS, winograd_routine
from faltung.parts.winograd.tiles import PlainAxis
from winograd_running import expected, operands, run

ONE = PlainAxis()
PLAIN = Problem(
    batch=1, groups=1, inputs=5, outputs=6, depth=ONE, high=PlainAxis(6, 6, 3, 1),
    wide=PlainAxis(9, 9, 3, 1), dtype="float32", last=False,
)  # fmt: skip
BOTH = pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])


def lanes_for(problem: Problem) -> int:
    lanes = host_target().lanes(problem.item_size)
    while lanes > 4 and problem.outputs <= lanes // 2:
        lanes //= 2
    return lanes


def cutting(problem: Problem, **changes: object) -> Cutting:
    plain = Cutting(
        lanes_for(problem), (2, 2), high=1, wide=2, planes=1, tiles=2, vectors=1, chunk=1
    )
    return replace(plain, **changes)  # type: ignore[arg-type]


def check(problem: Problem, **changes: object) -> None:
    layout = Layout(problem, cutting(problem, **changes))
    x, w, bias = operands(problem)
    made, right = run(layout, x, w, bias), expected(problem, x, w, bias)
    assert right.abs().max() > 3
    transforms = [block.axis.transform for block in (layout.high, layout.wide)]
    if all(t.outputs == 1 or t.size <= 4 for t in transforms):
        assert torch.equal(made.double(), right), layout.cutting
    else:  # whole numbers that are near enough to be told
        assert torch.equal(made.double().round(), right), layout.cutting


@BOTH
@pytest.mark.parametrize("size", [(2, 2), (2, 7), (3, 4), (5, 5), (6, 3), (8, 21)], ids=str)
def test_every_rest_of_a_tile(size: tuple[int, int], last: bool) -> None:
    high, wide = (PlainAxis(n, n, 3, 1) for n in size)
    problem = replace(PLAIN, high=high, wide=wide, last=last)
    rows, columns = (-(-n // 2) for n in size)
    for block in {(1, 1), (1, columns), (rows, columns), (max(1, rows - 1), max(1, columns - 1))}:
        tiles = block[0] * block[1]
        check(problem, high=block[0], wide=block[1], tiles=max(1, tiles - 1))


@BOTH
@pytest.mark.parametrize("outputs", [(4, 4), (3, 3), (4, 2), (2, 3), (1, 4), (3, 1)], ids=str)
def test_other_tiles(outputs: tuple[int, int], last: bool) -> None:
    check(replace(PLAIN, last=last), outputs=outputs)


@BOTH
@pytest.mark.parametrize(
    "channels", [(1, 1), (3, 4), (8, 8), (16, 17), (15, 33), (36, 48), (40, 7)]
)
def test_channels(channels: tuple[int, int], last: bool) -> None:
    problem = replace(PLAIN, inputs=channels[0], outputs=channels[1], last=last, bias=True)
    needed = -(-channels[1] // lanes_for(problem))
    for vectors, chunk in {(1, 1), (2, 2), (2, 4), (1, needed), (3, 3)}:
        check(problem, vectors=vectors, chunk=chunk)
    check(replace(problem, groups=3), vectors=2, chunk=2)


@BOTH
@pytest.mark.parametrize("dilation", [(1, 2), (2, 1), (3, 3), (5, 4)])
def test_dilation_in_whole_groups_and_in_phases(dilation: tuple[int, int], last: bool) -> None:
    high, wide = (
        PlainAxis(n, n + low + 1 - 2 * d, 3, low, d)
        for n, d, low in ((11, dilation[0], 2), (15, dilation[1], 3))
    )
    problem = replace(PLAIN, high=high, wide=wide, last=last)
    sizes = [{1, d, d - 1, 2 * d} - {0} for d in dilation]
    for rows, columns in itertools.product(*sizes):
        try:
            check(problem, high=rows, wide=columns, tiles=min(rows * columns, 3))
        except ValueError as error:  # larger than the axis
            assert "is no number of whole groups" in str(error)


@BOTH
@pytest.mark.parametrize("low", [(-1, 0), (0, 3), (4, -2)])
def test_any_padding(low: tuple[int, int], last: bool) -> None:
    high, wide = PlainAxis(7, 6, 3, low[0]), PlainAxis(5, 8, 3, low[1])
    check(replace(PLAIN, high=high, wide=wide, last=last, batch=2))


@BOTH
@pytest.mark.parametrize(
    "depth",
    [PlainAxis(4, 4, 3, 1), PlainAxis(5, 3, 3, 0), PlainAxis(6, 6, 3, 2, 2), PlainAxis(2, 5, 4, 3),
     PlainAxis(3, 1, 2, -1), PlainAxis(1, 3, 1, 1)],
)  # fmt: skip
def test_a_depth_is_summed(depth: PlainAxis, last: bool) -> None:
    for planes in {1, 2, depth.outputs}:
        check(replace(PLAIN, depth=depth, last=last, batch=2), planes=planes)


@BOTH
@pytest.mark.parametrize("taps", [(1, 3), (3, 1), (2, 2), (1, 2)])
def test_other_windows(taps: tuple[int, int], last: bool) -> None:
    high, wide = (PlainAxis(n, n, r, (r - 1) // 2) for n, r in zip((6, 9), taps, strict=True))
    outputs = tuple(2 if r > 1 else 1 for r in taps)
    check(replace(PLAIN, high=high, wide=wide, last=last), outputs=outputs)


@pytest.mark.parametrize(("taps", "m"), [(4, 2), (4, 3), (5, 2), (5, 4), (6, 2), (7, 2), (2, 4)])
def test_signals(taps: int, m: int) -> None:
    for size in range(m, m + 9):
        wide = PlainAxis(size, size, taps, taps // 2)
        check(replace(PLAIN, high=ONE, wide=wide), outputs=(1, m), wide=1, tiles=1)


@BOTH
@pytest.mark.parametrize("stride", [(2, 2), (1, 2), (2, 1), (2, 3)], ids=str)
@pytest.mark.parametrize("outputs", [(2, 2), (3, 4), (1, 4)], ids=str)
def test_strides(outputs: tuple[int, int], stride: tuple[int, int], last: bool) -> None:
    high, wide = (
        PlainAxis(n, (n + low + after - taps) // s + 1, taps, low, stride=s)
        for n, taps, s, low, after in ((17, 3, stride[0], 1, 1), (26, 5, stride[1], 2, 3))
    )
    problem = replace(PLAIN, high=high, wide=wide, last=last)
    rows, columns = -(-high.outputs // outputs[0]), -(-wide.outputs // outputs[1])
    for block in {(1, 1), (rows, columns), (max(1, rows - 1), max(1, columns - 2))}:
        tiles = min(3, block[0] * block[1])
        check(problem, outputs=outputs, high=block[0], wide=block[1], tiles=tiles)


@BOTH
@pytest.mark.parametrize("stride", [2, 3, 4])
def test_a_stride_of_the_depth(stride: int, last: bool) -> None:
    depth = PlainAxis(9, (9 + 2 - 3) // stride + 1, 3, 1, stride=stride)
    for planes in {1, 2, depth.outputs}:
        check(replace(PLAIN, depth=depth, last=last, batch=2), planes=planes)


@pytest.mark.parametrize("dilation", [1, 3])
@pytest.mark.parametrize(("taps", "m"), [(7, 4), (7, 3), (11, 4), (11, 3), (6, 4), (13, 4)])
def test_filters_in_parts(taps: int, m: int, dilation: int) -> None:
    for size in range(m, m + 2 * dilation + 9, dilation):
        wide = PlainAxis(size, size, taps, dilation * (taps // 2), dilation)
        problem = replace(PLAIN, high=ONE, wide=wide, inputs=3, bias=True)
        groups = -(-size // (m * dilation))
        for some in {1, groups, max(1, groups - 1)}:
            tiles = some * dilation
            check(problem, outputs=(1, m), high=1, wide=tiles, tiles=min(tiles, 5))


@BOTH
def test_rows_of_filters_in_parts(last: bool) -> None:
    high, wide = PlainAxis(5, 5), PlainAxis(21, 19, 9, 3)
    depth = PlainAxis(4, 4, 3, 1)
    problem = replace(PLAIN, high=high, wide=wide, depth=depth, last=last, batch=2)
    check(problem, outputs=(1, 4), wide=3, tiles=2, planes=2)


@BOTH
@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
def test_dtypes(dtype: str, last: bool) -> None:
    problem = replace(PLAIN, inputs=3, outputs=9, dtype=dtype, last=last, bias=True)
    layout = Layout(problem, cutting(problem))
    x, w, bias = operands(problem, most=1)  # few enough ones for bfloat16
    right = expected(problem, x, w, bias).to(getattr(torch, dtype))
    assert torch.equal(run(layout, x, w, bias), right)


@BOTH
def test_shares_and_threads_change_nothing(last: bool) -> None:
    problem = replace(PLAIN, inputs=20, outputs=70, last=last)
    x, w = torch.randn(1, 20, 1, 6, 9), torch.randn(70, 20, 1, 3, 3)
    before, found = torch.get_num_threads(), []
    try:
        for threads, shares in ((1, 1), (2, 1), (2, 2), (3, 5)):
            torch.set_num_threads(threads)
            made = run(Layout(problem, cutting(problem, outputs=(4, 3), shares=shares)), x, w)
            found.append(made)
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(made, found[0]) for made in found)


@BOTH
@pytest.mark.parametrize("name", ["relu", "gelu"])
def test_activations(name: str, last: bool) -> None:
    problem = replace(PLAIN, last=last, bias=True, activation=name)
    x, w, bias = operands(problem)
    made = run(Layout(problem, cutting(problem)), x, w, bias)
    right = getattr(torch.nn.functional, name)(expected(problem, x, w, bias))
    assert right.unique().numel() > 9
    assert torch.equal(made, right.float()) or (made - right).abs().max() < 2e-6 * right.abs().max()


def test_an_empty_batch() -> None:
    problem = replace(PLAIN, batch=0)
    x, w = torch.zeros(0, 5, 1, 6, 9), torch.ones(6, 5, 1, 3, 3)
    assert run(Layout(problem, cutting(problem)), x, w).shape == (0, 6, 1, 6, 9)


def test_an_input_transform_is_made_once_for_all_output_planes() -> None:
    depth = PlainAxis(8, 8, 3, 1)
    problem = replace(PLAIN, depth=depth, inputs=32, outputs=32)
    flops = [
        count(winograd_routine(Layout(problem, cutting(problem, planes=planes)))).flops
        for planes in (8, 1)
    ]
    assert flops[0] < flops[1]


def test_a_quarter_of_the_multiplications() -> None:
    axis = PlainAxis(32, 32, 3, 1)
    problem = replace(PLAIN, high=axis, wide=axis, inputs=256, outputs=256)
    layout = Layout(problem, cutting(problem, outputs=(4, 4), wide=8, tiles=8, vectors=2, chunk=2))
    direct = 2 * 9 * 256 * 256 * 32 * 32
    assert direct / 4 < count(winograd_routine(layout)).flops < 1.05 * direct / 4
    assert sum(not buffer.scratch for buffer in winograd_routine(layout).buffers) == BUFFERS
