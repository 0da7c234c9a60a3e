"""The operator in PyTorch's own: the same numbers, and exporters that know nothing else."""

import io
from typing import Any

import pytest
import torch
from torch import nn
from torch.export import Dim, export

import faltung
from faltung.torch_ops import decompositions
from faltung.torch_ops.decomposition import conv_by_aten
from torch_operator import EVERY, arguments, conv, operands, problem

OPERATOR = torch.ops.faltung.conv.default


@pytest.mark.parametrize(("task", "words"), EVERY)
def test_the_same_numbers(task: str, words: str) -> None:
    spec = problem(task, words)
    fused = task != "grad_weight"
    given = operands(spec, biased=fused, added=fused)
    padded, activation = [*given, None, None][:4], "relu" if fused else None
    assert torch.equal(
        conv_by_aten(*padded, *arguments(spec, activation)),
        conv(spec, *given, activation=activation),
    )


class Model(nn.Module):
    """Layers with everything that PyTorch's do not have."""

    def __init__(self) -> None:
        super().__init__()
        self.block = faltung.nn.Conv2d(3, 3, 3, padding=1, activation="relu")
        self.layers = nn.Sequential(
            faltung.nn.Conv2d(3, 4, 3, stride=2, padding="same", activation="relu"),
            faltung.nn.ConvTranspose2d(4, 4, 3, stride=2, padding=1, padding_mode="circular"),
            faltung.nn.Conv2d(4, 4, 3, padding=((0, 1), (2, 1)), padding_mode="reflect"),
            faltung.nn.Conv2d(4, 6, 3, padding=2, padding_mode="replicate", groups=2),
            faltung.nn.ConvTranspose2d(6, 4, 3, stride=2, padding=((1, 0), (0, 1))),
            faltung.nn.DepthwiseSeparableConv2d(4, 2),
        )
        for parameter in self.parameters():
            parameter.data = torch.randint(-1, 2, parameter.shape).to(parameter.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = self.layers(self.block(x, residual=x))
        return result


def image(*size: int) -> torch.Tensor:
    return torch.randint(-2, 3, (size[0], 3, *size[1:])).float()


def operators(program: torch.export.ExportedProgram) -> set[Any]:
    targets = {node.target for node in program.graph.nodes if node.op == "call_function"}
    return {target for target in targets if isinstance(target, torch._ops.OpOverload)}


# PyTorch's own, of its own data structures
pytestmark = pytest.mark.filterwarnings("ignore:`isinstance:FutureWarning")


@pytest.mark.parametrize("strict", [False, True])
def test_export_for_every_size(strict: bool) -> None:
    model = Model().eval()
    sizes = ({0: Dim("n"), 2: Dim("h", min=4), 3: Dim("w", min=4)},)
    program = export(model, (image(2, 9, 8),), dynamic_shapes=sizes, strict=strict)
    assert OPERATOR in operators(program)
    lowered = program.run_decompositions(decompositions())
    assert OPERATOR not in operators(lowered)
    assert torch.ops.aten.convolution.default in operators(lowered)
    for size in ((2, 9, 8), (1, 16, 5), (5, 4, 4)):
        x = image(*size)
        assert torch.equal(program.module()(x), model(x))
        assert torch.equal(lowered.module()(x), model(x))


def test_an_exported_model_is_saved_and_loaded() -> None:
    model, x = Model().eval(), image(2, 9, 8)
    buffer = io.BytesIO()
    torch.export.save(export(model, (x,)), buffer)
    buffer.seek(0)
    assert torch.equal(torch.export.load(buffer).module()(x), model(x))


def test_a_training_graph_has_the_gradients() -> None:
    """Decomposed by `make_fx`, forward and backward are PyTorch's operators only."""
    x, w = image(2, 6, 6).requires_grad_(), torch.randint(-2, 3, (4, 3, 3, 3)).float()
    w.requires_grad_()

    def step(x: torch.Tensor, w: torch.Tensor) -> Any:
        y = faltung.functional.conv2d(x, w, stride=2, padding=((0, 1), (1, 2)))
        return torch.autograd.grad(y.square().sum(), (x, w))

    graph = torch.fx.experimental.proxy_tensor.make_fx(step, decompositions())(x, w)
    names = [str(node.target) for node in graph.graph.nodes]
    assert not any("faltung" in name for name in names)
    assert names.count("aten.convolution.default") == 3
    assert all(map(torch.equal, graph(x, w), step(x, w)))


@pytest.mark.parametrize("sizes", [None, ({0: "n", 2: "h", 3: "w"},)], ids=["fixed", "any size"])
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx(sizes: Any, tmp_path: Any) -> None:
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs it")
    runtime = pytest.importorskip("onnxruntime")
    model, x = Model().eval(), image(2, 9, 8)
    program = torch.onnx.export(model, (x,), dynamo=True, dynamic_shapes=sizes, verbose=False)
    program.save(path := tmp_path / "model.onnx")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    x = x if sizes is None else image(3, 16, 5)
    found = session.run(None, {session.get_inputs()[0].name: x.numpy()})[0]
    assert torch.equal(torch.from_numpy(found), model(x))
