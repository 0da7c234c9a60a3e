import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from faltung.by_hand import conv, forward, grad_input, grad_weight
from faltung.errors import ArgumentError
from faltung.ops.conv.by_hand.definition import spec_of
from faltung.ops.conv.spec import ConvSpec


def test_conv_equals_pytorch(problem):
    x, w, b = problem.tensors()
    y = conv(x, w, b, **problem.arguments)
    assert torch.equal(y, problem.expected(x, w, b))
    assert y.dtype == torch.float64


def test_the_first_number_on_paper():
    x = torch.tensor([[[[1, 2, 3], [4, 5, 6], [7, 8, 9]]]])
    w = torch.tensor([[[[1, 2], [3, 4]]]])
    # 1·1 + 2·2 + 3·4 + 4·5 = 37, and so on along the rows
    assert conv(x, w).tolist() == [[[[37, 47], [67, 77]]]]
    assert conv(x, w, torch.tensor([100])).tolist() == [[[[137, 147], [167, 177]]]]


def test_seven_by_seven_with_dilation_three_gives_one_number(whole_numbers):
    x, w = whole_numbers(1, 1, 7, 7), whole_numbers(1, 1, 3, 3, seed=2)
    y = conv(x, w, dilation=3)
    assert y.shape == (1, 1, 1, 1)
    assert y.item() == (x[0, 0, 0:7:3, 0:7:3] * w[0, 0]).sum()


@pytest.mark.parametrize(
    ("n", "k", "s", "p", "groups", "out"), [(7, 5, 2, 2, 64, 4), (80, 3, 2, 1, 1, 40)]
)
def test_output_sizes_of_the_text(n, k, s, p, groups, out):
    spec = spec_of(
        torch.zeros(1, 64, n, n), torch.zeros(64, 64 // groups, k, k), None, s, p, 1, groups
    )
    assert spec.output_size == (out, out)
    x, w = torch.zeros(1, 1, n), torch.zeros(1, 1, k)
    assert conv(x, w, None, s, p).shape == (1, 1, out)


def test_circular_padding_may_wrap_more_than_once(whole_numbers):
    x, w = whole_numbers(1, 1, 3), whole_numbers(1, 1, 4, seed=2)
    y = conv(x, w, padding=(7,), padding_mode="circular")
    wrapped = torch.cat([x] * 7, dim=2)[:, :, 9 - 7 : 12 + 7]  # three whole turns before x
    assert torch.equal(y, F.conv1d(wrapped, w))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.int8,
        torch.int32,
        torch.int64,
        torch.float16,
        torch.bfloat16,
        torch.float32,
        torch.complex64,
        torch.complex128,
    ],
)
def test_every_dtype(dtype, whole_numbers):
    x, w, b = (
        whole_numbers(*shape).sign().to(dtype) for shape in ((2, 2, 4, 5), (4, 1, 2, 3), (4,))
    )
    y = conv(x, w, b, padding=1, groups=2)
    assert y.dtype == dtype
    expected = F.conv2d(x.real.double(), w.real.double(), b.real.double(), padding=1, groups=2)
    assert torch.equal(y, expected.to(dtype))


def test_complex_products_conjugate_nothing():
    x, w = torch.tensor([[[1 + 2j, 3 - 1j]]]), torch.tensor([[[2 + 1j, 1j]]])
    # (1+2i)(2+i) + (3−i)i = 5i + 1 + 3i
    assert conv(x, w).item() == 1 + 8j
    spec = spec_of(x, w)
    assert grad_input(torch.ones(1, 1, 1, dtype=x.dtype), w, spec).tolist() == w.tolist()
    assert grad_weight(x, torch.ones(1, 1, 1, dtype=x.dtype), spec).tolist() == x.tolist()


def test_autograd_runs_through_the_loops(whole_numbers):
    x = whole_numbers(1, 2, 4, 3).requires_grad_()
    w = whole_numbers(2, 1, 2, 2, seed=2).requires_grad_()
    b = whole_numbers(2, seed=4).requires_grad_()
    ours = torch.autograd.grad(conv(x, w, b, 1, 1, 1, 2).square().sum(), (x, w, b))
    theirs = torch.autograd.grad(F.conv2d(x, w, b, 1, 1, 1, 2).square().sum(), (x, w, b))
    assert all(torch.equal(g, h) for g, h in zip(ours, theirs, strict=True))


def test_both_gradients_equal_autograd_of_pytorch(problem):
    x, w, _ = problem.tensors()
    x, w = x.requires_grad_(), w.requires_grad_()
    y = problem.expected(x, w, None)
    gy = torch.arange(1.0, y.numel() + 1, dtype=y.dtype).reshape(y.shape)
    gx, gw = torch.autograd.grad(y, (x, w), gy)
    arguments = dict(problem.arguments)
    spec = spec_of(x, w, **arguments)
    assert torch.equal(grad_input(gy.view(spec.y_shape), w, spec).view(gx.shape), gx)
    assert torch.equal(
        grad_weight(x.detach().reshape(spec.x_shape), gy.view(spec.y_shape), spec), gw
    )


def test_fewer_outputs_than_the_formula_gives(whole_numbers):
    full = ConvSpec.parse("forward n2 c2 o3 i6x5 k2x3 s2x1 p1 d2x1 float64 cpu")
    part = ConvSpec.parse("forward n2 c2 o3 i6x5 k2x3 y2x4 s2x1 p1 d2x1 float64 cpu")
    x, w = whole_numbers(*full.x_shape), whole_numbers(*full.w_shape, seed=2)
    assert torch.equal(forward(x, w, part), forward(x, w, full)[:, :, :2, :4])
    # the outputs that are not computed count as gradients of zero
    gy = whole_numbers(*part.y_shape, seed=6)
    padded = F.pad(gy, (0, full.output_size[1] - 4, 0, full.output_size[0] - 2))
    assert torch.equal(grad_input(gy, w, part), grad_input(padded, w, full))
    assert torch.equal(grad_weight(x, gy, part), grad_weight(x, padded, full))


@pytest.mark.parametrize(
    ("x", "w", "arguments", "message"),
    [
        ((1, 2, 4, 4), (2, 3, 3, 3), {}, "input has 2 channels but weight"),
        (
            (1, 3, 4, 4),
            (2, 1, 3, 3),
            {"groups": 3},
            "groups=3 does not divide the 2 output channels",
        ),
        ((1, 2, 4, 4), (2, 2, 5, 3), {}, "larger than the padded input"),
        ((4, 4), (2, 2, 5, 3), {}, "input must have 4 dimensions"),
        ((1, 2, 4, 4), (2, 2), {}, "weight must have 3, 4 or 5 dimensions"),
        ((1, 2, 4, 4), (2, 2, 1, 1), {"padding": "full"}, "must be one of 'valid', 'same'"),
        ((1, 2, 4, 4), (2, 2, 1, 1), {"padding": 4, "padding_mode": "reflect"}, "reflect padding"),
    ],
)
def test_mistakes_are_explained(x, w, arguments, message):
    with pytest.raises(ArgumentError, match=message):
        conv(torch.zeros(x), torch.zeros(w), **arguments)


def test_dtypes_must_be_the_same():
    with pytest.raises(ArgumentError, match="input is float32 on cpu but weight is float64 on cpu"):
        conv(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3, dtype=torch.float64))
    with pytest.raises(ArgumentError, match="input is float32 on cpu but bias is int64 on cpu"):
        conv(torch.zeros(1, 1, 3), torch.zeros(1, 1, 3), torch.zeros(1, dtype=torch.int64))


@st.composite
def calls(draw):
    """A convolution of 1 to 3 dimensions with every argument drawn by chance."""
    dims = draw(st.integers(1, 3))
    mode = draw(st.sampled_from(("zeros", "reflect", "replicate", "circular")))

    def each(strategy):
        return tuple(draw(strategy) for _ in range(dims))

    kernel, stride, dilation = (each(st.integers(1, 3)) for _ in range(3))
    pairs = each(st.tuples(st.integers(0, 3), st.integers(0, 3)))
    least = {"zeros": lambda p: 1, "replicate": lambda p: 1, "circular": max,
             "reflect": lambda p: max(p) + 1}[mode]  # fmt: skip
    size = tuple(
        max(d * (k - 1) + 1 - sum(p), least(p), 1) + draw(st.integers(0, 3))
        for k, d, p in zip(kernel, dilation, pairs, strict=True)
    )
    groups, per_group, filters = (draw(st.integers(1, 3)) for _ in range(3))
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    x_shape = (*batch, groups * per_group, *size)
    w_shape = (groups * filters, per_group, *kernel)
    return x_shape, w_shape, stride, pairs, dilation, groups, mode, draw(st.booleans())


@given(call=calls(), seed=st.integers(0, 2**16))
@settings(max_examples=100, deadline=None)
def test_conv_equals_pytorch_everywhere(call, seed):
    x_shape, w_shape, stride, pairs, dilation, groups, mode, has_bias = call
    torch.manual_seed(seed)
    x, w, b = (torch.randint(-4, 5, shape).double() for shape in (x_shape, w_shape, w_shape[:1]))
    b = b if has_bias else None
    flat = [end for pair in reversed(pairs) for end in pair]
    padded = F.pad(x, flat, mode="constant" if mode == "zeros" else mode)
    call = (F.conv1d, F.conv2d, F.conv3d)[len(stride) - 1]
    expected = call(padded, w, b, stride, 0, dilation, groups)
    assert torch.equal(conv(x, w, b, stride, pairs, dilation, groups, padding_mode=mode), expected)
