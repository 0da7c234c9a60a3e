"""`faltung::unfold` and `faltung::fold` under each dispatch key, and for sizes that are symbols."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.export import Dim, export
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

import faltung
from faltung import functional as FF
from faltung.errors import ArgumentError
from faltung.ops.unfold.operator import call_operator
from faltung.ops.unfold.spec import UnfoldSpec
from faltung.torch_ops import decompositions

Whole = Callable[..., Tensor]

OPERATORS = {"unfold": torch.ops.faltung.unfold.default, "fold": torch.ops.faltung.fold.default}
PROBLEMS = (
    "n2 c3 i8x7 k3x3 s2 p1+0x2 d2",
    "n2 c3 i6x5 k2x3 p1",
    "n2 c2 i9 k4 s3 p2 circular",
    "n1 c2 i4x5x6 k2x3x1 s2x1x3 p0+2x1x0",
    "n2 c2 i6x7 k3x3 p2x1 reflect",
    "n1 c1 i5x4 k3x2 s2 p1+2 replicate",
    "n0 c2 i5x5 k2x2",
)
EVERY = list(itertools.product(OPERATORS, PROBLEMS))


def problem(task: str, words: str, dtype: str = "float64") -> UnfoldSpec:
    return UnfoldSpec.parse(f"{task} {words} {dtype} cpu")


def operand(spec: UnfoldSpec) -> Tensor:
    return torch.randint(-4, 5, spec.operand_shape).to(getattr(torch, spec.dtype))


class Calls(TorchDispatchMode):
    """The calls of our operators, whole."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[Any, tuple[Any, ...]]] = []

    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, operator, types, args=(), kwargs=None
    ) -> Any:
        if operator in OPERATORS.values():
            self.found.append((operator, args))
        return operator(*args, **(kwargs or {}))


def call_of(spec: UnfoldSpec, given: Tensor) -> tuple[Any, tuple[Any, ...]]:
    """The operator and its arguments for a spec."""
    with Calls() as calls:
        call_operator(given, spec, None)
    (found,) = calls.found
    return found


@pytest.mark.parametrize(("task", "words"), EVERY)
def test_is_a_well_behaved_operator(task: str, words: str) -> None:
    spec = problem(task, words)
    operator, arguments = call_of(spec, operand(spec))
    assert operator is OPERATORS[task]
    torch.library.opcheck(operator, (arguments[0].requires_grad_(), *arguments[1:]))


@pytest.mark.parametrize(("task", "words"), EVERY)
def test_gives_what_the_plan_gives(task: str, words: str) -> None:
    spec = problem(task, words)
    given = operand(spec)
    expected = faltung.planning.plan(spec, "unfold", faltung.settings.current()).run(given)
    assert torch.equal(call_operator(given, spec, None), expected)
    assert spec.batch == 0 or expected.abs().sum() > 0
    meta = call_operator(given.to("meta"), spec, None)
    assert meta.is_meta and meta.shape == expected.shape and meta.stride() == expected.stride()
    operator, arguments = call_of(spec, given)
    assert torch.equal(decompositions()[operator](*arguments), expected)


@pytest.mark.parametrize(("task", "words"), EVERY[:-1])
def test_batches_and_derivatives(task: str, words: str) -> None:
    spec = problem(task, words)

    def call(given: Tensor) -> Tensor:
        return call_operator(given, spec, None)

    several = [operand(spec) for _ in range(3)]
    expected = torch.stack([call(one) for one in several])
    for dim in (0, 1, -1):
        before = faltung.usage()
        assert torch.equal(vmap(call, dim)(torch.stack(several, dim)), expected)
        assert sum((faltung.usage() - before).values()) == 1
    given = torch.randn_like(several[0]).requires_grad_()
    assert torch.autograd.gradcheck(call, given, fast_mode=True, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(call, given, fast_mode=True, check_fwd_over_rev=True)


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x: jvp(f, (x,), (2 * x + 1,))[1],
        lambda f, x: jacfwd(f)(x),
        lambda f, x: jacrev(f)(x),
        lambda f, x: hessian(lambda x: f(x).square().sum())(x),
        lambda f, x: vmap(grad(lambda x: f(x).square().sum()))(torch.stack([x, 3 * x])),
        lambda f, x: vmap(vmap(f))(torch.stack([x, 2 * x]).repeat(2, *[1] * x.dim())[None]),
    ],
    ids=["jvp", "jacfwd", "jacrev", "hessian", "vmap grad", "vmap vmap"],
)
def test_transforms(transform: Any, whole: Whole) -> None:
    for mine, theirs, x in (
        (FF.unfold, torch.nn.functional.unfold, whole(1, 2, 4, 3)),
        (FF.fold, torch.nn.functional.fold, whole(1, 8, 6)),
    ):
        size = () if mine is FF.unfold else ((4, 3),)
        found, expected = (
            transform(lambda x, f=f, size=size: f(x, *size, 2), x) for f in (mine, theirs)
        )
        assert torch.equal(found, expected) and expected.abs().sum() > 0


def test_a_mode_sees_the_operators(whole: Whole) -> None:
    x = whole(2, 3, 6, 5).requires_grad_()
    with Calls() as calls:
        FF.fold(FF.unfold(x[0], 3), (6, 5), 3).square().sum().backward()  # type: ignore[no-untyped-call]
    names = [str(operator) for operator, _ in calls.found]
    there, back = "faltung.unfold.default", "faltung.fold.default"
    assert names == [there, back, there, back]


def test_what_does_not_fit_is_refused_without_numbers(whole: Whole) -> None:
    with FakeTensorMode() as mode:
        x, columns = mode.from_tensor(whole(2, 3, 6, 5)), mode.from_tensor(whole(2, 12, 16))
        with pytest.raises(ArgumentError, match="larger than the padded image"):
            FF.unfold(x, 7)
        with pytest.raises(ArgumentError, match="has 16 columns but output_size"):
            FF.fold(columns, (6, 6), 2)
        with pytest.raises(ArgumentError, match="padding_mode must be one of"):
            FF.unfold(x, 3, padding_mode="mirror")


class Both(torch.nn.Module):
    """There and back, with windows that a size may or may not fill."""

    def forward(self, x: Tensor) -> Tensor:
        columns = FF.unfold(x, 3, padding=((1, 0), 2), stride=2)
        image = FF.fold(columns, x.shape[2:], 3, padding=((1, 0), 2), stride=2)
        same = FF.unfold(image, (2, 3), 2, "same", 2, padding_mode="reflect")
        return same + FF.unfold(x, (2, 3), 2, "same_lower", 2, padding_mode="circular")


# PyTorch's own, of its own data structures
@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
@pytest.mark.parametrize("strict", [False, True])
def test_export_for_every_size(strict: bool, whole: Whole) -> None:
    sizes = ({0: Dim("n"), 2: Dim("h", min=4), 3: Dim("w", min=4)},)
    program = export(Both(), (whole(2, 3, 9, 8),), dynamic_shapes=sizes, strict=strict)
    lowered = program.run_decompositions(decompositions())
    for graph, theirs in ((program, True), (lowered, False)):
        names = [str(node.target) for node in graph.graph.nodes]
        assert sum(name.startswith("faltung.") for name in names) == 4 * theirs
        for size in ((2, 9, 8), (1, 16, 5), (5, 4, 4)):
            x = whole(size[0], 3, *size[1:])
            assert torch.equal(graph.module()(x), Both()(x)) and Both()(x).abs().sum() > 0
