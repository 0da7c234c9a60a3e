import pytest
import torch

from faltung.ops.unfold.algorithms.native_torch import ALGORITHM
from faltung.ops.unfold.spec import UnfoldSpec


@pytest.mark.parametrize(
    ("text", "reasons"),
    [
        ("unfold n1 c1 i4x4 k3x3 p1 float32 cpu", []),
        ("fold n0 c1 i4x5 k3x2 s2x1 p1x2 d1x2 complex64 cpu", []),
        ("unfold n1 c1 i4 k3 float32 cpu", ["is for 2-D images only, not 1-D"]),
        ("fold n1 c1 i4x4x4 k3x3x3 float32 cpu", ["is for 2-D images only, not 3-D"]),
        (
            "unfold n1 c1 i4x4 k3x3 p1 reflect float32 cpu",
            ["pads with zeros only, not reflect"],
        ),
        (
            "unfold n1 c1 i4x4 k3x3 p0+1x0 float32 cpu",
            ["pads both ends of an axis alike, not ((0, 1), (0, 0))"],
        ),
        (
            "unfold n1 c1 i4x4 k3x3 int8 cpu",
            ["is for float16, bfloat16, float32, float64, complex64, complex128, not int8"],
        ),
        (
            "unfold n1 c0 i4x4 k3x3 float32 cpu",
            ["needs channels and image sizes of at least 1, not (1, 0, 4, 4)"],
        ),
    ],
)
def test_says_what_pytorch_refuses(text: str, reasons: list[str]) -> None:
    assert ALGORITHM.unsupported(UnfoldSpec.parse(text)) == reasons


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "int32", "int64"])
def test_integers_are_refused_by_pytorch_too(dtype: str) -> None:
    image = torch.ones(1, 1, 2, 2).to(getattr(torch, dtype))
    with pytest.raises(RuntimeError, match="not implemented for"):
        torch.nn.functional.unfold(image, 1)
