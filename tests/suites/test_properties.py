"""The whole space of arguments against the definition, by chance.

Numbers are whole and float64, so that every sum is exact and equality means the same bits. The
draws are seeded: the same tests of the same sources draw the same.
"""

import itertools
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

import faltung.functional as ours
from faltung import ArgumentError, ArgumentTypeError, ConvSpec, NoAlgorithmError, by_hand, plan
from faltung.ops.geometry import Axis, window_span
from faltung.tools.budget import assert_equal

CONV = {1: ours.conv1d, 2: ours.conv2d, 3: ours.conv3d}
CONV_TRANSPOSE = {1: ours.conv_transpose1d, 2: ours.conv_transpose2d, 3: ours.conv_transpose3d}
MODES = ("zeros", "reflect", "replicate", "circular")
WORDS = ("valid", "same", "same_lower")
LAYOUTS = ("as is", "every second", "channels last", "turned")

# the definition takes a Python step per output and tap, so more axes must be shorter
MOST_TAPS = {1: 5, 2: 3, 3: 2}
MOST_ROOM = {1: 9, 2: 4, 3: 2}  # by how much an image may be longer than a window


def reproducible(examples):
    return settings(
        max_examples=examples, deadline=None, derandomize=True, database=None,
        suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
    )  # fmt: skip


def per_axis(draw, values, dims):
    """One value for all axes, or a tuple with one each, as users write them."""
    return draw(st.one_of(values, st.tuples(*[values] * dims)))


def paddings(dims):
    ends = st.integers(0, 3)
    one = st.one_of(ends, st.tuples(ends, ends))
    words = WORDS if dims > 1 else (*WORDS, "causal")
    return st.one_of(ends, st.tuples(*[one] * dims), st.sampled_from(words))


def numbers(seed, *shape):
    return torch.randint(
        -4, 5, shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )


def scattered(tensor, how):
    """The same numbers, elsewhere in memory: every second one, channels last, or turned round."""
    if how == "every second":
        return torch.stack([tensor, tensor + 100], -1).flatten(-2)[..., ::2]
    if how == "channels last":
        return tensor.movedim(1, -1).contiguous().movedim(-1, 1)
    if how == "turned":
        return tensor.transpose(0, -1).contiguous().transpose(0, -1)
    return tensor


@dataclass(frozen=True)
class Call:
    """A convolution call: its tensors, and its arguments as a user would write them."""

    x: torch.Tensor
    w: torch.Tensor
    b: torch.Tensor | None
    arguments: dict

    @property
    def dims(self):
        return self.w.dim() - 2

    def spec(self, transposed=False):
        return plan(self.x, self.w, self.b, **self.arguments, transposed=transposed).spec

    def batched(self):
        return self.x if self.x.dim() == self.w.dim() else self.x.unsqueeze(0)


def each(value, dims):
    return value if isinstance(value, tuple) else (value,) * dims


@st.composite
def calls(draw, transposed=False):
    dims = draw(st.integers(1, 3))
    groups, cg, og = (draw(st.integers(1, most)) for most in (3, 2, 2))
    kernel = [draw(st.integers(1, MOST_TAPS[dims])) for _ in range(dims)]
    stride, dilation = (per_axis(draw, st.integers(1, 3), dims) for _ in range(2))
    room = [draw(st.integers(0, MOST_ROOM[dims])) for _ in range(dims)]
    arguments = {
        "stride": stride,
        "padding": draw(paddings(dims)),
        "dilation": dilation,
        "groups": groups,
        "padding_mode": draw(st.sampled_from(MODES)),
    }
    if transposed:
        # from here on one in a few does not fit together: that must be said, too
        size = [1 + n for n in room]
        assume(arguments["padding"] != "causal")
        legal = min(map(max, each(stride, dims), each(dilation, dims)))
        arguments["output_padding"] = per_axis(draw, st.integers(0, legal - 1), dims)
    else:
        spans = map(window_span, kernel, each(dilation, dims))
        size = [n + span - 1 for n, span in zip(room, spans, strict=True)]
    batch = draw(st.sampled_from([(), (0,), (1,), (2,)]))
    shape = (groups * cg, og, *kernel) if transposed else (groups * og, cg, *kernel)
    seed = draw(st.integers(0, 99))
    x, w = numbers(seed, *batch, groups * cg, *size), numbers(seed + 1, *shape)
    bias = numbers(seed + 2, groups * og) if draw(st.booleans()) else None
    x_layout, w_layout = (draw(st.sampled_from(LAYOUTS)) for _ in range(2))
    return Call(scattered(x, x_layout) if batch else x, scattered(w, w_layout), bias, arguments)


def refused(call, transposed=False):
    """Whether the arguments do not fit together: then the call must say so, too."""
    try:
        call.spec(transposed)
    except ArgumentError as error:
        function = (CONV_TRANSPOSE if transposed else CONV)[call.dims]
        try:
            function(call.x, call.w, call.b, **call.arguments)
        except ArgumentError as same:
            assert str(same) == str(error)
            event("refused")
            return True
        raise AssertionError(f"the plan says {error}, the call says nothing") from error
    return False


@reproducible(200)
@given(calls())
def test_convolution_is_its_definition(call):
    if not refused(call):
        y = CONV[call.dims](call.x, call.w, call.b, **call.arguments)
        assert_equal(y, by_hand.conv(call.x, call.w, call.b, **call.arguments))


@reproducible(200)
@given(calls(transposed=True))
def test_transposed_convolution_is_the_adjoint_of_the_definition(call):
    if refused(call, transposed=True):
        return
    spec = call.spec(transposed=True)
    y = CONV_TRANSPOSE[call.dims](call.x, call.w, call.b, **call.arguments)
    expected = by_hand.grad_input(call.batched(), call.w, spec)
    if call.b is not None:
        expected = expected + call.b.view(-1, *[1] * call.dims)
    assert_equal(y, expected if call.x.dim() == call.w.dim() else expected.squeeze(0))


@reproducible(150)
@given(calls(), st.integers(0, 99))
def test_gradients_are_those_of_the_definition(call, seed):
    if refused(call):
        return
    spec, leaves = call.spec(), [call.x, call.w] + ([] if call.b is None else [call.b])
    leaves = [leaf.detach().requires_grad_() for leaf in leaves]
    y = CONV[call.dims](*leaves, **call.arguments)
    gy = numbers(seed, *y.shape)
    gx, gw, *gb = torch.autograd.grad(y, leaves, gy)
    batched_gy = gy.view(spec.y_shape)
    assert_equal(gx.view(spec.x_shape), by_hand.grad_input(batched_gy, call.w, spec))
    assert_equal(gw, by_hand.grad_weight(call.batched(), batched_gy, spec))
    for g in gb:
        assert_equal(g, batched_gy.sum([0, *range(2, batched_gy.dim())]))


@reproducible(100)
@given(calls(transposed=True), st.integers(0, 99))
def test_gradients_of_the_transposed_are_those_of_the_definition(call, seed):
    if refused(call, transposed=True):
        return
    spec = call.spec(transposed=True)
    leaves = [leaf.detach().requires_grad_() for leaf in (call.x, call.w)]
    y = CONV_TRANSPOSE[call.dims](*leaves, None, **call.arguments)
    gy = numbers(seed, *y.shape)
    gx, gw = torch.autograd.grad(y, leaves, gy)
    batched_gy = gy.view(spec.x_shape)  # the spec calls the transposed result x
    assert_equal(gx.view(spec.y_shape), by_hand.forward(batched_gy, call.w, spec))
    assert_equal(gw, by_hand.grad_weight(batched_gy, call.batched(), spec))


@st.composite
def specs(draw):
    dims = draw(st.integers(1, 3))
    groups = draw(st.integers(1, 3))
    several = {"min_size": dims, "max_size": dims}
    one = st.lists(st.integers(1, 3), **several).map(tuple)
    pairs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), **several).map(tuple)
    spec = ConvSpec(
        draw(st.sampled_from(("forward", "grad_input", "grad_weight"))),
        draw(st.integers(0, 3)),
        groups * draw(st.integers(1, 3)),
        groups * draw(st.integers(1, 3)),
        draw(st.lists(st.integers(7, 20), **several).map(tuple)),
        draw(one), (), draw(one), draw(pairs), draw(one), groups,
        draw(st.sampled_from(MODES)), draw(st.booleans()),
        draw(st.sampled_from((None, "relu", "gelu_tanh", "leaky_relu"))),
        draw(st.sampled_from(("float32", "bfloat16", "complex128"))),
        draw(st.sampled_from(("cpu", "cuda:1"))),
        draw(st.sampled_from(("contiguous", "channels_last", "strided"))),
    )  # fmt: skip
    fewer = tuple(draw(st.integers(1, n)) for n in spec.output_size)
    return replace(spec, output_size=fewer) if draw(st.booleans()) else spec


@reproducible(100)
@given(specs())
def test_a_spec_is_what_it_spells(spec):
    assert ConvSpec.parse(str(spec)) == spec
    assert str(ConvSpec.parse(str(spec))) == str(spec)


@reproducible(100)
@given(specs(), st.data())
def test_readers_and_sources_are_inverse(spec, data):
    for axis in spec.axes:
        reads = {(q, t): i for q, row in enumerate(axis.sources) for t, i in enumerate(row)}
        found = {pair: i for i, pairs in enumerate(axis.readers) for pair in pairs}
        assert found == {pair: i for pair, i in reads.items() if i is not None}
        assert sum(map(len, axis.readers)) == axis.executed
        assert set(axis.unread) == set(range(axis.input_size)) - set(reads.values())
    output = tuple(data.draw(st.integers(0, n - 1)) for n in spec.output_size)
    tap = tuple(data.draw(st.integers(0, n - 1)) for n in spec.kernel_size)
    position = spec.source(output, tap)
    assert position is None or (output, tap) in set(spec.readers(position))


@reproducible(100)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_same_padding_gives_one_output_a_stride(n, k, s, d):
    y = ours.conv1d(torch.ones(1, 1, n), torch.ones(1, 1, k), stride=s, padding="same", dilation=d)
    assert y.shape[-1] == Axis(-(-n // s), 1).output_size


# what is not an argument at all

HUGE = st.sampled_from((2**31, 2**40, 2**70, -(2**70)))
JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.floats(allow_nan=True),
    st.text(max_size=3),
    st.sampled_from([b"same", 1j, "SAME", "zeros", "relu", object(), {}, {1: 2}, {1, 2}, range(2)]),
    st.sampled_from([torch.tensor(2), torch.ones(2), torch.float32, np.int64(2), np.arange(2)]),
)
SMALL = st.one_of(st.integers(-3, 6), JUNK)
NESTED = st.recursive(SMALL, lambda inner: st.lists(inner, max_size=4), max_leaves=6)
MODE = st.one_of(JUNK, st.sampled_from(MODES))
# all that makes the padded image or the result large stays small: it would only fill the memory
PADDING = st.one_of(NESTED, st.sampled_from(WORDS), st.tuples(st.integers(-1, 4), SMALL))
CONV_ARGUMENTS = {
    "stride": st.one_of(NESTED, HUGE, st.integers(1, 3)),
    "padding": PADDING,
    "dilation": st.one_of(NESTED, HUGE, st.integers(1, 2)),
    "groups": st.one_of(NESTED, HUGE, st.integers(1, 2)),
    "padding_mode": MODE,
    "activation": JUNK,
    "algorithm": JUNK,
}
TRANSPOSED_ARGUMENTS = CONV_ARGUMENTS | {
    "stride": st.one_of(NESTED, st.integers(1, 3)),
    "dilation": st.one_of(NESTED, st.integers(1, 2)),
    "output_padding": st.one_of(NESTED, HUGE),
}
DTYPES = (torch.float32, torch.float64, torch.int64, torch.bool, torch.complex64)
TENSORS = st.one_of(
    st.sampled_from([None, 3, "x", [[1.0]], np.ones((1, 2, 5)), torch.ones(1, 2, 5).to_sparse()]),
    st.builds(
        lambda shape, dtype: torch.ones(shape, dtype=dtype),
        st.lists(st.integers(0, 3), max_size=6),
        st.sampled_from(DTYPES),
    ),
)
GARBAGE = (ArgumentError, ArgumentTypeError, NoAlgorithmError)


def outcome(function, *values, **arguments):
    """The result, or None where the call is refused in one of the three ways there are."""
    try:
        return function(*values, **arguments)
    except GARBAGE as refusal:
        assert str(refusal), "says nothing"
        return None


def few(arguments):
    """One or two arguments at a time: more would nearly always be refused for the first of them."""
    some = [names for n in (1, 2) for names in itertools.combinations(sorted(arguments), n)]
    return st.sampled_from(some).flatmap(
        lambda names: st.fixed_dictionaries({name: arguments[name] for name in names})
    )


@reproducible(600)
@given(st.integers(1, 3), few(CONV_ARGUMENTS), st.integers(1, 3))
def test_bad_arguments_are_refused_or_mean_what_the_definition_says(dims, arguments, k):
    x, w = numbers(1, 1, 2, *[5] * dims), numbers(2, 2, 2, *[k] * dims)
    y = outcome(CONV[dims], x, w, **arguments)
    if y is not None and arguments.keys().isdisjoint({"activation", "algorithm"}):
        assert_equal(y, by_hand.conv(x, w, **arguments))


@reproducible(600)
@given(st.integers(1, 3), few(TRANSPOSED_ARGUMENTS), st.integers(1, 3))
def test_bad_transposed_arguments_are_refused_or_mean_an_adjoint(dims, arguments, k):
    x, w = numbers(1, 1, 2, *[5] * dims), numbers(2, 2, 2, *[k] * dims)
    y = outcome(CONV_TRANSPOSE[dims], x, w, **arguments)
    if y is not None and arguments.keys().isdisjoint({"activation", "algorithm"}):
        spec = plan(x, w, transposed=True, **arguments).spec
        assert_equal(y, by_hand.grad_input(x, w, spec))


@reproducible(300)
@given(st.integers(1, 3), TENSORS, TENSORS, TENSORS)
def test_bad_tensors_are_refused(dims, x, w, b):
    y = outcome(CONV[dims], x, w, b)
    if y is not None:
        assert_equal(y, by_hand.conv(x, w, b))
    outcome(CONV_TRANSPOSE[dims], x, w, b)


def test_an_argument_is_read_at_the_call():
    stride, x, w = torch.tensor(1), numbers(1, 1, 1, 7), numbers(2, 1, 1, 1)
    ours.conv1d(x, w, stride=stride)
    stride.fill_(3)
    assert_equal(ours.conv1d(x, w, stride=stride), x[..., ::3] * w)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["input", "weight", "bias"])
def test_a_sparse_operand_is_refused_after_the_same_call_with_a_dense_one(which):
    operands = [torch.ones(1, 2, 5), torch.ones(2, 2, 1), torch.ones(2)]
    ours.conv1d(*operands)
    operands[which] = operands[which].to_sparse()
    with pytest.raises(ArgumentTypeError, match=r"must be a dense tensor, got torch\.sparse_coo"):
        ours.conv1d(*operands)


# what such draws have found, in their shortest form


@pytest.mark.parametrize("name", ["stride", "dilation"])
def test_a_number_beyond_64_bits_is_refused_or_does_what_it_says(name):
    x, w = numbers(1, 1, 2, 5), numbers(2, 2, 2, 1)
    y = outcome(ours.conv1d, x, w, **{name: 2**70})
    if y is not None:
        assert_equal(y, by_hand.conv(x, w, **{name: 2**70}))


@pytest.mark.parametrize("name", ["padding_mode", "activation"])
def test_an_array_is_not_a_word(name):
    with pytest.raises(GARBAGE, match=f"{name} must be one of"):
        ours.conv1d(numbers(1, 1, 2, 5), numbers(2, 2, 2, 1), **{name: np.arange(2)})


@pytest.mark.parametrize("padding", [1, (1, 2)], ids=str)
def test_padding_alone_is_an_image(padding):
    x, w, b = torch.ones(1, 2, 0, dtype=torch.float64), numbers(1, 3, 2, 1), numbers(2, 3)
    leaves = [t.requires_grad_() for t in (x, w, b)]
    y = ours.conv1d(*leaves, padding=(padding,))
    assert_equal(y.detach(), b.detach().view(1, 3, 1).repeat(1, 1, y.shape[-1]))
    gx, gw, gb = torch.autograd.grad(y.sum(), leaves)
    assert gx.shape == x.shape and not gw.any() and bool((gb == y.shape[-1]).all())
