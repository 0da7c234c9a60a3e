"""`vmap` of the operator: the numbers of a loop, from one call."""

import itertools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import functional_call, grad, hessian, jacfwd, jacrev, jvp, vmap
from torch.nn import functional as F

import faltung
from faltung import functional as FF
from torch_operator import TASKS, conv, operands, problem

Whole = Callable[..., Tensor]

PROBLEMS = (
    "n2 c4 o6 i7 k3 s2 p1+0 g2",
    "n2 c3 o2 i5x6 k3x2 p1x0+2 d1x2",
    "n3 c4 o4 i5x5 k3x3 p1 g4 circular",
    "n1 c2 o4 i3x4x3 k2x1x3 p1 g2",
)


@pytest.mark.parametrize("words", PROBLEMS)
@pytest.mark.parametrize("task", TASKS)
def test_any_operand_may_be_batched_along_any_axis(task: str, words: str) -> None:
    spec = problem(task, words)
    fused = task != "grad_weight"
    singles = [operands(spec, biased=fused, added=fused) for _ in range(3)]

    def call(*given: Tensor) -> Tensor:
        return conv(spec, *given, activation="relu" if fused else None)

    for batched in itertools.product((True, False), repeat=len(singles[0])):
        picked = [
            [
                tensors[i if several else 0]
                for tensors, several in zip(by_name, batched, strict=True)
            ]
            for i, by_name in enumerate([list(zip(*singles, strict=True))] * 3)
        ]
        expected = torch.stack([call(*given) for given in picked])
        for dim in (0, 1, -1) if any(batched) else ():
            dims = [dim if several else None for several in batched]
            if dims[2:] and dims[2] is not None:
                dims[2] = min(dim, 1)  # a bias has one axis of its own
            given = [
                torch.stack(tensors, dim=d) if d is not None else tensors[0]
                for tensors, d in zip(zip(*singles, strict=True), dims, strict=True)
            ]
            before = faltung.usage()
            assert torch.equal(vmap(call, tuple(dims))(*given), expected), (batched, dims)
            assert sum((faltung.usage() - before).values()) == 1


def test_a_residual_alone_or_of_another_level(whole: Whole) -> None:
    x, w, y = whole(2, 4, 5, 5), whole(4, 4, 3, 3), whole(3, 2, 4, 5, 5)
    plain = F.conv2d(x, w, None, 1, 1)

    def layer(x: Tensor, y: Tensor) -> Tensor:
        return FF.conv2d(x, w, None, 1, 1, residual=y, activation="relu")

    assert torch.equal(vmap(lambda y: layer(x, y))(y), (plain + y).relu())
    expected = torch.stack([(n * plain + y).relu() for n in range(4)])
    numbers = torch.arange(4.0, dtype=torch.float64)
    assert torch.equal(vmap(lambda n: vmap(lambda y: layer(n * x, y))(y))(numbers), expected)
    expected = torch.stack([(k * plain + x).relu() for k in range(4)])
    assert torch.equal(vmap(lambda k: FF.conv2d(x, k * w, None, 1, 1, residual=x).relu())(numbers),
                       expected)  # fmt: skip


def test_one_level_inside_another(whole: Whole) -> None:
    x, w = whole(2, 3, 2, 4, 6), whole(5, 4, 4, 3)
    found = vmap(lambda w: vmap(vmap(lambda x: FF.conv1d(x, w)))(x))(w)
    assert torch.equal(found, torch.stack([F.conv1d(x.flatten(0, 2), k).view(2, 3, 2, 4, 4)
                                           for k in w]))  # fmt: skip


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
@pytest.mark.parametrize("groups", [1, 2])
def test_gradients_per_sample(name: str, groups: int, whole: Whole) -> None:
    """Those of `torch.func` are what a loop over the samples accumulates, whole and to the bit."""
    layer = getattr(faltung.nn, name)(4, 6, 3, stride=2, padding=1, groups=groups).double()
    theirs = getattr(torch.nn, name)(4, 6, 3, stride=2, padding=1, groups=groups).double()
    for parameter in layer.parameters():
        parameter.data = whole(*parameter.shape)
    theirs.load_state_dict(layer.state_dict())
    images = whole(3, 4, 7, 6)

    def loss(parameters: dict[str, Tensor], image: Tensor) -> Tensor:
        result: Tensor = functional_call(layer, parameters, (image,)).square().sum()
        return result

    parameters = {name: p.detach() for name, p in layer.named_parameters()}
    found = vmap(grad(loss), (None, 0))(parameters, images)
    for i, image in enumerate(images):
        theirs.zero_grad()
        theirs(image).square().sum().backward()
        for key, parameter in theirs.named_parameters():
            assert torch.equal(found[key][i], parameter.grad)
            assert found[key][i].abs().sum() > 0


@pytest.mark.parametrize(
    "transform",
    [
        lambda f, x, w, b: jvp(f, (x, w, b), (2 * x, w + 1, b - 1)),
        lambda f, x, w, b: jacrev(f, (0, 1, 2))(x, w, b),
        lambda f, x, w, b: jacfwd(f, (0, 1, 2))(x, w, b),
        lambda f, x, w, b: grad(lambda w: grad(_loss(f), 1)(x, w, b).square().sum())(w),
        lambda f, x, w, b: hessian(_loss(f), 1)(x, w, b),
        lambda f, x, w, b: jacrev(jacrev(_loss(f), 0), 1)(x, w, b),
        lambda f, x, w, b: vmap(grad(_loss(f), (0, 1, 2)))(*[torch.stack([t, 2 * t])
                                                            for t in (x, w, b)]),
        lambda f, x, w, b: jvp(lambda w: vmap(grad(_loss(f), 1), (0, None, None))(x, w, b),
                               (w,), (w,)),
    ],
    ids=["jvp", "jacrev", "jacfwd", "grad grad", "hessian", "jacrev twice", "vmap grad",
         "jvp vmap grad"],
)  # fmt: skip
def test_transforms_of_transforms(transform: Any, whole: Whole) -> None:
    given = whole(1, 2, 4, 3), whole(4, 1, 2, 2), whole(4)
    found, expected = (
        torch.utils._pytree.tree_leaves(transform(call, *given))
        for call in (
            lambda x, w, b: FF.conv2d(x, w, b, 1, 1, 1, 2),
            lambda x, w, b: F.conv2d(x, w, b, 1, 1, 1, 2),
        )
    )
    assert len(found) == len(expected) and all(map(torch.equal, found, expected))
    assert any(t.abs().sum() > 0 for t in found)


def _loss(f: Callable[..., Tensor]) -> Callable[..., Tensor]:
    return lambda *operands: f(*operands).square().sum()


def test_a_tensor_that_outlived_its_transform(whole: Whole) -> None:
    x, w = whole(1, 2, 4, 3), whole(4, 2, 2, 2)
    outlived = []
    grad(lambda x: (outlived.append(x * 1), x.sum())[1])(x)
    assert torch.equal(FF.conv2d(outlived[0], w), F.conv2d(x, w))
    found = grad(lambda w: FF.conv2d(outlived[0], w).sum())(w)
    assert torch.equal(found, grad(lambda w: F.conv2d(x, w).sum())(w))
