"""Weights in the order a routine wants them, kept until the weight changes.

    pack = packer(lambda w: w.transpose(0, 1).contiguous())
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

**How long.** A form is dropped when the memory of its weight is freed, when its packer is, or at
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
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import ArgumentError
from .operands import alike
from .pages import in_huge_pages

_WHOLE_BYTES = 4096  # compared in whole up to here: 0.1 us
_PLACES = 256  # or a few more, where a larger weight is looked at: 0.2 us
_PLACE = 8  # bytes
_OWN_REFERENCES = 2  # to what is held once: that, and the one that is passed to be counted
_MOST_ASKED = 1024  # weights whose refusal is remembered


class _Bound:
    """How many bytes all packed forms may take together, and how many forms have come so far."""

    limit = 512 << 20
    newcomers = 0


# the number of a packer, and the identity of a weight
_Key = tuple[int, int]


class _Weight:
    """A weight that a form was made from, wherever its numbers are by now."""

    __slots__ = (
        "__weakref__", "address", "attributes", "dtype", "places", "shape", "storage", "stride",
    )  # fmt: skip

    def __init__(self, w: Tensor, key: _Key) -> None:
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


class _Form:
    """A packed form, and the numbers that it was made from.

    What every call asks for lies side by side; some of it is there from the second call on.
    """

    alike: Callable[[Tensor], bool]
    packed: Tensor

    __slots__ = (
        "address", "alike", "attributes", "look", "packed", "sample", "size", "storage", "used",
        "version", "weight",
    )  # fmt: skip

    def __init__(self, weight: _Weight, w: Tensor) -> None:
        self.weight, self.version = weight, w._version
        self.storage, self.address, self.look = (
            weight.storage,
            weight.address,
            weight.places.tobytes,
        )
        self.attributes: dict[str, Any] | None = None
        self.sample = self.look()
        self.size = self.used = 0

    def is_of(self, w: Tensor) -> bool:
        """Whether it was made from this weight as it is now."""
        return (
            self.weight.is_it(w) and w._version == self.version and self.look() == self.sample
        )  # fmt: skip

    def settle(self, w: Tensor) -> None:
        """Make it quick to find and to read, now that it was asked for again.

        In training the weight is another by then, and this would have been for nothing.
        """
        if self.attributes is None:
            self.packed = in_huge_pages(self.packed)
        # shape, strides and dtype at once; it says no where other modes are on around the call
        self.alike = alike(w)
        self.attributes = w.__dict__

    @property
    def is_gone(self) -> bool:
        """Whether nothing else holds the attributes of the weight."""
        own = _OWN_REFERENCES + (self.attributes is not None)
        return sys.getrefcount(self.weight.attributes) <= own


_kept: dict[int, dict[int, _Form]] = {}  # by the parts of their keys
_asked: dict[_Key, int] = {}  # when a form that there is no room for was last asked for
_numbers = itertools.count()
_clock = itertools.count(1)


def packer(
    make: Callable[[Tensor], Tensor],
    remake: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Callable[[Tensor], Tensor]:
    """The packed form of weights: `packed(w)` is `make(w)`, kept until `w` changes.

    `make` gets the weight without its gradient and must not write to it. What comes back must not
    be written to. `remake(w, packed)` is for a weight that was written to: it makes its form anew
    in the memory of the old one, `packed`, which nobody has any more. Raises what they raise.

    >>> packed = packer(lambda w: w.mul(2))
    >>> w = torch.ones(2)
    >>> packed(w) is packed(w)
    True
    >>> _ = w.add_(1)
    >>> packed(w)
    tensor([4., 4.])
    """
    number = next(_numbers)
    forms: dict[int, _Form] = {}
    _kept[number] = forms
    now = _clock.__next__

    def packed(w: Tensor) -> Tensor:
        form = forms.get(id(w))
        if form is None:
            return _fresh((number, id(w)), make, w)
        if (  # `is_of`, quicker
            w.__dict__ is form.attributes
            and w._version == form.version
            and w.untyped_storage() is form.storage()
            and w.data_ptr() == form.address
            and form.alike(w)
            and form.look() == form.sample
        ):
            form.used = now()
            return form.packed
        if form.is_of(w):
            form.used = now()
            form.settle(w)
            return form.packed
        del form  # or its memory could not be had for the new one
        return _changed((number, id(w)), make, remake, w)

    weakref.finalize(packed, _kept.pop, number, None).atexit = False
    return packed


def _changed(
    key: _Key,
    make: Callable[[Tensor], Tensor],
    remake: Callable[[Tensor, Tensor], Tensor] | None,
    w: Tensor,
) -> Tensor:
    """The form of a weight whose form that was kept is another's, or an older one's."""
    form = _popped(key)
    if form is None or not form.weight.is_it(w):
        del form
        return _fresh(key, make, w)
    weight, size, old = form.weight, form.size, form.packed
    del form
    # it was written to, as in every step of a training: all else that there is to know of it is as
    # it was, and so is the room that it takes
    newcomers, form = _Bound.newcomers, _Form(weight, w)
    if remake is None or sys.getrefcount(old) > _OWN_REFERENCES:
        del old
        packed = _made(make, w)
    else:
        packed = remake(w.detach(), old)
    # unless others have taken that room meanwhile
    if packed.nbytes == size and _Bound.newcomers == newcomers and form.is_of(w):
        form.packed, form.size, form.used = packed, size, next(_clock)
        _put(key, form)
    return packed


def _fresh(key: _Key, make: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    plain = type(w) is Tensor or type(w) is torch.nn.Parameter
    with torch.no_grad():
        if not plain or w.is_inference():
            return make(w)
        form = _Form(_Weight(w, key), w)
        packed = _made(make, w)
    if form.is_of(w):  # it may have been written to meanwhile
        form.packed, form.size, form.used = packed, packed.nbytes, next(_clock)
        _keep(key, form)
    return packed


def _made(make: Callable[[Tensor], Tensor], w: Tensor) -> Tensor:
    packed = make(w.detach())
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
    return sum(form.size for _, form in _all())


def forget() -> None:
    """Drop all packed weights; the next call packs anew.

    For a weight that was written to behind PyTorch's back, in a small part: see the module.
    """
    for forms in list(_kept.values()):
        forms.clear()


def _all() -> list[tuple[_Key, _Form]]:
    return [
        ((number, weight), form)
        for number, forms in list(_kept.items())
        for weight, form in list(forms.items())
    ]


def _put(key: _Key, form: _Form) -> None:
    number, weight = key
    forms = _kept.get(number)
    if forms is not None:
        forms[weight] = form


def _popped(key: _Key) -> _Form | None:
    number, weight = key
    return _kept.get(number, {}).pop(weight, None)


def _keep(key: _Key, form: _Form) -> None:
    """Keep a new form if there is room, or room can be made."""
    asked = _asked.pop(key, form.used)
    if _make_room(form.size, asked):
        _Bound.newcomers += 1
        _put(key, form)
    else:
        _remember(key, form)


def _make_room(size: int, asked: int) -> bool:
    """Drop what is dead, then the least recently used of what was not used since `asked`."""
    forms = _all()
    for key, form in forms:
        if form.is_gone:
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
        if _drop(key, form):
            taken -= form.size
            _remember(key, form)
    return taken <= _Bound.limit


def _remember(key: _Key, form: _Form) -> None:
    if len(_asked) >= _MOST_ASKED:
        _asked.clear()
    _asked[key] = form.used


def _drop(key: _Key, form: _Form) -> bool:
    """Drop that form if it is the one that is kept."""
    number, weight = key
    forms = _kept.get(number, {})
    kept = forms.get(weight) is form
    if kept:
        forms.pop(weight, None)
    return kept


def _drop_of(key: _Key, weight: _Weight | None) -> None:
    number, identity = key
    form = _kept.get(number, {}).get(identity)
    if form is not None and form.weight is weight:
        _drop(key, form)


def _places(w: Tensor) -> "np.ndarray[tuple[int], np.dtype[np.uint8 | np.uint64]]":
    """The bytes of a weight's memory that are compared, without holding on to it."""
    numbers = sum((n - 1) * s for n, s in zip(w.shape, w.stride(), strict=True)) + 1
    span = numbers * w.element_size() if math.prod(w.shape) else 0
    memory = memoryview((ctypes.c_char * span).from_address(w.data_ptr()))
    if span <= _WHOLE_BYTES:
        return np.ndarray((span,), np.uint8, memory)
    step = (span // _PLACES - 1) | 1  # odd: sizes of weights are even, and would keep time with it
    return np.ndarray(((span - _PLACE) // step + 1,), np.uint64, memory, 0, (step,))
