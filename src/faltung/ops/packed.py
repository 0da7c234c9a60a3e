"""Weights in the order a routine wants them, kept until the weight changes.

    pack = Packed(lambda w: w.transpose(0, 1).contiguous())
    pack(w) is pack(w)         # until w is written to, replaced or freed

Used by algorithms that would otherwise reorder or transform the same weight at every call. Not for
images, which are new each time.

**What makes a kept form valid.** It was made from the same tensor, with the same storage, address,
shape, strides and dtype, and the tensor's version counter has not moved. PyTorch moves it at every
write through the tensor or a view of it: in-place arithmetic, `copy_`, `load_state_dict`, every
optimizer. Assigning `w.data` or moving a module changes the storage. Tensors made in inference mode
have no counter, so nothing is kept for them. An `id` may be another tensor's later, and a weak
reference would make `torch.utils.swap_tensors` refuse the weight, so a tensor is known by the
dictionary of its attributes, which is held here.

**What no counter sees** is a write through an alias with a counter of its own: `w.data.mul_(2)`, a
NumPy array over the same memory. So the bytes are looked at as well: all of them up to 4 KiB, else
some 256 places of 8 bytes spread evenly. A change of every number is seen, and of every stretch of
a 200th of the weight or more; a smaller one may not be, and then `forget()` is the remedy. Checking
everything was decided against: to read a weight of 9 MB takes as long as the convolution of the 7×7
map that it belongs to.

**How long.** A form is dropped when the memory of its weight is freed, when its `Packed` is, or at
the next packing after its weight is gone but not the memory. All forms together stay below
`keep_at_most(bytes)`, 512 MiB unless set: the least recently used go first, but never one that was
used since the newcomer was last asked for, because a model whose layers come round one after the
other would then find none of them.

Dictionaries do the bookkeeping in single steps and there is no lock, so threads, callbacks during
garbage collection and forked children need nothing special.
"""

import ctypes
import itertools
import math
import sys
import weakref
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from .pages import in_huge_pages

_WHOLE_BYTES = 4096  # compared in whole up to here: 0.1 us
_PLACES = 256  # or a few more, where a larger weight is looked at: 0.2 us
_PLACE = 8  # bytes
_OWN_REFERENCES = 2  # to what is held once: that, and the one that is passed to be counted
_MOST_ASKED = 1024  # weights whose refusal is remembered


class _Bound:
    """How many bytes all packed forms may take together."""

    limit = 512 << 20


class _Weight:
    """A weight that a form was made from, wherever its numbers are by now."""

    __slots__ = (
        "__weakref__", "address", "attributes", "dtype", "places", "shape", "storage", "stride",
    )  # fmt: skip

    def __init__(self, w: Tensor, key: tuple[int, int]) -> None:
        self.address, self.dtype = w.data_ptr(), w.dtype
        self.shape, self.stride = w.shape, w.stride()
        self.attributes = w.__dict__
        # a storage keeps its Python object for as long as it lives
        self.storage = weakref.ref(w.untyped_storage(), lambda _: _drop_of(key, me()))
        me = weakref.ref(self)
        self.places = _places(w)

    def is_it(self, w: Tensor) -> bool:
        """Whether this is it, in the same memory; then `places` may be looked at."""
        return (
            w.__dict__ is self.attributes
            and w.untyped_storage() is self.storage()
            and w.data_ptr() == self.address
            and w.stride() == self.stride
            and w.shape == self.shape
            and w.dtype is self.dtype
        )

    @property
    def is_gone(self) -> bool:
        """Whether nothing else holds its attributes."""
        return sys.getrefcount(self.attributes) <= _OWN_REFERENCES


class _Form:
    """A packed form, and the numbers that it was made from."""

    packed: Tensor  # once it is made

    __slots__ = ("packed", "sample", "size", "stays", "used", "version", "weight")

    def __init__(self, weight: _Weight, w: Tensor) -> None:
        self.weight, self.version, self.sample = weight, w._version, weight.places.tobytes()
        self.size = self.used = 0
        self.stays = False

    def is_of(self, w: Tensor) -> bool:
        """Whether it was made from this weight as it is now."""
        weight = self.weight
        return (
            w._version == self.version
            and weight.is_it(w)
            and weight.places.tobytes() == self.sample
        )  # fmt: skip

    def settle(self) -> None:
        """Put it where it is read fastest, now that it was asked for again.

        In training the weight is another by then, and moving it would have been for nothing.
        """
        self.packed, self.stays = in_huge_pages(self.packed), True


_kept: dict[tuple[int, int], _Form] = {}
_asked: dict[tuple[int, int], int] = {}  # when a form that there is no room for was last asked for
_numbers = itertools.count()
_clock = itertools.count(1)


class Packed:
    """The packed form of weights: `packed(w)` is `make(w)`, kept until `w` changes.

    `make` gets the weight without its gradient and must not write to it. What comes back must not
    be written to. `remake(w, packed)` is for a weight that was written to: it makes its form anew
    in the memory of the old one, `packed`, which nobody has any more. Raises what they raise.

    >>> packed = Packed(lambda w: w.mul(2))
    >>> w = torch.ones(2)
    >>> packed(w) is packed(w)
    True
    >>> _ = w.add_(1)
    >>> packed(w)
    tensor([4., 4.])
    """

    def __init__(
        self,
        make: Callable[[Tensor], Tensor],
        remake: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self._make, self._remake = make, remake
        self._number = next(_numbers)
        weakref.finalize(self, _drop_all_of, self._number).atexit = False

    def __call__(self, w: Tensor) -> Tensor:
        """The packed form of `w` as it is now."""
        key = (self._number, id(w))
        form = _kept.get(key)
        if form is None:
            return self._fresh(key, w)
        if form.is_of(w):
            form.used = next(_clock)
            if not form.stays:
                form.settle()
            return form.packed
        weight, size = form.weight, form.size
        old = form.packed if self._remake is not None else None
        del form  # or its memory could not be had for the new one
        _kept.pop(key, None)
        if not weight.is_it(w):
            return self._fresh(key, w)
        if old is not None and sys.getrefcount(old) > _OWN_REFERENCES:
            old = None
        return self._again(key, weight, size, w, old)

    def _again(
        self, key: tuple[int, int], weight: _Weight, size: int, w: Tensor, old: Tensor | None
    ) -> Tensor:
        """The form of a weight that was written to, as every step of a training does.

        All else that there is to know of it is as it was, and so is the room that it takes.
        """
        others, form = len(_kept), _Form(weight, w)
        if old is None or self._remake is None:
            packed = self._made(w)
        else:
            packed = self._remake(w.detach(), old)
        # unless others have taken that room meanwhile
        if packed.nbytes == size and len(_kept) == others and form.is_of(w):
            form.packed, form.size, form.used = packed, size, next(_clock)
            _kept[key] = form
        return packed

    def _fresh(self, key: tuple[int, int], w: Tensor) -> Tensor:
        plain = type(w) is Tensor or type(w) is torch.nn.Parameter
        with torch.no_grad():
            if not plain or w.is_inference():
                return self._make(w)
            form = _Form(_Weight(w, key), w)
            packed = self._made(w)
        if form.is_of(w):  # it may have been written to meanwhile
            form.packed, form.size, form.used = packed, packed.nbytes, next(_clock)
            _keep(key, form)
        return packed

    def _made(self, w: Tensor) -> Tensor:
        packed = self._make(w.detach())
        if packed.untyped_storage() is w.untyped_storage():
            packed = packed.clone()  # or the form would keep the weight's memory alive
        return packed


def keep_at_most(limit: int) -> None:
    """Set the most bytes that all packed weights of this process may take together.

    0 keeps none. What is too much already is dropped at once. Raises `ArgumentError` for a negative
    number.
    """
    if limit < 0:
        raise ArgumentError(f"packed weights can be kept in 0 bytes or more, got {limit}")
    _Bound.limit = limit
    _make_room(0, next(_clock))


def kept_bytes() -> int:
    """Bytes that packed weights take now."""
    return sum(form.size for form in list(_kept.values()))


def forget() -> None:
    """Drop all packed weights; the next call packs anew.

    For a weight that was written to behind PyTorch's back, in a small part: see the module.
    """
    _kept.clear()


def _keep(key: tuple[int, int], form: _Form) -> None:
    """Keep a new form if there is room, or room can be made."""
    asked = _asked.pop(key, form.used)
    if _make_room(form.size, asked):
        _kept[key] = form
    else:
        _remember(key, form)


def _make_room(size: int, asked: int) -> bool:
    """Drop what is dead, then the least recently used of what was not used since `asked`."""
    forms = list(_kept.items())
    for key, form in forms:
        if form.weight.is_gone:
            _drop(key, form)
    taken = size + kept_bytes()
    if taken <= _Bound.limit:
        return True
    if size > _Bound.limit:
        return False
    forms.sort(key=lambda item: item[1].used)
    for key, form in forms:
        if taken <= _Bound.limit or form.used >= asked:
            break
        if _kept.get(key) is form:
            taken -= form.size
            _drop(key, form)
            _remember(key, form)
    return taken <= _Bound.limit


def _remember(key: tuple[int, int], form: _Form) -> None:
    if len(_asked) >= _MOST_ASKED:
        _asked.clear()
    _asked[key] = form.used


def _drop(key: tuple[int, int], form: _Form | None) -> None:
    if form is not None and _kept.get(key) is form:
        _kept.pop(key, None)


def _drop_of(key: tuple[int, int], weight: _Weight | None) -> None:
    form = _kept.get(key)
    if form is not None and form.weight is weight:
        _drop(key, form)


def _drop_all_of(number: int) -> None:
    for key in list(_kept):
        if key[0] == number:
            _kept.pop(key, None)


def _places(w: Tensor) -> "np.ndarray[tuple[int], np.dtype[np.uint8 | np.uint64]]":
    """The bytes of a weight's memory that are compared, without holding on to it."""
    numbers = sum((n - 1) * s for n, s in zip(w.shape, w.stride(), strict=True)) + 1
    span = numbers * w.element_size() if math.prod(w.shape) else 0
    memory = memoryview((ctypes.c_char * span).from_address(w.data_ptr()))
    if span <= _WHOLE_BYTES:
        return np.ndarray((span,), np.uint8, memory)
    step = (span // _PLACES - 1) | 1  # odd: sizes of weights are even, and would keep time with it
    return np.ndarray(((span - _PLACE) // step + 1,), np.uint64, memory, 0, (step,))
