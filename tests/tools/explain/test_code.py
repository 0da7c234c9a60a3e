"""Every line of code that an explanation shows is run, and gives what the definition gives."""

import random
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch.nn import functional as F

import faltung
from counting import random_spec
from faltung.ops.activations import activate
from faltung.ops.conv.spec import ConvSpec
from faltung.tools.explain.code import (
    by_hand_page,
    faltung_line,
    pytorch_line,
    pytorch_module,
)
from problems import SMALL


def problems():
    """The shared table as layers in both directions, in float64, and random ones."""
    table = [ConvSpec.parse(text) for text in SMALL]
    table = [spec for spec in table if not spec.dtype.startswith(("complex", "int"))]
    transposed = [replace(spec.with_task("grad_input"), bias=True) for spec in table]
    drawn = [random_spec(random.Random(1000 + seed)) for seed in range(60)]
    return [replace(spec, dtype="float64") for spec in (*table, *transposed, *drawn)]


def whole_numbers(shape, seed):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-3, 4, shape, generator=generator).double()


def operands(spec):
    first, second = spec.operand_shapes
    bias = whole_numbers(spec.result_shape[1:2], 3) if spec.bias else None
    residual = whole_numbers(spec.result_shape, 4) if spec.residual else None
    return whole_numbers(first, 1), whole_numbers(second, 2), bias, residual


@cache  # three lines and a module of one layer come one after the other
def defined(spec):
    x, w, b, residual = operands(spec)
    y = getattr(faltung.by_hand, spec.task)(x, w, spec)
    y = y if b is None else y + b.view(-1, *(1,) * spec.dims)
    return activate(spec.activation, y if residual is None else y + residual)


def value(line, x, w, b, residual):
    modules = {"torch": torch, "F": F, "faltung": faltung}
    return eval(line, {**modules, "x": x, "w": w, "b": b, "residual": residual})


def assert_same(y, expected, spec):
    assert y.dtype == expected.dtype and y.shape == expected.shape
    if spec.activation in (None, "relu", "relu6"):
        assert torch.equal(y, expected)
    else:
        # the sums are whole numbers; only the function of them is rounded, alike in both
        assert (y - expected).abs().max() <= 4 * torch.finfo(y.dtype).eps * expected.abs().max()


@pytest.mark.parametrize("write", [pytorch_line, faltung_line, lambda s: by_hand_page(s).line])
@pytest.mark.parametrize("spec", problems(), ids=str)
def test_lines(spec, write):
    line = write(spec)
    if line is None:
        assert no_line_is_right(spec, write)
        return
    assert_same(value(line, *operands(spec)), defined(spec), spec)


def no_line_is_right(spec, write):
    """PyTorch has no padding that goes around twice; we no size that only a gradient has."""
    if write is pytorch_line:
        sizes = zip(spec.padding, spec.input_size, strict=True)
        return spec.padding_mode == "circular" and any(max(pair) > n for pair, n in sizes)
    return write is faltung_line and spec.task == "grad_input"


@pytest.mark.parametrize("spec", problems(), ids=str)
def test_modules(spec):
    line = pytorch_module(spec)
    if line is None or 0 in spec.x_shape:
        return
    x, w, b, residual = operands(spec)
    assert residual is None  # a module has none
    layer = eval(line, {"torch": torch}).double()
    assert (layer.bias is None) == (b is None)
    state = {"weight": w} if b is None else {"weight": w, "bias": b}
    layer.load_state_dict(state)
    assert torch.equal(layer(x), defined(spec))


def test_most_layers_have_every_line():
    plain = [s for s in problems() if s.padding_mode == "zeros" and s.activation is None]
    assert all(pytorch_line(spec) for spec in plain)
    assert sum(pytorch_module(spec) is not None for spec in plain) > len(plain) / 2


@pytest.mark.parametrize(
    ("problem", "name"),
    [
        ("forward n1 c2 o3 i9x9 k3x3 s2 p1 float32 cpu", "conv2d_sliding_window"),
        ("forward n1 c2 o3 i9 k3 float32 cpu", "conv"),
        ("forward n1 c2 o3 i9x9 k3x3 p1 reflect float32 cpu", "conv"),
        ("forward n1 c2 o2 i9x9 k3x3 g2 float32 cpu", "depthwise"),
        ("forward n1 c4 o2 i9x9 k3x3 g2 float32 cpu", "grouped"),
        ("forward n1 c4 o2 i9x9 k3x3 d2 float32 cpu", "conv_dilated"),
        ("forward n1 c4 o2 i9x9 k1x1 float32 cpu", "pointwise"),
        ("forward n1 c4 o2 i9 k3 p2+0 float32 cpu", "causal_conv1d"),
        ("forward n1 c4 o2 i9 k3 y4 float32 cpu", "forward"),
        ("grad_input n1 c4 o2 i9 k3 s2 float32 cpu", "conv_transpose_scatter"),
        ("grad_input n1 c4 o2 i9 k3 p1 circular float32 cpu", "grad_input"),
    ],
)
def test_the_page_is_the_one_that_tells_most(problem, name):
    page = by_hand_page(ConvSpec.parse(problem))
    assert page.name == name and f"faltung.by_hand.{name}(" in page.line
    assert page.file.startswith("faltung/ops/conv/by_hand/") and page.file.endswith(".py")
    assert page.formula and page.formula[0].startswith(("y[", "gx["))
    assert page.title.endswith(".")
    assert page.source.startswith(f"def {name}(") and '"""' not in page.source
    compile(page.source, page.file, "exec")
