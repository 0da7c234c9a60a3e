"""Gradients of weights with channels as lanes, each access checked."""

import pytest

import weight_interpreted
from faltung.parts.gemm.problem import Span
from faltung.parts.weights.channels import AddedSums, ChannelSums
from faltung.parts.weights.channels_layout import ChannelsLayout, ChannelsProblem, ChannelsTile

PLAIN = Span(5, 6, 3, 1, 1)


@pytest.mark.parametrize(
    ("channels", "spans", "tile"),
    [
        ((1, 6, 1, 1), (Span(), PLAIN, Span(9, 9, 3, 1, 1)), ChannelsTile(1, 2, 3, 2)),
        ((2, 3, 2, 3), (Span(), PLAIN, Span(5, 10, 4, 2, 1)), ChannelsTile(2, 1, 2, 1)),
        ((1, 2, 3, 1), (Span(2, 3, 2), Span(3, 7, 2, 2), PLAIN), ChannelsTile(1, 2, 1, 4)),
        (
            (3, 5, 1, 6),
            (Span(), Span(6, 4, 2, 1, 3, 2), Span(3, 9, 2, 3)),
            ChannelsTile(4, 1, 2, 1),
        ),
    ],
)
def test_sums_of_whole_numbers(
    channels: tuple[int, int, int, int], spans: tuple[Span, Span, Span], tile: ChannelsTile
) -> None:
    problem = ChannelsProblem(*channels, *spans, "float32", lanes=4, registers=16)
    layout = ChannelsLayout(problem, tile)
    made, expected = weight_interpreted.run(
        ChannelSums("channels", layout).r, channels, spans, last=True,
        then=[AddedSums("channels", layout).r],
    )  # fmt: skip
    assert (made == expected.reshape(-1)).all()
