"""The operator under each dispatch key: what PyTorch expects of one, and our numbers."""

import functools
import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import faltung
from faltung import functional as FF
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.ops.conv.autograd import Job
from faltung.ops.layouts import laid_out
from faltung.ops.operands import memory_layout
from faltung.settings import current
from torch_operator import EVERY, arguments, conv, operands, problem

Whole = Callable[..., Tensor]


@pytest.mark.parametrize(("task", "words"), EVERY)
def test_is_a_well_behaved_operator(task: str, words: str) -> None:
    spec = problem(task, words)
    given = [t.requires_grad_() for t in operands(spec)]
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    checks = (
        (*quick, "test_aot_dispatch_dynamic") if words.startswith(("n2 c4 o6", "n3")) else quick
    )
    torch.library.opcheck(
        torch.ops.faltung.conv.default, (*given, None, None, *arguments(spec)), test_utils=checks
    )


@pytest.mark.parametrize(("task", "words"), [case for case in EVERY if case[0] != "grad_weight"])
def test_with_a_residual_as_well(task: str, words: str) -> None:
    spec = problem(task, words)
    given = operands(spec, biased=True, added=True)
    expected = conv(spec, *given[:3]) + given[3]
    for residual in (given[3], given[3].mT.contiguous().mT if spec.dims > 1 else given[3]):
        assert torch.equal(conv(spec, *given[:3], residual), expected)
        assert torch.equal(conv(spec, *given[:2], None, residual, activation="relu"),
                           (conv(spec, *given[:2]) + residual).relu())  # fmt: skip
    quick = ("test_schema", "test_autograd_registration", "test_faketensor")
    more = ("test_aot_dispatch_dynamic",) if words.startswith(("n2 c4 o6", "n3")) else ()
    torch.library.opcheck(
        torch.ops.faltung.conv.default,
        (*[t.requires_grad_() for t in given], *arguments(spec)),
        test_utils=(*quick, *more),
    )
    if given[0].shape[0]:
        smooth = [torch.randn_like(t).requires_grad_() for t in given]
        call = functools.partial(conv, spec, activation="silu")
        assert torch.autograd.gradcheck(call, smooth, fast_mode=True, check_forward_ad=True)
        assert torch.autograd.gradgradcheck(call, smooth, fast_mode=True, check_fwd_over_rev=True)


@pytest.mark.parametrize(("task", "words"), EVERY)
def test_gives_what_the_plan_gives(task: str, words: str) -> None:
    spec = problem(task, words)
    given = operands(spec)
    expected = Job(spec, current()).run(*given, None, None, False)
    y = conv(spec, *given)
    assert torch.equal(y, expected) and y.shape == spec.result_shape
    assert "n0" in words or y.abs().sum() > 0
    if task != "grad_weight":
        bias = operands(spec, biased=True)[2]
        shifted = expected + bias.view(-1, *[1] * spec.dims)
        assert torch.equal(conv(spec, *given, bias), shifted)
        assert torch.equal(conv(spec, *given, bias, activation="relu"), shifted.relu())


LAYOUTS = {
    "contiguous": Tensor.contiguous,
    "channels_last": lambda t: laid_out(t, "channels_last"),
    "turned": lambda t: t.mT.contiguous().mT,
    "every second": lambda t: torch.stack([t, t], -1)[..., 0],
}


@pytest.mark.parametrize("of_second", LAYOUTS)
@pytest.mark.parametrize("of_first", LAYOUTS)
@pytest.mark.parametrize("task", ["forward", "grad_input", "grad_weight"])
def test_the_result_lies_as_the_trace_was_told(task: str, of_first: str, of_second: str) -> None:
    """Whichever algorithm: PyTorch's looks at the weight as well."""
    spec = problem(task, "n2 c4 o6 i6x7 k3x3 g2", "float32")
    first, second, *added = operands(spec, added=task != "grad_weight")
    first, second = LAYOUTS[of_first](first), LAYOUTS[of_second](second)
    rest: tuple[Tensor | None, ...] = (None, *[LAYOUTS[of_second](t) for t in added])
    with FakeTensorMode() as mode:
        stand_ins = [None if t is None else mode.from_tensor(t) for t in (first, second, *rest)]
        fake = conv(spec, *stand_ins)
    for name in (None, "native_torch"):
        with faltung.using(algorithm=name):
            y = conv(spec, first, second, *rest)
        assert y.stride() == fake.stride() and y.shape == fake.shape and y.dtype == fake.dtype
        assert torch.equal(y, conv(spec, first.contiguous(), second.contiguous(), None, *added))
    assert memory_layout(y) == ("channels_last" if of_first == "channels_last" else "contiguous")


def test_without_numbers() -> None:
    for task, words in EVERY:
        spec = problem(task, words)
        given = [t.to("meta") for t in operands(spec)]
        y = conv(spec, *given)
        assert y.is_meta and y.shape == spec.result_shape and y.dtype == torch.float64
    x = torch.ones(2, 3, 8, 8, device="meta", requires_grad=True)
    w = torch.ones(4, 3, 3, 3, device="meta", requires_grad=True)
    FF.conv2d(x, w, stride=2).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and x.grad.is_meta and x.grad.shape == x.shape


def test_inference_mode(whole: Whole) -> None:
    spec = problem("forward", "n2 c4 o6 i6x7 k3x3 g2", "float32")
    given = operands(spec)
    with torch.inference_mode():
        y = conv(spec, *given)
        assert y.is_inference() and torch.equal(y, conv(spec, *given))
        twice = conv(spec, y.new_ones(given[0].shape), given[1])
    assert torch.equal(twice, conv(spec, torch.ones_like(given[0]), given[1]))


def test_operands_that_do_not_fit_are_refused() -> None:
    spec = problem("forward", "n2 c4 o6 i6x7 k3x3 g2")
    x, w = operands(spec)
    wrong: list[tuple[tuple[Any, ...], type[Exception], str]] = [
        ((x, w[:, :1]), ArgumentError, r"has operands of shapes .*, needs \(\(2, 4, 6, 7\)"),
        ((x[0], w), ArgumentError, "with 3 and 4 dimensions cannot give a result with 2 spatial"),
        ((x, w.float()), ArgumentError, "first is float64 on cpu but second is float32"),
        ((x, w, x[0, 0, 0]), ArgumentError, r"bias must have shape \(6,\), .* got \(7,\)"),
        ((x.to_sparse(), w), ArgumentTypeError, "first must be a dense tensor"),
        ((x, w, None, x), ArgumentError, r"residual must have the shape \(2, 6, 4, 5\) of the"),
        ((x, w, None, x.float()), ArgumentError, "first is float64 on cpu but residual is float32"),
    ]
    for given, kind, text in wrong:
        with pytest.raises(kind, match=text):
            conv(spec, *given)
    with pytest.raises(ArgumentError, match="task must be one of 'forward'"):
        torch.ops.faltung.conv(x, w, None, None, "back", *arguments(spec)[1:])
    with pytest.raises(ArgumentError, match="algorithm='none' is none of the algorithms"):
        torch.ops.faltung.conv(x, w, None, None, *arguments(spec)[:-1], "none")
    of_weight = problem("grad_weight", "n2 c4 o6 i6x7 k3x3 g2")
    with pytest.raises(ArgumentError, match="nor an activation, got no bias and"):
        conv(of_weight, *operands(of_weight), activation="relu")
    with pytest.raises(ArgumentError, match="got a residual and activation None"):
        conv(of_weight, *operands(of_weight), None, w)
    narrow = w[:, :1].clone()
    with FakeTensorMode() as mode, pytest.raises(ArgumentError, match="has operands of shapes"):
        conv(spec, mode.from_tensor(x), mode.from_tensor(narrow))


@pytest.mark.parametrize(("task", "words"), EVERY)
def test_derivatives_of_the_operator_itself(task: str, words: str) -> None:
    if words.startswith("n0"):
        return
    spec = problem(task, words)
    given = [torch.randn_like(t).requires_grad_() for t in operands(spec)]

    def call(*given: Tensor) -> Tensor:
        return conv(spec, *given, activation=None if task == "grad_weight" else "silu")

    assert torch.autograd.gradcheck(call, given, fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(call, given, fast_mode=True, check_fwd_over_rev=True)


def test_a_training_step_derives_nothing_twice(
    monkeypatch: pytest.MonkeyPatch, whole: Whole
) -> None:
    x, w, b = whole(2, 4, 6, 6), whole(6, 2, 3, 3), whole(6)
    w.requires_grad_(), x.requires_grad_()
    made = []
    check = faltung.ConvSpec.__post_init__
    monkeypatch.setattr(
        faltung.ConvSpec, "__post_init__", lambda spec: (made.append(spec), check(spec))[1]
    )
    for expected in (True, False, False):
        made.clear()
        FF.conv2d(x, w, b, 1, "same", 1, 2, activation="relu").sum().backward()  # type: ignore[no-untyped-call]
        assert bool(made) is expected


def test_a_frozen_operand_keeps_nothing_alive(whole: Whole) -> None:
    x, w = whole(1, 2, 5, 5), whole(3, 2, 3, 3).requires_grad_()
    kept = FF.conv2d(x.requires_grad_(), w.detach()).grad_fn.saved_tensors  # type: ignore[union-attr]
    assert kept[0] is None and kept[1] is not None
    kept = FF.conv2d(x.detach(), w).grad_fn.saved_tensors  # type: ignore[union-attr]
    assert kept[0] is not None and kept[1] is None


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16], ids=str)
def test_autocast_casts_as_for_pytorchs_convolution(dtype: torch.dtype, whole: Whole) -> None:
    spec = problem("forward", "n2 c4 o6 i6x7 k3x3 g2", "float32")
    given = operands(spec, biased=True)
    mixed = [given[0].to(dtype), given[1], given[2]]
    with torch.autocast("cpu", dtype=dtype):
        expected = F.conv2d(*given, groups=2)
        for operand in (given, mixed):
            y = conv(spec, *operand)
            assert y.dtype == dtype == expected.dtype and torch.equal(y, expected)
        double = [t.double() for t in given]
        assert conv(spec, *double).dtype == torch.float64 == F.conv2d(*double, groups=2).dtype
    assert conv(spec, *given).dtype == torch.float32


@pytest.mark.parametrize("backend", [None, "aot_eager"])
def test_a_training_step_with_autocast_and_a_scaler(backend: str | None) -> None:
    torch._dynamo.reset()
    random.seed(0)
    model = torch.nn.Sequential(
        faltung.nn.Conv2d(3, 8, 3, padding=1, activation="relu"),
        faltung.nn.ConvTranspose2d(8, 2, 3, stride=2),
    )
    call: Any = model if backend is None else torch.compile(model, backend=backend, fullgraph=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0)
    x, losses = torch.randn(2, 3, 6, 6), []
    for _ in range(4):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y = call(x)
            assert y.dtype == torch.bfloat16
            loss = y.float().square().mean()
        scaler.scale(loss).backward()
        assert all(p.grad is not None and p.grad.dtype == p.dtype for p in model.parameters())
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert losses == sorted(losses, reverse=True) and losses[-1] < losses[0]


class _Seen(TorchDispatchMode):
    """Names of the operators that were called, the way every unknown mode calls them on."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, operator, types, args=(), kwargs=None
    ) -> Any:
        self.names.append(str(operator))
        return operator(*args, **(kwargs or {}))


def test_a_mode_sees_the_operator_and_its_gradients(whole: Whole) -> None:
    x, w = (t.requires_grad_() for t in (whole(2, 4, 6, 6), whole(6, 2, 3, 3)))
    expected = torch.autograd.grad(FF.conv2d(x, w, None, 2, 1, 1, 2).sum(), (x, w))
    with _Seen() as outer, _Seen() as inner:
        found = torch.autograd.grad(FF.conv2d(x, w, None, 2, 1, 1, 2).sum(), (x, w))
    assert all(map(torch.equal, found, expected))
    for seen in (outer, inner):
        assert [name for name in seen.names if "conv" in name] == ["faltung.conv.default"] * 3


class _Foreign(Tensor):
    """A subclass that does something of its own in PyTorch's convolution."""

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        if func is torch.conv2d:
            return "its own"
        return super().__torch_function__(func, types, args, kwargs or {})


def test_a_subclass_of_someone_else_gets_pytorchs_convolution(whole: Whole) -> None:
    x, w = whole(2, 4, 6, 6), whole(6, 4, 3, 3)
    for mode in (_Seen(), torch.no_grad()):
        with mode:
            assert FF.conv2d(x.as_subclass(_Foreign), w) == "its own"
            assert FF.conv2d(x, w.as_subclass(_Foreign)) == "its own"


def test_zeros_that_are_nowhere(whole: Whole) -> None:
    x, w = whole(2, 8, 9, 9, dtype=torch.float32), whole(8, 1, 3, 3, dtype=torch.float32)
    zeros = torch._efficientzerotensor(x.shape)
    for call in (FF.conv2d, FF.conv2d):
        assert torch.equal(call(x, w, None, 1, 1, 1, 8), F.conv2d(x, w, None, 1, 1, 1, 8))
        assert torch.equal(call(zeros, w, None, 1, 1, 1, 8), torch.zeros_like(x))


def test_conjugates_and_negatives_are_resolved() -> None:
    spec = problem("forward", "n2 c4 o6 i6x7 k3x3 g2", "complex64")
    x, w = operands(spec)
    x, w = x + 1j * x.flip(-1), w - 2j * w
    expected = conv(spec, x.conj().resolve_conj(), w)
    assert torch.equal(conv(spec, x.conj(), w), expected)
    assert torch.equal(conv(spec, x.conj(), w._neg_view()), -expected)
