"""Images that lie anyhow: every algorithm gives what it gives for the same numbers in order."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from faltung import ConvSpec, NoAlgorithmError, plan, using
from faltung.functional import conv1d, conv2d, conv3d, conv_transpose2d
from faltung.machine import this_machine
from faltung.ops.conv.dense_memory import DenseMemory
from faltung.planning import algorithms

ALGORITHMS = [a for a in algorithms("conv", "cpu") if isinstance(a, DenseMemory)]
LAYERS: dict[str, tuple[Callable[..., Tensor], tuple[int, ...], tuple[int, ...], int]] = {
    "depthwise signal": (conv1d, (2, 24, 40), (24, 1, 4), 24),
    "signal": (conv1d, (2, 8, 33), (6, 8, 3), 1),
    "depthwise": (conv2d, (2, 16, 12, 15), (16, 1, 7, 7), 16),
    "groups": (conv2d, (2, 32, 9, 17), (32, 4, 3, 3), 8),
    "dense": (conv2d, (2, 16, 14, 14), (16, 16, 3, 3), 1),
    "volume": (conv3d, (2, 16, 6, 7, 9), (16, 1, 3, 3, 3), 16),
    "transposed": (conv_transpose2d, (2, 16, 7, 9), (16, 8, 4, 4), 1),
}


def strided(t: Tensor) -> list[Tensor]:
    """The same numbers, neither contiguous nor channels last."""
    spread = torch.full((*t.shape[:-1], 2 * t.shape[-1]), float("nan"), dtype=t.dtype)[..., ::2]
    cut = torch.full((t.shape[0], t.shape[1] + 3, *t.shape[2:]), float("nan"), dtype=t.dtype)
    turned = t.transpose(1, -1).contiguous().transpose(1, -1)
    return [spread.copy_(t), cut[:, 2:-1].copy_(t), turned]


@pytest.mark.parametrize("algorithm", [a.name for a in ALGORITHMS])
def test_the_same_numbers_in_any_order(algorithm: str, whole: Callable[..., Tensor]) -> None:
    done = 0
    for convolve, image, weight, groups in LAYERS.values():
        x, w = whole(*image, dtype=torch.float32), whole(*weight, dtype=torch.float32)
        stride = 2 if convolve is conv_transpose2d else 1
        try:
            expected = convolve(x, w, stride=stride, padding=1, groups=groups, algorithm=algorithm)
        except NoAlgorithmError:
            continue
        for other in strided(x):
            assert not other.is_contiguous()
            y = convolve(other, w, stride=stride, padding=1, groups=groups, algorithm=algorithm)
            assert torch.equal(y, expected) and y.is_contiguous()
            done += 1
    if not done:
        pytest.skip("does none of these layers")


def test_gradients_of_strided_images(whole: Callable[..., Tensor]) -> None:
    x, w = whole(2, 24, 40, dtype=torch.float64), whole(24, 1, 4, dtype=torch.float64)
    results = []
    for image in [t.detach().requires_grad_() for t in (x, *strided(x))]:
        y = conv1d(image, w, padding=3, groups=24)
        results.append(torch.autograd.grad((y * torch.arange(y.shape[-1])).sum(), image)[0])
    assert all(torch.equal(g, results[0]) for g in results[1:])


def test_the_copy_is_counted() -> None:
    machine = this_machine()
    dense = ConvSpec.parse("forward n1 c64 o64 i4096 k4 p3 g64 float32 cpu")
    spec = ConvSpec.parse("forward n1 c64 o64 i4096 k4 p3 g64 strided float32 cpu")
    for algorithm in ALGORITHMS:
        if not algorithm.unsupported(dense):
            assert algorithm.workspace(spec) == algorithm.workspace(dense) + 4 * 64 * 4096
            assert algorithm.seconds(spec, machine) > algorithm.seconds(dense, machine)
            assert algorithm.rewritten(spec).layout == "contiguous"
    x, w = torch.randn(1, 4096, 64).transpose(1, 2), torch.randn(64, 1, 4)
    assert "workspace 1.0 MB  as forward" in str(plan(x, w, padding=3, groups=64))
    with using(memory_limit=4 * 64 * 4096 - 1):
        assert plan(x, w, padding=3, groups=64).algorithm == "native_torch"


def test_pytorch_gets_the_image_as_it_is() -> None:
    (native,) = [a for a in algorithms("conv", "cpu") if a.name == "native_torch"]
    assert not isinstance(native, DenseMemory) and len(ALGORITHMS) > 8
