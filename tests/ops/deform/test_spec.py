import pytest

from faltung.errors import ArgumentError
from faltung.ops.deform.spec import DeformSpec

SPELLINGS = [
    "forward n1 c1 o1 i3x4 k2x3 float32 cpu",
    "forward n0 c8 o6 i7x9 k3x3 s2 p1 d2 g2 f4 mask bias float64 cpu",
    "forward n2 c4 o4 i7x9 k3x1 s2x1 p1+2x0 d1x2 relu bfloat16 cuda:0",
]


@pytest.mark.parametrize("text", SPELLINGS)
def test_spelling_is_its_own_inverse(text: str) -> None:
    assert str(DeformSpec.parse(text)) == text


def test_shapes_and_counts() -> None:
    spec = DeformSpec.parse("forward n2 c8 o6 i7x9 k3x2 s2x1 p1x0 g2 f4 mask bias float64 cpu")
    assert spec.output_size == (4, 8)
    assert spec.x_shape == (2, 8, 7, 9)
    assert spec.w_shape == (6, 4, 3, 2)
    assert spec.offset_shape == (2, 2 * 4 * 6, 4, 8)
    assert spec.mask_shape == (2, 4 * 6, 4, 8)
    assert spec.result_shape == spec.y_shape == (2, 6, 4, 8)
    assert spec.samples == 2 * 8 * 6 * 32
    assert spec.columns_bytes == spec.samples * 8
    assert spec.macs == 2 * 6 * 4 * 6 * 32
    numbers = 2 * 8 * 63 + 6 * 4 * 6 + 2 * 48 * 32 + 2 * 24 * 32 + 6 + 2 * 6 * 32
    assert spec.bytes == numbers * 8


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"task": "backward"}, "task must be one of 'forward', got 'backward'"),
        ({"activation": "swish"}, "activation must be one of None, 'relu', .* got 'swish'"),
        ({"dtype": "int32"}, "dtype must be one of 'float16', .* got 'int32'"),
        ({"kernel_size": (3,)}, r"kernel size \(3,\), .* must all have 2 entries"),
        ({"input_size": (0, 4)}, r"input size \(0, 4\), .* must be at least 1"),
        ({"padding": ((0, -1), (0, 0))}, r"padding \(\(0, -1\), \(0, 0\)\) at least 0"),
        ({"groups": 4}, "groups=4 must divide both the 8 input channels and the 6 output"),
        ({"offset_groups": 3}, "3 offset groups do not divide the 8 input channels"),
        ({"kernel_size": (8, 3)}, r"spans \(8, 3\), larger than the padded input \(7, 9\)"),
    ],
)
def test_refuses_impossible_problems(changes: dict[str, object], message: str) -> None:
    fields = {"task": "forward", "batch": 2, "in_channels": 8, "out_channels": 6}
    sizes = {"input_size": (7, 9), "kernel_size": (3, 3)}
    with pytest.raises(ArgumentError, match=message):
        DeformSpec(**{**fields, **sizes, **changes})  # type: ignore[arg-type]
