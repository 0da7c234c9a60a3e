from typing import Any

import pytest

from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.deform.arguments import deform_spec

SHAPES = {
    "input_shape": (2, 4, 5, 6),
    "offset_shape": (2, 36, 5, 6),
    "weight_shape": (6, 2, 3, 3),
    "bias_shape": (6,),
    "mask_shape": (2, 18, 5, 6),
    "padding": 1,
}


def test_groups_follow_from_the_shapes() -> None:
    spec = deform_spec(**SHAPES)  # type: ignore[arg-type]
    assert str(spec) == "forward n2 c4 o6 i5x6 k3x3 p1 g2 f2 mask bias float32 cpu"


def test_unbatched_operands_are_a_batch_of_one() -> None:
    spec = deform_spec((4, 5, 6), (18, 3, 4), (6, 4, 3, 3), mask_shape=(9, 3, 4))
    assert str(spec) == "forward n1 c4 o6 i5x6 k3x3 mask float32 cpu"


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (1, ((1, 1), (1, 1))),
        ((1, (0, 2)), ((1, 1), (0, 2))),
        ("same", ((1, 1), (1, 1))),
        ("same_lower", ((1, 1), (1, 1))),
    ],
)
def test_every_way_to_write_padding(padding: Any, pairs: Any) -> None:
    spec = deform_spec(**{**SHAPES, "padding": padding})  # type: ignore[arg-type]
    assert spec.padding == pairs
    assert spec.output_size == (5, 6)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        (
            {"input_shape": (4, 5)},
            ArgumentError,
            r"input must have 4 dimensions \(N, C, H, W\) or 3 \(C, H, W\), got 2: \(4, 5\)",
        ),
        ({"input_shape": (2, 4, 0, 6)}, ArgumentError, r"input \(2, 4, 0, 6\) must be at least 1"),
        ({"weight_shape": (6, 2, 3)}, ArgumentError, r"weight must have 4 dimensions .* got 3"),
        ({"weight_shape": (0, 2, 3, 3)}, ArgumentError, r"every size of weight \(0, 2, 3, 3\)"),
        (
            {"weight_shape": (6, 3, 3, 3)},
            ArgumentError,
            r"input \(2, 4, 5, 6\) has 4 channels, not a multiple of the 3 that each filter",
        ),
        (
            {"weight_shape": (6, 1, 3, 3)},
            ArgumentError,
            "make groups=4, which does not divide the 6 output channels",
        ),
        ({"bias_shape": (4,)}, ArgumentError, r"bias must have shape \(6,\), .* got \(4,\)"),
        (
            {"offset_shape": (2, 20, 5, 6)},
            ArgumentError,
            r"20 channels, not a multiple of the 18 that kernel size \(3, 3\) needs: \(dy, dx\) "
            "for each of its 9 taps",
        ),
        ({"offset_shape": (2, 0, 5, 6)}, ArgumentError, "has 0 channels"),
        (
            {"offset_shape": (36,)},
            ArgumentError,
            r"offset must have 4 dimensions .* got 1: \(36,\)",
        ),
        ({"offset_shape": (2, 54, 5, 6)}, ArgumentError, "3 offset groups do not divide the 4"),
        (
            {"offset_shape": (2, 36, 3, 4)},
            ArgumentError,
            r"offset must have shape \(2, 36, 5, 6\) for 2 images, 2 offset groups, kernel size "
            r"\(3, 3\) and output size \(5, 6\), got \(2, 36, 3, 4\)",
        ),
        ({"offset_shape": (36, 5, 6)}, ArgumentError, r"offset must have shape \(2, 36, 5, 6\)"),
        ({"offset_shape": (1, 36, 5, 6)}, ArgumentError, r"got \(1, 36, 5, 6\)"),
        (
            {"mask_shape": (2, 9, 5, 6)},
            ArgumentError,
            r"mask must have shape \(2, 18, 5, 6\) .* got \(2, 9, 5, 6\)",
        ),
        ({"dtype": "int64"}, ArgumentError, "input must be one of float16, .* got int64"),
        ({"stride": 0}, ArgumentError, "stride must be at least 1, got 0"),
        ({"dilation": 1.5}, ArgumentTypeError, r"dilation must be an integer, got 1.5 \(float\)"),
        ({"padding": "causal"}, ArgumentError, "'causal' needs a time axis"),
    ],
)
def test_says_what_is_wrong(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        deform_spec(**{**SHAPES, **changes})  # type: ignore[arg-type]
