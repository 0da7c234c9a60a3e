"""Derivatives: of both orders and both directions, planned like any other call."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck
from torch.nn import functional as F

import faltung
from faltung import functional as FF
from faltung.ops.layouts import laid_out

CASES: list[tuple[str, tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ("conv1d", (2, 4, 9), (6, 2, 3), {"stride": 2, "padding": ((1, 0),), "groups": 2}),
    ("conv1d", (1, 2, 5), (2, 1, 4), {"padding": "causal", "groups": 2, "activation": "silu"}),
    ("conv2d", (1, 4, 5, 6), (4, 2, 3, 2), {"padding": "same", "stride": 2, "groups": 2}),
    ("conv2d", (2, 2, 5, 4), (3, 2, 2, 3), {"padding": 2, "dilation": 2,
                                           "padding_mode": "reflect"}),
    ("conv2d", (2, 3, 4), (2, 2, 2, 3), {"padding": (1, (0, 2)), "activation": "gelu"}),
    ("conv3d", (1, 2, 3, 4, 3), (2, 1, 2, 2, 2), {"groups": 2, "padding_mode": "circular",
                                                 "padding": 1}),
    ("conv_transpose1d", (2, 4, 5), (4, 1, 3), {"stride": 2, "output_padding": 1, "groups": 2}),
    ("conv_transpose2d", (1, 2, 3, 4), (2, 3, 3, 2), {"stride": 2, "padding": ((1, 0), (0, 1))}),
    ("conv_transpose2d", (1, 2, 4, 4), (2, 1, 3, 3), {"padding": 1, "padding_mode": "replicate"}),
    ("conv_transpose3d", (1, 2, 2, 3, 2), (2, 1, 2, 2, 2), {"dilation": 2, "groups": 2,
                                                           "output_padding": 1}),
]  # fmt: skip


def operands(name: str, x: tuple[int, ...], w: tuple[int, ...], keywords: Any) -> list[Tensor]:
    out = w[1] * keywords.get("groups", 1) if "transpose" in name else w[0]
    return [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in (x, w, (out,))]


@pytest.mark.parametrize(("name", "x", "w", "keywords"), CASES)
def test_both_orders_and_both_directions(
    name: str, x: tuple[int, ...], w: tuple[int, ...], keywords: dict[str, Any]
) -> None:
    if name == "conv2d" and len(x) == 3:
        w = (w[0], x[0], *w[2:])  # unbatched: the first number is the channels

    def call(*tensors: Tensor) -> Tensor:
        return getattr(FF, name)(*tensors, **keywords)  # type: ignore[no-any-return]

    tensors = operands(name, x, w, keywords)
    assert gradcheck(call, tensors, fast_mode=True, check_forward_ad=True, check_batched_grad=True)
    assert gradgradcheck(call, tensors, fast_mode=True, check_fwd_over_rev=True)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_only_what_is_wanted_is_computed(frozen: int) -> None:
    x, w, b = operands("conv2d", (1, 2, 6, 6), (3, 2, 3, 3), {})
    (x, w, b)[frozen].requires_grad_(False)
    with faltung.using():
        before = faltung.usage()
        FF.conv2d(x, w, b).sum().backward()
        ran = sum((faltung.usage() - before).values())
    # the forward task, and one task for each of x and w that wants a gradient
    assert ran == 1 + sum(t.requires_grad for t in (x, w))
    assert (x, w, b)[frozen].grad is None


def test_gradients_equal_pytorchs_on_whole_numbers() -> None:
    x, w, b = (t.detach().mul(3).round().requires_grad_() for t in operands(
        "conv2d", (2, 4, 7, 6), (6, 2, 3, 2), {}))  # fmt: skip
    arguments = (2, (1, 0), (1, 2), 2)
    ours, theirs = FF.conv2d(x, w, b, *arguments), F.conv2d(x, w, b, *arguments)
    seed = torch.randint(-3, 4, ours.shape).double()
    grads = [torch.autograd.grad(y, (x, w, b), seed) for y in (ours, theirs)]
    assert all(torch.equal(a, e) and a.abs().sum() > 0 for a, e in zip(*grads, strict=True))


def test_complex_gradients_conjugate() -> None:
    x = torch.randn(1, 2, 5, dtype=torch.complex128, requires_grad=True)
    w = torch.randn(4, 1, 3, dtype=torch.complex128, requires_grad=True)
    assert gradcheck(lambda x, w: FF.conv1d(x, w, None, 2, 1, 1, 2), (x, w))
    assert gradcheck(FF.conv_transpose1d, (x, w[:2]), check_forward_ad=True)


def test_gradients_may_use_another_algorithm_than_the_call_asked_for() -> None:
    x, w, _ = operands("conv1d", (1, 2, 6), (3, 2, 3), {})
    y = FF.conv1d(x, w, algorithm="native_torch")
    y.sum().backward()
    assert x.grad is not None and x.grad.abs().sum() > 0


def test_function_transforms() -> None:
    x, w, _ = (t.detach() for t in operands("conv2d", (2, 4, 5, 5), (6, 4, 3, 3), {}))

    def loss(w: Tensor, x: Tensor) -> Tensor:
        return FF.conv2d(x, w, padding=1).square().sum()

    def plain(w: Tensor, x: Tensor) -> Tensor:
        return F.conv2d(x, w, padding=1).square().sum()

    per_sample = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, x)
    expected = torch.stack([torch.func.grad(plain)(w, image) for image in x])
    assert torch.equal(per_sample.sign(), expected.sign())
    slip = (per_sample - expected).abs().max()
    assert slip <= 64 * torch.finfo(torch.float64).eps * expected.abs().max()

    weights = torch.stack([w, 2 * w])
    both = torch.func.vmap(lambda w: FF.conv2d(x, w))(weights)
    assert torch.equal(both[1], 2 * both[0]) and torch.equal(both[0], F.conv2d(x, w))

    value, tangent = torch.func.jvp(lambda w: FF.conv2d(x, w), (w,), (w,))
    assert torch.equal(value, tangent)  # linear in w
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, 2 * x)
        out = torch.autograd.forward_ad.unpack_dual(FF.conv2d(dual, w))
        assert torch.equal(out.tangent, 2 * out.primal)


# PyTorch's own, where a graph that breaks hands a tensor on
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")
def test_compiles_with_the_same_numbers() -> None:
    x, w, b = operands("conv2d", (1, 2, 6, 6), (3, 2, 3, 3), {})

    def layer(x: Tensor) -> Tensor:
        return FF.conv2d(x * 2, w, b, padding="same", stride=2, activation="relu") + 1

    compiled = torch.compile(layer, backend="eager")
    assert torch.equal(compiled(x), layer(x))
    compiled(x).sum().backward()
    assert x.grad is not None


def test_no_grad_and_inference_mode_go_straight_to_the_routine() -> None:
    x, w, _ = operands("conv1d", (1, 2, 6), (3, 2, 3), {})
    with torch.no_grad():
        assert FF.conv1d(x, w).grad_fn is None
    with torch.inference_mode():
        assert torch.equal(FF.conv1d(x, w), F.conv1d(x, w))


LAYOUTS = {
    "contiguous": Tensor.contiguous,
    "channels_last": lambda t: t.contiguous(memory_format=torch.channels_last),
    "expanded": lambda t: t[:1, :1, :1, :1].expand_as(t),
    "turned": lambda t: t.transpose(-1, -2).contiguous().transpose(-1, -2),
}


@pytest.mark.parametrize("of_gradient", LAYOUTS)
@pytest.mark.parametrize("of_image", LAYOUTS)
@pytest.mark.parametrize("name", ["conv2d", "conv_transpose2d"])
def test_images_lie_as_the_spec_says(
    monkeypatch: pytest.MonkeyPatch, name: str, of_image: str, of_gradient: str
) -> None:
    """Whoever made the gradient: a routine is given addresses, and reads what it was built for."""
    seen, call = [], faltung.Plan.__call__

    def checking(plan: faltung.Plan, *operands: Tensor) -> Any:
        seen.append(plan.spec.task)
        for image in operands[: 2 if plan.spec.task == "grad_weight" else 1]:
            assert laid_out(image, plan.spec.layout) is image
        return call(plan, *operands)

    monkeypatch.setattr(faltung.Plan, "__call__", checking)
    ours, theirs = getattr(FF, name), getattr(F, name)
    x = LAYOUTS[of_image](torch.randint(-3, 4, (2, 4, 6, 7)).float()).requires_grad_()
    w = torch.randint(-3, 4, (4, 4, 3, 3)).float().requires_grad_()
    y = theirs(x, w, None, 2, 1)
    ct = LAYOUTS[of_gradient](torch.randint(-3, 4, y.shape).float())
    found, expected = (torch.autograd.grad(f(x, w, None, 2, 1), (x, w), ct) for f in (ours, theirs))
    assert all(map(torch.equal, found, expected))
    assert len(seen) == 3


def test_a_weight_in_training_counts_what_is_made_of_it() -> None:
    """Winograd's transformed weight is made anew in every step: for 64 pixels it does not pay."""

    def runs_winograd(x: Tensor, w: Tensor, algorithm: str | None = None) -> bool:
        before = faltung.usage()
        y = FF.conv2d(x, w, padding=1, algorithm=algorithm)
        used = (faltung.usage() - before)["winograd_cpu"]
        if w.requires_grad:
            y.sum().backward()  # type: ignore[no-untyped-call]
        return used == 1

    few, many = torch.randn(1, 64, 8, 8), torch.randn(1, 64, 28, 28)
    w = torch.randn(128, 64, 3, 3)
    assert runs_winograd(few, w) and runs_winograd(many, w)
    w.requires_grad_()
    assert not runs_winograd(few, w)
    assert runs_winograd(many, w)
    assert runs_winograd(few, w, "winograd_cpu")
