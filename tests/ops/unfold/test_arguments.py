from typing import Any

import pytest

from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.unfold.arguments import fold_spec, unfold_spec


@pytest.mark.parametrize(
    ("shape", "kernel_size", "image"),
    [
        ((2, 5, 6, 7), 2, (2, 5, 6, 7)),
        ((5, 6, 7), 2, (1, 5, 6, 7)),
        ((2, 5, 6, 7), (2, 3), (2, 5, 6, 7)),
        ((5, 6, 7), [2, 3], (1, 5, 6, 7)),
        ((5, 6, 7), (2,), (5, 6, 7)),
        ((6, 7), (2,), (1, 6, 7)),
        ((2, 5, 6, 7), (2, 3, 1), (1, 2, 5, 6, 7)),
        ((2, 5, 6, 7, 8), (2, 3, 1), (2, 5, 6, 7, 8)),
        ((2, 5, 6, 7, 8), 2, (2, 5, 6, 7, 8)),
    ],
)
def test_a_tuple_sets_the_number_of_axes_and_an_integer_means_pytorchs(
    shape: tuple[int, ...], kernel_size: Any, image: tuple[int, ...]
) -> None:
    spec = unfold_spec(shape, kernel_size)
    assert spec.image_shape == image
    assert len(spec.kernel_size) == len(image) - 2


@pytest.mark.parametrize(
    ("output_size", "kernel_size", "shape", "image"),
    [
        (3, 2, (2, 20, 4), (2, 5, 3, 3)),
        ((3, 4), 2, (2, 20, 6), (2, 5, 3, 4)),
        (3, (2, 1), (10, 6), (1, 5, 3, 3)),
        ((5,), 2, (2, 6, 4), (2, 3, 5)),
        (5, (2,), (6, 4), (1, 3, 5)),
        ((2, 3, 4), 2, (8, 6), (1, 1, 2, 3, 4)),
    ],
)
def test_fold_is_2d_unless_a_tuple_says_otherwise(
    output_size: Any, kernel_size: Any, shape: tuple[int, ...], image: tuple[int, ...]
) -> None:
    assert fold_spec(shape, output_size, kernel_size).image_shape == image


@pytest.mark.parametrize(
    ("padding", "pairs"),
    [
        (1, ((1, 1), (1, 1))),
        ((1, 2), ((1, 1), (2, 2))),
        (((1, 2), (0, 0)), ((1, 2), (0, 0))),
        ("valid", ((0, 0), (0, 0))),
        ("same", ((0, 1), (1, 1))),
        ("same_lower", ((1, 0), (1, 1))),
    ],
)
def test_every_way_to_write_padding(padding: Any, pairs: Any) -> None:
    assert unfold_spec((1, 1, 5, 6), (2, 3), padding=padding).padding == pairs
    spec = unfold_spec((1, 1, 5, 6), (2, 3), padding=padding)
    assert fold_spec(spec.columns_shape, (5, 6), (2, 3), padding=padding).padding == pairs


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            ((5, 4), 3),
            ArgumentError,
            r"kernel_size=3 is 2-D for .* got 2: \(5, 4\); 1-D windows need kernel_size=\(3,\)",
        ),
        (((1,) * 6, 1), ArgumentError, "3-D for one of 5, got 6"),
        (
            ((2, 5, 3, 4), (2,)),
            ArgumentError,
            r"kernel_size=\(2,\) is 1-D, so input must have 3 dimensions \(N, C, L\) or 2 "
            r"\(C, L\), got 4: \(2, 5, 3, 4\)",
        ),
        (((5, 4), ()), ArgumentError, r"kernel_size must have 1, 2 or 3 entries, got 0: \(\)"),
        (((1, 2, 5, 4), 2.0), ArgumentTypeError, r"kernel_size must be an integer, got 2.0"),
        (((1, 2, 5, 4), 0), ArgumentError, "kernel_size must be at least 1, got 0"),
        (((1, 2, 5, 4), 2, 0), ArgumentError, "unfold: dilation must be at least 1, got 0"),
        (((1, 2, 5, 4), 2, 1, -1), ArgumentError, "unfold: padding must be at least 0, got -1"),
        (((1, 2, 5, 4), 2, 1, "full"), ArgumentError, "padding must be one of .* got 'full'"),
        (((1, 2, 5, 4), 2, 1, "causal"), ArgumentError, "'causal' needs a time axis"),
        (((1, 2, 5, 4), 2, 1, 0, (1, 2, 3)), ArgumentError, "stride must be one integer or 2"),
        (
            ((1, 2, 4, 4), 3, 2, (0, 1)),
            ArgumentError,
            r"kernel size \(3, 3\) with dilation \(2, 2\) spans \(5, 5\), larger than the "
            r"padded image \(4, 6\) \(image \(4, 4\)",
        ),
    ],
)
def test_unfold_says_what_is_wrong(
    arguments: tuple[Any, ...], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        unfold_spec(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((20,), 3, 2), r"input must have 3 dimensions \(N, C·∏K, L\) or 2 .* got 1: \(20,\)"),
        (((1, 1, 20, 4), 3, 2), r"got 4: \(1, 1, 20, 4\)"),
        (((2, 19, 4), 3, 2), r"19 values per column, not a multiple of the 4 that kernel size"),
        (
            ((2, 20, 6), (3, 5), 2),
            r"input \(2, 20, 6\) has 6 columns but output_size \(3, 5\) .* has 8 window "
            r"positions: 2 × 4",
        ),
        (((2, 20, 6), (3, 4), (2,)), r"must have one entry per spatial axis each, got 2 and 1"),
        (((2, 20, 6), (1, 1, 1, 1), 1), "output_size must have 1, 2 or 3 entries, got 4"),
        (
            ((2, 20, 6), 1, 2),
            r"fold: kernel size \(2, 2\) .* larger than the padded image \(1, 1\)",
        ),
    ],
)
def test_fold_says_what_is_wrong(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ArgumentError, match=message):
        fold_spec(*arguments)
