"""Unfold, fold and deformable convolution as ONNX graphs, which ONNX Runtime runs.

Convolutions are in `test_decomposition`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim

import faltung
from faltung import functional as FF
from faltung.tools.budget import Budget, assert_equal, assert_within

# PyTorch's own, of its own data structures and its exporter
pytestmark = pytest.mark.filterwarnings(
    "ignore:`isinstance:FutureWarning", "ignore::DeprecationWarning", "ignore::FutureWarning"
)


class Windows(nn.Module):
    """Unfold and fold with what PyTorch's have, and what they have not."""

    def forward(self, x: Tensor, sequence: Tensor, volume: Tensor) -> tuple[Tensor, ...]:
        columns = FF.unfold(x, 3, padding=((1, 0), 2), stride=2)
        plain = FF.unfold(x, (3, 2), dilation=2, padding=1, stride=2)
        return (
            columns,
            plain,
            FF.fold(columns, x.shape[2:], 3, padding=((1, 0), 2), stride=2),
            FF.fold(plain, x.shape[2:], (3, 2), dilation=2, padding=1, stride=2),
            FF.unfold(x, (2, 3), 2, "same", 2, padding_mode="reflect"),
            FF.unfold(sequence, 4, padding="same_lower", stride=3, padding_mode="circular"),
            FF.unfold(volume, (2, 1, 3), padding=(1, 0, (2, 0)), padding_mode="replicate"),
        )


class Deformable(nn.Module):
    """A layer whose offsets and mask are computed, and a call whose padding follows the size."""

    def __init__(self) -> None:
        super().__init__()
        self.where = faltung.nn.Conv2d(4, 27, 3, padding=1)
        self.layer = faltung.nn.DeformConv2d(4, 6, 3, padding=1, groups=2)
        for parameter in self.parameters():
            parameter.data = torch.randint(-1, 2, parameter.shape).float()

    def forward(self, x: Tensor, offset: Tensor) -> tuple[Tensor, ...]:
        found = self.where(x)
        y = self.layer(x, found[:, :18] / 4, found[:, 18:])
        w = self.layer.weight.flatten(0, 1).unflatten(0, (3, 4))
        return y, FF.deform_conv2d(x, offset / 4, w, None, (2, 3), "same", 2, activation="relu")


class Blend(nn.Module):
    """A deformable convolution alone."""

    def forward(self, x: Tensor, offset: Tensor, w: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        return FF.deform_conv2d(x, offset, w, b, 1, 1, 1, mask)


def exported(model: nn.Module, given: Sequence[Tensor], sizes: Any, path: Path) -> Any:
    """ONNX Runtime's session of the model; nothing of ours is in its graph."""
    pytest.importorskip("onnxscript", reason="torch.onnx.export needs it")
    runtime = pytest.importorskip("onnxruntime")
    program = torch.onnx.export(
        model.eval(), tuple(given), dynamo=True, dynamic_shapes=sizes, verbose=False
    )
    assert {node.domain for node in program.model_proto.graph.node} == {""}
    program.save(path)
    return runtime.InferenceSession(path, providers=["CPUExecutionProvider"])


def ran(session: Any, given: Sequence[Tensor]) -> list[Tensor]:
    names = [node.name for node in session.get_inputs()]
    arrays = {name: t.numpy() for name, t in zip(names, given, strict=True)}
    return [torch.from_numpy(result) for result in session.run(None, arrays)]


def check(model: nn.Module, session: Any, given: Sequence[Tensor]) -> None:
    """The bits of the model's results, from whole numbers and quarters."""
    for found, expected in zip(ran(session, given), model(*given), strict=True):
        assert expected.abs().sum() > 0
        assert_equal(found, expected)


def windowed(n: int, h: int, w: int) -> list[Tensor]:
    shapes = ((n, 3, h, w), (n, 2, w), (n, 2, 3, h, 4))
    return [torch.randint(-4, 5, shape).float() for shape in shapes]


def deformed(n: int, h: int, w: int) -> list[Tensor]:
    shapes = ((n, 4, h, w), (n, 36, -(-h // 2), -(-w // 3)))
    return [torch.randint(-4, 5, shape).float() for shape in shapes]


# the sizes that may be any
@pytest.mark.parametrize(
    ("model", "operands", "free"),
    [
        (Windows, windowed, [(0, 2, 3), (0, 2), (0, 3)]),
        (Deformable, deformed, [(0, 2, 3), (0, 2, 3)]),
    ],
    ids=["windows", "deformable"],
)
@pytest.mark.parametrize("kind", ["fixed", "any size"])
def test_the_same_bits(kind: str, model: Any, operands: Any, free: Any, tmp_path: Path) -> None:
    module, given = model(), operands(2, 9, 8)
    sizes = None if kind == "fixed" else [dict.fromkeys(dims, Dim.DYNAMIC) for dims in free]
    session = exported(module, given, sizes, tmp_path / "model.onnx")
    check(module, session, given)
    # even and odd: "same" comes to other paddings
    for size in () if kind == "fixed" else ((3, 16, 5), (1, 6, 6), (2, 7, 10)):
        check(module, session, operands(*size))


def test_between_pixels_within_the_budget(tmp_path: Path) -> None:
    shapes = ((2, 4, 9, 8), (2, 18, 9, 8), (6, 4, 3, 3), (6,), (2, 9, 9, 8))
    x, offset, w, b, mask = (torch.randn(shape) for shape in shapes)
    given = (x, offset, w, b, mask.sigmoid())
    session = exported(Blend(), given, None, tmp_path / "model.onnx")

    def call(x: Tensor, w: Tensor, b: Tensor, mask: Tensor) -> Tensor:
        return FF.deform_conv2d(x, offset.to(x.dtype), w, b, 1, 1, 1, mask)

    budget = Budget.of(call, (x, w, b, given[-1]))
    assert_within(ran(session, given)[0], budget)
    assert_within(Blend()(*given), budget)
