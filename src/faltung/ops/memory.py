"""Memory of large results, kept for the next result of the same size.

    make = keeper(model)
    y = make()            like `torch.empty_like(model)`, in memory that an earlier result had
    empty_cache()         keep nothing any longer

Where a result of many MiB lies is malloc's affair: above 32 MiB every one is mapped anew, below it
depends on what else comes and goes. Memory that is had anew is cleared page by page while the
routine writes, and that takes longer than many a convolution: a depthwise one of 12 MB runs at 0.9
of the machine's copying speed in memory it knows and at 0.4 in new memory. PyTorch's allocator for
GPUs keeps memory for that reason, and so does ONNX Runtime.

A block is a storage that we hold, and a tensor on it that nobody else ever sees, or one for each of
the forms that its results take in turn. It is free when these are all: then no tensor, view, array
or graph is left that could see it. A result is the `.data` of such a tensor: a plain one, with a
version counter and sizes of its own. At most `MOST_KEPT` bytes are held; the oldest are let go
first, and what is in use then is freed by its last user, as always. See docs/design/006.
"""

import sys
from collections import deque
from collections.abc import Callable
from functools import cache, partial
from typing import Any

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
# an unwritten tensor on the CPU, past PyTorch's dispatcher, as code of `torch.compile` makes it
_strided: Any = getattr(torch._C._dynamo.guards, "_empty_strided_cpu", None)
_MOST_ASKED = 8  # blocks of the right size that are asked whether they are free
_MOST_FORMS = 4  # of a block, that its results take in turn


# shape, strides and dtype
_Form = tuple[tuple[int, ...], tuple[int, ...], torch.dtype]


class _Block:
    """A storage that we keep, what it was when we began to, and our tensors on it."""

    __slots__ = ("address", "forms", "last", "like_last", "number", "size", "storage", "users")

    def __init__(self, tensor: Tensor, size: int, form: _Form) -> None:
        self.storage = tensor.untyped_storage()
        self.address = tensor.data_ptr()
        self.number = self.storage._cdata
        self.size = size
        self.forms: list[tuple[_Form, Tensor]] = []
        self.like_last = self.like(form)

    def like(self, form: _Form) -> Tensor:
        """Our tensor of that form, the last one used first.

        To make one takes longer than a result does otherwise, much longer where PyTorch's code is
        not near; and layers whose results are equally large in other shapes take turns.
        """
        forms = self.forms
        found = next((n for n, (known, _) in enumerate(forms) if known == form), None)
        if found is None:
            with torch.inference_mode(mode=False):
                forms.insert(0, (form, _plain(self.storage, form)))
            del forms[_MOST_FORMS:]
        else:
            forms.insert(0, forms.pop(found))
        self.users = 1 + len(forms)  # that PyTorch counts if nobody else has the storage
        self.last, self.like_last = form, forms[0][1]
        return self.like_last

    def unchanged(self) -> bool:
        """Whether it is still that memory: whoever had it may have resized or shared it."""
        return self.storage.data_ptr() == self.address and self.storage.nbytes() == self.size

    def is_free(self, references: int) -> bool:
        """Whether nobody holds the storage but us.

        PyTorch counts who does, and Python who has the one object that stands for it there: as many
        as `references` if nobody does.
        """
        return _use_count(self.number) == self.users and (
            sys.getrefcount(self.storage) == references
        )


# By size, the oldest size first. Whoever looks at a block takes it out of its deque meanwhile, so
# that two threads never have the same; one that gets lost in a race is freed by its last user.
_blocks: dict[int, deque[_Block]] = {}


def keeper(model: Tensor, least: int = KEPT_FROM) -> Callable[[], Tensor]:
    """What makes unwritten tensors like the model, in memory that is kept from `least` bytes on.

    The model is dense, on the CPU, and may be without memory of its own: shape, strides and dtype
    are all that is asked of it. Nothing is allocated before the first call.

    >>> keeper(torch.empty(2, 3))().shape
    torch.Size([2, 3])
    """
    size = model.numel() * model.element_size()
    if size < least:
        return _small(model)
    references = _references_of_free()
    if size > MOST_KEPT or references is None:
        return partial(_new, model, size)
    return _kept(model, size, references)


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


def _small(model: Tensor) -> Callable[[], Tensor]:
    """What makes unwritten tensors like the model in memory that malloc has at hand."""
    like, strided, fills = torch.empty_like, _strided, _fills
    if not _strided_holds():
        return partial(like, model)
    shape, strides, dtype = tuple(model.shape), model.stride(), model.dtype

    def make() -> Tensor:
        if fills():  # what is new is filled with NaN then, to show who reads what nobody wrote
            return like(model)
        made: Tensor = strided(shape, strides, dtype)
        return made

    return make


def _kept(model: Tensor, size: int, references: int) -> Callable[[], Tensor]:
    """What makes unwritten tensors like the model in memory that is kept."""
    form = tuple(model.shape), model.stride(), model.dtype
    known, fills, infers, elsewhere = _blocks.get, _fills, _infers, _elsewhere
    use_count, getrefcount = _use_count, sys.getrefcount

    def make() -> Tensor:
        blocks = known(size)
        if not blocks or fills() or infers():
            return elsewhere(model, form, size, references)
        try:
            block = blocks.pop()  # the last one given: it is in the caches
        except IndexError:  # another thread looks at it
            return elsewhere(model, form, size, references)
        # as `is_free` and `unchanged`, without a step into either
        if (
            use_count(block.number) != block.users
            or getrefcount(block.storage) != references
            or block.storage.data_ptr() != block.address
            or block.storage.nbytes() != size
        ):
            blocks.append(block)
            return elsewhere(model, form, size, references)
        made = (block.like_last if block.last is form else block.like(form)).data
        blocks.append(block)
        return made

    return make


def _elsewhere(model: Tensor, form: _Form, size: int, references: int) -> Tensor:
    """The same where the last block is not free, or there is something special."""
    if _fills():
        return _new(model, size)
    blocks: deque[_Block] = _blocks.get(size) or deque()
    for _ in range(min(len(blocks), _MOST_ASKED)):
        try:
            block = blocks.popleft()  # those given longest ago first
        except IndexError:  # another thread looks at the last one
            break
        if not block.unchanged():
            continue
        made = None
        if block.is_free(references):
            made = _plain(block.storage, form) if _infers() else block.like(form).data
        blocks.append(block)
        if made is not None:
            return made
    made = _new(model, size)
    _keep(_Block(made, size, form))
    return made


def _plain(storage: torch.UntypedStorage, form: _Form) -> Tensor:
    shape, strides, dtype = form
    return torch.empty(0, dtype=dtype, device="cpu").set_(storage, 0, shape, strides)


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
def _strided_holds() -> bool:
    """Whether `_strided` makes what `torch.empty_strided` does, past modes that divert that."""
    try:
        with torch.inference_mode():
            inferred = _strided((4,), (1,), torch.float64)
        with torch.inference_mode(mode=False):
            made = _strided((2, 3), (1, 2), torch.bfloat16)
            nothing = _strided((0, 3), (3, 1), torch.float32)
            return (
                inferred.is_inference()
                and made.untyped_storage().nbytes() == 12
                and made.untyped_storage().resizable()
                and _is_plain(made, ((2, 3), (1, 2), torch.bfloat16))
                and _is_plain(nothing, ((0, 3), (3, 1), torch.float32))
            )
    except (TypeError, ValueError, RuntimeError):
        return False


def _is_plain(made: Tensor, form: _Form) -> bool:
    """Whether it is a new tensor of that form and nothing else; it is none of that afterwards."""
    plain = (
        (type(made), made.device.type, made._version) == (Tensor, "cpu", 0)
        and (tuple(made.shape), made.stride(), made.dtype) == form
        and made.storage_offset() == 0
        and made.is_leaf
        and not (made.requires_grad or made._is_view() or made.is_inference())
    )
    made.zero_()
    counts = made._version == 1
    made.unsqueeze_(0).resize_(3)
    return plain and counts and made.shape == (3,)


@cache
def _references_of_free() -> int | None:
    """How often Python holds a storage that nobody has but a block; None if nothing tells that.

    Asked once a process, because nothing of it is promised to anybody.
    """
    if not hasattr(torch._C, "_storage_Use_Count"):
        return None
    form = ((2, 4), (1, 2), torch.bfloat16)
    fine = []
    try:
        with torch.inference_mode(mode=False):
            tensor = torch.empty(4, device="cpu")
            block = _Block(tensor, 16, form)
            del tensor
            references = sys.getrefcount(block.storage)
            for hold in (Tensor.detach, Tensor.numpy, Tensor.untyped_storage, lambda t: t[1:]):
                made = block.like(form).data
                fine.append(made.data_ptr() == block.address and not block.is_free(references))
                held = hold(made.view(torch.int16))
                fine.append(_is_plain(made, form))
                del made
                fine.append(not block.is_free(references))
                del held
                fine.append(block.is_free(references))
    except RuntimeError:  # PyTorch has not always allowed to change the sizes of `.data`
        return None
    return references if all(fine) else None
