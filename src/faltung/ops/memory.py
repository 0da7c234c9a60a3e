"""Memory of large results, kept for the next result of the same size.

    make = keeper(model)
    y = make()            like `torch.empty_like(model)`, in memory that an earlier result had
    own = room(count, dtype)      a routine's own memory for one call, kept likewise
    empty_cache()         keep nothing any longer

Where a result of many MiB lies is malloc's affair: above 32 MiB every one is mapped anew, below it
depends on what else comes and goes. Memory that is had anew is cleared page by page while the
routine writes, and that takes longer than many a convolution: a depthwise one of 12 MB runs at 0.9
of the machine's copying speed in memory it knows and at 0.4 in new memory. PyTorch's allocator for
GPUs keeps memory for that reason, and so does ONNX Runtime.

A block is a storage that we hold, and a tensor on it that nobody else ever sees, or one for each of
the forms that its results take in turn. It is free when these are all: then no tensor, view, array
or graph is left that could see it. A result is what `Parameter` would make of such a tensor: a
plain one, with a version counter and sizes of its own. At most `MOST_KEPT` bytes are held; the
oldest are let go first, and what is in use then is freed by its last user, as always. See
docs/design/006.
"""

import sys
from collections import deque
from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor

from . import pages

KEPT_FROM = 1 << 20
"""Bytes from which the memory of a result is kept; to look for it takes less than a microsecond."""

ROOM_FROM = 1 << 17
"""Bytes from which a routine's own memory is kept: malloc begins to map what is larger."""

MOST_KEPT = 256 << 20
"""Most bytes that are kept, in use or not."""

# asked at every call, so without a way through modules
_fills = torch._C._get_deterministic_algorithms
_infers = torch.is_inference_mode_enabled
_use_count: Callable[[int], int] = getattr(torch._C, "_storage_Use_Count", id)
_another = torch.Tensor._make_subclass
_MOST_ASKED = 8  # blocks of the right size that are asked whether they are free
_MOST_FORMS = 4  # of a block, that its results take in turn


# shape, strides and dtype
_Form = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class _Block:
    """A storage that we keep, what it was when we began to, and our tensors on it."""

    __slots__ = ("address", "forms", "number", "size", "storage")

    def __init__(self, tensor: Tensor, size: int, nothing: Tensor, form: _Form) -> None:
        self.storage = tensor.untyped_storage()
        self.address = tensor.data_ptr()
        self.number = self.storage._cdata
        self.size = size
        self.forms: list[tuple[_Form, Tensor]] = []
        self.like(nothing, form)

    def like(self, nothing: Tensor, form: _Form) -> Tensor:
        """Our tensor of that form, the last one used first; `nothing` is empty, of its dtype.

        To make one is a quarter of all that a result costs, or more where PyTorch's code is not
        near; and layers whose results are equally large in other shapes take turns.
        """
        forms = self.forms
        for number, (known, tensor) in enumerate(forms):
            if known is form or known == form:
                if number:
                    forms.insert(0, forms.pop(number))
                return tensor
        with torch.inference_mode(mode=False):
            made = _plain(nothing, self.storage, form)
        forms.insert(0, (form, made))
        del forms[_MOST_FORMS:]
        return made

    def unchanged(self) -> bool:
        """Whether it is still that memory: whoever had it may have resized or shared it."""
        storage = self.storage
        return storage.data_ptr() == self.address and storage.nbytes() == self.size

    def users(self) -> tuple[int, int]:
        """How many hold the storage besides our tensors: in PyTorch, and in Python, where each
        storage is one object."""
        return _use_count(self.number) - len(self.forms), sys.getrefcount(self.storage)


# By size, the oldest size first. Whoever looks at a block takes it out of its deque meanwhile, so
# that two threads never have the same; one that gets lost in a race is freed by its last user.
_blocks: dict[int, deque[_Block]] = {}


# what makes the rooms of a size
_rooms: dict[tuple[int, torch.dtype], Callable[[], Tensor]] = {}
_MOST_ROOMS = 1024


def keeper(model: Tensor, least: int = KEPT_FROM) -> Callable[[], Tensor]:
    """What makes unwritten tensors like the model, in memory that is kept from `least` bytes on.

    The model is dense, on the CPU, and may be without memory of its own: shape, strides and dtype
    are all that is asked of it. Nothing is allocated before the first call.

    >>> keeper(torch.empty(2, 3))().shape
    torch.Size([2, 3])
    """
    size = model.numel() * model.element_size()
    if size < least:
        return partial(torch.empty_like, model)
    free = _users_of_free()
    if size > MOST_KEPT or free is None:
        return partial(_new, model, size)
    with torch.inference_mode(mode=False):
        nothing = torch.empty(0, dtype=model.dtype, device="cpu")
    return partial(
        _kept, model, size, nothing, (tuple(model.shape), model.stride(), model.dtype), free
    )


def room(count: int, dtype: torch.dtype) -> Tensor:
    """Unwritten memory for so many numbers, which a routine needs while it runs.

    It is had again by the next call that needs as much, as soon as the tensor is gone.

    >>> room(12, torch.float32).shape
    torch.Size([12])
    """
    if count * dtype.itemsize < ROOM_FROM:
        return torch.empty(count, dtype=dtype, device="cpu")
    make = _rooms.get((count, dtype))
    if make is None:
        with torch.inference_mode(mode=False):
            model = torch.empty(count, dtype=dtype, device="cpu")
            model.untyped_storage().resize_(0)
        if len(_rooms) >= _MOST_ROOMS:
            _rooms.clear()
        make = _rooms[count, dtype] = keeper(model, ROOM_FROM)
    return make()


def empty_cache() -> None:
    """Give back the memory of earlier results that is kept for later ones.

    A result of more than 1 MiB leaves its memory for the next one of its size, up to 256 MiB in
    all. What is still in use is not touched. PyTorch's line for GPUs: `torch.cuda.empty_cache()`.

    >>> empty_cache()
    """
    _blocks.clear()


def kept_bytes() -> int:
    """Bytes of the results' memory that is kept, in use or not."""
    return sum(size * len(blocks) for size, blocks in list(_blocks.items()))


def _kept(model: Tensor, size: int, nothing: Tensor, form: _Form, free: tuple[int, int]) -> Tensor:
    if _fills():  # what is new is filled with NaN then, to show who reads what nobody wrote
        return _new(model, size)
    blocks: deque[_Block] = _blocks.get(size) or deque()
    for asked in range(min(len(blocks), _MOST_ASKED)):
        try:  # the last one given first: it is in the caches; then those given longest ago
            block = blocks.popleft() if asked else blocks.pop()
        except IndexError:  # another thread looks at the last one
            break
        if not block.unchanged():
            continue
        if block.users() == free:
            made = _result(block, nothing, form)
            blocks.append(block)
            return made
        blocks.append(block)
    made = _new(model, size)
    _keep(_Block(made, size, nothing, form))
    return made


def _result(block: _Block, nothing: Tensor, form: _Form) -> Tensor:
    """A tensor on a free block; from the second time of the same form on half as dear."""
    if _infers():
        return _plain(nothing, block.storage, form)
    return _another(Tensor, block.like(nothing, form).data)


def _plain(nothing: Tensor, storage: torch.UntypedStorage, form: _Form) -> Tensor:
    shape, strides, _ = form
    return torch.empty_like(nothing).set_(storage, 0, shape, strides)


def _new(model: Tensor, size: int) -> Tensor:
    made = torch.empty_like(model)
    if size >= pages.LARGE:
        pages.advise(made.data_ptr(), size)
    return made


def _keep(block: _Block) -> None:
    """Hold it from now on; let the oldest go if that is too much."""
    _blocks.setdefault(block.size, deque()).append(block)
    while kept_bytes() > MOST_KEPT:
        for oldest in list(_blocks)[:1]:
            try:
                _blocks[oldest].popleft()
            except (IndexError, KeyError):  # none is left of that size
                _blocks.pop(oldest, None)


@cache
def _users_of_free() -> tuple[int, int] | None:
    """What `users` says of a storage that nobody else holds; None if it would not say so.

    Asked once a process, because neither count is promised to anybody.
    """
    if not hasattr(torch._C, "_storage_Use_Count"):
        return None
    with torch.inference_mode(mode=False):
        tensor = torch.empty(4, device="cpu")
        block = _Block(tensor, 16, tensor[:0], ((4,), (1,), tensor.dtype))
    seen = [block.users()]
    view = tensor[1:]
    del tensor
    seen.append(block.users())
    array = view.numpy()
    del view
    seen.append(block.users())
    del array
    free = block.users()
    storage = block.storage
    seen.append(block.users())
    del storage
    return free if free == block.users() and free not in seen else None
