"""A packed weight is never out of date, goes with its weight, and obeys the bound."""

import gc
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import Parameter

from faltung.errors import ArgumentError
from faltung.ops import packed as module
from faltung.ops.packed import forget, keep_at_most, kept_bytes, packer

LARGE = (16, 24, 5, 5)  # 38,400 bytes: looked at in places
SMALL = (4, 3, 3, 3)  # compared in whole


@pytest.fixture(autouse=True)
def _nothing_kept() -> Iterator[None]:
    before = module._Bound.limit
    forget()
    yield
    forget()
    module._Bound.limit = before


class Counted:
    """A packing that turns the weight round, and how often it ran."""

    def __init__(self) -> None:
        self.runs = 0
        self.packed = packer(self.make)

    def make(self, w: Tensor) -> Tensor:
        self.runs += 1
        return w.transpose(0, 1).contiguous()

    def check(self, w: Tensor, *, runs: int) -> None:
        """The form is that of the weight now, and this is how often it was made up to now."""
        assert torch.equal(self.packed(w), w.detach().transpose(0, 1))
        assert self.runs == runs


@pytest.fixture
def counted() -> Counted:
    return Counted()


def weight(shape: tuple[int, ...] = LARGE) -> Parameter:
    return Parameter(torch.randn(shape))


@pytest.mark.parametrize("shape", [SMALL, LARGE, (1, 1, 1, 1), (3, 0, 2), (7,) * 5])
def test_the_second_call_finds_the_first(counted: Counted, shape: tuple[int, ...]) -> None:
    w = weight(shape)
    counted.check(w, runs=1)
    assert counted.packed(w) is counted.packed(w)
    counted.check(w, runs=1)
    assert not counted.packed(w).requires_grad


def in_place(w: Parameter) -> None:
    with torch.no_grad():
        w[1, 1] += 1


def through_a_view(w: Parameter) -> None:
    with torch.no_grad():
        w.view(-1)[5:6].mul_(3)


def through_detached(w: Parameter) -> None:
    w.detach()[2].zero_()


def through_data_wholly(w: Parameter) -> None:
    w.data.mul_(2)


def copied_into_data(w: Parameter) -> None:
    w.data.copy_(torch.randn(w.shape))


def clipped(w: Parameter) -> None:
    w.data.clamp_(-0.1, 0.1)


def one_filter_through_data(w: Parameter) -> None:
    w.data[-1] = 0


def through_numpy(w: Parameter) -> None:
    array = w.detach().numpy()
    np.multiply(array, 2, out=array)


def assigned_data(w: Parameter) -> None:
    w.data = torch.randn(w.shape)


def assigned_reordered(w: Parameter) -> None:
    w.data = w.data.flip(-1).transpose(-1, -2)


def assigned_other_strides(w: Parameter) -> None:
    w.data = w.data.transpose(-1, -2)


def assigned_a_part(w: Parameter) -> None:
    w.data = w.data[:2]


def set_to_another(w: Parameter) -> None:
    with torch.no_grad():
        w.set_(torch.randn(w.shape))


def resized(w: Parameter) -> None:
    w.requires_grad_(False).resize_(2, w.shape[1], 1, 1)


def transposed_in_place(w: Parameter) -> None:
    with torch.no_grad():
        w.transpose_(-1, -2)


def swapped(w: Parameter) -> None:
    torch.utils.swap_tensors(w, weight(tuple(w.shape)))


def storage_emptied_and_filled(w: Parameter) -> None:
    kept = w.detach() + 1
    with torch.autograd._unsafe_preserve_version_counter(w):
        w.untyped_storage().resize_(0)
        w.untyped_storage().resize_(kept.nbytes)
        with torch.no_grad():
            w.copy_(kept)


def shared_memory(w: Parameter) -> None:
    w.share_memory_()
    w.data.add_(1)


def initialised(w: Parameter) -> None:
    torch.nn.init.kaiming_uniform_(w)


def in_inference_mode(w: Parameter) -> None:
    with torch.inference_mode():
        w[0, 0, 0, 0] = 7


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
@pytest.mark.parametrize(
    "write",
    [
        in_place, through_a_view, through_detached, through_data_wholly, copied_into_data, clipped,
        one_filter_through_data, through_numpy, assigned_data, assigned_reordered,
        assigned_other_strides, assigned_a_part, set_to_another, resized, transposed_in_place,
        swapped, storage_emptied_and_filled, shared_memory, initialised, in_inference_mode,
    ],
)  # fmt: skip
def test_every_write_is_seen(
    counted: Counted, write: Callable[[Parameter], None], shape: tuple[int, ...]
) -> None:
    w = weight(shape)
    for turn in range(3):
        counted.packed(w)
        before, runs = w.detach().clone(), counted.runs
        counted.check(w, runs=runs)
        write(w)
        if turn == 0:
            assert not torch.equal(w, before)
        assert torch.equal(counted.packed(w), w.detach().transpose(0, 1))


@pytest.mark.parametrize("numbers", [1024, 1025, 1031, 2048, 9600, 65536, 147456])
def test_every_stretch_of_a_200th_is_looked_at(numbers: int) -> None:
    w = torch.zeros(numbers)
    packed = packer(Tensor.clone)
    stretch = -(-numbers // 200)
    for first in [*range(0, numbers - stretch + 1, max(1, stretch // 3)), numbers - stretch]:
        packed(w)
        w.data[first : first + stretch] += 1
        assert torch.equal(packed(w), w)


OPTIMIZERS: dict[str, Callable[[list[Parameter]], torch.optim.Optimizer]] = {
    "SGD": lambda p: torch.optim.SGD(p, 0.1, foreach=False),
    "SGD foreach": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9, foreach=True),
    "SGD fused": lambda p: torch.optim.SGD(p, 0.1, fused=True),
    "Adam": lambda p: torch.optim.Adam(p, 0.1, foreach=False),
    "Adam foreach": lambda p: torch.optim.Adam(p, 0.1, foreach=True),
    "Adam fused": lambda p: torch.optim.Adam(p, 0.1, fused=True),
    "AdamW fused": lambda p: torch.optim.AdamW(p, 0.1, fused=True),
    "Adagrad fused": lambda p: torch.optim.Adagrad(p, 0.1, fused=True),
    "LBFGS": lambda p: torch.optim.LBFGS(p, 0.1, max_iter=2),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizer_steps_are_seen(counted: Counted, name: str) -> None:
    w = weight()
    optimizer = OPTIMIZERS[name]([w])
    for step in range(3):
        counted.check(w, runs=step + 1)
        counted.check(w, runs=step + 1)
        before = w.detach().clone()
        w.grad = torch.randn(w.shape)
        gradient = w.grad.clone()
        optimizer.step(lambda: torch.tensor(1.0))  # type: ignore[arg-type]
        assert not torch.equal(w.detach(), before)
        assert torch.equal(w.grad, gradient)


@pytest.mark.parametrize("assign", [False, True])
def test_a_loaded_state_is_seen(counted: Counted, assign: bool) -> None:
    layer, other = torch.nn.Conv2d(3, 5, 3), torch.nn.Conv2d(3, 5, 3)
    counted.check(layer.weight, runs=1)
    layer.load_state_dict(other.state_dict(), assign=assign)
    assert torch.equal(layer.weight, other.weight)
    counted.check(layer.weight, runs=2)


def test_moving_a_module_by_swapping_still_works(counted: Counted) -> None:
    layer = torch.nn.Conv2d(3, 5, 3)
    counted.check(layer.weight, runs=1)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    assert layer.weight.dtype == torch.float64
    counted.check(layer.weight, runs=2)


def test_swapped_weights_keep_their_own_forms(counted: Counted) -> None:
    a, b = weight(), weight()
    counted.check(a, runs=1)
    counted.check(b, runs=2)
    torch.utils.swap_tensors(a, b)
    counted.check(a, runs=3)
    counted.check(b, runs=4)
    counted.check(a, runs=4)
    counted.check(b, runs=4)


def test_another_dtype_over_the_same_bytes(counted: Counted) -> None:
    w = torch.randn(SMALL)
    first = counted.packed(w)
    w.data = w.data.view(torch.int32)
    assert counted.packed(w).dtype == torch.int32
    assert first.dtype == torch.float32


def test_a_gradient_changes_nothing(counted: Counted) -> None:
    w = weight()
    counted.check(w, runs=1)
    (w * w).sum().backward()
    counted.check(w, runs=1)
    assert torch.equal(w.grad, 2 * w.detach())


@pytest.mark.parametrize("inside", [False, True])
def test_inference_tensors_are_packed_each_time(counted: Counted, inside: bool) -> None:
    with torch.inference_mode():
        w = torch.randn(SMALL)
    with torch.inference_mode(inside):
        counted.check(w, runs=1)
        if inside:
            w.view(-1)[0] = 9
        counted.check(w, runs=2)
    assert kept_bytes() == 0


def test_a_plain_weight_in_inference_mode_is_kept(counted: Counted) -> None:
    w = weight()
    with torch.inference_mode():
        counted.check(w, runs=1)
        counted.check(w, runs=1)
    counted.check(w, runs=1)


def test_a_weight_is_known_again_whatever_is_on_around_the_call(counted: Counted) -> None:
    w = weight()
    for _ in range(3):  # the last one is found the quick way
        counted.check(w, runs=1)
    for turn in range(3):
        for around in (
            torch.inference_mode(), torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16),
            torch.inference_mode(mode=False),
        ):  # fmt: skip
            with around:
                assert counted.packed(w) is counted.packed(w)
            w.requires_grad_(not w.requires_grad)
            assert counted.packed(w) is counted.packed(w) and counted.runs == turn + 1
        with torch.inference_mode():
            w.data.mul_(2)
            counted.check(w, runs=turn + 2)


def test_subclasses_are_packed_each_time(counted: Counted) -> None:
    class Tagged(Tensor):
        pass

    w = torch.randn(SMALL).as_subclass(Tagged)
    counted.check(w, runs=1)
    counted.check(w, runs=2)
    assert kept_bytes() == 0


@pytest.mark.parametrize("view", [lambda w: w.data, lambda w: w.detach(), lambda w: w[:]])
def test_views_never_pile_up(counted: Counted, view: Callable[[Tensor], Tensor]) -> None:
    w = weight()
    for turn in range(50):
        counted.check(view(w), runs=turn + 1)
        w.data[turn % 16, 0, 0, 0] += 1  # unseen by any counter, behind the same address
    assert kept_bytes() <= 2 * w.nbytes
    del w
    gc.collect()
    assert kept_bytes() == 0


def test_a_new_weight_at_the_old_address(counted: Counted) -> None:
    for turn in range(20):
        w = weight(SMALL)
        counted.check(w, runs=turn + 1)
        del w


def test_a_form_that_is_the_weight_does_not_keep_it_alive() -> None:
    packed = packer(lambda w: w.view(-1))
    w = weight(SMALL)
    form = packed(w)
    assert torch.equal(form, w.detach().view(-1))
    assert packed(w) is form
    del w, form
    gc.collect()
    assert kept_bytes() == 0


def test_memory_goes_with_the_weight(counted: Counted) -> None:
    weights = [weight() for _ in range(5)]
    for w in weights:
        counted.packed(w)
    assert kept_bytes() == sum(w.nbytes for w in weights)
    del w
    weights.pop()
    assert kept_bytes() == sum(w.nbytes for w in weights)
    weights.clear()
    assert kept_bytes() == 0
    assert not any(module._kept.values())


def test_memory_goes_with_the_plan() -> None:
    w = weight()
    first, second = Counted(), Counted()
    first.packed(w)
    second.packed(w)
    assert kept_bytes() == 2 * w.nbytes
    del first
    gc.collect()
    assert kept_bytes() == w.nbytes


def test_a_weight_that_is_gone_while_its_memory_is_not(counted: Counted) -> None:
    w, other = weight(), weight(SMALL)
    memory = w.detach()
    counted.packed(w)
    del w
    counted.packed(other)  # any packing sweeps
    assert kept_bytes() == other.nbytes
    assert memory.sum().isfinite()


def test_the_least_recently_used_goes_first(counted: Counted) -> None:
    a, b, c = weight(), weight(), weight()
    keep_at_most(2 * a.nbytes)
    counted.check(a, runs=1)
    counted.check(b, runs=2)
    counted.check(a, runs=2)
    counted.check(c, runs=3)
    counted.check(a, runs=3)
    assert kept_bytes() == 2 * a.nbytes
    counted.check(b, runs=4)


def test_layers_in_turn_keep_what_fits(counted: Counted) -> None:
    layers = [weight() for _ in range(10)]
    keep_at_most(6 * layers[0].nbytes)
    for _ in range(3):
        for w in layers:
            counted.packed(w)
    runs = counted.runs
    for w in layers:
        counted.packed(w)
        assert kept_bytes() <= 6 * w.nbytes
    assert counted.runs - runs == 4


def test_a_lower_bound_drops_at_once(counted: Counted) -> None:
    weights = [weight() for _ in range(4)]
    for w in weights:
        counted.packed(w)
    keep_at_most(2 * weights[0].nbytes + 1)
    assert kept_bytes() == 2 * weights[0].nbytes
    counted.check(weights[3], runs=4)
    keep_at_most(0)
    assert kept_bytes() == 0
    counted.check(weights[3], runs=5)
    assert kept_bytes() == 0
    with pytest.raises(ArgumentError, match="0 bytes or more, got -1"):
        keep_at_most(-1)


def test_what_is_larger_than_the_bound_displaces_nothing(counted: Counted) -> None:
    w, huge = weight(SMALL), weight(LARGE)
    keep_at_most(w.nbytes)
    counted.check(w, runs=1)
    counted.check(huge, runs=2)
    counted.check(w, runs=2)


def test_a_weight_written_to_while_it_is_packed(counted: Counted) -> None:
    w = weight()

    def interrupted(given: Tensor) -> Tensor:
        form = given.clone()
        if not seen:
            seen.append(given)
            with torch.no_grad():
                w.add_(1)
        return form

    seen: list[Tensor] = []
    packed = packer(interrupted)
    packed(w)
    seen[:] = [w]
    assert torch.equal(packed(w), w.detach())


def test_a_weight_written_to_is_packed_into_the_same_memory() -> None:
    fresh: list[Tensor] = []

    def make(w: Tensor) -> Tensor:
        fresh.append(w.mul(2))
        return fresh[-1]

    packed = packer(make, lambda w, old: torch.mul(w, 2, out=old))
    w = torch.ones(3000)
    address = packed(w).data_ptr()
    address = packed(w).data_ptr()  # it may have moved at its second use
    fresh.clear()
    for number in range(2, 5):
        w.fill_(number)
        form = packed(w)
        assert torch.equal(form, w * 2) and form.data_ptr() == address
        del form
    assert not fresh
    held = packed(w)
    w.fill_(7)
    assert torch.equal(packed(w), w * 2)
    assert held.eq(8).all() and len(fresh) == 1  # whoever holds the old one keeps its numbers
    w.data = torch.full((3000,), 9.0)
    assert packed(w).eq(18).all()


def test_an_error_while_packing_keeps_nothing() -> None:
    def fail(w: Tensor) -> Tensor:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        packer(fail)(weight())
    assert kept_bytes() == 0


def test_eight_threads_at_once() -> None:
    counted = Counted()
    shared = [weight(SMALL) for _ in range(6)]
    keep_at_most(4 * shared[0].nbytes)
    wrong: list[Any] = []

    def work(seed: int) -> None:
        own = Parameter(torch.full(SMALL, float(seed)))
        for turn in range(100):
            for w in (*shared, own):
                if not torch.equal(counted.packed(w), w.detach().transpose(0, 1)):
                    wrong.append((seed, turn))
            own.data.add_(1)
            counted.packed(torch.randn(SMALL))

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    forget()
    assert kept_bytes() == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_forked_child_goes_on(counted: Counted) -> None:
    w = weight()
    counted.check(w, runs=1)
    child = os.fork()
    if child == 0:
        try:
            counted.check(w, runs=1)
            w.data.add_(1)
            counted.check(w, runs=2)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    counted.check(w, runs=1)
