"""The functions users call: PyTorch's results, what we take beyond PyTorch, and every refusal."""

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from faltung import functional as FF
from faltung.by_hand import conv as by_definition
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.activations import activate
from faltung.ops.naming import ACTIVATIONS

Whole = Callable[..., Tensor]
NAMES = ("conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d")


@pytest.mark.parametrize("name", NAMES)
def test_positional_arguments_are_pytorchs(name: str, whole: Whole) -> None:
    dims = int(name[-2])
    x = whole(2, 4, *(7, 6, 5)[:dims])
    transposed = "transpose" in name
    w = whole(4, 3, *(3, 2, 3)[:dims]) if transposed else whole(6, 2, *(3, 2, 3)[:dims])
    b = whole(6)
    arguments = (b, 2, 1, 1, 2, 1) if transposed else (b, 2, 1, 2, 2)
    ours, theirs = getattr(FF, name), getattr(F, name)
    assert torch.equal(ours(x, w, *arguments), theirs(x, w, *arguments))
    assert torch.equal(ours(x[0], w, *arguments), theirs(x[0], w, *arguments))


@pytest.mark.parametrize("stride", [1, 2, 3, (2, 1)])
@pytest.mark.parametrize("size", [(7, 8), (5, 9), (1, 4)])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (1, 4)])
@pytest.mark.parametrize("word", ["same", "same_lower"])
def test_same_with_any_stride(
    word: str, kernel: tuple[int, int], size: tuple[int, int], stride: Any, whole: Whole
) -> None:
    x, w = whole(1, 2, *size), whole(3, 2, *kernel)
    y = FF.conv2d(x, w, stride=stride, padding=word)
    strides = stride if isinstance(stride, tuple) else (stride, stride)
    assert y.shape[2:] == tuple(-(-n // s) for n, s in zip(size, strides, strict=True))
    amounts: list[int] = []
    for n, k, s in zip(size, kernel, strides, strict=True):
        total = max((-(-n // s) - 1) * s + k - n, 0)
        ends = (total // 2, total - total // 2)
        amounts = [*(ends if word == "same" else ends[::-1]), *amounts]
    assert torch.equal(y, F.conv2d(F.pad(x, amounts), w, stride=stride))


def test_same_at_stride_1_is_pytorchs(whole: Whole) -> None:
    x, w = whole(1, 2, 9), whole(3, 2, 5)
    assert torch.equal(FF.conv1d(x, w, padding="same"), F.conv1d(x, w, padding="same"))
    assert torch.equal(FF.conv1d(x, w, padding="valid"), F.conv1d(x, w, padding="valid"))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_padding_modes_with_unequal_padding(dims: int, mode: str, whole: Whole) -> None:
    x, w = whole(2, 2, *(5, 4, 6)[:dims]), whole(4, 1, *(3, 2, 3)[:dims])
    pairs = ((2, 1), (0, 3), (1, 0))[:dims]
    amounts = [amount for pair in reversed(pairs) for amount in pair]
    y = getattr(FF, f"conv{dims}d")(x, w, None, 2, pairs, 1, 2, padding_mode=mode)
    expected = getattr(F, f"conv{dims}d")(F.pad(x, amounts, mode=mode), w, None, 2, 0, 1, 2)
    assert torch.equal(y, expected)


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("padding", [1, ((0, 2), (1, 0)), "same", "valid"])
def test_transposed_is_the_adjoint_of_the_convolution(
    padding: Any, mode: str, whole: Whole
) -> None:
    x, w = whole(2, 4, 6, 8), whole(6, 2, 3, 2)
    keywords = {"stride": 2, "padding": padding, "groups": 2, "padding_mode": mode}
    y = FF.conv2d(x, w, **keywords)
    z = whole(*y.shape)
    back = FF.conv_transpose2d(z, w, output_padding=0, **keywords)
    # <conv(x), z> = <x, conv_transpose(z)>, on the part of x that the result's size covers
    covered = x[..., : back.shape[-2], : back.shape[-1]]
    if back.shape == x.shape:
        assert (y * z).sum() == (x * back).sum()
    else:
        y = FF.conv2d(covered, w, **keywords)
        assert y.shape == z.shape
        assert (y * z).sum() == (covered * back).sum()


def test_transposed_same_multiplies_the_size(whole: Whole) -> None:
    for k, s in [(4, 2), (3, 2), (2, 3), (5, 1)]:
        y = FF.conv_transpose1d(whole(1, 2, 7), whole(2, 3, k), stride=s, padding="same")
        assert y.shape == (1, 3, 7 * s)


def test_transposed_with_a_padding_that_crops_each_end_by_its_own(whole: Whole) -> None:
    x, w = whole(1, 2, 5, 4), whole(2, 3, 3, 4)
    full = F.conv_transpose2d(x, w, whole(3) * 0, 2)
    y = FF.conv_transpose2d(x, w, None, 2, ((1, 3), (0, 2)))
    assert torch.equal(y, full[:, :, 1:-3, :-2])


def test_causal_sees_no_future(whole: Whole) -> None:
    x, w, b = whole(2, 4, 20), whole(6, 2, 3), whole(6)
    y = FF.causal_conv1d(x, w, b, 2, 3, 2)
    assert torch.equal(y, F.conv1d(F.pad(x, (6, 0)), w, b, 2, 0, 3, 2))
    changed = x.clone()
    changed[..., 11:] += 1
    again = FF.causal_conv1d(changed, w, b, 2, 3, 2)
    assert torch.equal(y[..., :6], again[..., :6])  # outputs 0…5 stand at inputs 0…10
    assert not torch.equal(y[..., 6:], again[..., 6:])


_ROUNDINGS = 2  # of 1 + |y|: a sigmoid and a product; tests/parts/test_activation.py is exacter


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_activation_with_and_without_gradients(activation: str, whole: Whole) -> None:
    x, w, b = whole(1, 2, 5, 5), whole(3, 2, 3, 3), whole(3)
    # the sums are whole numbers and exact, so all that rounds is the activation
    expected = activate(activation, F.conv2d(x.double(), w.double(), b.double()))
    assert_rounded(FF.conv2d(x, w, b, activation=activation), expected)
    w.requires_grad_()
    assert_rounded(FF.conv2d(x, w, b, activation=activation), expected)
    w = w.detach().transpose(0, 1)
    up = activate(activation, F.conv_transpose2d(x.double(), w.double(), b.double()))
    assert_rounded(FF.conv_transpose2d(x, w, b, activation=activation), up)


def assert_rounded(y: Tensor, y64: Tensor) -> None:
    """As near to y64 as PyTorch's own activation of one exact number comes in float32."""
    unit = torch.finfo(torch.float32).eps
    assert ((y.double() - y64).abs() <= _ROUNDINGS * unit * (1 + y64.abs())).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.complex64, torch.int64])
def test_dtypes(dtype: torch.dtype, whole: Whole) -> None:
    x, w = whole(1, 2, 6, 5, dtype=dtype), whole(4, 2, 3, 3, dtype=dtype)
    assert torch.equal(FF.conv2d(x, w, padding=1), F.conv2d(x, w, padding=1))
    assert torch.equal(FF.conv2d(x, w, padding=((0, 1), (2, 0))), by_definition(
        x, w, padding=((0, 1), (2, 0))
    ))  # fmt: skip


def test_views_and_layouts_keep_the_numbers(whole: Whole) -> None:
    x, w = whole(2, 8, 9, 10), whole(4, 4, 3, 3)
    view = x[:, ::2, 1:, ::3]
    assert torch.equal(FF.conv2d(view, w), F.conv2d(view.contiguous(), w))
    last = x[:, :4].to(memory_format=torch.channels_last)
    y = FF.conv2d(last, w)
    assert torch.equal(y, F.conv2d(x[:, :4], w))
    assert y.stride() == F.conv2d(last, w).stride()
    assert torch.equal(FF.conv2d(x[:, :4], w.transpose(2, 3)), F.conv2d(x[:, :4], w.mT))


def test_empty_batch_and_changing_shapes(whole: Whole) -> None:
    w = whole(3, 2, 3)
    assert FF.conv1d(whole(0, 2, 9), w).shape == (0, 3, 7)
    for length in range(3, 30):
        x = whole(1, 2, length)
        assert torch.equal(FF.conv1d(x, w), F.conv1d(x, w))


def test_a_weight_changed_in_place_is_seen(whole: Whole) -> None:
    x, w = whole(1, 2, 5, 5), whole(3, 2, 3, 3)
    FF.conv2d(x, w)
    w.mul_(3)
    assert torch.equal(FF.conv2d(x, w), F.conv2d(x, w))
    w.data = whole(3, 2, 3, 3)
    assert torch.equal(FF.conv2d(x, w), F.conv2d(x, w))


def test_calls_from_eight_threads(whole: Whole) -> None:
    x, w = whole(1, 2, 30, 30), whole(3, 2, 3, 3)
    expected, wrong = F.conv2d(x, w), []

    def work(number: int) -> None:
        for _ in range(50):
            size = 10 + number
            if not torch.equal(FF.conv2d(x[..., :size], w), expected[..., : size - 2]):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_autocast_is_pytorchs(whole: Whole) -> None:
    x, w, b = (whole(*s, dtype=torch.float32) for s in ((1, 2, 6, 6), (3, 2, 3, 3), (3,)))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        ours, theirs = FF.conv2d(x, w, b), F.conv2d(x, w, b)
        assert ours.dtype == torch.bfloat16
        assert torch.equal(ours, theirs)
        assert FF.conv2d(x.bfloat16(), w, b).dtype == torch.bfloat16
        assert FF.conv2d(x.double(), w.double()).dtype == torch.float64


def test_meta_tensors_have_shapes_only() -> None:
    x, w = torch.ones(2, 3, 9, 9, device="meta"), torch.ones(4, 3, 3, 3, device="meta")
    y = FF.conv2d(x, w, stride=2, padding="same")
    assert y.shape == (2, 4, 5, 5) and y.device.type == "meta"


IMAGE, WEIGHT = torch.ones(1, 32, 8, 8), torch.ones(64, 16, 3, 3)
BAD: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({}, ArgumentError,
     r"conv2d: input has 32 channels but weight \(64, 16, 3, 3\) with groups=1 needs 16"),
    ({"groups": 3}, ArgumentError, r"groups=3 does not divide the 64 output channels"),
    ({"groups": 0}, ArgumentError, "groups must be at least 1, got 0"),
    ({"groups": 2.0}, ArgumentTypeError, r"groups must be an integer, got 2.0 \(float\)"),
    ({"groups": True}, ArgumentTypeError, r"groups must be an integer, got True \(bool\)"),
    ({"groups": 2, "stride": 0}, ArgumentError, "stride must be at least 1, got 0"),
    ({"groups": 2, "stride": (1, -1)}, ArgumentError, r"stride must be at least 1, got \(1, -1\)"),
    ({"groups": 2, "stride": "2"}, ArgumentTypeError, "stride must be an integer, got '2'"),
    ({"groups": 2, "stride": (1, 2, 3)}, ArgumentError,
     r"stride must be one integer or 2 \(one per spatial axis\), got 3"),
    ({"groups": 2, "stride": None}, ArgumentTypeError, "stride must be an integer, got None"),
    ({"groups": 2, "dilation": 0}, ArgumentError, "dilation must be at least 1, got 0"),
    ({"groups": 2, "padding": -1}, ArgumentError, "padding must be at least 0, got -1"),
    ({"groups": 2, "padding": ((1, 2, 3), 0)}, ArgumentError,
     r"must be an integer or a \(low, high\) pair, got \(1, 2, 3\)"),
    ({"groups": 2, "padding": "sam"}, ArgumentError,
     "padding must be one of 'valid', 'same', 'same_lower', 'causal', got 'sam'"),
    ({"groups": 2, "padding": "causal"}, ArgumentError, "is for 1-D only, got 2-D"),
    ({"groups": 2, "padding_mode": "wrap"}, ArgumentError, "padding_mode must be one of .*'wrap'"),
    ({"groups": 2, "padding_mode": "reflect", "padding": 8}, ArgumentError,
     r"reflect padding \(8, 8\) must be smaller than the input size 8"),
    ({"groups": 2, "dilation": 4}, ArgumentError,
     r"kernel size \(3, 3\) with dilation \(4, 4\) spans \(9, 9\), larger than the padded input "
     r"\(8, 8\)"),
    ({"groups": 2, "bias": torch.ones(63)}, ArgumentError,
     r"bias must have shape \(64,\), one value per output channel, got \(63,\)"),
    ({"groups": 2, "bias": torch.ones(64, 1)}, ArgumentError, r"bias must have shape \(64,\)"),
    ({"groups": 2, "bias": 1.0}, ArgumentTypeError, "bias must be a tensor, got float"),
    ({"groups": 2, "activation": "tanh"}, ArgumentError, "activation must be one of .*'tanh'"),
    ({"groups": 2, "algorithm": "magic"}, ArgumentError,
     "algorithm='magic' is none of the algorithms of conv on cpu: .*native_torch"),
    ({"input": [1.0]}, ArgumentTypeError, "input must be a tensor, got list"),
    ({"input": np.ones((1, 32, 8, 8))}, ArgumentTypeError, "input must be a tensor, got ndarray"),
    ({"weight": None}, ArgumentTypeError, "weight must be a tensor, got NoneType"),
    ({"input": IMAGE.double()}, ArgumentError, "input is float64 on cpu but weight is float32"),
    ({"input": IMAGE.to("meta")}, ArgumentError, "input is float32 on meta but weight is"),
    ({"input": IMAGE[0, 0]}, ArgumentError,
     r"input must have 4 dimensions \(N, C, H, W\) or 3 \(C, H, W\), got 2: \(8, 8\)"),
    ({"weight": WEIGHT[0]}, ArgumentError,
     r"weight must have 4 dimensions \(O, C/groups, KH, KW\), got 3"),
    ({"weight": WEIGHT[:, :, :0], "groups": 2}, ArgumentError, "must be at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "kind", "message"), BAD)
def test_bad_input(arguments: dict[str, Any], kind: type[Exception], message: str) -> None:
    call = {"input": IMAGE, "weight": WEIGHT, **arguments}
    for _ in range(2):  # the second time past a warm cache
        with pytest.raises(kind, match=message):
            FF.conv2d(**call)
        with pytest.raises(RuntimeError):  # what PyTorch raises
            FF.conv2d(**call)


def test_a_good_call_does_not_excuse_an_equal_looking_bad_one() -> None:
    FF.conv2d(IMAGE, WEIGHT, None, 1, 1, 1, 2)
    FF.conv2d(IMAGE, WEIGHT, None, (1, 1), ((1, 1), (1, 1)), 1, 2)
    for bad in (
        {"stride": 1.0},
        {"stride": True},
        {"stride": (1.0, 1)},
        {"padding": ((1.0, 1), 1)},
    ):
        keywords: dict[str, Any] = {"padding": 1, "groups": 2, **bad}
        with pytest.raises(ArgumentTypeError, match="must be an integer"):
            FF.conv2d(IMAGE, WEIGHT, **keywords)


TRANSPOSED_BAD: list[tuple[dict[str, Any], str]] = [
    ({"output_padding": 2, "stride": 2}, "output_padding=2 must be smaller than stride 2"),
    ({"output_padding": -1}, "output_padding must be at least 0, got -1"),
    ({"padding": "causal"}, "padding='causal' needs a time axis and is for 1-D only, got 2-D"),
    ({"padding": 5}, r"would give the output size \(0, 0\), below 1"),
    ({"bias": torch.ones(4)}, r"bias must have shape \(3,\)"),
    ({"groups": 3}, "groups=3 does not divide 4 channels"),
    ({"weight": torch.ones(5, 3, 3, 3)}, r"input has 4 channels but weight \(5, 3, 3, 3\) needs 5"),
    ({"padding_mode": "reflect", "padding": 4}, r"reflect padding \(4, 4\) must be smaller"),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "message"), TRANSPOSED_BAD)
def test_bad_input_transposed(arguments: dict[str, Any], message: str) -> None:
    call = {"input": torch.ones(1, 4, 8, 8), "weight": torch.ones(4, 3, 3, 3), **arguments}
    with pytest.raises(ArgumentError, match=message):
        FF.conv_transpose2d(**call)


def test_plan_says_what_runs_and_why_not_the_rest() -> None:
    x, w, b = torch.ones(1, 8, 9, 9), torch.ones(8, 1, 3, 3), torch.ones(8)
    plan = faltung.plan(x, w, b, groups=8, padding="same", activation="relu")
    assert plan.algorithm in [c.name for c in plan.candidates]
    assert plan.workspace >= 0
    assert str(plan.spec) == "forward n1 c8 o8 i9x9 k3x3 p1 g8 bias relu float32 cpu"
    text = str(plan)
    assert f"chosen: {plan.algorithm}" in text and "estimate" in text
    up = faltung.plan(x, w.expand(8, 2, 3, 3), stride=2, transposed=True, output_padding=1)
    assert up.spec.task == "grad_input" and up.spec.result_shape == (1, 2, 20, 20)
    with pytest.raises(ArgumentError, match="output_padding=1 is for transposed convolution"):
        faltung.plan(x, w, groups=8, output_padding=1)
    with pytest.raises(ArgumentError, match="weight must have 3, 4 or 5 dimensions"):
        faltung.plan(x, torch.ones(3))
    with pytest.raises(ArgumentTypeError, match="weight must be a tensor, got str"):
        faltung.plan(x, "w")  # type: ignore[arg-type]


def test_every_call_is_counted_by_algorithm() -> None:
    x, w = torch.ones(1, 1, 9), torch.ones(1, 1, 3)
    before = faltung.usage()
    for _ in range(3):
        FF.conv1d(x, w, algorithm="native_torch")
    assert (faltung.usage() - before) == {"native_torch": 3}
