"""Cuts are possible, bearable, and none that was looked at is better."""

from dataclasses import replace

import pytest

from faltung.lang.count import count
from faltung.lang.target import host_target
from faltung.parts.phases.classes import PhaseAxis
from faltung.parts.phases.placing import PlacedAxis, Placing, placed
from faltung.parts.winograd.cutting import Core, busy, cut, cycles, shared
from faltung.parts.winograd.problem import Layout, Problem
from faltung.parts.winograd.routine import winograd_routine
from faltung.parts.winograd.tiles import PlainAxis

CORE = Core(near=2 << 20)
ONE = PlainAxis()


def image(size: int, channels: int, taps: int = 3, dilation: int = 1, **changes: object) -> Problem:
    axis = PlainAxis(size, size, taps, dilation * (taps // 2), dilation)
    plain = Problem(1, 1, channels, channels, ONE, axis, axis, "float32", last=False)
    return replace(plain, **changes)  # type: ignore[arg-type]


def upscaled() -> Problem:
    """T4×4 of stride 2 from 256 channels to 128, channels last."""
    plain, places = placed(PhaseAxis(32, 4, stride=2, low=1, dilation=1, sources=16))
    outlet = Placing((PlacedAxis(), places, places), 1, 128, host_target().lanes(4), True, False)
    return Problem(
        1, 1, 256, outlet.outputs, ONE, plain, plain, "float32", last=True, outlet=outlet
    )


PROBLEMS = [
    image(224, 64), image(56, 64), image(56, 64, last=True), image(14, 256), image(7, 512),
    image(28, 256, dilation=2), image(33, 64, dilation=12), image(30, 40, taps=5),
    image(32, 32, depth=PlainAxis(32, 32, 3, 1)), image(56, 64, dtype="float64"),
    image(1, 64, wide=PlainAxis(16000, 16000, 3, 8, 8), high=ONE), image(20, 100, groups=7),
    image(1, 64, wide=PlainAxis(2048, 2048, 11, 25, 5), high=ONE),
    image(1, 256, wide=PlainAxis(128, 128, 7, 3), high=ONE),
    image(1, 512, wide=PlainAxis(1599, 799, 3, stride=2), high=ONE),
    image(9, 3), image(2, 16), image(17, 24, batch=0), image(6, 1000),
]  # fmt: skip


@pytest.mark.parametrize("problem", PROBLEMS, ids=range(len(PROBLEMS)))
def test_cuts_fit(problem: Problem) -> None:
    layout = cut(problem, 3.0, CORE)
    assert layout is not None
    cutting = layout.cutting
    assert cutting.tiles <= layout.tiles
    assert cutting.chunk % cutting.vectors == 0
    assert layout.output_vectors <= layout.padded_vectors < layout.output_vectors + cutting.chunk
    registers = 32 if host_target().vector_bits == 512 else 16
    assert cutting.tiles * cutting.vectors + cutting.vectors + 1 <= registers
    noise = [block.axis.noise for block in (layout.high, layout.wide)]
    assert noise[0] * noise[1] <= 3
    for block in (layout.high, layout.wide):
        assert block.axis.transform.outputs <= min(
            block.axis.plain.inputs, block.axis.plain.outputs
        )
    assert cycles(layout, CORE) > 0 or not problem.batch


@pytest.mark.parametrize("problem", PROBLEMS[:6], ids=range(6))
def test_no_other_block_nearby_is_estimated_to_be_better(problem: Problem) -> None:
    layout = cut(problem, 3.0, CORE)
    assert layout is not None
    least = cycles(layout, CORE)
    for chunk in (1, 2, 4, 8):
        vectors = layout.cutting.vectors
        other = Layout(problem, replace(layout.cutting, chunk=vectors * chunk))
        assert cycles(other, CORE) >= least * 0.97


def test_estimates_count_what_is_recorded() -> None:
    # two multiply-adds on vectors a cycle, which the routine cannot do without
    for problem in (image(56, 64), image(28, 256, dilation=2), image(56, 64, dtype="float64")):
        layout = cut(problem, 3.0, CORE)
        assert layout is not None
        flops = count(winograd_routine(layout)).flops
        least = flops / (4 * host_target().lanes(problem.item_size))
        assert least < cycles(layout, CORE) < 3 * least


def test_less_noise_means_smaller_tiles() -> None:
    sizes = []
    for most in (3.0, 1.8, 1.0):
        layout = cut(image(56, 64), most, CORE)
        assert layout is not None
        sizes.append(layout.cutting.outputs)
    assert sizes[0] == (4, 4)
    assert max(sizes[1]) * min(sizes[1]) < 16
    assert sizes[2] == (2, 2)


@pytest.mark.parametrize(
    "problem",
    [
        image(9, 1),
        image(40, 64, taps=13),
        image(1, 64),
        image(9, 64, taps=1),
        image(40, 64, taps=7),
    ],
)
def test_what_has_no_tiles(problem: Problem) -> None:
    assert cut(problem, 3.0, CORE) is None


def test_a_small_map_is_shared_out_by_its_channels() -> None:
    layout = cut(image(14, 256), 3.0, CORE)
    assert layout is not None
    assert layout.items == 1
    assert shared(layout, CORE, 1) == layout
    two = shared(layout, CORE, 2)
    assert two.items > 1
    assert two.items % 2 == 0
    assert busy(two, 2) == 2
    assert replace(two.cutting, shares=1) == layout.cutting


def test_a_cut_for_two_threads_has_the_tiles_of_one() -> None:
    # roundings must not depend on how many threads there are
    for problem in PROBLEMS:
        one, two = (cut(problem, 3.0, CORE, threads) for threads in (1, 2))
        assert one is not None
        assert two is not None
        assert two.cutting.outputs == one.cutting.outputs


def test_a_cut_for_two_threads_leaves_neither_idle() -> None:
    # one chunk of all channels would be a single item, and seven rows of tiles four and three
    for problem in (upscaled(), image(56, 64), image(14, 256, last=True)):
        layout = cut(problem, 3.0, CORE, 2)
        assert layout is not None
        assert busy(shared(layout, CORE, 2), 2) > 1.9


def test_two_threads_read_half_of_the_weight_each() -> None:
    found = [cut(upscaled(), 3.0, CORE, threads) for threads in (1, 2)]
    one, two = (shared(layout, CORE, 2) for layout in found if layout is not None)
    assert two.cutting.shares == 2
    assert cycles(two, CORE) / busy(two, 2) <= cycles(one, CORE) / busy(one, 2)


def test_a_block_that_leaves_the_second_cache_costs_what_it_copies() -> None:
    # 98 tiles of 64 channels, their sums and strips are 1.6 MB: seven smaller blocks are faster
    layout = cut(image(56, 64), 3.0, CORE, 2)
    assert layout is not None
    large = Layout(layout.problem, replace(layout.cutting, high=7, wide=14))
    roomy = replace(CORE, near=64 << 20)
    own = sum(large.scratch) * layout.problem.item_size
    assert own > CORE.near / 2 > sum(layout.scratch) * layout.problem.item_size
    blocks = layout.problem.batch * large.high.count * large.wide.count
    assert cycles(large, CORE) - cycles(large, roomy) > own * blocks / CORE.bytes_per_cycle


def test_other_blocks_leave_the_transformed_weight_as_it_is() -> None:
    for problem in PROBLEMS:
        layout = cut(problem, 3.0, CORE, 2)
        assert layout is not None
        for threads in (1, 2, 3, 8):
            other = shared(layout, CORE, threads)
            assert other.weights == layout.weights
            for name in ("lanes", "outputs", "vectors", "chunk"):
                assert getattr(other.cutting, name) == getattr(layout.cutting, name)
            assert other.cutting.tiles <= other.tiles


def test_a_thread_with_more_chunks_is_waited_for() -> None:
    layout = cut(image(14, 10 * host_target().lanes(4)), 3.0, CORE)
    assert layout is not None
    five = replace(layout.cutting, vectors=2, chunk=2, shares=2)
    uneven = Layout(layout.problem, five)
    assert uneven.chunks == 5  # three for every other item, two for the rest
    assert busy(uneven, uneven.items) == pytest.approx(uneven.items * 5 / 6)


def test_a_large_map_is_not() -> None:
    layout = cut(image(224, 64), 3.0, CORE)
    assert layout is not None
    assert shared(layout, CORE, 2).cutting.shares == 1


def test_a_batch_is_work_for_many() -> None:
    layout = cut(image(14, 256, batch=8), 3.0, CORE)
    assert layout is not None
    assert layout.items % 8 == 0
    assert busy(layout, 8) == 8
    empty = cut(image(14, 256, batch=0), 3.0, CORE)
    assert empty is not None
    assert busy(empty, 2) == 1


def test_only_rows_have_filters_in_parts() -> None:
    long = PlainAxis(64, 64, 11, 5)
    signal = cut(image(1, 64, wide=long, high=ONE), 3.0, CORE)
    assert signal is not None and signal.wide.axis.parts == 3 and signal.cutting.high == 1
    rows = cut(image(30, 64, wide=long, high=PlainAxis(30, 30)), 3.0, CORE)
    assert rows is not None and rows.wide.axis.parts == 3 and rows.cutting.high == 1
    assert cut(image(30, 64, taps=11), 3.0, CORE) is None
    far = PlainAxis(9000, 9000, 11, 1000, 200)
    assert cut(image(1, 64, wide=far, high=ONE), 3.0, CORE) is None


def test_fewer_products_with_a_stride_and_for_long_filters() -> None:
    for wide, share in (
        (PlainAxis(512, 256, 3, 1, stride=2), 9 / 12),
        (PlainAxis(512, 512, 11, 5), 21 / 44),
        (PlainAxis(512, 512, 7, 3), 14 / 28),
    ):
        layout = cut(image(1, 64, wide=wide, high=ONE), 3.0, CORE)
        assert layout is not None
        flops = count(winograd_routine(layout)).flops
        direct = 2 * 64 * 64 * wide.outputs * wide.taps
        assert share < flops / direct < share + 0.1


def test_a_weight_is_cold_only_once() -> None:
    problem = image(1, 512, wide=PlainAxis(3199, 1599, 3, stride=2), high=ONE)
    layout = cut(problem, 3.0, CORE)
    assert layout is not None and layout.items > 2
    warm, cold = (cycles(layout, replace(CORE, warmth=w)) for w in (1.0, 0.1))
    read = layout.weights * 4 / CORE.bytes_per_cycle
    assert warm < cold < warm + 10 * read
