import pytest

from faltung.errors import ArgumentError
from faltung.ops.unfold.spec import UnfoldSpec

SPELLINGS = [
    "unfold n2 c5 i3x4 k2x3 float32 cpu",
    "fold n2 c5 i3x4 k2x3 float32 cpu",
    "unfold n0 c1 i7 k3 s2 p1 d2 bool cpu",
    "fold n1 c2 i4x5x6 k1x2x3 s1x2x1 p0x1x2+0 d1x1x2 circular complex64 cuda:0",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_spelling_is_its_own_inverse(text: str) -> None:
    assert str(UnfoldSpec.parse(text)) == text


def test_the_shapes_of_the_textbook() -> None:
    spec = UnfoldSpec.parse("unfold n2 c5 i3x4 k2x3 float32 cpu")
    assert spec.image_shape == spec.operand_shape == (2, 5, 3, 4)
    assert spec.columns_shape == spec.result_shape == (2, 30, 4)
    assert spec.windows_shape == (2, 5, 2, 3, 2, 2)
    assert spec.bytes == (2 * 5 * 3 * 4 + 2 * 30 * 4) * 4


def test_the_adjoint_swaps_operand_and_result() -> None:
    spec = UnfoldSpec.parse("unfold n2 c3 i7 k3 s2 p1+0 reflect float64 cpu")
    assert str(spec.adjoint) == "fold n2 c3 i7 k3 s2 p1+0 reflect float64 cpu"
    assert spec.adjoint.operand_shape == spec.result_shape == (2, 9, 3)
    assert spec.adjoint.result_shape == spec.operand_shape == (2, 3, 7)
    assert spec.adjoint.adjoint == spec


def test_padded_size_is_what_windows_touch() -> None:
    spec = UnfoldSpec.parse("unfold n2 c3 i8 k3 s2 p1+0 float32 cpu")
    assert spec.output_size == (4,)
    assert spec.padded_size == (9,)
    assert spec.padded_bytes == 2 * 3 * 9 * 4


@pytest.mark.parametrize(
    ("mode", "source"),
    [("zeros", None), ("reflect", (1,)), ("replicate", (0,)), ("circular", (3,))],
)
def test_source_asks_the_padding_mode(mode: str, source: tuple[int, ...] | None) -> None:
    spec = UnfoldSpec("unfold", 1, 1, (4,), (3,), padding=((1, 1),), padding_mode=mode)
    assert spec.source((0,), (0,)) == source
    assert spec.source((1,), (2,)) == (2,)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "refold"}, "task must be one of 'unfold', 'fold', got 'refold'"),
        ({"padding_mode": "mirror"}, "unfold: padding_mode must be one of .* got 'mirror'"),
        ({"dtype": "float8"}, "dtype must be one of .* got 'float8'"),
        ({"kernel_size": (2,)}, r"kernel size \(2,\), .* the same number each"),
        ({"input_size": (1,) * 4}, "must all have 1, 2 or 3 entries"),
        ({"stride": (0, 1)}, r"stride \(0, 1\) and dilation \(1, 1\) must be at least 1"),
        ({"batch": -1}, "batch -1"),
        ({"padding": ((-1, 0), (0, 0))}, r"padding \(\(-1, 0\), \(0, 0\)\) at least 0"),
        ({"kernel_size": (4, 2)}, r"kernel size \(4, 2\) .* spans \(4, 2\), .* image \(3, 4\)"),
        (
            {"padding": ((3, 3), (0, 0)), "padding_mode": "reflect"},
            r"reflect padding \(3, 3\) must be smaller than the input size 3",
        ),
    ],
)
def test_refuses_impossible_problems(changes: dict[str, object], message: str) -> None:
    fields = {"task": "unfold", "batch": 2, "channels": 5, "input_size": (3, 4)}
    with pytest.raises(ArgumentError, match=message):
        UnfoldSpec(**{**fields, "kernel_size": (2, 3), **changes})  # type: ignore[arg-type]
