"""The gradient of the input at stride 1 as a forward convolution."""

from collections.abc import Callable

import pytest
import torch

import faltung
from by_taps import forward, grad_input
from faltung.ops.conv.algorithms.native_torch import NativeTorch
from faltung.ops.conv.mirrored import Mirrored, as_forward
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm, algorithms, plan

SPECS = [
    "grad_input n2 c3 o4 i6x5 k3x3 p1 float32 cpu",
    "grad_input n1 c4 o6 i7x9 k2x4 p0+1x3+0 d2x1 g2 bias float32 cpu",
    "grad_input n1 c5 o5 i11 k4 p3+0 g5 float32 cpu",
    "grad_input n1 c2 o4 i4x5x3 k3x2x2 p1x0x2+0 g2 float32 cpu",
    # more padding than the window reaches, on one side and on both: outputs that see nothing
    "grad_input n1 c2 o2 i5x4 k2x2 p4+0x0+5 g2 float32 cpu",
    "grad_input n2 c3 o3 i3x3 k1x1 p2 float32 cpu",
    "grad_input n1 c4 o4 i3x4 k3x3 p7 d2 g4 channels_last float32 cpu",
    # outputs that stop before the formula's end
    "grad_input n1 c2 o3 i8x7 k3x3 y3x2 d2 float32 cpu",
    "grad_input n1 c2 o2 i5x5 k3x3 y1x2 p1 g2 relu float32 cpu",
]


class Forward(NativeTorch):
    """PyTorch's convolution, forwards only."""

    tasks = frozenset({"forward"})


@pytest.mark.parametrize("text", SPECS)
def test_is_the_same_as_the_adjoint(text: str, check_algorithm: Callable[..., None]) -> None:
    check_algorithm(Mirrored(Forward()), ConvSpec.parse(text))


@pytest.mark.parametrize("text", SPECS)
@pytest.mark.parametrize("algorithm", algorithms("conv", "cpu"), ids=lambda a: a.name)
def test_every_algorithm_that_goes_forward_does_it(
    algorithm: Algorithm, text: str, check_algorithm: Callable[..., None]
) -> None:
    spec = ConvSpec.parse(text)
    if "grad_input" not in algorithm.tasks or (reasons := algorithm.unsupported(spec)):
        pytest.skip("; ".join(reasons) if "grad_input" in algorithm.tasks else "no gradients")
    check_algorithm(algorithm, spec)


@pytest.mark.parametrize("text", SPECS)
def test_the_forward_convolution_is_the_one_of_the_definition(text: str) -> None:
    spec = ConvSpec.parse(text).with_task("grad_input")
    other = as_forward(spec)
    assert other is not None and other.task == "forward" and other.result_shape == spec.x_shape
    gy, w = (torch.randint(-2, 3, shape).double() for shape in spec.operand_shapes)
    parts = w.view(spec.groups, -1, *w.shape[1:]).transpose(1, 2).flip(tuple(range(3, w.dim() + 1)))
    mirrored = parts.reshape(other.w_shape)
    begin = [max(0, a.padding[0] - a.dilation * (a.kernel_size - 1)) for a in spec.axes]
    inside = tuple(slice(b, b + n) for b, n in zip(begin, other.input_size, strict=True))
    seen = gy[(slice(None), slice(None), *inside)]
    assert torch.equal(forward(seen, mirrored, other), grad_input(gy, w, spec))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ("c2 o2 i9x9 k3x3 s1x2 float32", "does grad_input at stride 1 only, not (1, 2)"),
        ("c2 o2 i9x9 k3x3 p1 circular float32", "for zeros as padding only, not circular"),
        ("c2 o2 i1x1 k1x1 p2 y1x1 float32", "has nothing to sum up: (1, 2, 1, 1)"),
    ],
)
def test_refusals_have_reasons(words: str, reason: str) -> None:
    spec = ConvSpec.parse(f"grad_input n1 {words} cpu")
    (found,) = Mirrored(Forward()).unsupported(spec)
    assert reason in found


def test_it_is_the_algorithm_that_it_holds() -> None:
    inner = Forward()
    outer = Mirrored(inner)
    spec = ConvSpec.parse("forward n1 c2 o2 i9x9 k3x3 float32 cpu")
    assert (outer.name, outer.error_factor) == (inner.name, inner.error_factor)
    assert outer.tasks == {"forward", "grad_input"}
    assert outer.rewritten(spec) is spec and outer.unsupported(spec) == []
    assert outer.workspace(spec) == inner.workspace(spec)


def test_a_plan_says_what_is_really_done_and_counts_it_under_its_name() -> None:
    text = "grad_input n1 c32 o32 i20x20 k5x5 p1+2 g32 channels_last float32 cpu"
    name = "depthwise_channels_last_cpu"
    with faltung.using(algorithm=name) as knobs:
        made = plan(ConvSpec.parse(text), "conv", knobs)
        assert f"as {as_forward(ConvSpec.parse(text))}" in str(made)
        before = faltung.usage()[name]
        gy, w = (torch.randn(shape) for shape in made.spec.operand_shapes)
        made(gy.contiguous(memory_format=torch.channels_last), w)
    assert faltung.usage()[name] == before + 1


def test_a_changed_weight_is_mirrored_anew() -> None:
    spec = ConvSpec.parse("grad_input n1 c2 o3 i6x5 k3x3 p1 float32 cpu")
    run = Mirrored(Forward()).build(spec)
    gy, w = (torch.randint(-2, 3, shape).float() for shape in spec.operand_shapes)
    for _ in range(6):  # also after the copy has become a routine
        assert torch.equal(run(gy, w), grad_input(gy, w, spec))
        w.add_(1)


def test_gradients_of_gradients() -> None:
    x = torch.randn(2, 4, 6, 5, dtype=torch.float64, requires_grad=True)
    w = torch.randn(4, 1, 3, 3, dtype=torch.float64, requires_grad=True)

    def layer(x: torch.Tensor, w: torch.Tensor) -> torch.Tensor:
        return faltung.functional.conv2d(x, w, padding=(2, (0, 3)), groups=4)

    assert torch.autograd.gradcheck(layer, (x, w))
    assert torch.autograd.gradgradcheck(layer, (x, w))
