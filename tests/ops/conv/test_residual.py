"""A residual in the sum: the same as PyTorch's addition, for every call that takes one."""

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F

import faltung
from faltung import ConvSpec
from faltung import functional as FF
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.machine import this_machine
from faltung.ops.activations import activate, activate_in_place
from faltung.ops.conv import dispatch
from faltung.ops.conv.algorithms.implicit_gemm_cpu import ALGORITHM as implicit_gemm_cpu
from faltung.ops.conv.algorithms.native_torch import NativeTorch
from faltung.ops.conv.algorithms.winograd_cpu import ALGORITHM as winograd_cpu
from faltung.ops.conv.residual import Adding
from faltung.ops.naming import ACTIVATIONS
from faltung.planning import Algorithm, algorithms, plan
from forked import run_guarded

Whole = Callable[..., Tensor]

CALLS: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("conv1d", (2, 4, 9), (6, 2, 3), {"stride": 2, "padding": 1, "groups": 2}),
    ("conv2d", (1, 4, 5, 6), (4, 2, 3, 2), {"padding": (1, 0), "groups": 2}),
    ("conv2d", (2, 3, 6, 7), (5, 3, 1, 1), {"stride": 2}),
    ("conv2d", (2, 8, 6, 7), (8, 1, 3, 3), {"padding": 1, "groups": 8}),
    ("conv2d", (1, 8, 6, 5), (8, 4, 3, 3), {"padding": 1, "groups": 2}),
    ("conv3d", (1, 2, 3, 4, 3), (2, 1, 2, 2, 2), {"groups": 2, "padding": 1}),
    ("conv_transpose1d", (2, 4, 5), (4, 3, 3), {"stride": 2, "output_padding": 1}),
    ("conv_transpose2d", (1, 4, 3, 4), (4, 3, 3, 2), {"stride": 2, "groups": 2}),
    ("conv_transpose2d", (1, 2, 5, 4), (2, 6, 3, 3), {"padding": 1}),
    ("conv_transpose2d", (1, 16, 3, 4), (16, 1, 4, 4), {"stride": 2, "padding": 1, "groups": 16}),
    ("conv_transpose3d", (1, 2, 2, 3, 2), (2, 2, 2, 2, 2), {"stride": 2}),
]
LAYOUTS = {
    "contiguous": Tensor.contiguous,
    "channels_last": lambda t: t.movedim(1, -1).contiguous().movedim(-1, 1),
    "every second": lambda t: torch.stack([t, t], -1)[..., 0],
}


@pytest.fixture(autouse=True)
def _whole_numbers_to_the_bit() -> Iterator[None]:
    with faltung.using(accuracy="exact"):
        yield


def operands(
    call: str, x: tuple[int, ...], w: tuple[int, ...], keywords: Any, make: Whole, **more: Any
) -> list[Tensor]:
    """Image, weight, bias and residual."""
    image, weight = make(*x, **more), make(*w, **more)
    y = getattr(F, call)(image, weight, **keywords)
    return [image, weight, make(y.shape[1], **more), make(*y.shape, **more)]


@pytest.mark.parametrize(("call", "x", "w", "keywords"), CALLS)
def test_is_pytorchs_addition(
    call: str, x: tuple[int, ...], w: tuple[int, ...], keywords: Any, whole: Whole
) -> None:
    ours, theirs = getattr(FF, call), getattr(F, call)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        image, weight, bias, residual = operands(call, x, w, keywords, whole, dtype=dtype, most=2)
        for b, turn, turn_image in itertools.product((None, bias), LAYOUTS, LAYOUTS):
            r, a = LAYOUTS[turn](residual), LAYOUTS[turn_image](image)
            expected = theirs(image, weight, b, **keywords) + residual
            for _ in range(2):  # planned, and found by the weight
                y = ours(a, weight, b, **keywords, residual=r)
                assert y.dtype == dtype and torch.equal(y, expected)
                y = ours(a, weight, b, **keywords, residual=r, activation="relu")
                assert torch.equal(y, expected.relu())
            assert torch.equal(r, residual)


TAKING = [a.name for a in algorithms("conv", "cpu") if a.tasks != {"grad_weight"}]


@pytest.mark.parametrize("name", TAKING)
def test_every_algorithm_takes_one(name: str, whole: Whole) -> None:
    taken = 0
    for (call, x, w, keywords), layout in itertools.product(CALLS, LAYOUTS):
        image, weight, bias, residual = operands(
            call, x, w, keywords, whole, dtype=torch.float32, most=2
        )
        image, residual = LAYOUTS[layout](image), LAYOUTS[layout](residual)
        expected = (getattr(F, call)(image, weight, bias, **keywords) + residual).relu()
        more = {**keywords, "activation": "relu", "residual": residual, "algorithm": name}
        try:
            with faltung.using(accuracy="default"):
                y = getattr(FF, call)(image, weight, bias, **more)
        except NotImplementedError:
            continue
        taken += 1
        # whole, but by way of other numbers in Winograd's
        assert torch.equal(y.round() if "winograd" in name else y, expected)
    assert taken


# where sums are stored: vectors along rows and along channels, whole ones and parts of some, turned
# on their way out or not, waiting for long activations or not; several groups, planes and images
STORES = [
    *[f"n1 c4 o{o} i3x{n} k1x1 {more}" for o, n, more in (
        (6, 40, "residual float32"), (5, 33, "bias residual relu float64"),
        (3, 70, "residual gelu float32"), (7, 21, "residual relu bfloat16"),
    )],
    *[f"n2 c3 o{o} i5x{n} k3x3 p1 {more}" for o, n, more in (
        (16, 7, "residual relu float32"), (33, 9, "bias residual float32"),
        (20, 15, "residual silu float32"), (4, 16, "bias residual sigmoid float16"),
        (40, 5, "residual relu6 float64"),
    )],
    *[f"n2 c3 o{o} i5x{n} k3x3 p1 {more} channels_last {dtype}" for o, n, more, dtype in (
        (16, 7, "residual relu", "float32"), (35, 9, "bias residual gelu", "float32"),
        (5, 14, "bias residual", "bfloat16"), (48, 6, "residual leaky_relu", "float64"),
    )],
    "n1 c6 o20 i6x9 k3x3 s2 p1 g2 bias residual relu float32",
    "n1 c6 o34 i6x9 k3x3 p1 d1x2 g2 residual hardswish channels_last float32",
    "n2 c2 o3 i3x4x5 k2x3x3 p1 bias residual relu float32",
    "n2 c2 o3 i3x4x5 k2x3x3 p1 residual gelu_tanh channels_last float32",
    "n1 c3 o18 i33 k3 p1 residual relu float32",
    "n0 c3 o18 i9x9 k3x3 p1 residual float32",
]  # fmt: skip


@pytest.mark.parametrize("text", STORES)
@pytest.mark.parametrize("algorithm", [implicit_gemm_cpu, winograd_cpu], ids=lambda a: a.name)
def test_in_the_store(
    algorithm: Algorithm, text: str, check_algorithm: Callable[..., None]
) -> None:
    for task in ("forward", "grad_input"):
        spec = ConvSpec.parse(f"{task} {text} cpu")
        reasons = algorithm.unsupported(spec)
        if task in algorithm.tasks and not reasons and algorithm.adds(spec):
            check_algorithm(algorithm, spec)


@pytest.mark.parametrize("name", ["implicit_gemm_cpu", "winograd_cpu"])
def test_stays_inside_its_memory(name: str) -> None:
    # results of Winograd's are compared with its own, which `guard.py` does where one is bent
    bent = name == "winograd_cpu"
    texts = [f"forward {text} cpu" for text in STORES if ("relu" in text or not bent)
             and not (bent and "k1x1" in text) and "n0" not in text]  # fmt: skip
    run_guarded(name, texts)


def test_the_image_itself_without_a_batch_and_a_causal_one(whole: Whole) -> None:
    x, w = whole(4, 6, 7), whole(4, 4, 3, 3)
    for image in (x, x.unsqueeze(0)):
        expected = F.conv2d(image, w, None, 1, 1) + image
        for _ in range(3):
            assert torch.equal(FF.conv2d(image, w, None, 1, 1, residual=image), expected)
    x, w = whole(2, 4, 9), whole(4, 4, 3)
    expected = F.conv1d(F.pad(x, (2, 0)), w) + x
    assert torch.equal(FF.causal_conv1d(x, w, residual=x), expected)
    assert torch.equal(faltung.by_hand.conv(x, w, padding="causal", residual=x), expected)
    with pytest.raises(ArgumentError, match=r"residual must have the shape \(2, 4, 9\)"):
        faltung.by_hand.conv(x, w, padding="causal", residual=x[:1])


def test_every_activation_is_applied_to_the_sum() -> None:
    x, w, residual = torch.randn(2, 6, 5, 5), torch.randn(6, 1, 3, 3), torch.randn(2, 6, 3, 3)
    for name in ACTIVATIONS:
        y = FF.conv2d(x, w, groups=6, residual=residual, activation=name)
        added = FF.conv2d(x, w, groups=6, residual=residual)
        expected = activate(name, added.double())
        # what rounding may do to values of this size, and to a function of no steeper slope
        room = 8 * torch.finfo(torch.float32).eps * (1 + added.double().abs())
        assert ((y.double() - expected).abs() <= room).all(), name
        assert torch.equal(activate_in_place(name, added.clone()), activate(name, added))


@pytest.mark.parametrize("cls", ["Conv1d", "Conv2d", "Conv3d"])
def test_modules_take_one(cls: str, whole: Whole) -> None:
    dims = int(cls[-2])
    layer = getattr(faltung.nn, cls)(4, 6, 3, padding=1, activation="relu").double()
    up = getattr(faltung.nn, cls.replace("Conv", "ConvTranspose"))(4, 6, 3, stride=2).double()
    lazy = getattr(faltung.nn, "Lazy" + cls)(6, 3, padding=1).double()
    x, residual = whole(2, 4, *(5,) * dims), whole(2, 6, *(5,) * dims)
    for layer_ in (layer, up):
        layer_.weight.data, layer_.bias.data = whole(*layer_.weight.shape), whole(6)
    expected = (getattr(F, cls.lower())(x, layer.weight, layer.bias, 1, 1) + residual).relu()
    wide = whole(*up(x, (12,) * dims).shape)
    for grad in (True, False):
        with torch.set_grad_enabled(grad):
            assert torch.equal(layer(x, residual), expected)
            assert torch.equal(layer(x, residual=residual), expected)
            narrow = up(x)
            assert torch.equal(up(x, None, narrow), 2 * narrow)
            assert torch.equal(up(x, (12,) * dims, wide), up(x, (12,) * dims) + wide)
    assert lazy(x, residual=residual).shape == residual.shape


class TestErrors:
    x, w = torch.ones(2, 3, 5, 5), torch.ones(4, 3, 3, 3)

    @pytest.mark.parametrize("shape", [(1,), (4, 1, 1), (1, 4, 3, 3), (2, 4, 3, 1), (2, 4, 5, 5)])
    def test_a_residual_is_not_broadcast(self, shape: tuple[int, ...]) -> None:
        text = rf"conv2d: residual must have the shape \(2, 4, 3, 3\) .* got \({shape[0]},"
        for _ in range(2):
            with pytest.raises(ArgumentError, match=text):
                FF.conv2d(self.x, self.w, residual=torch.ones(shape))
        with pytest.raises(ArgumentError, match=r"residual must have the shape \(4, 3, 3\)"):
            FF.conv2d(self.x[0], self.w, residual=torch.ones(2, 4, 3, 3))

    def test_nor_converted(self) -> None:
        y = torch.ones(2, 4, 3, 3)
        with pytest.raises(ArgumentError, match="input is float32 on cpu but residual is float64"):
            FF.conv2d(self.x, self.w, residual=y.double())
        with pytest.raises(ArgumentError, match="residual is float32 on meta"):
            FF.conv2d(self.x, self.w, residual=y.to("meta"))
        with pytest.raises(ArgumentTypeError, match="residual must be a tensor, got float"):
            FF.conv2d(self.x, self.w, residual=1.0)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="residual must be a dense tensor"):
            FF.conv2d(self.x, self.w, residual=y.to_sparse())
        with pytest.raises(ArgumentTypeError, match="must be a tensor, got str"):
            FF.conv2d(self.x, self.w, residual="x")  # type: ignore[arg-type]

    def test_specs(self) -> None:
        with pytest.raises(ArgumentError, match="and there is none"):
            ConvSpec.parse("forward n1 c1 o1 i5 k3 residual_apart float32 cpu")


def test_a_spec_says_it() -> None:
    spec = ConvSpec.parse("forward n1 c8 o4 i8x8 k3x3 bias residual relu channels_last float32 cpu")
    assert spec.residual and ConvSpec.parse(str(spec)) == spec
    assert not spec.with_task("grad_weight").residual and not spec.with_task("forward").residual
    assert spec.run_operands[2:] == (((4,), "contiguous"), ((1, 4, 6, 6), "channels_last"))
    plain = ConvSpec.parse("forward n1 c8 o4 i8x8 k3x3 bias relu channels_last float32 cpu")
    assert spec.bytes == plain.bytes + 4 * 4 * 36 and spec.macs == plain.macs
    x, w = torch.ones(1, 8, 8, 8), torch.ones(4, 8, 3, 3)
    for turned, apart in ((False, False), (True, True)):
        y = torch.ones(1, 4, 6, 6)
        y = LAYOUTS["channels_last"](y) if turned else y
        made = faltung.plan(x, w, residual=y)
        assert made.spec.residual and made.spec.residual_apart is apart


def test_what_is_added_afterwards_is_in_the_estimate() -> None:
    inner = NativeTorch()
    outer = Adding(inner)
    plain, added, apart = (
        ConvSpec.parse(f"forward n1 c8 o64 i80x80 k3x3 p1 {words} float32 cpu")
        for words in ("relu", "residual relu", "residual residual_apart relu")
    )
    seconds = [outer.seconds(spec, this_machine()) for spec in (plain, added, apart)]
    assert seconds == sorted(set(seconds)) and seconds[0] == inner.seconds(plain, this_machine())
    assert outer.rewritten(added) == outer.rewritten(apart)
    assert str(outer.rewritten(added)) == "forward n1 c8 o64 i80x80 k3x3 p1 float32 cpu"
    with faltung.using(algorithm="native_torch") as knobs:
        assert f"as {outer.rewritten(added)}" in str(plan(added, "conv", knobs))


@pytest.mark.parametrize(("call", "x", "w", "keywords"), CALLS)
def test_derivatives(call: str, x: tuple[int, ...], w: tuple[int, ...], keywords: Any) -> None:
    given = operands(call, x, w, keywords, torch.randn, dtype=torch.float64)
    given = [t.requires_grad_() for t in given]

    def layer(x: Tensor, w: Tensor, b: Tensor, residual: Tensor) -> Tensor:
        y: Tensor = getattr(FF, call)(x, w, b, **keywords, residual=residual, activation="silu")
        return y

    assert gradcheck(layer, given, fast_mode=True, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(layer, given, fast_mode=True, check_fwd_over_rev=True)


def test_gradients_are_pytorchs(whole: Whole) -> None:
    given = operands(*CALLS[1], whole)
    seed = whole(*given[3].shape)
    for wanted in itertools.product((True, False), repeat=4):
        if not any(wanted):
            continue
        for t, is_wanted in zip(given, wanted, strict=True):
            t.requires_grad_(is_wanted)
        leaves = [t for t in given if t.requires_grad]
        found, expected = (
            torch.autograd.grad((conv(*given[:3], 1, (1, 0), 1, 2)), leaves, seed)
            for conv in (
                lambda *a: FF.conv2d(*a, residual=given[3], activation="relu"),
                lambda *a: (F.conv2d(*a) + given[3]).relu(),
            )
        )
        assert all(map(torch.equal, found, expected))


def test_the_second_call_finds_its_routine_by_the_weight(
    monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    monkeypatch.setattr(dispatch, "_recent", {})
    calls, eager = [], dispatch._eager
    monkeypatch.setattr(dispatch, "_eager", lambda *a: (calls.append(a[0]), eager(*a))[1])
    x, w, b, y = operands(*CALLS[1], whole)

    def call(residual: Tensor | None, **keywords: Any) -> Tensor:
        found = FF.conv2d(x, w, b, 1, [1, 0], 1, 2, residual=residual, **keywords)
        expected = F.conv2d(x, w, b, 1, (1, 0), 1, 2)
        expected = expected if residual is None else expected + residual
        assert torch.equal(found, expected.relu() if keywords else expected)
        return found

    for count in (1, 1, 1):
        call(y)
        assert len(calls) == count
    # each of these is another call, and remembered beside the others
    others: list[Callable[[], Any]] = [
        lambda: call(None),
        lambda: call(y, activation="relu"),
        lambda: call(y.mT.contiguous().mT),
        lambda: call(y._neg_view()),
    ]
    for other in others:
        calls.clear()
        other()
        assert len(calls) == 1
        call(2 * y)
        assert len(calls) == 1
    with pytest.raises(ArgumentTypeError):
        FF.conv2d(x, w, b, 1, [True, 0], 1, 2, residual=y)
    with torch.no_grad():
        call(y)
    y.requires_grad_()
    assert call(y).requires_grad
    with torch.no_grad():
        assert not call(y).requires_grad


def test_autocast(whole: Whole) -> None:
    x, w, b, y = operands(*CALLS[1], whole, dtype=torch.float32)
    for residual in (y, y.bfloat16()):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found = FF.conv2d(x, w, b, 1, (1, 0), 1, 2, residual=residual)
            expected = F.conv2d(x, w, b, 1, (1, 0), 1, 2) + residual.bfloat16()
        assert found.dtype == torch.bfloat16 and torch.equal(found, expected)


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_traced_by_others_and_of_their_classes(whole: Whole) -> None:
    x, w, b, y = operands(*CALLS[1], whole)

    def call(x: Tensor, y: Tensor) -> Tensor:
        return FF.conv2d(x, w, b, 1, (1, 0), 1, 2, residual=y, activation="relu")

    expected = (F.conv2d(2 * x, w, b, 1, (1, 0), 1, 2) + y).relu()
    traced = torch.jit.trace(call, (x, y))  # type: ignore[no-untyped-call]
    assert torch.equal(traced(2 * x, y), expected)
    assert torch.equal(make_fx(call)(x, y)(2 * x, y), expected)

    class Named(Tensor):
        pass

    found = call(2 * x, y.as_subclass(Named))
    assert isinstance(found, Named) and torch.equal(found.as_subclass(Tensor), expected)
    assert torch.equal(call(2 * x, (-y)._neg_view()), expected)
    assert torch.equal(call(2 * x, torch._efficientzerotensor(y.shape, dtype=y.dtype)), (
        F.conv2d(2 * x, w, b, 1, (1, 0), 1, 2)).relu())  # fmt: skip


def test_candidates_are_measured_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FALTUNG_CACHE", str(tmp_path))
    x, w, y = torch.randn(1, 8, 9, 9), torch.randn(8, 8, 3, 3), torch.randn(1, 8, 7, 7)
    for residual in (y, LAYOUTS["channels_last"](y)):
        with faltung.using(measure=True, accuracy="exact"):
            made = faltung.plan(x, w, residual=residual)
        measured = [c.name for c in made.candidates if c.measured is not None]
        assert "native_torch" in measured and "implicit_gemm_cpu" in measured
