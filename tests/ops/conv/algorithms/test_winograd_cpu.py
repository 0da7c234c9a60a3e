"""Winograd's filtering as an algorithm: errors against float64, memory, threads, refusals."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from faltung.machine import Rates, this_machine
from faltung.ops.activations import activate
from faltung.ops.conv.algorithms.winograd_cpu import ALGORITHM, _layout, _shared
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.packed import kept_bytes
from faltung.ops.scratch import scratch_bytes
from faltung.parts.winograd.weights import square_numbers
from faltung.tools.budget import Budget, assert_within, error_in_budgets
from forked import run_guarded

TESTS = Path(__file__).parents[3]
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
ORDER = {4: torch.channels_last, 5: torch.channels_last_3d}
LAYOUTS = ("contiguous", "channels_last")

# every rest of an output size modulo the largest tile, in both axes
SIZES = [f"c16 o16 i{n}x{n % 5 + 6} k3x3 p1" for n in range(2, 15)]
CHANNELS = [
    f"c{c} o{o} i9x7 k3x3 p1 bias"
    for c, o in ((2, 3), (4, 17), (8, 8), (15, 1), (16, 16), (17, 31), (20, 33), (33, 48), (65, 5))
]
WINDOWS = [
    "c8 o9 i12x13 k3x3 p2 d2", "c8 o9 i31x29 k3x3 p5x7 d5x7", "c8 o20 i9x40 k3x3 p0x20 d1x20",
    "c8 o9 i12x13 k5x5 p2", "c9 o8 i12x13 k1x3 p0x1", "c9 o8 i12x13 k3x1 p1x0 d2",
    "c9 o8 i12x13 k2x4 p1+0x2+1", "c9 o8 i12x13 k3x5 p0+3x5+0 d1x3", "c9 o8 i12x13 k4x4 p3",
    "c8 o9 i5x6x7 k3x3x3 p1", "c8 o9 i5x6x7 k3x3x3 p2 d2", "c20 o4 i6x3x9 k2x1x3 p0+1x0x4+0",
    "c8 o9 i7x6x5 k5x3x2 p4x0x1 d1x1x2 bias", "c24 o36 i9x8 k3x3 p1 g4 bias",
    "c8 o8 i9x8 k3x3 y5x6 p1", "c6 o6 i9x8x3 k3x3x1 p1x1x0 g2",
]  # fmt: skip
SIGNALS = [
    "c9 o17 i40 k3 p1 bias", "c9 o17 i301 k3 p16+0 d8", "c16 o8 i40 k5 p2", "c16 o8 i41 k2 p1+0",
    "c8 o8 i333 k4 p0+40 d13", "c16 o16 i50 k6 p3 g2", "c16 o16 i500 k3 p100 d100",
    # filters in parts
    "c16 o17 i61 k7 p3 bias", "c9 o16 i401 k11 p0+60 d5", "c32 o8 i33 k16 p9+7 g2",
    "c16 o8 i9x31 k1x9 p0x4", "c4 o5 i90 k31 p15", "c8 o8 i5 k9 p4", "c32 o32 i700 k13 p60 d10",
]  # fmt: skip
STRIDED = [
    "c16 o17 i60 k3 s2 bias", "c64 o9 i333 k3 s2 p0+1", "c9 o8 i80 k7 s3 p3", "c9 o8 i80 k8 s4 p3",
    "c16 o9 i12x13 k3x3 s2 p1", "c33 o17 i9x14 k5x5 s2 p2 bias", "c9 o8 i9x8 k3x4 s1x3 p1",
    "c16 o9 i7x8x9 k3x3x3 s2 p1", "c16 o16 i9x7x8 k3x5x3 s3x2x1 p1x2x1 g2",
]  # fmt: skip


def specs(words: list[str], *, batch: int = 1, dtype: str = "float32") -> list[ConvSpec]:
    found = []
    for text in words:
        spec = ConvSpec.parse(f"forward n{batch} {text} {dtype} cpu")
        found.append(spec)
        if spec.dims > 1:
            found.append(replace(spec, layout="channels_last"))
    return found


def by_torch(spec: ConvSpec) -> Callable[..., Tensor]:
    """The spec's forward task by PyTorch, in the dtype of what it is given."""

    def run(x: Tensor, w: Tensor, b: Tensor | None = None) -> Tensor:
        x = F.pad(x, [size for pair in reversed(spec.padding) for size in pair])
        y = CONV[spec.dims](x, w, b, spec.stride, 0, spec.dilation, spec.groups)
        return y[(..., *(slice(n) for n in spec.output_size))]

    return run


def numbers(spec: ConvSpec, make: Callable[..., Tensor] = torch.randn) -> list[Tensor]:
    shapes = [*spec.operand_shapes] + ([spec.result_shape[1:2]] if spec.bias else [])
    found = [make(shape).to(getattr(torch, spec.dtype)) for shape in shapes]
    if spec.layout == "channels_last":
        found[0] = found[0].contiguous(memory_format=ORDER[found[0].dim()])
    return found


def rectified(shape: tuple[int, ...]) -> Tensor:
    """Numbers as a layer gets them from the one before."""
    return torch.randn(shape).relu() if len(shape) > 1 else torch.randn(shape)


@pytest.mark.parametrize("spec", specs([*SIZES, *CHANNELS, *WINDOWS, *SIGNALS, *STRIDED]), ids=str)
def test_errors_stay_within_the_budget(
    spec: ConvSpec, between_nans: Callable[[Tensor], Tensor]
) -> None:
    assert not ALGORITHM.unsupported(spec)
    run = ALGORITHM.build(spec)
    for make in (torch.randn, rectified):
        operands = numbers(spec, make)
        if spec.layout == "contiguous":
            operands = [between_nans(t) for t in operands]
        budget = Budget.of(by_torch(spec), operands, ALGORITHM.error_factor)
        assert_within(run(*operands), budget)


@pytest.mark.parametrize("dtype", ["float64", "bfloat16", "float16"])
@pytest.mark.parametrize(
    "text",
    [SIZES[3], CHANNELS[6], WINDOWS[1], WINDOWS[9], SIGNALS[1], SIGNALS[8], STRIDED[1], STRIDED[5]],
)
def test_dtypes(text: str, dtype: str) -> None:
    for spec in specs([text], batch=2, dtype=dtype):
        operands = numbers(spec)
        budget = Budget.of(by_torch(spec), operands, ALGORITHM.error_factor)
        assert_within(ALGORITHM.build(spec)(*operands), budget)


@pytest.mark.parametrize("batch", [0, 3])
@pytest.mark.parametrize(
    "text", [SIZES[4], WINDOWS[13], WINDOWS[10], SIGNALS[0], SIGNALS[7], STRIDED[0], STRIDED[7]]
)
def test_batches(text: str, batch: int) -> None:
    for spec in specs([text], batch=batch):
        operands = numbers(spec)
        y = ALGORITHM.build(spec)(*operands)
        assert_within(y, Budget.of(by_torch(spec), operands, ALGORITHM.error_factor))


@pytest.mark.parametrize("text", [*WINDOWS, *SIGNALS, SIZES[5], "c9 o7 i8x6 k3x3 p4+0x3 bias"])
def test_the_gradient_of_the_input(text: str) -> None:
    for plain in specs([text], batch=2):
        spec = replace(plain, task="grad_input", activation=None)
        if ALGORITHM.unsupported(spec):
            assert spec.out_channels // spec.groups < 3, spec
            continue
        operands = numbers(spec)

        def gradient(
            gy: Tensor, w: Tensor, b: Tensor | None = None, spec: ConvSpec = spec
        ) -> Tensor:
            x = torch.zeros(spec.x_shape, dtype=gy.dtype, requires_grad=True)
            (gx,) = torch.autograd.grad(by_torch(spec)(x, w), x, gy)
            return gx if b is None else gx + b.view(-1, *(1,) * spec.dims)

        budget = Budget.of(gradient, operands, ALGORITHM.error_factor)
        assert_within(ALGORITHM.build(spec)(*operands), budget)


@pytest.mark.parametrize("name", ["relu", "leaky_relu", "gelu", "silu", "hardswish"])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_activations(name: str, layout: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c9 o18 i9x8 k3x3 p1 bias {layout} float32 cpu")
    operands = numbers(spec)
    bent = ALGORITHM.build(replace(spec, activation=name))(*operands)
    plain = ALGORITHM.build(spec)(*operands)
    budget = Budget.of(by_torch(spec), operands, ALGORITHM.error_factor)
    assert (bent - activate(name, plain)).abs().max() <= budget.limit
    assert not torch.equal(bent, plain)


def test_two_channels_are_exact_on_whole_numbers() -> None:
    # so few channels allow only the points 0 and ±1, which halve and add
    for spec in specs(["c4 o6 i9x7 k3x3 p1 g2", "c2 o18 i4x5x8 k3x2x2 p1x1x0 bias"]):
        operands = numbers(spec, lambda shape: torch.randint(-2, 3, shape))
        expected = by_torch(spec)(*(t.double() for t in operands))
        assert torch.equal(ALGORITHM.build(spec)(*operands).double(), expected)


def test_a_channel_of_zeros_changes_nothing() -> None:
    spec = ConvSpec.parse("forward n1 c16 o16 i12x12 k3x3 p1 float32 cpu")
    x, w = numbers(spec)
    more = F.pad(x, (0, 0, 0, 0, 0, 1)), F.pad(w, (0, 0, 0, 0, 0, 1))
    wide = ALGORITHM.build(replace(spec, in_channels=17))(*more)
    assert torch.equal(wide, ALGORITHM.build(spec)(x, w))


def test_a_weight_that_changed_is_transformed_again() -> None:
    spec = ConvSpec.parse("forward n1 c8 o8 i9x9 k3x3 float32 cpu")
    x, w = numbers(spec)
    run = ALGORITHM.build(spec)
    before = run(x, w)
    assert torch.equal(run(x, w), before)
    w.mul_(-2)
    assert torch.equal(run(x, w), -2 * before)


@pytest.mark.parametrize(
    "text",
    [
        "n1 c64 o200 i14x14 k3x3 p1", "n1 c20 o16 i40x44 k3x3 p1", "n2 c16 o32 i5x9x9 k3x3x3 p1",
        "n1 c16 o48 i700 k3 p1", "n1 c64 o48 i700 k11 p5", "n1 c48 o64 i50x60 k3x3 s2 p1",
    ],
)  # fmt: skip
def test_same_bits_for_any_number_of_threads_and_in_its_memory_order(text: str) -> None:
    plain = ConvSpec.parse(f"forward {text} float32 cpu")
    for layout in LAYOUTS if plain.dims > 1 else LAYOUTS[:1]:
        spec = replace(plain, layout=layout)
        operands, run = numbers(spec), ALGORITHM.build(spec)
        before, results = torch.get_num_threads(), []
        try:
            for threads in (1, 2, 3):
                torch.set_num_threads(threads)
                results.append(run(*operands))
        finally:
            torch.set_num_threads(before)
        assert all(torch.equal(result, results[0]) for result in results)
        order = torch.contiguous_format if layout == "contiguous" else ORDER[spec.dims + 2]
        assert results[0].is_contiguous(memory_format=order)


def guarded(words: list[str]) -> list[str]:
    return [str(spec) for spec in specs(words)]


def test_stays_inside_its_memory() -> None:
    # compared with a run in ordinary memory, to the bit: of what is not exact, one with relu
    exact = ["c2 o3 i4x5 k3x3 p1", "c4 o6 i9x3 k3x3 p1+0x2 g2 bias", "c2 o2 i19 k2 d3"]
    plain = (*SIZES[::3], *CHANNELS[::2], *WINDOWS[::2], *SIGNALS[::2], *STRIDED)
    bent = [f"{text} relu" for text in plain]
    transposed = ["grad_input n1 c9 o8 i9x8 k3x3 p1 relu float32 cpu"]
    for some in (guarded(exact), guarded(bent), transposed):
        run_guarded(ALGORITHM.name, some)


def test_on_shorter_vectors() -> None:
    if this_machine().vector_bits <= 256:
        pytest.skip("this machine has no longer vectors than those")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__,
         "-k", "exact or dtypes or batches"],
        capture_output=True, text=True, timeout=900, check=False, cwd=TESTS.parent,
        env={**os.environ, "FALTUNG_CPU": "avx2", "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.parametrize("most", [(64, 56), (256, 14)])
def test_real_layers_err_less_than_three_times_as_much_as_a_direct_sum(
    most: tuple[int, int],
) -> None:
    channels, size = most
    spec = ConvSpec.parse(f"forward n1 c{channels} o16 i{size}x{size} k3x3 p1 float32 cpu")
    run = ALGORITHM.build(spec)
    for make in (torch.randn, rectified):
        x, w = numbers(spec, make)
        y64 = by_torch(spec)(x.double(), w.double())
        direct, patches = torch.zeros_like(y64), F.unfold(F.pad(x, (1,) * 4), 3).double()
        for n in range(patches.shape[1]):  # one by one, each rounded to float32
            step = w.double().reshape(16, -1)[:, n, None] * patches[:, n]
            direct = (direct + step.view_as(direct)).float().double()
        ours, theirs = ((y.double() - y64).square().mean().sqrt() for y in (run(x, w), direct))
        assert ours < ALGORITHM.error_factor * theirs
        # tiles that round less cost more: there is something to it
        assert ours > 0.3 * theirs


@pytest.mark.parametrize("text", ["i2048 k11 p5", "i2048 k7 p3", "i1599 k3 s2"])
def test_signals_err_less_than_three_times_as_much_as_a_direct_sum(text: str) -> None:
    spec = ConvSpec.parse(f"forward n1 c64 o16 {text} float32 cpu")
    run, taps = ALGORITHM.build(spec), spec.kernel_size[0]
    for make in (torch.randn, rectified):
        x, w = numbers(spec, make)
        y64 = by_torch(spec)(x.double(), w.double())
        padded = F.pad(x, spec.padding[0]).double()
        seen = padded.unfold(2, taps, spec.stride[0])[0]  # [c, q, t]
        direct = torch.zeros_like(y64)
        for c in range(64):
            for t in range(taps):
                step = w[:, c, t, None].double() * seen[c, :, t]
                direct = (direct + step).float().double()
        ours, theirs = ((y.double() - y64).square().mean().sqrt() for y in (run(x, w), direct))
        assert 0.3 * theirs < ours < ALGORITHM.error_factor * theirs


def test_wrong_results_would_be_seen() -> None:
    spec = ConvSpec.parse("forward n1 c16 o16 i12x12 k3x3 p1 float32 cpu")
    operands = numbers(spec)
    budget = Budget.of(by_torch(spec), operands, ALGORITHM.error_factor)
    y = ALGORITHM.build(spec)(*operands)
    for wrong in (torch.zeros_like(y), y.flip(-1), y.transpose(2, 3), y.to(torch.bfloat16).float()):
        assert error_in_budgets(wrong, budget) > 30


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("c8 o8 i19x19 k3x3 s2 d2x1 float32", "needs dilation 1 with such strides, has 2"),
        ("c8 o8 i9x9 k2x2 s2 float32", "saves nothing for a window of 1×1 taps"),
        ("c8 o8 i9x9 k1x1 float32", "saves nothing for a window of 1×1 taps"),
        ("c8 o8 i9x9x9 k3x1x1 float32", "saves nothing for a window of 1×1 taps"),
        ("c8 o8 i9x9 k3x3 p1 reflect float32", "pads with zeros only, not reflect"),
        ("c8 o8 i9x9 k3x3 complex64", "needs one of float32, .*has complex64"),
        ("c0 o8 i9x9 k3x3 float32", "needs an input, has 0 channels of 9×9"),
        (
            "c8 o8 i9x9 k3x3 g8 float32",
            "no tiles for a window of 3×3 taps, 1 channels a group and 7×7 results that round at "
            "most 3 times",
        ),
        ("c64 o8 i40x40 k11x11 float32", "no tiles for a window of 11×11 taps, 64 channels"),
        ("c64 o8 i3x3 k3x3 float32", "64 channels a group and 1×1 results"),
    ],
)
def test_what_it_refuses(text: str, reason: str) -> None:
    (said,) = ALGORITHM.unsupported(ConvSpec.parse(f"forward n1 {text} cpu"))
    assert re.search(reason, said)


def test_strided_views_are_copied() -> None:
    spec = ConvSpec.parse("forward n2 c8 o8 i9x9 k3x3 p1 strided float32 cpu")
    x, w = numbers(spec)
    view = torch.empty(2, 8, 9, 18)[..., ::2].copy_(x)
    assert not view.is_contiguous()
    run = ALGORITHM.build(spec)
    assert torch.equal(run(view, w), run(x, w))


def test_exact_accuracy_never_has_it() -> None:
    x, w = torch.randn(1, 64, 56, 56), torch.randn(64, 64, 3, 3)
    assert ALGORITHM.error_factor > 1
    with faltung.using(accuracy="exact"):
        plan = faltung.plan(x, w, padding=1)
    assert any("rounds 3 times as much" in why for why in plan.rejected[ALGORITHM.name])


def test_estimates_grow_with_the_work_and_shrink_with_the_machine() -> None:
    small = ConvSpec.parse("forward n1 c64 o64 i56x56 k3x3 p1 float32 cpu")
    large = replace(small, batch=4)
    slow = replace(this_machine(), cores=1, measured=((1, Rates(peak=1e11, bandwidth=1e10)),))
    fast = replace(slow, measured=((1, Rates(peak=2e11, bandwidth=2e10)),))
    few, many = ALGORITHM.seconds(small, slow), ALGORITHM.seconds(large, slow)
    assert 3 < many / few < 5
    assert 1.8 < ALGORITHM.seconds(large, slow) / ALGORITHM.seconds(large, fast) < 2.1
    # a quarter of the multiplications, and not much more besides
    assert 0.25 < few / (2 * small.macs / 1e11) < 0.75


def test_workspace_is_the_transformed_weight_and_scratch() -> None:
    spec = ConvSpec.parse("forward n1 c32 o40 i20x20 k3x3 p1 float32 cpu")
    operands, run, before = numbers(spec), ALGORITHM.build(spec), kept_bytes()
    run(*operands)
    layout = _layout(spec)
    shared = _shared(layout, torch.get_num_threads())
    own = scratch_bytes(4, *shared.scratch) + scratch_bytes(4, square_numbers(layout))
    assert ALGORITHM.workspace(spec) == kept_bytes() - before + own
