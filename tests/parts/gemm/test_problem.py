"""What the windows of an axis see, and the numbers of a problem."""

from dataclasses import replace

import pytest

from faltung.parts.gemm.problem import GemmProblem, Span

SPANS = [
    Span(),
    Span(outputs=7, inputs=7, kernel_size=3, low=1),
    Span(outputs=5, inputs=9, kernel_size=2, stride=2),
    Span(outputs=33, inputs=33, kernel_size=3, low=12, dilation=12),
    Span(outputs=4, inputs=3, kernel_size=5, stride=3, low=4, dilation=2),
    Span(outputs=9, inputs=2, kernel_size=1, low=3),
    Span(outputs=6, inputs=40, kernel_size=4, stride=7, low=0, dilation=3),
]
PROBLEM = GemmProblem(
    batch=2, groups=3, inputs=5, outputs=10, depth=Span(), rows=SPANS[1], columns=SPANS[2],
    channels_last=False, dtype="bfloat16", bias=True, activation=None, lanes=16, registers=32,
    cache=1 << 21, cores=2,
)  # fmt: skip


def seeing(span: Span, output: int) -> set[int]:
    return {t for t in range(span.kernel_size) if 0 <= span.place(output, t) < span.inputs}


@pytest.mark.parametrize("span", SPANS, ids=str)
def test_taps_are_those_between_the_first_and_the_last_that_see_something(span: Span) -> None:
    for first in range(span.outputs):
        assert span.is_inside(first, 1) == (len(seeing(span, first)) == span.kernel_size)
        for size in range(1, span.outputs - first + 1):
            seen = set().union(*(seeing(span, first + n) for n in range(size)))
            assert span.taps(first, size) == (max(seen) - min(seen) + 1 if seen else 0) or (
                # outputs of a tile may lie wholly before and behind a short input
                not all(seeing(span, first + n) for n in range(size))
            )
            assert span.taps(first, size) >= len(seen)
    assert span.is_padded == any(
        len(seeing(span, output)) < span.kernel_size for output in range(span.outputs)
    )


@pytest.mark.parametrize("span", SPANS, ids=str)
@pytest.mark.parametrize("size", [1, 2, 3, 5, 50])
def test_seen_is_the_part_of_taps_that_tiles_go_through(span: Span, size: int) -> None:
    total = 0
    for first in range(0, span.outputs, size):
        outputs = min(size, span.outputs - first)
        total += outputs * span.taps(first, outputs)
    assert span.seen(size) == pytest.approx(total / (span.outputs * span.kernel_size))


def test_what_is_copied() -> None:
    span = SPANS[3]
    assert span.reach(1) == 25 and span.copied(1) == 3  # each tap's row by itself
    assert span.copied(33) == span.reach(33) == 57


def test_numbers_of_a_problem() -> None:
    assert (PROBLEM.kind, PROBLEM.wide, PROBLEM.item_size, PROBLEM.line) == (
        "f32",
        "float32",
        4,
        16,
    )
    assert (PROBLEM.planes, PROBLEM.taps, PROBLEM.terms) == (6, 6, 30)
    assert PROBLEM.channel_lanes == 16
    assert [replace(PROBLEM, outputs=n).channel_lanes for n in (1, 4, 5, 8, 9)] == [4, 4, 8, 8, 16]
    assert PROBLEM.pitch == 2 * 4
    assert replace(PROBLEM, channels_last=True, dtype="float64").pitch == 15 * 2 * 8
