import math
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

from faltung import planning, settings
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.deform.api import deform_conv2d
from faltung.ops.deform.by_hand import definition

# PyTorch's own forward mode compiles its formulas with what it calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")


def numbers(*shape: int, step: int = 7) -> Tensor:
    return (torch.arange(math.prod(shape)) * step % 11 - 5.0).reshape(shape)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize(
    ("stride", "padding", "dilation"),
    [
        ((1, 1), (0, 0), (1, 1)),
        (2, 1, 1),
        ((2, 1), (1, 0), (1, 2)),
        (1, "same", 2),
        (3, "valid", 1),
    ],
)
def test_without_offsets_it_is_convolution(
    stride: Any, padding: Any, dilation: Any, groups: int
) -> None:
    x, w, b = numbers(2, 4, 7, 8), numbers(6, 4 // groups, 3, 2, step=3), numbers(6)
    y = F.conv2d(x, w, b, stride, padding, dilation, groups)
    offset = torch.zeros(2, 2 * 2 * 6, *y.shape[2:])
    assert torch.equal(deform_conv2d(x, offset, w, b, stride, padding, dilation), y)
    ones = torch.ones(2, 2 * 6, *y.shape[2:])
    assert torch.equal(deform_conv2d(x, offset, w, b, stride, padding, dilation, ones), y)
    assert torch.equal(deform_conv2d(x, offset, w, b, stride, padding, dilation, ones * 0), (
        torch.zeros_like(y) + b[:, None, None]
    ))  # fmt: skip


@pytest.mark.parametrize(("dy", "dx"), [(1, 0), (0, -2), (2, 3), (-1, 1)])
def test_whole_offsets_are_the_convolution_of_the_moved_image(dy: int, dx: int) -> None:
    x, w = numbers(2, 3, 5, 6), numbers(4, 3, 3, 3, step=5)
    room = F.pad(x, (4, 4, 4, 4))
    moved = room[..., 3 + dy : 10 + dy, 3 + dx : 11 + dx]  # one row and column around, as padding=1
    offset = torch.tensor([dy, dx]).float().repeat(9)[None, :, None, None].expand(2, 18, 5, 6)
    assert torch.equal(deform_conv2d(x, offset, w, padding=1), F.conv2d(moved, w))


def test_half_a_pixel_by_hand() -> None:
    x = torch.tensor([[[[0.0, 8.0, 2.0], [4.0, 2.0, 6.0]]]])
    half = torch.full((1, 2, 2, 3), 0.5)
    y = deform_conv2d(x, half, torch.ones(1, 1, 1, 1))
    assert y.tolist() == [[[[3.5, 4.5, 2.0], [1.5, 2.0, 1.5]]]]
    mask = torch.tensor([[[[2.0, 1.0, 0.0], [1.0, -1.0, 4.0]]]])
    masked = deform_conv2d(x, half, torch.ones(1, 1, 1, 1), torch.tensor([1.0]), mask=mask)
    assert masked.tolist() == [[[[8.0, 5.5, 1.0], [2.5, -1.0, 7.0]]]]


def test_unequal_padding_and_words() -> None:
    x, w = numbers(1, 2, 4, 5), numbers(3, 2, 2, 3)
    offset = numbers(1, 12, 4, 5, step=3) / 4
    for padding in ("same", ((0, 1), (1, 1))):
        y = deform_conv2d(x, offset, w, padding=padding)
        assert torch.equal(y, definition.deform_conv2d(x, offset, w, padding=((0, 1), (1, 1))))
    lower = deform_conv2d(x, offset, w, padding="same_lower")
    assert torch.equal(lower, definition.deform_conv2d(x, offset, w, padding=((1, 0), (1, 1))))
    assert not torch.equal(lower, y)


def test_unbatched_and_empty() -> None:
    x, w, offset = numbers(2, 2, 4, 5), numbers(3, 2, 2, 3), numbers(2, 12, 3, 3, step=3) / 4
    y = deform_conv2d(x, offset, w)
    assert torch.equal(deform_conv2d(x[1], offset[1], w), y[1])
    mask = numbers(2, 6, 3, 3)
    masked = deform_conv2d(x, offset, w, mask=mask)
    assert torch.equal(deform_conv2d(x[1], offset[1], w, mask=mask[1]), masked[1])
    x0 = x[:0].requires_grad_()
    empty = deform_conv2d(x0, offset[:0], w, mask=mask[:0])
    assert empty.shape == (0, 3, 3, 3)
    empty.sum().backward()
    assert x0.grad is not None


@pytest.mark.parametrize("activation", ["relu", "gelu_tanh"])
def test_activation_comes_last(activation: str) -> None:
    x, w, b, offset = numbers(1, 2, 4, 5), numbers(3, 2, 2, 3), numbers(3), torch.zeros(1, 12, 3, 3)
    y = deform_conv2d(x, offset, w, b)
    applied = {"relu": F.relu, "gelu_tanh": lambda t: F.gelu(t, approximate="tanh")}[activation]
    assert torch.equal(deform_conv2d(x, offset, w, b, activation=activation), applied(y))


OPERANDS = ["x", "offset", "w", "b", "mask"]


def smooth(groups: int, offset_groups: int, kernel: tuple[int, int]) -> list[Tensor]:
    """Float64 operands whose samples lie at least 0.2 pixels from the kinks at whole positions."""
    random = torch.Generator().manual_seed(groups + 10 * offset_groups)

    def draw(*shape: int) -> Tensor:
        return torch.rand(shape, dtype=torch.float64, generator=random) - 0.5

    taps, out = kernel[0] * kernel[1], (3, 2)
    whole = (draw(1, 2 * offset_groups * taps, *out) * 3).round()
    return [
        draw(1, 4, 3, 4),
        whole + 0.5 + draw(*whole.shape) * 0.6,
        draw(2, 4 // groups, *kernel),
        draw(2),
        draw(1, offset_groups * taps, *out),
    ]


@pytest.mark.parametrize(
    ("groups", "offset_groups", "kernel"), [(1, 1, (1, 3)), (2, 1, (1, 3)), (1, 4, (1, 3))]
)
def test_gradients_of_every_order_in_every_operand(
    groups: int, offset_groups: int, kernel: tuple[int, int]
) -> None:
    given = [t.requires_grad_() for t in smooth(groups, offset_groups, kernel)]

    def call(x: Tensor, offset: Tensor, w: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        return deform_conv2d(x, offset, w, b, (1, 2), ((0, 0), (1, 0)), (1, 1), mask)

    assert call(*given).shape == (1, 2, 3, 2)
    assert gradcheck(call, given, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(call, given)


def test_the_gradient_of_an_offset_is_the_slope_of_the_image() -> None:
    x = torch.tensor([[[[0.0, 8.0], [4.0, 2.0]]]])
    offset = torch.full((1, 2, 1, 1), 0.25, requires_grad=True)
    deform_conv2d(x, offset, torch.ones(1, 1, 2, 2)[..., :1, :1], padding=0, stride=2).backward()
    assert offset.grad is not None
    down = 0.75 * (4 - 0) + 0.25 * (2 - 8)
    right = 0.75 * (8 - 0) + 0.25 * (2 - 4)
    assert offset.grad.flatten().tolist() == [down, right]


@pytest.mark.parametrize("far", [1e6, math.inf])
def test_far_out_there_is_no_gradient_and_no_nan(far: float) -> None:
    x, w = numbers(1, 1, 3, 3).requires_grad_(), torch.ones(1, 1, 1, 1, requires_grad=True)
    offset = torch.full((1, 2, 3, 3), far, requires_grad=True)
    y = deform_conv2d(x, offset, w)
    gradients = torch.autograd.grad(y.sum(), (x, offset, w))
    for value in (y, *gradients):
        assert torch.equal(value, torch.zeros_like(value))


def test_function_transforms() -> None:
    x, w, offset = numbers(3, 1, 2, 4, 5), numbers(3, 2, 2, 3), numbers(3, 1, 12, 3, 3) / 4
    looped = torch.stack([deform_conv2d(x[i], offset[i], w) for i in range(3)])
    assert torch.equal(torch.func.vmap(lambda a, d: deform_conv2d(a, d, w))(x, offset), looped)
    slopes = torch.func.jacrev(lambda v: deform_conv2d(x[0], offset[0], v))(w)
    again = torch.func.jacfwd(lambda v: deform_conv2d(x[0], offset[0], v))(w)
    assert torch.equal(slopes, again)


def test_autocast_computes_in_float32() -> None:
    x, w, offset = numbers(1, 2, 4, 5) / 3, numbers(3, 2, 2, 3) / 3, numbers(1, 12, 3, 3) / 7
    y = deform_conv2d(x, offset, w)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(deform_conv2d(x, offset, w), y)
        half = deform_conv2d(x.bfloat16(), offset, w)  # what a convolution before it hands on
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, deform_conv2d(x.bfloat16().float(), offset, w).bfloat16())


def test_needs_no_numbers_for_shapes() -> None:
    x, offset, w = (
        torch.empty(shape, device="meta") for shape in ((2, 4, 5, 6), (2, 18, 5, 6), (6, 4, 3, 3))
    )
    y = deform_conv2d(x, offset, w, padding="same", activation="relu")
    assert (y.device.type, y.shape) == ("meta", (2, 6, 5, 6))


def test_is_planned_and_counted() -> None:
    x, w, offset = numbers(1, 1, 3, 3), torch.ones(1, 1, 1, 1), torch.zeros(1, 2, 3, 3)
    before = planning.usage()
    deform_conv2d(x, offset, w, algorithm="gather_torch")
    assert planning.usage() - before == {"gather_torch": 1}
    with pytest.raises(ArgumentError, match="algorithms of deform on cpu: gather_torch"):
        deform_conv2d(x, offset, w, algorithm="native_torch")
    with (
        settings.using(memory_limit=1),
        pytest.raises(planning.NoAlgorithmError, match="memory_limit is 1 B"),
    ):
        deform_conv2d(x, offset, w)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"input": [1]}, ArgumentTypeError, "deform_conv2d: input must be a tensor, got list"),
        ({"mask": 1.0}, ArgumentTypeError, "mask must be a tensor, got float"),
        (
            {"offset": torch.zeros(1, 2, 3, 3, dtype=torch.float64)},
            ArgumentError,
            "input is float32 on cpu but offset is float64 on cpu",
        ),
        ({"offset": torch.zeros(1, 2, 2, 3)}, ArgumentError, "offset must have shape"),
        ({"mask": torch.zeros(1, 2, 3, 3)}, ArgumentError, "mask must have shape"),
        ({"activation": "swish"}, ArgumentError, "activation must be one of .* got 'swish'"),
    ],
)
def test_says_what_is_wrong(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    given = {
        "input": torch.zeros(1, 1, 3, 3),
        "offset": torch.zeros(1, 2, 3, 3),
        "weight": torch.zeros(1, 1, 1, 1),
    }
    with pytest.raises(error, match=message):
        deform_conv2d(**{**given, **changes})
    with torch.autocast("cpu"), pytest.raises(error, match=message):
        deform_conv2d(**{**given, **changes})


def test_integers_are_refused() -> None:
    zeros = [torch.zeros(shape, dtype=torch.int64) for shape in ((1, 1, 3, 3), (1, 2, 3, 3))]
    with pytest.raises(ArgumentError, match=r"input must be one of float16, .* got int64"):
        deform_conv2d(*zeros, torch.ones(1, 1, 1, 1, dtype=torch.int64))


@pytest.mark.parametrize(
    ("stride", "pairs", "dilation", "groups", "offset_groups"),
    [
        ((1, 1), ((0, 0), (0, 0)), (1, 1), 1, 1),
        ((2, 1), ((1, 0), (2, 1)), (1, 2), 2, 1),
        ((1, 2), ((0, 1), (1, 1)), (2, 1), 2, 4),
    ],
)
def test_equals_deform_conv_of_onnx(
    stride: Any, pairs: Any, dilation: Any, groups: int, offset_groups: int
) -> None:
    onnx = pytest.importorskip("onnx")
    from onnx.reference import ReferenceEvaluator

    # its reference divides positions by H − 1 and W − 1: powers of two keep that exact
    x, w, b = numbers(2, 4, 5, 9), numbers(2, 4 // groups, 2, 3, step=3), numbers(2)
    size = F.conv2d(F.pad(x, (*pairs[1], *pairs[0])), w, None, stride, 0, dilation, groups).shape[
        2:
    ]
    offset = numbers(2, 2 * offset_groups * 6, *size, step=5) / 4
    mask = numbers(2, offset_groups * 6, *size, step=3)
    node = onnx.helper.make_node(
        "DeformConv", ["x", "w", "offset", "b", "mask"], ["y"], strides=stride,
        dilations=dilation, pads=[*(low for low, _ in pairs), *(high for _, high in pairs)],
        group=groups, offset_group=offset_groups,
    )  # fmt: skip
    feeds = {"x": x, "w": w, "offset": offset, "b": b, "mask": mask}
    (expected,) = ReferenceEvaluator(node).run(None, {k: v.numpy() for k, v in feeds.items()})
    y = deform_conv2d(x, offset, w, b, stride, pairs, dilation, mask)
    assert torch.equal(y, torch.from_numpy(expected))
