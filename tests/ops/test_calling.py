"""What a run allocates with, and how many threads it starts its routine on."""

from collections.abc import Callable

import pytest
import torch

from faltung.lang.compile import Compiled
from faltung.ops import calling
from faltung.ops.calling import allocator, launcher

LAYOUTS = {
    "contiguous": torch.contiguous_format,
    2: torch.channels_last,
    3: torch.channels_last_3d,
}


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16", "float16", "int64"])
@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 4, 5), (2, 3, 4, 5, 6), (0, 3, 4, 5), ()])
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_makes_what_is_asked_for(layout: str, shape: tuple[int, ...], dtype: str) -> None:
    if layout == "channels_last" and len(shape) < 4:
        pytest.skip("there is no such layout")
    make = allocator(shape, dtype, layout)
    one, other = make(), make()
    assert one.shape == shape and one.dtype == getattr(torch, dtype)
    assert one.device.type == "cpu" and not one.requires_grad
    order = LAYOUTS[layout if layout == "contiguous" else len(shape) - 2]
    assert one.is_contiguous(memory_format=order)
    assert one.untyped_storage().nbytes() == one.numel() * one.element_size()
    if one.numel():
        assert one.data_ptr() % 64 == 0 and one.data_ptr() != other.data_ptr()


def test_keeps_no_memory_for_itself() -> None:
    make = allocator((1 << 20,), "float32", "contiguous")
    held = [cell.cell_contents for cell in make.__closure__ or ()]  # type: ignore[attr-defined]
    (model,) = (one for one in held if isinstance(one, torch.Tensor))
    assert model.untyped_storage().nbytes() == 0


def test_is_not_diverted() -> None:
    with torch.device("meta"):
        make = allocator((2, 3), "float32", "contiguous")
        assert make().device.type == "cpu"
    with torch.inference_mode():
        make = allocator((2, 3), "float32", "contiguous")
        assert make().is_inference()
    assert not make().is_inference()
    assert torch.isnan(make()).all()  # unwritten, which the tests make visible


class Noting(Compiled):
    """A routine that notes how it is called."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, ...]] = []
        self.alone = lambda *addresses: self.calls.append((0, *addresses))

    def on(self, count: Callable[[], int]) -> Callable[..., None]:
        return lambda *addresses: self.calls.append((count(), *addresses))


def test_little_work_is_done_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(calling.torch, "get_num_threads", lambda: 7)
    routine = Noting()
    launcher(routine, 1000, 1000)(11, 12)
    launcher(routine, 10**9, 1000)(21, 22)
    launcher(routine, 1000, 10**9)(31, 32)
    assert routine.calls == [(0, 11, 12), (7, 21, 22), (7, 31, 32)]


def test_the_number_of_threads_is_read_at_every_call(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [2]
    monkeypatch.setattr(calling.torch, "get_num_threads", lambda: now[0])
    routine = Noting()
    launch = launcher(routine, 10**9, 10**9)
    launch(1)
    now[0] = 5
    launch(1)
    assert routine.calls == [(2, 1), (5, 1)]
