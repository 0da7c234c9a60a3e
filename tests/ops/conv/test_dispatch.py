"""What is remembered of a call serves the same call again, and no other."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import faltung
from faltung import functional as FF
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops import operands
from faltung.ops.conv import dispatch

Whole = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _nothing_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "_recent", {})
    monkeypatch.setattr(dispatch, "_ready", {})


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The calls that what is remembered of the weight did not serve."""
    calls, eager = [], dispatch._eager

    def noting(call: str, *rest: Any) -> Tensor:
        calls.append(call)
        return eager(call, *rest)

    monkeypatch.setattr(dispatch, "_eager", noting)
    return calls


@pytest.fixture
def depthwise(whole: Whole) -> tuple[Tensor, Tensor, Tensor]:
    return tuple(whole(*s, dtype=torch.float32) for s in ((2, 8, 9, 9), (8, 1, 3, 3), (8,)))  # type: ignore[return-value]


KEYWORDS: list[dict[str, Any]] = [
    {},
    {"stride": 2, "padding": 1},
    {"stride": (2, 1), "padding": (0, 1), "groups": 2},
    {"stride": [2, 1], "padding": [[0, 1], (2, 0)]},
    {"padding": "same", "padding_mode": "circular", "activation": "relu"},
    {"dilation": 2, "algorithm": "native_torch"},
]


@pytest.mark.parametrize("keywords", KEYWORDS, ids=str)
@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("batch", [(), (2,)])
def test_the_second_call_finds_its_routine_by_the_weight(
    looked_up: list[str], whole: Whole, batch: tuple[int, ...], biased: bool, keywords: Any
) -> None:
    groups = keywords.get("groups", 1)
    for call, function in (("conv2d", FF.conv2d), ("conv_transpose2d", FF.conv_transpose2d)):
        x, w = whole(*batch, 4, 9, 8), whole(4, 4 // groups, 3, 3)
        b = whole(w.shape[0] if call == "conv2d" else w.shape[1] * groups) if biased else None
        first = function(x, w, b, **keywords)
        assert looked_up == [call]
        assert torch.equal(function(x, w, b, **keywords), first)
        twice = function(2 * x, w, None if b is None else 2 * b, **keywords)
        assert torch.equal(twice, 2 * first)  # relu as well
        assert looked_up == [call]
        looked_up.clear()


def test_a_module_finds_it_too(looked_up: list[str], whole: Whole) -> None:
    layer = faltung.nn.Conv2d(4, 8, 3, padding=1)
    up = faltung.nn.ConvTranspose2d(4, 8, 3, stride=2)
    x = whole(1, 4, 6, 6, dtype=torch.float32)
    with torch.no_grad():
        for _ in range(3):
            layer(x), up(x), up(x, output_size=(14, 14))
    assert looked_up == ["conv2d", "conv_transpose2d", "conv_transpose2d"]


def test_fresh_tuples_and_lists_are_the_same_arguments(
    looked_up: list[str], depthwise: tuple[Tensor, ...]
) -> None:
    x, w, _ = depthwise
    for stride in ((2, 1), tuple(map(int, "21")), [2, 1]):
        y = FF.conv2d(x, w, None, stride, ((1, 0), 1), 1, 8)
        assert torch.equal(y, F.conv2d(F.pad(x, (1, 1, 1, 0)), w, None, (2, 1), 0, 1, 8))
    assert len(looked_up) == 1


@pytest.mark.parametrize(
    "other",
    [
        lambda x, w, b: (x[:1], w, b),
        lambda x, w, b: (x[..., 1:], w, b),
        lambda x, w, b: (x.mT, w, b),
        lambda x, w, b: (x.to(memory_format=torch.channels_last), w, b),
        lambda x, w, b: (x._neg_view(), w, b),
        lambda x, w, b: (x, w._neg_view(), b),
        lambda x, w, b: (x, w, b._neg_view()),
        lambda x, w, b: (x[0], w, b),
        lambda x, w, b: (x, w, None),
        lambda x, w, b: (x.double(), w.double(), b.double()),
    ],
    ids=range(10),
)
def test_other_operands_are_other_calls(
    depthwise: tuple[Tensor, ...], monkeypatch: pytest.MonkeyPatch, other: Any
) -> None:
    # whatever the weight: its identity may come again with the next one
    monkeypatch.setattr(dispatch, "id", lambda _: 7, raising=False)
    FF.conv2d(*depthwise, 1, 1, 1, 8)
    given = other(*depthwise)
    for _ in range(2):
        assert torch.equal(FF.conv2d(*given, 1, 1, 1, 8), F.conv2d(*given, 1, 1, 1, 8))
    assert torch.equal(FF.conv2d(*depthwise, 1, 1, 1, 8), F.conv2d(*depthwise, 1, 1, 1, 8))


@pytest.mark.parametrize(
    "keywords",
    [
        {"stride": 2},
        {"padding": 0},
        {"padding": (1, 0)},
        {"padding": "same_lower"},
        {"dilation": 2},
        {"padding_mode": "circular"},
        {"activation": "relu"},
        {"algorithm": "native_torch"},
    ],
    ids=str,
)
def test_other_arguments_are_other_calls(
    looked_up: list[str], depthwise: tuple[Tensor, ...], keywords: dict[str, Any]
) -> None:
    usual: dict[str, Any] = {"padding": 1, "groups": 8}
    for _ in range(2):
        FF.conv2d(*depthwise, **usual)
        FF.conv2d(*depthwise, **{**usual, **keywords})
    assert len(looked_up) == 2


def test_what_only_looks_equal_is_refused(depthwise: tuple[Tensor, ...]) -> None:
    x, w, b = depthwise
    for _ in range(2):
        FF.conv2d(x, w, b, 1, (1, 1), 1, 8)
        for bad in (True, 1.0, (1.0, 1), [True, 1]):
            with pytest.raises(ArgumentTypeError):
                FF.conv2d(x, w, b, bad, (1, 1), 1, 8)
            with pytest.raises((ArgumentTypeError, ArgumentError)):
                FF.conv2d(x, w, b, 1, (1, bad), 1, 8)
        with pytest.raises(ArgumentTypeError, match="input must be a tensor, got NoneType"):
            FF.conv2d(None, w, b, 1, (1, 1), 1, 8)  # type: ignore[arg-type]
        with pytest.raises(ArgumentTypeError, match="bias must be a tensor, got int"):
            FF.conv2d(x, w, 3, 1, (1, 1), 1, 8)  # type: ignore[arg-type]


def test_a_list_is_read_at_every_call(depthwise: tuple[Tensor, ...]) -> None:
    x, w, b = depthwise
    stride = [1, 1]
    for n in (1, 2, 1):
        stride[0] = n
        assert torch.equal(FF.conv2d(x, w, b, stride, 0, 1, 8), F.conv2d(x, w, b, (n, 1), 0, 1, 8))


def test_settings_and_counting(looked_up: list[str], depthwise: tuple[Tensor, ...]) -> None:
    before = faltung.usage()
    for _ in range(4):
        with faltung.using(algorithm="native_torch"):
            FF.conv2d(*depthwise, 1, 1, 1, 8)
    assert faltung.usage() - before == {"native_torch": 4}
    FF.conv2d(*depthwise, 1, 1, 1, 8)
    assert len(looked_up) == 2


def test_a_weight_that_starts_to_want_gradients_gets_them(depthwise: tuple[Tensor, ...]) -> None:
    x, w, b = depthwise
    FF.conv2d(x, w, b, 1, 1, 1, 8)
    w.requires_grad_()
    with torch.no_grad():
        assert FF.conv2d(x, w, b, 1, 1, 1, 8).grad_fn is None
        assert FF.conv2d(x, w, b, 1, 1, 1, 8).grad_fn is None
    for _ in range(2):
        assert FF.conv2d(x, w, b, 1, 1, 1, 8).grad_fn is not None
    with torch.inference_mode():
        y = FF.conv2d(x, w, b, 1, 1, 1, 8)
        assert y.is_inference() and torch.equal(y, F.conv2d(x, w, b, 1, 1, 1, 8))
    FF.conv2d(x, w, b, 1, 1, 1, 8).sum().backward()  # type: ignore[no-untyped-call]
    assert w.grad is not None and w.grad.abs().sum() > 0


def test_transforms_autocast_and_tangents_after_the_same_call_without(
    depthwise: tuple[Tensor, ...],
) -> None:
    x, w, b = depthwise

    def call(x: Tensor) -> Tensor:
        return FF.conv2d(x, w, b, 1, 1, 1, 8)

    y = call(x)
    assert torch.equal(torch.func.vmap(call)(torch.stack([x, 2 * x]))[0], y)
    assert torch.func.vmap(lambda n: n * call(x))(torch.ones(3)).shape == (3, *y.shape)
    _, tangent = torch.func.jvp(call, (x,), (x,))
    assert torch.equal(tangent, F.conv2d(x, w, None, 1, 1, 1, 8))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, x)
        assert torch.autograd.forward_ad.unpack_dual(call(dual)).tangent is not None
    for dtype in (torch.bfloat16, torch.float16, torch.bfloat16):
        with torch.autocast("cpu", dtype=dtype):
            assert call(x).dtype == dtype
    assert torch.equal(call(x), y)


class _Operators(TorchDispatchMode):
    """Names of the operators that were called."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, operator, types, args=(), kwargs=None
    ) -> Any:
        self.names.append(str(operator))
        return operator(*args, **(kwargs or {}))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_whoever_watches_operators_sees_one(depthwise: tuple[Tensor, ...]) -> None:
    x, w, b = depthwise

    def call(x: Tensor) -> Tensor:
        return FF.conv2d(x, w, b, 1, 1, 1, 8)

    y = call(x)
    with _Operators() as seen:
        assert torch.equal(call(x), y)
    assert seen.names[0] == "faltung.conv.default"
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        fake = call(x)
        assert fake.shape == y.shape and fake.fake_mode is mode  # type: ignore[attr-defined]
    for traced in (make_fx(call)(x), torch.jit.trace(call, (x,))):  # type: ignore[no-untyped-call]
        assert torch.equal(traced(2 * x), call(2 * x))
    assert torch.equal(call(x), y)


def test_a_default_device_does_not_divert_the_result(depthwise: tuple[Tensor, ...]) -> None:
    with torch.device("meta"):
        for _ in range(2):
            assert FF.conv2d(*depthwise, 1, 1, 1, 8, algorithm="native_torch").device.type == "cpu"


def test_several_image_sizes_a_weight_and_not_too_many(
    looked_up: list[str], whole: Whole, monkeypatch: pytest.MonkeyPatch
) -> None:
    w = whole(4, 2, 3)
    images = [whole(1, 2, n) for n in range(5, 10)]
    for _ in range(3):
        for x in images:
            assert torch.equal(FF.conv1d(x, w), F.conv1d(x, w))
    assert len(looked_up) == len(images)
    for n in range(5, 40):
        FF.conv1d(whole(1, 2, n), w)
    assert len(dispatch._recent[id(w)]) == 8
    monkeypatch.setattr(dispatch, "_MOST_RECENT", 16)
    kept = [whole(4, 2, 3) for _ in range(40)]
    for other in kept:
        FF.conv1d(images[0], other)
    assert len(dispatch._recent) <= 16


@pytest.fixture
def without_guards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    operands._guards_hold.cache_clear()
    monkeypatch.setattr(operands, "_guard", lambda *_: 1 / 0 if not _ else lambda *_: True)
    yield
    operands._guards_hold.cache_clear()


@pytest.mark.usefixtures("without_guards")
def test_without_pytorchs_guards_the_plan_is_looked_up(
    looked_up: list[str], depthwise: tuple[Tensor, ...]
) -> None:
    x = depthwise[0]
    assert not operands.alike(x)(x)  # a guard that says yes to everything is none
    for _ in range(3):
        y = FF.conv2d(*depthwise, 1, 1, 1, 8)
        assert torch.equal(y, F.conv2d(*depthwise, 1, 1, 1, 8))
    assert len(looked_up) == 3
