"""Memory of results: had again once nobody holds it, never before, and not without bounds."""

import subprocess
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from faltung.ops import memory
from faltung.ops.calling import allocator

NUMBERS = memory.KEPT_FROM // 4

if memory._references_of_free() is None:
    pytest.skip("this PyTorch does not say who holds a storage", allow_module_level=True)


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(memory, "_fills", lambda: False)
    memory.empty_cache()
    yield
    memory.empty_cache()


@pytest.mark.parametrize(
    "hold",
    [
        lambda y: y.view(-1)[5:7],
        lambda y: y.detach(),
        lambda y: y.numpy(),
        lambda y: y.untyped_storage(),
        lambda y: memoryview(y.numpy()),
        lambda y: y.__dlpack__(),
        lambda y: y.requires_grad_().square(),
        torch.nn.Parameter,
        lambda y: [y.data],
    ],
    ids=["view", "detach", "array", "storage", "buffer", "dlpack", "graph", "parameter", "data"],
)
def test_what_is_held_is_never_had_again(hold: Callable[[Tensor], object]) -> None:
    make = memory.keeper(torch.empty(NUMBERS))
    y = make()
    address = y.data_ptr()
    held = hold(y)
    del y
    others = [make() for _ in range(3)]
    assert address not in [other.data_ptr() for other in others]
    del held
    assert address in [other.data_ptr() for other in [make() for _ in range(8)]]


def test_the_memory_of_a_result_is_had_again() -> None:
    make = allocator((1, 4, NUMBERS // 4, 1), "float32", "channels_last")
    first = make()
    address = first.data_ptr()
    del first
    second = make()
    assert second.data_ptr() == address
    assert second.is_contiguous(memory_format=torch.channels_last)
    assert second.is_leaf and not second.requires_grad and second._base is None
    assert second.untyped_storage().nbytes() == second.nbytes
    assert memory.kept_bytes() == second.nbytes


def test_the_last_memory_is_had_first() -> None:
    make = memory.keeper(torch.empty(NUMBERS))
    both = [make(), make()]
    last = both[1].data_ptr()
    del both
    addresses = []
    for _ in range(3):
        y = make()
        addresses.append(y.data_ptr())
        del y
    assert addresses == [last] * 3


def test_sizes_dtypes_and_shapes_share_memory_of_the_same_bytes() -> None:
    first = memory.keeper(torch.empty(NUMBERS))()
    address = first.data_ptr()
    del first
    second = memory.keeper(torch.empty(2, NUMBERS, dtype=torch.bfloat16))()
    assert second.data_ptr() == address
    assert second.dtype == torch.bfloat16 and second.shape == (2, NUMBERS)
    assert memory.keeper(torch.empty(NUMBERS + 1))().data_ptr() != address


def test_a_block_takes_several_forms_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    plain = memory._plain

    def counted(storage: torch.UntypedStorage, form: memory._Form) -> Tensor:
        made.append(form)
        return plain(storage, form)

    monkeypatch.setattr(memory, "_plain", counted)
    shapes = [(n, NUMBERS // n) for n in (1, 2, 4, 8, 16, 32)]
    dtypes = [torch.float32, torch.int32] * 3
    makers = [
        memory.keeper(torch.empty(shape, dtype=dtype))
        for shape, dtype in zip(shapes, dtypes, strict=True)
    ]
    for makers_in_turn, news in ((makers[:2], 2), (makers, 18)):  # six are more than a block keeps
        for _ in range(3):
            for make, shape, dtype in zip(makers_in_turn, shapes, dtypes, strict=False):
                y = make()
                assert tuple(y.shape) == shape and y.stride() == (shape[1], 1)
                assert y.dtype == dtype
                del y
                assert memory.kept_bytes() == NUMBERS * 4
        assert len(made) == news
    held = makers[0]()
    assert makers[1]().data_ptr() != held.data_ptr()  # however many forms there are


@pytest.mark.parametrize("count", [None, lambda number: 2, lambda number: 5])
def test_where_pytorch_does_not_say_who_holds_a_storage_nothing_is_kept(
    count: Callable[[int], int] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if count is None:
        monkeypatch.delattr(torch._C, "_storage_Use_Count")
    else:
        monkeypatch.setattr(memory, "_use_count", count)
    memory._references_of_free.cache_clear()
    try:
        assert memory._references_of_free() is None
        make = memory.keeper(torch.empty(NUMBERS, dtype=torch.int32))
    finally:
        memory._references_of_free.cache_clear()
    y = make()
    assert y.dtype == torch.int32 and y.shape == (NUMBERS,) and memory.kept_bytes() == 0


def test_where_data_is_no_plain_tensor_nothing_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(made: Tensor, form: object) -> bool:
        raise RuntimeError("set_sizes is not allowed on a Tensor created from .data")

    for other in (refused, lambda made, form: False):
        monkeypatch.setattr(memory, "_is_plain", other)
        memory._references_of_free.cache_clear()
        try:
            assert memory._references_of_free() is None
        finally:
            memory._references_of_free.cache_clear()


@pytest.mark.parametrize(
    "other",
    [
        None,
        lambda shape, strides, dtype: torch.zeros(shape, dtype=dtype),
        lambda shape, strides, dtype: torch.empty_strided(shape, strides),
        lambda shape, strides, dtype: torch.empty(99, dtype=dtype).as_strided(shape, strides),
        lambda shape, strides, dtype: torch.nn.Parameter(torch.zeros(shape)),
        lambda shape, strides: torch.zeros(shape),
    ],
    ids=["none", "contiguous", "float32", "view", "parameter", "error"],
)
def test_small_ones_are_pytorchs_own_where_there_is_no_quicker_way(
    other: Callable[..., Tensor] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "_strided", other)
    memory._strided_holds.cache_clear()
    try:
        assert not memory._strided_holds()
        make = memory.keeper(torch.empty(2, 3, dtype=torch.float64).t())
    finally:
        memory._strided_holds.cache_clear()
    y = make()
    assert y.shape == (3, 2) and y.stride() == (1, 3) and y.dtype == torch.float64


def test_every_result_is_a_tensor_of_its_own() -> None:
    make = memory.keeper(torch.empty(4, NUMBERS // 4, dtype=torch.float32))
    other = memory.keeper(torch.empty(2, NUMBERS // 2, dtype=torch.int32))
    for _ in range(3):
        y = make()
        address = y.data_ptr()
        assert y._version == 0 and y._base is None and not y._is_view()
        y.add_(1)
        y.transpose_(0, 1).unsqueeze_(0).resize_(7)
        y.requires_grad_()
        del y
        y = make()
        assert y.data_ptr() == address and type(y) is torch.Tensor
        assert y.shape == (4, NUMBERS // 4) and y.is_contiguous() and y.storage_offset() == 0
        assert y._version == 0 and y.is_leaf and not y.requires_grad and y.grad_fn is None
        del y
        y = other()
        assert y.data_ptr() == address and y.dtype == torch.int32 and y.shape == (2, NUMBERS // 2)
        del y


def test_small_ones_and_very_large_ones_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    memory.keeper(torch.empty(NUMBERS - 1))()
    monkeypatch.setattr(memory, "MOST_KEPT", 4 * NUMBERS)
    memory.keeper(torch.empty(NUMBERS + 1))()
    assert memory.kept_bytes() == 0


def test_no_more_is_held_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "MOST_KEPT", 20 * NUMBERS)
    old, new = (memory.keeper(torch.empty(n)) for n in (NUMBERS, NUMBERS + 1))
    in_use = [old() for _ in range(5)]
    assert memory.kept_bytes() == 20 * NUMBERS
    more = [new() for _ in range(4)]
    assert memory.kept_bytes() <= 20 * NUMBERS
    assert len({t.data_ptr() for t in in_use + more}) == 9
    for number, t in enumerate(in_use + more):
        t.fill_(number)
    assert [t[0].item() for t in in_use + more] == list(range(9))
    memory.empty_cache()
    assert memory.kept_bytes() == 0
    assert [t[-1].item() for t in in_use + more] == list(range(9))


def test_resized_and_shared_memory_is_let_go() -> None:
    make = memory.keeper(torch.empty(NUMBERS))
    for change in (
        lambda y: y.untyped_storage().resize_(0),
        lambda y: y.resize_(2 * NUMBERS),
        Tensor.share_memory_,
    ):
        y = make()
        changed: object = change(y)
        del changed
        gone = y.data_ptr()
        del y
        again = make()
        assert again.untyped_storage().nbytes() == 4 * NUMBERS
        assert not again.untyped_storage().is_shared() and again.data_ptr() != gone
        again.fill_(1)
        del again


def test_where_new_memory_is_filled_none_is_had_again(monkeypatch: pytest.MonkeyPatch) -> None:
    make = memory.keeper(torch.empty(NUMBERS))
    make().fill_(3)
    monkeypatch.setattr(memory, "_fills", lambda: True)
    make()
    assert memory.kept_bytes() == 4 * NUMBERS
    monkeypatch.setattr(memory, "_fills", lambda: False)
    assert make()[0].item() == 3


def test_inference_tensors_stay_inference_tensors() -> None:
    make = memory.keeper(torch.empty(NUMBERS))
    with torch.inference_mode():
        y = make()
        assert y.is_inference()
        address = y.data_ptr()
    del y
    y = make()
    assert y.data_ptr() == address and not y.is_inference()
    version = y._version
    y.add_(1)
    assert y._version == version + 1


def test_threads_never_share_a_result() -> None:
    make = memory.keeper(torch.empty(NUMBERS))
    wrong: list[tuple[int, float]] = []

    def work(number: int) -> None:
        for _ in range(50):
            y = make()
            y.fill_(number)
            if not bool((y == number).all()):
                wrong.append((number, float(y.sum())))

    workers = [threading.Thread(target=work, args=(n,)) for n in range(6)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not wrong


def test_results_of_a_layer_do_not_change_under_the_user() -> None:
    x, w = torch.randn(1, 32, 96, 96), torch.randn(32, 1, 3, 3)
    first = faltung.functional.conv2d(x, w, padding=1, groups=32)
    copy = first.clone()
    second = faltung.functional.conv2d(x + 1, w, padding=1, groups=32)
    assert torch.equal(first, copy) and not torch.equal(second, copy)
    del first
    third = faltung.functional.conv2d(x, w, padding=1, groups=32)
    assert torch.equal(third, copy)
    x.requires_grad_()
    outputs = [faltung.functional.conv2d(x, w, padding=1, groups=32).square() for _ in range(3)]
    (gx,) = torch.autograd.grad(sum(outputs).sum(), x)  # type: ignore[union-attr]
    (expected,) = torch.autograd.grad(3 * F.conv2d(x, w, padding=1, groups=32).square().sum(), x)
    assert float((gx - expected).norm() / expected.norm()) < torch.finfo(torch.float32).eps * 8


def test_a_process_may_end_with_memory_kept() -> None:
    code = (
        "import torch, faltung\n"
        "from faltung.ops.memory import keeper\n"
        "y = keeper(torch.empty(1 << 20))()\n"
        "keeper(torch.empty(1 << 20))()\n"
        "print(len(y))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(1 << 20) and not done.stderr
