"""`torch.compile` with `fullgraph=True`: one graph, our operator in it, for one size or any."""

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounterWithBackend
from torch._functorch.aot_autograd import make_boxed_func
from torch.nn import functional as F

import faltung
from faltung import functional as FF

Whole = Callable[..., Tensor]


@pytest.fixture(autouse=True)
def _nothing_compiled() -> Iterator[None]:
    torch._dynamo.reset()
    yield
    torch._dynamo.reset()


def compiled(call: Any, backend: Any = "aot_eager", **keywords: Any) -> Any:
    return torch.compile(call, backend=backend, fullgraph=True, **keywords)


class Graphs:
    """A backend that keeps the graphs it is given."""

    def __init__(self) -> None:
        self.graphs: list[torch.fx.GraphModule] = []

    def __call__(self, graph: torch.fx.GraphModule, _: Any) -> Any:
        self.graphs.append(graph)
        return graph.forward

    def targets(self) -> list[str]:
        nodes = [node for graph in self.graphs for node in graph.graph.nodes]
        return [str(node.target) for node in nodes if node.op == "call_function"]


CALLS: dict[str, Callable[..., Tensor]] = {
    "conv2d": lambda x, w, b: FF.conv2d(x, w, b, (2, 1), ((1, 0), 2), 1, 2, activation="relu"),
    "same": lambda x, w, b: FF.conv2d(x, w, b, 2, "same", 2, 2, padding_mode="circular"),
    "one image": lambda x, w, b: FF.conv2d(x[0], w, b, 1, "same_lower", 1, 2),
    "transposed": lambda x, w, b: FF.conv_transpose2d(x, w.transpose(0, 1), None, 2, 1, 1, 1),
    "by name": lambda x, w, b: FF.conv2d(x, w, b, 1, 1, 1, 2, algorithm="native_torch"),
    "1-D": lambda x, w, b: FF.causal_conv1d(x[..., 0], w[..., 0], b, 2, 1, 2, activation="silu"),
    "residual": lambda x, w, b: FF.conv2d(x, w[:4], b[:4], 1, "same", 1, 2, residual=x),
    "of one image": lambda x, w, b: FF.conv2d(x[0], w, b, 1, 0, 1, 2, residual=x[0, :1].expand(
        6, -1, -1)[:, 1:-1, 1:-1], activation="silu"),
    "3-D": lambda x, w, b: FF.conv3d(x[..., None], w[..., None], b, 1, 1, 1, 2),
    "separable": lambda x, w, b: FF.depthwise_separable_conv2d(x, w[:4, :1], w[..., :1, :1].repeat(
        1, 2, 1, 1), None, b, 1, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_one_graph_with_the_operator(name: str, whole: Whole) -> None:
    call = CALLS[name]
    x, w, b = whole(2, 2 if name == "transposed" else 4, 6, 7), whole(6, 2, 3, 3), whole(6)
    backend = Graphs()
    assert torch.equal(compiled(call, backend)(x, w, b), call(x, w, b))
    assert any("faltung.conv" in target for target in backend.targets())
    assert len(backend.graphs) == 1


def test_one_graph_for_every_size(whole: Whole) -> None:
    counter = CompileCounterWithBackend("aot_eager")
    w = whole(6, 2, 3, 3)
    u = whole(6, 3, 1, 1)

    def layers(x: Tensor) -> Tensor:
        y = FF.conv2d(x, w, None, 2, "same", 1, 2)
        return FF.conv2d(y, u, None, 1, "same", 1, 2, residual=y)

    call = compiled(layers, counter, dynamic=True)
    # the first has no two sizes alike, which PyTorch would take for the same symbol
    for size in ((7, 4, 10, 11), (3, 4, 9, 9), (5, 4, 16, 3), (2, 4, 33, 64)):
        x = whole(*size)
        assert torch.equal(call(x), layers(x))
    assert counter.frame_count == 1


def test_the_activation_stays_in_the_operator_unless_there_are_gradients(whole: Whole) -> None:
    x, w = whole(2, 4, 6, 7), whole(6, 4, 3, 3)
    seen: list[str] = []

    def note(graph: torch.fx.GraphModule, _: Any) -> Any:
        seen.extend(str(n.target) for n in graph.graph.nodes if n.op == "call_function")
        return make_boxed_func(graph.forward)

    backend = torch._dynamo.backends.common.aot_autograd(fw_compiler=note)
    call = compiled(lambda x, w: FF.conv2d(x, w, activation="relu"), backend)
    with torch.no_grad():
        call(x, w)
    assert seen == ["faltung.conv.default"]
    seen.clear()
    call(x, w.requires_grad_()).sum().backward()
    assert seen.count("faltung.conv.default") == 2 and "aten.relu.default" in seen


def test_a_graph_tells_training_from_inference(whole: Whole) -> None:
    """Of a weight that stays, an algorithm may keep what it made of it; a graph cannot look."""
    x, w = whole(2, 4, 6, 7), whole(6, 4, 3, 3).requires_grad_()
    for context, expected in ((torch.no_grad(), False), (torch.enable_grad(), True)):
        backend = Graphs()
        with context:
            compiled(FF.conv2d, backend)(x, w)
        (call,) = [n for g in backend.graphs for n in g.graph.nodes if n.op == "call_function"]
        assert call.args[-2] is expected


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            faltung.nn.Conv2d(3, 4, 3, stride=2, padding="same", activation="relu"),
            nn.BatchNorm2d(4),
            faltung.nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, padding_mode="circular"),
            faltung.nn.DepthwiseSeparableConv2d(4, 8),
            faltung.nn.LargeKernelConv2d(8, 7),
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return result


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
def test_a_model_trains_as_it_does_without(layout: torch.memory_format) -> None:
    torch.manual_seed(3)
    models = [Model().double().to(memory_format=layout) for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    x = torch.randn(2, 3, 8, 10, dtype=torch.float64).to(memory_format=layout)
    results = []
    for model, call in zip(models, (models[0], compiled(models[1])), strict=True):
        y = call(x)
        y.square().mean().backward()
        results.append([y.detach(), *[p.grad for p in model.parameters()]])
    # in which layout PyTorch's own algorithm leaves a result is its affair; a graph promises one
    assert results[1][0].is_contiguous(memory_format=layout)
    eps = torch.finfo(torch.float64).eps
    for found, expected in zip(*results, strict=True):
        # the batch's statistics are summed in another order by a graph
        assert (found - expected).abs().max() <= 2**12 * eps * expected.abs().max()


def test_transforms_inside_of_a_graph(whole: Whole) -> None:
    x, w = whole(3, 4, 5, 5), whole(6, 2, 3, 3)

    def loss(call: Any) -> Any:
        return lambda w, x: call(x, w, None, 1, 1, 1, 2).square().sum()

    def per_sample(call: Any) -> Any:
        return torch.func.vmap(torch.func.grad(loss(call)), (None, 0))

    def tangent(call: Any) -> Any:
        return lambda w, x: torch.func.jvp(lambda w: call(x, w, None, 1, 1, 1, 2), (w,), (w,))[1]

    for make in (per_sample, tangent):
        assert torch.equal(compiled(make(FF.conv2d))(w, x), make(F.conv2d)(w, x))


def test_a_wrong_call_says_what_is_wrong(whole: Whole) -> None:
    x, w = whole(2, 3, 6, 7), whole(6, 4, 3, 3)
    for call in (FF.conv2d, compiled(FF.conv2d)):
        with pytest.raises(Exception, match="input has 3 channels but weight"):
            call(x, w)
        with pytest.raises(Exception, match=r"residual must have the shape \(2, 6, 4, 5\) of the"):
            call(x, w[:, :3], residual=x)


@pytest.mark.skipif(shutil.which("g++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_inductor(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> None:
    """For any size, since one graph takes PyTorch ten seconds."""
    monkeypatch.setenv("CI", "1")  # Inductor is stricter there

    def call(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        return FF.conv2d(x * 2, w, b, 2, "same", 1, 2, activation="relu") + 1

    faster = compiled(call, "inductor", dynamic=True)
    w, b = whole(6, 2, 3, 3).requires_grad_(), whole(6)
    for size in ((7, 4, 10, 11), (3, 4, 9, 5)):
        x = whole(*size).to(memory_format=torch.channels_last)
        y, expected = faster(x, w, b), call(x, w, b)
        assert torch.equal(y, expected) and y.stride() == expected.stride()
        found, right = (torch.autograd.grad(t.sum(), w)[0] for t in (y, expected))
        assert torch.equal(found, right)
