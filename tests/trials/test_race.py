"""Measuring: who is run and how often, on which operands, and what it leaves alone.

No test here looks at a real clock: time is what the pretended algorithms say they took.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

import faltung
from faltung import functional as FF
from faltung import planning, trials
from faltung.ops.conv.spec import ConvSpec
from faltung.ops.deform.spec import DeformSpec
from faltung.ops.unfold.spec import UnfoldSpec
from faltung.planning import Plan
from faltung.settings import using
from rivals import SPEC, Broken, Clock, Pretend, rivals, runs


def test_the_fastest_when_run_and_not_when_estimated(plan_with: Callable[..., Plan]) -> None:
    hopeful, modest = Pretend("hopeful_cpu", 1e-4, 3e-4), Pretend("modest_torch", 2e-4)
    plan = plan_with(hopeful, modest)
    assert plan.algorithm == "modest_torch"
    assert [c.measured for c in plan.candidates] == pytest.approx([2e-4, 3e-4])
    assert [c.seconds for c in plan.candidates] == [2e-4, 1e-4]
    assert plan.threads == torch.get_num_threads()
    with using(measure=False) as settings:
        assert planning.plan(SPEC, "conv", settings).algorithm == "hopeful_cpu"


def test_a_figure_is_a_median_and_not_of_the_first_run(plan_with: Callable[..., Plan]) -> None:
    steady = Pretend("steady_cpu", 2e-3)
    cold = Pretend("cold_cpu", 1e-3, 15e-3, *[1e-3] * 10_000)
    jumpy = Pretend("jumpy_cpu", 1.1e-3, *[1.1e-3] * 9, 30e-3)
    plan = plan_with(steady, cold, jumpy)
    assert plan.algorithm == "cold_cpu"
    assert [c.measured for c in plan.candidates] == pytest.approx([1e-3, 1.1e-3, 2e-3])


def test_who_ran_first_is_not_judged_by_memory_that_was_cold(
    plan_with: Callable[..., Plan],
) -> None:
    first = Pretend("first_cpu", 1e-3, 40e-3, 40e-3, *[1e-3] * 10_000)
    second = Pretend("second_cpu", 2e-3)
    plan = plan_with(first, second)
    assert plan.algorithm == "first_cpu"
    assert plan.candidates[0].measured == pytest.approx(1e-3)


def test_they_take_turns() -> None:
    clock, order = Clock(), []

    def run(name: str, seconds: float) -> Callable[[], None]:
        def once() -> None:
            order.append(name)
            clock.now += seconds

        return once

    runs = {"a": (run("a", 1e-3), 1e-3), "b": (run("b", 1e-3), 1e-3), "c": (run("c", 1e-3), 1e-3)}
    assert trials._rounds(runs, clock) == pytest.approx(dict.fromkeys("abc", 1e-3))
    assert "".join(order[:12]) == "abcbcacababc"
    assert len(order) == 3 * 15


def test_who_is_estimated_ten_times_as_slow_is_not_run(plan_with: Callable[..., Plan]) -> None:
    fast, slow = Pretend("fast_cpu", 1e-3), Pretend("slow_torch", 11e-3, 1e-6)
    plan = plan_with(fast, slow)
    assert (plan.algorithm, slow.runs) == ("fast_cpu", 0)
    assert plan.candidates[1].measured is None
    better_than_hoped = Pretend("fast_cpu", 1e-3, 0.5e-3)
    slow = Pretend("slow_torch", 6e-3)
    plan_with(better_than_hoped, slow, spec=ConvSpec.parse("forward n1 c1 o1 i9 k3 float32 cpu"))
    assert slow.runs == 0


def test_long_runs_are_few(plan_with: Callable[..., Plan]) -> None:
    names = "abcdefgh"
    slow = [Pretend(f"{name}_cpu", 0.3 + n / 100) for n, name in enumerate(names)]
    plan = plan_with(*slow)
    assert plan.algorithm == "a_cpu"
    assert [c.runs for c in slow] == [3, 3, 3, 3, 0, 0, 0, 0]  # a first, a second and one in turn
    assert sum(0 if c.measured is None else 1 for c in plan.candidates) == 4


def test_who_fails_is_not_chosen(plan_with: Callable[..., Plan]) -> None:
    plan = plan_with(Broken("broken_cpu", 1e-6), Pretend("sound_torch", 1e-3))
    assert plan.algorithm == "sound_torch"
    assert plan.candidates[1].measured is None
    plan = plan_with(Broken("a_cpu", 2e-6), Broken("b_cpu", 1e-6))
    assert plan.algorithm == "b_cpu"  # as estimated: the call will say what is wrong


def test_one_candidate_needs_no_race(plan_with: Callable[..., Plan], folder: Path) -> None:
    only = Pretend("only_cpu", 1e-3)
    assert plan_with(only).algorithm == "only_cpu"
    one, other = Pretend("one_cpu", 1e-3), Pretend("other_cpu", 1e-4)
    assert plan_with(one, other, algorithm="one_cpu").algorithm == "one_cpu"
    assert only.runs == one.runs == 0 and not folder.exists()


def test_prints_what_was_measured(plan_with: Callable[..., Plan]) -> None:
    plan = plan_with(
        Pretend("fast_cpu", 1e-5, 2e-5), Pretend("slow_torch", 1e-4), Pretend("off_torch", 1.0)
    )
    threads = trials.threads()
    assert str(plan) == (
        "forward n1 c2 o2 i9x9 k3x3 float32 cpu\n"
        f"  chosen: fast_cpu, measured on {threads} thread{'s' * (threads > 1)}\n"
        "  fast_cpu         20.0 us (measured)      10.0 us (estimate)  workspace 0 B\n"
        "  slow_torch      100.0 us (measured)     100.0 us (estimate)  workspace 0 B\n"
        "  off_torch                   not run 1000000.0 us (estimate)  workspace 0 B"
    )


# -- the operands, and what is left alone ----------------------------------------------------------

OPERANDS: list[tuple[Any, list[tuple[tuple[int, ...], str] | None]]] = [
    (ConvSpec.parse("forward n2 c4 o6 i7x5 k3x2 g2 bias channels_last bfloat16 cpu"),
     [((2, 4, 7, 5), "channels_last"), ((6, 2, 3, 2), "channels_last"), ((6,), "contiguous")]),
    (ConvSpec.parse("grad_input n2 c4 o6 i7 k3 bias strided int64 cpu"),
     [((2, 6, 5), "strided"), ((6, 4, 3), "contiguous"), ((4,), "contiguous")]),
    (ConvSpec.parse("grad_weight n2 c4 o6 i7x5x4 k3x2x1 channels_last complex64 cpu"),
     [((2, 4, 7, 5, 4), "channels_last"), ((2, 6, 5, 4, 4), "channels_last")]),
    (UnfoldSpec.parse("fold n2 c5 i3x4 k2x3 float64 cpu"), [((2, 30, 4), "contiguous")]),
    (DeformSpec.parse("forward n2 c8 o6 i9x9 k3x3 p1 bias float32 cpu"),
     [((2, 8, 9, 9), "contiguous"), ((2, 18, 9, 9), "contiguous"), ((6, 8, 3, 3), "contiguous"),
      ((6,), "contiguous"), None]),
    (DeformSpec.parse("forward n0 c8 o6 i9x9 k3x3 mask float16 cpu"),
     [((0, 8, 9, 9), "contiguous"), ((0, 18, 7, 7), "contiguous"), ((6, 8, 3, 3), "contiguous"),
      None, ((0, 9, 7, 7), "contiguous")]),
]  # fmt: skip


@pytest.mark.parametrize(("spec", "expected"), OPERANDS, ids=lambda v: str(v)[:40])
def test_operands_are_what_the_spec_says(spec: Any, expected: list[Any]) -> None:
    made = [trials.operand(spec, given) for given in spec.run_operands]
    assert len(made) == len(expected)
    for tensor, wanted in zip(made, expected, strict=True):
        if wanted is None:
            assert tensor is None
            continue
        assert tensor is not None
        shape, layout = wanted
        assert tensor.shape == shape and tensor.dtype == getattr(torch, spec.dtype)
        assert (tensor != 0).all()
        if layout == "strided":
            assert not tensor.is_contiguous()
        else:
            order = {4: torch.channels_last, 5: torch.channels_last_3d}
            memory = order[tensor.dim()] if layout == "channels_last" else torch.contiguous_format
            assert tensor.is_contiguous(memory_format=memory)


@pytest.fixture
def brief(monkeypatch: pytest.MonkeyPatch) -> None:
    """Real algorithms, run a few times each."""
    for name in ("_WARM_UP", "_TURN", "_RACE"):
        monkeypatch.setattr(trials, name, 0.0)


@pytest.mark.usefixtures("brief")
@pytest.mark.parametrize(
    ("family", "spec"),
    [
        ("conv", ConvSpec.parse("forward n1 c8 o8 i9x9 k3x3 p1 g8 bias relu float32 cpu")),
        ("conv", ConvSpec.parse("forward n1 c16 o16 i6x5 k3x3 g16 channels_last bfloat16 cpu")),
        ("unfold", UnfoldSpec.parse("unfold n2 c5 i9x9 k2x3 float32 cpu")),
        ("unfold", UnfoldSpec.parse("fold n2 c5 i9x9 k2x3 float32 cpu")),
    ],
    ids=str,
)
def test_real_algorithms_run_in_every_family(family: str, spec: Any) -> None:
    with using(measure=True) as settings:
        plan = planning.plan(spec, family, settings)
    assert len(plan.candidates) > 1
    assert sum(c.measured is not None for c in plan.candidates) > 1
    assert plan.chosen.measured == min(c.measured for c in plan.candidates if c.measured)


@pytest.mark.usefixtures("brief")
def test_a_call_measures_and_changes_nothing_else(whole: Callable[..., Tensor]) -> None:
    x, w = whole(1, 8, 9, 9, dtype=torch.float32), whole(8, 1, 3, 3, dtype=torch.float32)
    x.requires_grad_()
    before, state, calls = torch.is_grad_enabled(), torch.get_rng_state(), faltung.usage()
    with using(measure=True):
        for _ in range(3):
            y = FF.conv2d(x, w, None, 1, 1, 1, 8)
        assert torch.equal(y, F.conv2d(x, w, None, 1, 1, 1, 8))
        assert sum((faltung.usage() - calls).values()) == 3
        with torch.no_grad():
            assert torch.equal(FF.conv2d(x, w, None, 1, 1, 1, 8), y)
    assert faltung.plan(x, w, groups=8, padding=1).chosen.measured is None
    assert torch.is_grad_enabled() is before and torch.equal(torch.get_rng_state(), state)
    y.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None and x.grad.abs().sum() > 0


@pytest.mark.usefixtures("brief")
def test_under_autocast_and_in_inference_mode(
    whole: Callable[..., Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, bool, torch.dtype]] = []
    race = trials.race

    def noting(contestants: Any, operands: Sequence[Tensor], clock: Any) -> trials.Figures:
        own = (F.conv1d(torch.ones(1, 1, 3), torch.ones(1, 1, 1)).dtype, operands[0].dtype)
        seen.append((torch.is_grad_enabled(), operands[0].is_inference(), own[0]))
        return race(contestants, operands, clock)

    monkeypatch.setattr(trials, "race", noting)
    x, w = whole(1, 8, 9, 9, dtype=torch.float32), whole(8, 1, 3, 3, dtype=torch.float32)
    with using(measure=True):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert FF.conv2d(x, w, None, 1, 1, 1, 8).dtype == torch.bfloat16
        with torch.inference_mode():
            FF.conv2d(x, w, None, 1, 1, 1, 8)
    assert seen == [(False, False, torch.float32)] * 2


class _Watching(TorchDispatchMode):
    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, operator, types, args=(), kwargs=None
    ) -> Any:
        return operator(*args, **(kwargs or {}))


def test_nothing_is_run_where_it_would_be_traced_or_watched(
    plan_with: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithms = rivals()
    with _Watching():
        assert plan_with(*algorithms).algorithm == "hopeful_cpu"
    torch.func.vmap(lambda x: (plan_with(*algorithms), x)[1])(torch.ones(2))
    with monkeypatch.context() as change:
        change.setattr(torch.compiler, "is_compiling", lambda: True)
        assert plan_with(*algorithms).threads == 0
    assert runs(algorithms) == 0
    with using(measure=True) as settings:  # and this is not remembered
        assert planning.plan(SPEC, "conv", settings).algorithm == "modest_torch"


def test_too_large_operands_are_not_made(
    plan_with: Callable[..., Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    algorithms = rivals()
    assert plan_with(*algorithms, memory_limit=100).algorithm == "hopeful_cpu"
    huge = ConvSpec.parse("forward n9999 c9999 o9999 i9999 k3 float32 cpu")
    assert plan_with(*algorithms, spec=huge).algorithm == "hopeful_cpu"
    elsewhere = ConvSpec.parse("forward n1 c2 o2 i9x9 k3x3 float32 cuda:0")
    assert plan_with(*algorithms, spec=elsewhere).algorithm == "hopeful_cpu"
    assert runs(algorithms) == 0
    assert plan_with(*algorithms, memory_limit=10_000_000).algorithm == "modest_torch"
