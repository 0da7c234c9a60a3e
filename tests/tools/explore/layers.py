"""Random layers as the page's state, and what the library says of them."""

import random
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from faltung.errors import ArgumentError
from faltung.ops.conv.arguments import conv_spec, conv_transpose_spec
from faltung.ops.conv.by_hand import definition
from faltung.ops.conv.spec import ConvSpec

LONGEST = {1: 12, 2: 7, 3: 4}
WORDS = ("valid", "same", "same_lower", "causal")
MODES = ("zeros", "reflect", "replicate", "circular")


@dataclass(frozen=True)
class Layer:
    """A state of the page with its numbers, and the spec it means; None if it cannot be."""

    state: dict[str, Any]
    spec: ConvSpec | None

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """x [1, C, in…], w and b of the state."""
        x, w, b = (
            torch.tensor(self.state[name]["values"], dtype=torch.float64).view(
                self.state[name]["shape"]
            )
            for name in "xwb"
        )
        return x[None], w, b if self.state["bias"] else None

    def result(self) -> Tensor:
        """What the definition says, without batch."""
        assert self.spec is not None
        x, w, b = self.tensors
        task = definition.grad_input if self.state["transposed"] else definition.forward
        return definition.finished(task(x, w, self.spec), b, x)[0]


def layers(count: int, seed: int) -> list[Layer]:
    """That many layers, some of them impossible."""
    source = random.Random(seed)
    return [_layer(source) for _ in range(count)]


def _layer(source: random.Random) -> Layer:
    dims = source.choice((1, 1, 2, 2, 2, 3))

    def numbers(least: int, most: int) -> list[int]:
        return [source.randint(least, most) for _ in range(dims)]

    transposed = source.random() < 0.4
    groups = source.choice((1, 1, 2, 3))
    state = {
        "dims": dims, "transposed": transposed, "input": numbers(1, LONGEST[dims]),
        "kernel": numbers(1, 3 if dims == 3 else 4), "stride": numbers(1, 3),
        "dilation": numbers(1, 3), "low": numbers(0, 3), "high": numbers(0, 3),
        "extra": numbers(0, 2) if transposed else [0] * dims,
        "word": source.choice(WORDS) if source.random() < 0.35 else "",
        "mode": source.choice(MODES), "groups": groups,
        "channels": groups * source.randint(1, 2), "outputs": groups * source.randint(1, 2),
        "bias": source.random() < 0.7,
    }  # fmt: skip
    if source.random() < 0.05:
        state["outputs"] += 1
    group_channels = -(-state["channels"] // groups)
    group_outputs = -(-state["outputs"] // groups)
    rows = (state["channels"], group_outputs) if transposed else (state["outputs"], group_channels)
    shapes = {
        "x": [state["channels"], *state["input"]],
        "w": [*rows, *state["kernel"]],
        "b": [state["outputs"]],
    }
    for name, shape in shapes.items():
        size = torch.Size(shape).numel()
        state[name] = {"shape": shape, "values": [source.randint(-9, 9) for _ in range(size)]}
    return Layer(state, _spec(state))


def _spec(state: dict[str, Any]) -> ConvSpec | None:
    padding = state["word"] or tuple(zip(state["low"], state["high"], strict=True))
    bias = (state["outputs"],) if state["bias"] else None
    x, w = (1, *state["x"]["shape"]), tuple(state["w"]["shape"])
    common = {"dims": state["dims"], "mode": state["mode"], "dtype": "float64"}
    stride, dilation = tuple(state["stride"]), tuple(state["dilation"])
    try:
        if state["transposed"]:
            return conv_transpose_spec(
                x, w, bias, stride, padding, tuple(state["extra"]), state["groups"], dilation,
                **common,
            )  # fmt: skip
        return conv_spec(x, w, bias, stride, padding, dilation, state["groups"], **common)
    except ArgumentError:
        return None
