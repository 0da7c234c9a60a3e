"""Transformed weights: the same numbers however the weight lies, and for each task its own."""

import pytest
import torch

from faltung.ops.conv.algorithms.winograd_cpu import _layout
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.conv.transformed_filters import TransformedFilters

TEXTS = [
    "n1 c20 o24 i12x12 k3x3 p1 float32",
    "n1 c72 o64 i12x12 k3x3 p1 g4 float64",
    "n1 c24 o40 i9x10x11 k3x3x3 p1 bfloat16",
    "n1 c16 o16 i12x12 k4x4 s2 p1 float32",
]


@pytest.mark.parametrize("task", ["forward", "grad_input"])
@pytest.mark.parametrize("text", TEXTS)
def test_the_same_numbers_however_the_weight_lies(task: str, text: str) -> None:
    spec = ConvSpec.parse(f"{task} {text} cpu")
    made = TransformedFilters(spec, _layout(spec))
    w = torch.randn(spec.w_shape).to(getattr(torch, spec.dtype))
    first = made(w)
    last = torch.channels_last if spec.dims == 2 else torch.channels_last_3d
    assert torch.equal(made(w.contiguous(memory_format=last)), first)
    strided = torch.stack([w, torch.full_like(w, torch.nan)], -1)[..., 0]
    assert not strided.is_contiguous()
    assert torch.equal(made(strided), first)
    assert torch.isfinite(first).all()


def test_the_gradient_of_the_input_has_the_filters_turned_round() -> None:
    text = "n1 c20 o24 i12x12 k3x3 p1 float32 cpu"
    back = ConvSpec.parse(f"grad_input {text}")
    there = ConvSpec.parse("forward n1 c24 o20 i12x12 k3x3 p1 float32 cpu")
    w = torch.randn(back.w_shape)
    turned = w.transpose(0, 1).flip(2, 3).contiguous()
    made = TransformedFilters(back, _layout(back))(w)
    assert torch.equal(made, TransformedFilters(there, _layout(there))(turned))


def test_same_bits_for_any_number_of_threads() -> None:
    spec = ConvSpec.parse("forward n1 c40 o50 i12x12 k3x3 p1 float32 cpu")
    w, made = torch.randn(spec.w_shape), TransformedFilters(spec, _layout(spec))
    before, found = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found.append(made(w).clone())
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(one, found[0]) for one in found)
