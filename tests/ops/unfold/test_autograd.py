from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad, gradcheck, gradgradcheck

from faltung import planning, settings
from faltung.ops.unfold.api import fold, unfold
from faltung.ops.unfold.autograd import run
from faltung.ops.unfold.spec import UnfoldSpec

# PyTorch's own forward mode compiles its formulas with what it calls deprecated
pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit.script. is deprecated")

PROBLEMS = [
    "n1 c2 i3x4 k2x3",
    "n2 c1 i5 k2 s2 p1+0 d2",
    "n1 c1 i2x3x2 k2x1x2 p0+1x0x1",
    "n1 c1 i4x3 k3x2 s2x1 p2x0+1 reflect",
    "n1 c2 i3 k2 p1+2 replicate",
    "n1 c1 i3x4 k2x2 p0+2x1 circular",
]
TASKS = ["unfold", "fold"]


def operand(spec: UnfoldSpec, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    dtype = getattr(torch, spec.dtype)
    return torch.randn(spec.operand_shape, dtype=dtype, generator=random).requires_grad_()


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("problem", PROBLEMS)
def test_gradients_of_every_order_and_mode(task: str, problem: str) -> None:
    spec = UnfoldSpec.parse(f"{task} {problem} float64 cpu")

    def call(x: Tensor) -> Tensor:
        return run(x, spec, settings.current())

    assert gradcheck(
        call, operand(spec), check_forward_ad=True, check_batched_grad=True,
        check_batched_forward_grad=True,
    )  # fmt: skip
    assert gradgradcheck(call, operand(spec), check_fwd_over_rev=True, check_rev_over_rev=True)


@pytest.mark.parametrize("task", TASKS)
def test_complex_gradients(task: str) -> None:
    spec = UnfoldSpec.parse(f"{task} n1 c1 i3x3 k2x2 p1 circular complex128 cpu")
    assert gradcheck(lambda x: run(x, spec, settings.current()), operand(spec))


@pytest.mark.parametrize("mode", ["zeros", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("problem", ["n2 c3 i9 k4 s2 p1+3 d2", "n1 c2 i5x4 k2x3 s1x2 p0+2x3"])
def test_the_two_are_each_others_adjoint(mode: str, problem: str) -> None:
    spec = UnfoldSpec.parse(f"unfold {problem} {mode if mode != 'zeros' else ''} float32 cpu")
    x, c = (
        (torch.arange(torch.Size(shape).numel()) * 7 % 13 - 6).reshape(shape).float()
        for shape in (spec.image_shape, spec.columns_shape)
    )
    knobs = settings.current()
    unfolded, folded = run(x, spec, knobs), run(c, spec.adjoint, knobs)
    assert (unfolded * c).sum() != 0
    assert torch.equal((unfolded * c).sum(), (x * folded).sum())
    x.requires_grad_()
    c.requires_grad_()
    assert torch.equal(torch.autograd.grad(run(x, spec, knobs), x, c)[0], folded)
    assert torch.equal(torch.autograd.grad(run(c, spec.adjoint, knobs), c, x)[0], unfolded)


def test_the_gradient_runs_the_algorithm_that_was_asked_for() -> None:
    x = torch.ones(1, 1, 4, 4, requires_grad=True)
    before = planning.usage()
    unfold(x, 2, algorithm="slices_torch").sum().backward()
    assert planning.usage() - before == {"slices_torch": 2}
    assert x.grad is not None
    assert torch.equal(x.grad[0, 0, 0], torch.tensor([1.0, 2.0, 2.0, 1.0]))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("algorithm", ["slices_torch", "native_torch", "indices_torch"])
@pytest.mark.parametrize("problem", ["n1 c2 i3x4 k2x3 p1", "n1 c2 i3x4 k1x1", "n2 c1 i5x1 k5x1"])
def test_no_result_is_a_view(task: str, algorithm: str, problem: str) -> None:
    """Not of what an algorithm has cut it from, nor of its operand: tangents, and writing to it."""
    spec = UnfoldSpec.parse(f"{task} {problem} float64 cpu")
    with settings.using(algorithm=algorithm):
        knobs = settings.current()
    x, tangent = operand(spec), torch.ones(spec.operand_shape, dtype=torch.float64)
    with forward_ad.dual_level():
        y = run(forward_ad.make_dual(x, tangent), spec, knobs)
        assert not y._is_view()
        found = forward_ad.unpack_dual(y).tangent
        assert torch.equal(found, run(tangent, spec, knobs))
    y = run(x, spec, knobs)
    assert y.requires_grad and not y._is_view()
    before = x.detach().clone()
    y.mul_(3).sum().backward()  # a result may be written to
    assert torch.equal(x.detach(), before)
    assert x.grad is not None
    assert torch.equal(x.grad, 3 * run(torch.ones_like(y), spec.adjoint, knobs))


CALLS: list[tuple[str, Any, tuple[int, ...]]] = [
    ("native_torch", lambda x: unfold(x, (2, 2), padding=1), (2, 4, 4)),
    ("slices_torch", lambda x: unfold(x, (2, 2), padding=1), (2, 4, 4)),
    (
        "slices_torch",
        lambda x: unfold(x, (2,), padding=((1, 0),), padding_mode="reflect"),
        (3, 2, 5),
    ),
    ("native_torch", lambda c: fold(c, (4, 4), (2, 2)), (2, 8, 9)),
    ("slices_torch", lambda c: fold(c, (4, 4), (2, 2)), (2, 8, 9)),
]


@pytest.mark.parametrize(("algorithm", "call", "shape"), CALLS)
def test_function_transforms(algorithm: str, call: Any, shape: tuple[int, ...]) -> None:
    several = (torch.arange(3 * torch.Size(shape).numel()) % 7 - 3.0).reshape(3, *shape)
    with settings.using(algorithm=algorithm):
        looped = torch.stack([call(one) for one in several])
        assert torch.equal(torch.func.vmap(call)(several), looped)
        last = torch.func.vmap(call, in_dims=-1, out_dims=-1)(several.movedim(0, -1))
        assert torch.equal(last, looped.movedim(0, -1))
        one = several[0]
        jacobian = torch.func.jacrev(call)(one)
        assert torch.equal(jacobian, torch.func.jacfwd(call)(one))
        assert torch.equal(torch.tensordot(jacobian, one, one.dim()), call(one))  # it is linear
        _, tangent = torch.func.jvp(call, (one,), (several[1],))
        assert torch.equal(tangent, call(several[1]))


def test_integers_have_no_gradient_and_need_none() -> None:
    columns = unfold(torch.arange(9).reshape(1, 3, 3), 2)
    assert not columns.requires_grad
    assert columns[:, 0].tolist() == [0, 1, 3, 4]
