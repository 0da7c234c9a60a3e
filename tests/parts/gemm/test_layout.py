"""What is read from the image itself, and what is copied first."""

from dataclasses import replace

import pytest

from faltung.parts.gemm.layout import GemmLayout
from faltung.parts.gemm.problem import GemmProblem, Span

SMALL = Span(outputs=14, inputs=14, kernel_size=3, low=1)
WIDE = Span(outputs=56, inputs=56, kernel_size=3, low=1)
PROBLEM = GemmProblem(
    batch=1, groups=1, inputs=64, outputs=64, depth=Span(), rows=WIDE, columns=WIDE,
    channels_last=True, dtype="float32", bias=False, activation=None, lanes=16, registers=32,
    cache=2 << 20, cores=1,
)  # fmt: skip
FLAT = Span(outputs=3136, inputs=3136)


@pytest.mark.parametrize(
    ("changes", "copies"),
    [
        ({}, False),  # padding is left out, not read
        ({"dtype": "bfloat16"}, True),  # widened once
        ({"channels_last": False}, True),  # channels are far apart
        ({"channels_last": False, "rows": SMALL, "columns": SMALL}, False),  # and here they are not
        ({"channels_last": False, "rows": Span(), "columns": FLAT}, False),
    ],
)
def test_a_panel_where_it_is_worth_it(changes: dict[str, object], copies: bool) -> None:
    layout = GemmLayout(replace(PROBLEM, **changes))  # type: ignore[arg-type]
    assert layout.has_panel is copies
    assert (layout.panel_numbers > 0) is copies
    assert layout.panel_numbers % layout.problem.line == 0


def test_far_pixels_of_a_pointwise_convolution_are_fetched_a_small_block_ahead() -> None:
    problem = replace(PROBLEM, channels_last=False, rows=Span(), columns=FLAT, inputs=256)
    layout = GemmLayout(problem)
    assert layout.fetches_rows and not layout.has_panel
    assert layout.block.columns * 256 * 4 <= problem.cache / 10
    near = GemmLayout(replace(problem, inputs=32))
    assert not near.fetches_rows and near.block.columns == 3136
    assert not GemmLayout(replace(problem, channels_last=True)).fetches_rows


def test_many_planes_that_share_a_set_of_the_near_cache_are_copied() -> None:
    flat = Span(outputs=4096, inputs=4096)
    problem = replace(PROBLEM, channels_last=False, rows=Span(), columns=flat, inputs=320)
    assert GemmLayout(problem).has_panel
    assert not GemmLayout(replace(problem, inputs=64)).has_panel
    assert not GemmLayout(replace(problem, columns=Span(4080, 4080))).has_panel


def test_so_many_taps_that_borders_would_be_too_much_code_are_padded() -> None:
    span = Span(outputs=28, inputs=28, kernel_size=27, low=13)
    layout = GemmLayout(replace(PROBLEM, rows=span, columns=span))
    assert layout.pads_columns and layout.has_panel
    assert all(tiles.places is None for tiles in layout.columns)


def test_pixels_that_share_few_sets_of_the_near_cache_are_moved_apart() -> None:
    problem = replace(PROBLEM, inputs=1024, dtype="float16")
    layout = GemmLayout(problem)
    assert layout.steps.pixel == 1024 + 16
    assert GemmLayout(replace(problem, inputs=1000)).steps.pixel == 1000


def test_channels_of_a_panel_lie_an_odd_number_of_lines_apart() -> None:
    layout = GemmLayout(replace(PROBLEM, channels_last=False, inputs=8))
    assert layout.steps.channel // 16 % 2 == 1 and layout.steps.channel % 16 == 0


@pytest.mark.parametrize(
    ("changes", "turned"),
    [
        ({}, True),
        ({"dtype": "float16"}, True),
        ({"inputs": 8}, False),  # not one vector of channels
        ({"rows": SMALL, "columns": SMALL}, False),  # several planes are on a page of memory
        ({"rows": Span(), "columns": FLAT}, False),  # nothing is read twice
        ({"rows": Span(), "columns": replace(FLAT, outputs=1568, stride=2)}, True),
        ({"channels_last": True}, False),  # they are together as it is
    ],
)
def test_channels_are_brought_together_where_they_are_on_many_pages(
    changes: dict[str, object], turned: bool
) -> None:
    contiguous = replace(PROBLEM, channels_last=False)
    layout = GemmLayout(replace(contiguous, **changes))  # type: ignore[arg-type]
    assert layout.turns_panel is turned
    if turned:
        assert layout.has_panel and layout.order == "dhwc"
        assert (layout.steps.channel, layout.steps.pixel) == (1, 64)


def test_what_threads_write_is_whole_lines() -> None:
    layout = GemmLayout(replace(PROBLEM, channels_last=False))
    tile, steps = layout.tile, layout.steps
    assert 0 <= layout.waiting_numbers - tile.channels * tile.rows * tile.columns < 16
    assert 0 <= layout.panel_numbers - steps.plane < 16


def test_rows_in_between_are_not_copied() -> None:
    far = Span(outputs=33, inputs=33, kernel_size=3, low=12, dilation=12)
    layout = GemmLayout(replace(PROBLEM, rows=far, columns=far, channels_last=False, inputs=512))
    assert layout.by_tap == (layout.block.rows * 3 < far.reach(layout.block.rows))
    assert layout.steps.plane == layout.steps.row * far.copied(layout.block.rows)


def test_everything_is_counted() -> None:
    problem = replace(PROBLEM, outputs=70, groups=3, batch=2)
    layout = GemmLayout(problem)
    assert layout.packed_numbers == 3 * 80 * 576  # five vectors of 16
    blocks = layout.row_blocks * layout.column_blocks
    assert layout.items == 2 * 3 * blocks * layout.parts
    assert layout.full * layout.tile.channels + layout.rest == layout.channels == 80
    assert GemmLayout(replace(problem, batch=0)).items == 0


def test_weights_are_fetched_early_where_the_second_cache_does_not_hold_them() -> None:
    assert not GemmLayout(PROBLEM).fetches_weights
    assert GemmLayout(replace(PROBLEM, inputs=512, outputs=512)).fetches_weights
    flat = replace(PROBLEM, rows=Span(), columns=FLAT)
    assert GemmLayout(flat).fetches_pixels
    assert not GemmLayout(replace(flat, groups=2)).fetches_pixels
