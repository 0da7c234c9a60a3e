"""What tensors must have in common, and the texts when they have not."""

import numpy as np
import pytest
import torch

from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.operands import checked, memory_layout, under_autocast


def test_names_dtype_and_device() -> None:
    assert checked("f", {"input": torch.ones(2, dtype=torch.bfloat16)}, {"bias": None}) == (
        "bfloat16",
        "cpu",
    )


@pytest.mark.parametrize("bad", [[1.0], 3, "x", np.ones(3), None])
def test_refuses_what_is_no_tensor(bad: object) -> None:
    name = type(bad).__name__
    with pytest.raises(ArgumentTypeError, match=f"conv2d: weight must be a tensor, got {name}"):
        checked("conv2d", {"input": torch.ones(1), "weight": bad})


def test_refuses_sparse() -> None:
    with pytest.raises(
        ArgumentTypeError, match=r"input must be a dense tensor, got torch.sparse_coo"
    ):
        checked("conv2d", {"input": torch.eye(3).to_sparse()})


def test_refuses_mixed_dtypes_and_devices() -> None:
    with pytest.raises(ArgumentError, match="input is float32 on cpu but weight is float64 on cpu"):
        checked("f", {"input": torch.ones(1), "weight": torch.ones(1, dtype=torch.float64)})
    with pytest.raises(ArgumentError, match="input is float32 on cpu but bias is float32 on meta"):
        checked("f", {"input": torch.ones(1), "bias": torch.ones(1, device="meta")})


def test_memory_layout() -> None:
    image = torch.ones(2, 3, 4, 5)
    assert memory_layout(image) == "contiguous"
    assert memory_layout(image.contiguous(memory_format=torch.channels_last)) == "channels_last"
    volume = torch.ones(2, 3, 4, 5, 6).contiguous(memory_format=torch.channels_last_3d)
    assert memory_layout(volume) == "channels_last"
    assert memory_layout(image[..., 1:]) == "strided"
    assert memory_layout(image[..., ::2]) == "strided"


def test_autocast_casts_floats_and_leaves_doubles() -> None:
    single, double = torch.ones(1), torch.ones(1, dtype=torch.float64)
    assert under_autocast(single, None)[0] is single
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast, kept, none = under_autocast(single, double, None)
    assert cast is not None and cast.dtype == torch.bfloat16
    assert kept is double and none is None
    assert under_autocast(torch.ones(1, device="meta"))[0] is not None
