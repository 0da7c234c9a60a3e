"""Unfold, fold and deformable convolution in one graph, and in what transforms one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.func import grad, jvp, vmap

import faltung
from faltung import functional as FF

Whole = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(call: Any, *, dynamic: bool = False, backend: Any = "aot_eager") -> Any:
    return torch.compile(call, backend=backend, fullgraph=True, dynamic=dynamic)


CALLS: dict[str, tuple[Callable[..., Tensor], tuple[tuple[int, ...], ...]]] = {
    "unfold": (lambda x: FF.unfold(x, 3, 2, ((1, 0), 2), 2), ((2, 3, 8, 7),)),
    "unfold of one": (
        lambda x: FF.unfold(x, (2,), padding="same", padding_mode="circular"),
        ((3, 7),),
    ),
    "fold": (lambda c: FF.fold(c, (4, 5), 2, padding=((0, 1), 0)), ((2, 12, 16),)),
    "deform_conv2d": (
        lambda x, o, w, b, m: FF.deform_conv2d(x, o, w, b, 2, 1, 1, m, activation="relu"),
        ((1, 4, 6, 5), (1, 18, 3, 3), (6, 2, 3, 3), (6,), (1, 9, 3, 3)),
    ),
}


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed sizes", "any size"])
@pytest.mark.parametrize("name", CALLS)
def test_one_graph_with_gradients(name: str, dynamic: bool, whole: Whole) -> None:
    call, shapes = CALLS[name]
    graph = compiled(call, dynamic=dynamic)
    for batch in (1, 3) if dynamic else (3,):
        given = [whole(*shape) / 2 for shape in shapes]
        if len(given) == 1 and name != "unfold of one":
            given = [given[0].repeat(batch, *[1] * (given[0].dim() - 1))]
        leaves = [t.requires_grad_() for t in given]
        found, expected = graph(*leaves), call(*leaves)
        assert torch.equal(found, expected) and expected.abs().sum() > 0
        both = (torch.autograd.grad(y.square().sum(), leaves) for y in (found, expected))
        assert all(map(torch.equal, *both))


@pytest.mark.parametrize("name", CALLS)
def test_transforms_inside_of_a_graph(name: str, whole: Whole) -> None:
    call, shapes = CALLS[name]
    given = tuple(whole(*shape) / 2 for shape in shapes)
    several = torch.stack([given[0], given[0] + 1])

    def loss(x: Tensor) -> Tensor:
        return call(x, *given[1:]).square().sum()

    def tangent(x: Tensor) -> Tensor:
        return jvp(lambda x: call(x, *given[1:]), (x,), (x + 1,))[1]  # type: ignore[no-any-return]

    for transformed, x in ((vmap(grad(loss)), several), (tangent, given[0])):
        expected = transformed(x)
        assert torch.equal(compiled(transformed)(x), expected) and expected.abs().sum() > 0


def test_modules_and_what_a_graph_holds(whole: Whole) -> None:
    seen: list[str] = []

    def note(graph: torch.fx.GraphModule, _: Any) -> Any:
        seen.extend(str(n.target) for n in graph.graph.nodes if n.op == "call_function")
        return graph.forward

    model = torch.nn.Sequential(
        faltung.nn.Unfold(3, padding=1), faltung.nn.Fold((6, 5), 3, padding=1)
    )
    x = whole(2, 3, 6, 5)
    assert torch.equal(compiled(model, backend=note)(x), model(x))
    assert seen == ["faltung.unfold", "faltung.fold"]
