"""The same image in another memory layout, copied as fast as memory allows.

    laid_out(x, "channels_last")      # x.contiguous(memory_format=torch.channels_last)

PyTorch copies number by number where neighbours in the one layout are far apart in the other: for
1536 channels of 2048 words, whose rows all begin in the same sets of the cache, it takes 11 ms, and
a routine that turns squares of numbers in registers 1.0. Such copies are worth their routine for
large images that come again.
"""

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from .operands import plain_memory

_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_LARGE = 1 << 19  # numbers from which PyTorch's copies are the slower ones, in every shape tried
_NARROW = 16  # axes that are shorter have no squares to turn
_DTYPES = (torch.float32, torch.float64)

# by shape and layout; each knows its copies by the strides of what it is given
_turned: dict[tuple[torch.Size, str], Callable[[Tensor], Tensor]] = {}
_MOST_TURNED = 256


def laid_out(image: Tensor, layout: str) -> Tensor:
    """The same image in another memory layout, copied if need be; `strided` is any.

    >>> laid_out(torch.ones(2, 3, 1, 1).expand(2, 3, 4, 5), "channels_last").stride()
    (60, 1, 15, 3)
    """
    if layout == "strided":
        return image
    order = _order(image.shape, layout)
    if image.is_contiguous(memory_format=order) or not _is_worth_turning(image):
        return image.contiguous(memory_format=order)
    key = (image.shape, layout)
    turn = _turned.get(key)
    if turn is None:
        if len(_turned) >= _MOST_TURNED:
            _turned.clear()
        turn = _turned[key] = _turning(image.shape, layout)
    return turn(image)


def _order(shape: torch.Size, layout: str) -> torch.memory_format:
    return _CHANNELS_LAST[len(shape)] if layout == "channels_last" else torch.contiguous_format


def _is_worth_turning(image: Tensor) -> bool:
    return (
        image.numel() >= _LARGE
        and image.dtype in _DTYPES
        and image.shape[1] >= _NARROW
        and image.shape[2:].numel() >= _NARROW
        and image.device.type == "cpu"
        and not (image.requires_grad and torch.is_grad_enabled())
        and plain_memory(image)
    )


def _turning(shape: torch.Size, layout: str) -> Callable[[Tensor], Tensor]:
    try:
        from .rearranged import Rearranged  # noqa: PLC0415  (needs the compiler)
    except ModuleNotFoundError:
        return partial(Tensor.contiguous, memory_format=_order(shape, layout))
    axes = range(len(shape))
    order = (0, *axes[2:], 1) if layout == "channels_last" else tuple(axes)
    back = sorted(axes, key=lambda axis: order[axis])
    copy = Rearranged(shape, order)
    return lambda image: copy(image).permute(back)
