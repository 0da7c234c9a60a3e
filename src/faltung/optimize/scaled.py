"""Maps that are scaled channel by channel before a pointwise convolution.

    conv(x · s + t, w) + b   =   conv(x, w · s) + (w t + b)          s, t: one number a channel

Squeeze and excitation (EfficientNet, RegNetY) and ConvNeXt V2's response normalisation multiply a
map, and add to it, before a pointwise convolution. PyTorch writes the whole map at each function.
A convolution that was seen to come before such functions returns an `Offered` map: a tensor that
has its numbers, and looks at the functions it is given to. A product with one number a channel
makes it a `Scaled` one, which has no numbers yet; further products, sums with one number a channel
and the sum with the map itself only change s and t. The convolution that reads it scales its weight
if that is small against the map; else the map is made in one pass. Any other function gets numbers.

Only where a watched run has shown that neither the map nor s and t are changed in between.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ..ops.operands import plain_memory
from .lazy import Lazy, is_followed, may_wait
from .padded import are_watched, is_putting_off

if TYPE_CHECKING:
    from .origin import Origin

PRODUCTS = frozenset({Tensor.mul, torch.mul, Tensor.multiply, torch.multiply})
SUMS = frozenset({Tensor.add, torch.add})

_FOLDED = (torch.float32, torch.float64)  # a product of small factors may be too small for others
_FOLDING = 20_000  # numbers of a map that take as long to pass over as calls for a weight do


class Offered(Lazy):
    """A map whose channels may be scaled. Its numbers are there."""

    map: Tensor
    axis: int
    """Of its channels."""

    def numbers(self) -> Tensor:
        """The map."""
        return self.map

    def _taken(
        self, function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        other = _other(self, args, keywords)
        if function in PRODUCTS and _scales(other, self.map, self.axis):
            return _scaled(self, other, None)
        return NotImplemented


class Scaled(Lazy):
    """A map times one number a channel, and perhaps plus one."""

    source: Offered
    scale: Tensor
    shift: Tensor | None

    def _taken(
        self, function: Callable[..., Any], args: Sequence[Any], keywords: Mapping[str, Any]
    ) -> Any:
        other = _other(self, args, keywords)
        source, scale, shift = self.source, self.scale, self.shift
        if function in SUMS and other is source.map:
            return _scaled(source, scale + 1, shift)
        if not _scales(other, source.map, source.axis):
            return NotImplemented
        if function in PRODUCTS:
            return _scaled(source, scale * other, None if shift is None else shift * other)
        if function in SUMS:
            return _scaled(source, scale, other if shift is None else shift + other)
        return NotImplemented

    def _computed(self) -> Tensor:
        x, scale, shift = self.source.map, self.scale, self.shift
        y = torch.empty_like(x)  # a sum's numbers would lie as those of its first operand
        if shift is None:
            return torch.mul(x, scale, out=y)
        if x.stride(self.source.axis) == 1:
            return torch.addcmul(shift, x, scale, out=y)
        # numbers that are all the same in a row: two are faster
        return torch.mul(x, scale, out=y).add_(shift)


def may_offer(origin: "Origin", map: Tensor) -> bool:
    """Whether this result of a convolution is for functions to scale."""
    return (
        origin.offers
        and may_wait(map)
        and not (is_followed() and not is_putting_off())
        and not are_watched(origin.receives)
    )


def offered(map: Tensor, axis: int) -> Offered:
    """The map, for functions that scale the channels along an axis.

    >>> with torch.no_grad():
    ...     x = offered(torch.ones(1, 2, 3, 3), 1)
    ...     y = x * torch.tensor([2.0, 3.0]).view(2, 1, 1) + x
    >>> type(y).__name__, float(y.sum())
    ('Scaled', 63.0)
    """
    made = Offered(map)
    made._known, made.map, made.axis = None, map, axis
    return made


def folded_in(
    given: Scaled, weight: Tensor, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor | None]:
    """An image, a weight [O, C, 1…] and a bias that give the same pointwise convolution."""
    x, both = given.source.map, (given.scale, given.shift)
    alike = all(t is None or t.dim() < x.dim() or t.shape[0] == 1 for t in both)  # for all images
    folds = alike and x.dtype in _FOLDED and is_small(weight.numel(), x.numel())
    if given._known is not None or not folds:
        return given.numbers(), weight, bias
    flat = weight.reshape(weight.shape[:2])
    if given.shift is not None:
        shift = given.shift.reshape(-1).expand(weight.shape[1])
        bias = flat.mv(shift) if bias is None else torch.addmv(bias, flat, shift)
    return x, (flat * given.scale.reshape(1, -1)).view(weight.shape), bias


def is_small(weight: int, map: int) -> bool:
    """Whether to scale so many weights takes less than to scale so many numbers of a map."""
    return 2 * weight + _FOLDING < map


def is_per_channel(other: Any, map: Tensor, axis: int) -> bool:
    """Whether a tensor has one number for all of a channel, of all images or of each.

    >>> is_per_channel(torch.ones(2, 5, 1, 1), torch.ones(2, 5, 3, 3), 1)
    True
    """
    if not isinstance(other, Tensor) or other.dim() > map.dim() or other.dtype != map.dtype:
        return False
    missing = map.dim() - other.dim()
    return all(
        n == 1 or (n == map.shape[at] and at in (0, axis % map.dim()))
        for at, n in enumerate(other.shape, missing)
    )


def channel_axis(other: Any, map: Tensor) -> int | None:
    """The axis of whose positions a tensor has one number each; None if that is none or several.

    >>> channel_axis(torch.ones(5, 1, 1), torch.ones(2, 5, 3, 3))
    1
    """
    if not isinstance(other, Tensor) or not 0 < other.dim() <= map.dim() or map.dim() < 3:
        return None
    missing = map.dim() - other.dim()
    axes = [at for at, n in enumerate(other.shape, missing) if n != 1 and at]
    return axes[0] if len(axes) == 1 and is_per_channel(other, map, axes[0]) else None


def _other(one: Lazy, args: Sequence[Any], keywords: Mapping[str, Any]) -> Any:
    """The other one of two arguments, with numbers; None if there are not two."""
    if keywords or len(args) != 2:
        return None
    other = args[1] if args[0] is one else args[0]
    return other.numbers() if isinstance(other, Lazy) else other


def _scales(other: Any, map: Tensor, axis: int) -> bool:
    """Whether it is numbers to scale a map with, and none of somebody's own class of tensors."""
    return is_per_channel(other, map, axis) and plain_memory(other)


def _scaled(source: Offered, scale: Tensor, shift: Tensor | None) -> Scaled:
    made = Scaled(source.map)
    made._known, made.source, made.scale, made.shift = None, source, scale, shift
    return made
