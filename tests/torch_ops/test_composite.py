"""Unfold, fold and deformable convolution in one graph, and in what transforms one."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._dynamo.testing import CompileCounterWithBackend
from torch.export import Dim, export
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


@pytest.mark.parametrize("name", CALLS)
def test_one_graph_with_gradients(name: str, whole: Whole) -> None:
    call, shapes = CALLS[name]
    check(compiled(call), call, [whole(*shape) / 2 for shape in shapes])


# no two sizes of the first alike, which PyTorch would take for the same symbol
OF_ANY_SIZE: dict[str, tuple[Callable[..., Tensor], Callable[..., list[tuple[int, ...]]]]] = {
    "unfold": (
        lambda x: FF.unfold(x, (2, 3), 2, "same", 2, padding_mode="reflect"),
        lambda n, h, w: [(n, 3, h, w)],
    ),
    "unfold by PyTorch's": (
        lambda x: FF.unfold(x, 3, 2, 1, 2), lambda n, h, w: [(n, 3, h, w)],
    ),
    "fold": (
        lambda c, x: FF.fold(c, x.shape[2:], 3, padding=((1, 0), 1), stride=2),
        lambda n, h, w: [(n, 36, (h // 2) * ((w + 1) // 2)), (1, 1, h, w)],
    ),
    "deform_conv2d": (
        lambda x, o, w, b, m: FF.deform_conv2d(x, o, w, b, 2, "same", 1, m, activation="relu"),
        lambda n, h, w: [
            (n, 12, h, w), (n, 18, (h + 1) // 2, (w + 1) // 2), (15, 4, 3, 3), (15,),
            (n, 9, (h + 1) // 2, (w + 1) // 2),
        ],
    ),
}  # fmt: skip


# a layer's weight and bias, whose sizes are never symbols; where they are, PyTorch takes five times
# as long to reason about them, see below
PARAMETERS = {"deform_conv2d": (2, 3)}


@pytest.mark.parametrize("name", OF_ANY_SIZE)
def test_one_graph_for_every_size(name: str, whole: Whole) -> None:
    call, shapes = OF_ANY_SIZE[name]
    counter = CompileCounterWithBackend("aot_eager")
    graph = compiled(call, dynamic=True, backend=counter)
    for size in ((7, 11, 20), (4, 9, 6), (5, 16, 8)):
        given = [whole(*shape) / 2 for shape in shapes(*size)]
        for place in PARAMETERS.get(name, ()):
            given[place] = torch.nn.Parameter(given[place])
        check(graph, call, given)
    assert counter.frame_count == 1


def test_one_graph_for_every_size_of_a_weight(whole: Whole) -> None:
    def call(x: Tensor, offset: Tensor, w: Tensor) -> Tensor:
        return FF.deform_conv2d(x, offset, w, None, 1, 1)

    counter = CompileCounterWithBackend("aot_eager")
    graph = compiled(call, dynamic=True, backend=counter)
    for n, h, w, outputs, channels in ((7, 11, 20, 15, 4), (4, 9, 6, 24, 2), (5, 16, 8, 21, 4)):
        shapes = ((n, 12, h, w), (n, 18, h, w), (outputs, channels, 3, 3))
        given = [whole(*shape) / 2 for shape in shapes]
        expected = call(*given)
        assert torch.equal(graph(*given), expected) and expected.abs().sum() > 0
    assert counter.frame_count == 1


def check(graph: Any, call: Any, given: list[Tensor]) -> None:
    """The numbers and the gradients of the call, to the bit."""
    leaves = [t.requires_grad_() for t in given]
    found, expected = graph(*leaves), call(*leaves)
    assert torch.equal(found, expected) and expected.abs().sum() > 0
    both = (
        torch.autograd.grad(y.square().sum(), leaves, allow_unused=True, materialize_grads=True)
        for y in (found, expected)
    )
    assert all(map(torch.equal, *both))


# PyTorch's own, of its own data structures
@pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")
@pytest.mark.parametrize("strict", [False, True])
def test_deformable_convolution_is_exported_for_every_size(strict: bool, whole: Whole) -> None:
    class Layer(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.where = faltung.nn.Conv2d(4, 18, 3, padding=1).double()
            self.layer = faltung.nn.DeformConv2d(4, 6, 3, padding=1).double()
            for parameter in self.parameters():
                parameter.data = whole(*parameter.shape, most=1)

        def forward(self, x: Tensor) -> Tensor:
            result: Tensor = self.layer(x, self.where(x) / 4)
            return result

    model = Layer()
    sizes = ({0: Dim("n"), 2: Dim("h", min=3), 3: Dim("w", min=3)},)
    program = export(model, (whole(2, 4, 9, 8),), dynamic_shapes=sizes, strict=strict)
    for size in ((2, 9, 8), (1, 16, 5), (5, 3, 4)):
        x = whole(size[0], 4, *size[1:])
        assert torch.equal(program.module()(x), model(x)) and model(x).abs().sum() > 0


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
    assert seen == ["faltung.unfold.default", "faltung.fold.default"]
