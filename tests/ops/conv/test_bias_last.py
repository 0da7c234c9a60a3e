"""The bias is added to finished sums: none of them rounds to the bias's size."""

from dataclasses import replace

import pytest
import torch

from exact import laid
from faltung.lang.target import host_target
from faltung.ops.conv.algorithms import (
    direct_channels_cpu,
    direct_cpu,
    grouped_channels_last_cpu,
    grouped_winograd_cpu,
    row_pairs_cpu,
)
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm

PROBLEMS = [
    (direct_cpu.ALGORITHM, "n2 c6 o6 i9x37 k3x3 p1 g2"),
    (direct_cpu.ALGORITHM, "n1 c2 o512 i800 k3 s2"),  # channels whose rows begin alike
    (direct_channels_cpu.ALGORITHM, "n1 c3 o21 i9x13 k3x3 s2 p1"),
    (direct_channels_cpu.ALGORITHM, "n1 c3 o21 i9x13 k3x3 p1 channels_last"),
    (row_pairs_cpu.ALGORITHM, "n1 c3 o21 i9x13 k7x7 s2 p3"),
    (row_pairs_cpu.ALGORITHM, "n1 c3 o37 i9x13 k3x3 p1 channels_last"),
    (grouped_channels_last_cpu.ALGORITHM, "n1 c16 o16 i9x13 k3x3 p1 g8 channels_last"),
    (grouped_channels_last_cpu.ALGORITHM, "n1 c10 o10 i9x13 k3x3 s2 g5 channels_last"),
    (grouped_winograd_cpu.ALGORITHM, "n1 c16 o16 i9x13 k3x3 p1 g4 channels_last"),
]


@pytest.mark.parametrize(("algorithm", "words"), PROBLEMS)
def test_to_the_bit(algorithm: Algorithm, words: str) -> None:
    spec = ConvSpec.parse(f"forward {words} float32 cpu")
    if spec.groups > 2 and host_target().lanes() < 4:
        pytest.skip("fewer than two groups to a vector")
    x, w = (torch.randn(shape) for shape in spec.operand_shapes)
    bias, x = 1000 * torch.randn(spec.out_channels), laid(x, spec)
    given = algorithm.build(replace(spec, bias=True))(x, w, bias)
    ones = (1,) * spec.dims
    assert torch.equal(given, algorithm.build(spec)(x, w) + bias.view(-1, *ones))
