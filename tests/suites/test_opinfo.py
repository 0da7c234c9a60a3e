"""PyTorch's OpInfo: the samples and the wrong calls that its own operators are tested with.

What a result must satisfy is said in `judging`.
"""

import itertools
import math

import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

import faltung.functional as ours
from faltung import by_hand
from faltung.tools.budget import assert_equal
from suites import judging
from suites.tally import spelled
from suites.torch_tables import op_db

# PyTorch says so of its own padded copy; ours pads without a word
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths and odd dilation:UserWarning"
)

NAMES = (
    "conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d",
    "unfold", "fold",
)  # fmt: skip
OPS = {
    op.name.rpartition(".")[2]: op
    for op in op_db
    if op.name.startswith("nn.functional.") and op.name.rpartition(".")[2] in NAMES
}
DTYPES = {
    (name, str(dtype).removeprefix("torch.")): dtype
    for name, op in OPS.items()
    for dtype in sorted(op.dtypes, key=str)
}
EVERY = list(DTYPES)
DIFFERENTIABLE = [
    key for key, dtype in DTYPES.items() if dtype.is_floating_point or dtype.is_complex
]
DOUBLE = [(name, dtype) for name in OPS for dtype in ("float64", "complex128")]


def samples(name, dtype, requires_grad=False):
    found = list(OPS[name].sample_inputs("cpu", DTYPES[name, dtype], requires_grad=requires_grad))
    assert found
    if DTYPES[name, dtype] in judging.DOUBLE:
        for tensor in itertools.chain.from_iterable(bound(None, sample)[1] for sample in found):
            judging.make_whole(tensor)
    return found


def parts(sample):
    """The arguments of a call in order, and the positions of its tensors."""
    arguments = (sample.input, *sample.args)
    return arguments, [i for i, value in enumerate(arguments) if isinstance(value, torch.Tensor)]


def bound(function, sample):
    """The call as a function of its tensors alone."""
    arguments, places = parts(sample)

    def call(*tensors):
        filled = list(arguments)
        for place, tensor in zip(places, tensors, strict=True):
            filled[place] = tensor
        return function(*filled, **sample.kwargs)

    return call, [arguments[place] for place in places]


def named(sample):
    return spelled(*parts(sample)[0], **sample.kwargs)


def gradients(call, tensors, ct):
    """The gradients of a call in all its tensors, for the gradient `ct` of its result."""
    leaves = [t.detach().requires_grad_() for t in tensors]
    return torch.autograd.grad(call(*leaves), leaves, ct)


def assert_same_layout(y, expected):
    """Equal strides wherever a stride says anything."""
    if y.numel():
        facts = zip(y.shape, y.stride(), expected.stride(), strict=True)
        differing = [(n, s, e) for n, s, e in facts if n > 1 and s != e]
        assert not differing, f"has strides {y.stride()}, not {expected.stride()}"


def check_forward(name, sample, ran):
    call, tensors = bound(getattr(ours, name), sample)
    theirs, _ = bound(OPS[name].op, sample)
    y, expected = call(*tensors), theirs(*tensors)
    assert_same_layout(y, expected)
    y64 = theirs(*map(judging.in_double, tensors))
    sums = theirs(*map(judging.magnitude, tensors))
    judging.assert_as_good(y, expected, y64, sums, ran.error_factor())


def check_gradients(name, sample, ran):
    call, tensors = bound(getattr(ours, name), sample)
    theirs, _ = bound(OPS[name].op, sample)
    ct = 3 * torch.randn_like(theirs(*tensors))
    if ct.dtype in judging.DOUBLE:
        judging.make_whole(ct)
    got, expected = gradients(call, tensors, ct), gradients(theirs, tensors, ct)
    truth, sums = (
        gradients(theirs, [*map(change, tensors)], change(ct))
        for change in (judging.in_double, judging.magnitude)
    )
    for quartet in zip(got, expected, truth, sums, strict=True):
        judging.assert_as_good(*quartet, ran.error_factor())


@pytest.mark.parametrize(("name", "dtype"), EVERY)
def test_forward(name, dtype, cases):
    with cases("OpInfo forward") as case:
        for sample in samples(name, dtype):
            with case(named(sample)) as ran:
                check_forward(name, sample, ran)


@pytest.mark.parametrize("name", list(OPS))
def test_forward_of_views(name, cases):
    with cases("OpInfo views") as case:
        for sample in samples(name, "float32"):
            scattered = sample.noncontiguous()
            with case(named(scattered)) as ran:
                check_forward(name, scattered, ran)


@pytest.mark.parametrize(("name", "dtype"), DIFFERENTIABLE)
def test_gradients(name, dtype, cases):
    with cases("OpInfo gradients") as case:
        for sample in samples(name, dtype):
            with case(named(sample)) as ran:
                check_gradients(name, sample, ran)


@pytest.mark.parametrize(("name", "dtype"), DOUBLE)
def test_first_derivatives_forward_and_backward(name, dtype, cases, pytorchs_last):
    with cases(f"OpInfo gradcheck {dtype}") as case:
        for sample in samples(name, dtype, requires_grad=True):
            with case(named(sample)):
                call, tensors = bound(getattr(ours, name), sample)
                assert gradcheck(call, tensors, check_forward_ad=True, fast_mode=True)


@pytest.mark.parametrize(("name", "dtype"), DOUBLE)
def test_second_derivatives(name, dtype, cases, pytorchs_last):
    with cases(f"OpInfo gradgradcheck {dtype}") as case:
        for sample in samples(name, dtype, requires_grad=True):
            with case(named(sample)):
                call, tensors = bound(getattr(ours, name), sample)
                assert gradgradcheck(call, tensors, check_fwd_over_rev=True, fast_mode=True)


def is_same_with_a_stride(sample):
    """The one call that PyTorch refuses and we take: padding="same" with a stride."""
    return sample.kwargs.get("padding") == "same" and sample.kwargs.get("stride", 1) != 1


@pytest.mark.parametrize("name", [name for name, op in OPS.items() if op.error_inputs_func])
def test_wrong_calls_raise_what_pytorch_raises(name, cases):
    with cases("OpInfo errors") as case:
        for wrong in OPS[name].error_inputs("cpu"):
            sample = wrong.sample_input
            with case(named(sample)):
                call, tensors = bound(getattr(ours, name), sample)
                if is_same_with_a_stride(sample):
                    check_same_with_a_stride(call, tensors, sample)
                    continue
                with pytest.raises(wrong.error_type) as raised:
                    call(*tensors)
                assert len(str(raised.value)) > len(name), "says nothing"


def check_same_with_a_stride(call, tensors, sample):
    x, w, b = map(judging.make_whole, tensors)
    y, stride = call(x, w, b), sample.kwargs["stride"]
    assert y.shape[2:] == tuple(math.ceil(n / stride) for n in x.shape[2:])
    assert_equal(y, by_hand.conv(x, w, b, **sample.kwargs))


def test_the_call_that_only_we_take_is_among_the_wrong_ones():
    wrong = [e.sample_input for op in OPS.values() if op.error_inputs_func
             for e in op.error_inputs("cpu")]  # fmt: skip
    assert sum(map(is_same_with_a_stride, wrong)) >= 1
