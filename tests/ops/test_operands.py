"""What tensors must have in common, and the texts when they have not."""

import numpy as np
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.operands import (
    _guards_hold,
    alike,
    checked,
    memory_layout,
    plain_memory,
    under_autocast,
    watched,
)


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


def test_alike_tells_operands_apart_and_what_is_around_them() -> None:
    x, w = torch.ones(1, 2, 4), torch.nn.Parameter(torch.ones(3, 2, 2))
    check = alike(x, w)
    if not _guards_hold():
        pytest.skip("this PyTorch has no such check")
    assert check(x, w) and check(torch.zeros(1, 2, 4), w)
    with torch.no_grad():
        assert check(x, w)
    for other in (
        x[..., :3], x.expand(5, 2, 4), x.mT.contiguous().mT, x.double(), x.to("meta"),
        x._neg_view(), x.clone().requires_grad_(), torch.nn.Parameter(x), x.to_sparse(), None, 2,
    ):  # fmt: skip
        assert not check(other, w)
    assert not check(x, w.detach())
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not check(x, w)
    with torch.inference_mode():
        assert not check(x, w)
    seen: list[bool] = []

    def note(y: torch.Tensor) -> torch.Tensor:
        seen.extend((check(x, w), check(y, w)))
        return y

    torch.func.vmap(note)(torch.ones(2, 1, 2, 4))
    assert seen == [False, False]


def test_watched() -> None:
    x = torch.ones(2)
    assert not watched() and plain_memory(x)
    with FlopCounterMode(display=False):
        assert watched() and not plain_memory(x)
    with FakeTensorMode(allow_non_fake_inputs=True):
        assert watched() and not plain_memory(x)
    assert not watched()
