"""A convolution under `vmap`: one convolution of more images, channels or groups.

    batched                          folded into            for example
    the image alone                  the batch              a model of single images
    the weight alone                 channels of the result an ensemble on the same images
    both                             groups                 gradients per sample, in `forward`
    x and gy of grad_weight          groups                 gradients per sample, in `backward`
    one of x and gy of grad_weight   channels of the result

Nothing is copied but what a fold has to move, and nothing is computed twice. A residual is added,
and an activation applied, to what has been unfolded.
"""

from typing import Any

import torch
from torch import Tensor

from ..ops.activations import activate

_IMAGE, _WEIGHT = 1, 0  # the axis of the channels that groups divide

# axes of (first, second, result) where a batch of both operands goes, before all groups
_BOTH = {
    "forward": (_IMAGE, _WEIGHT, _IMAGE),
    "grad_input": (_IMAGE, _WEIGHT, _IMAGE),
    "grad_weight": (_IMAGE, _IMAGE, _WEIGHT),
}

# where a batch of one operand goes: the axis of that operand and of the result, and whether it is
# an axis that groups divide, so that the batch goes inside each of them
_ONE = {
    ("forward", "second"): ((_WEIGHT, True), (_IMAGE, True)),
    ("grad_input", "second"): ((1, False), (_IMAGE, True)),
    ("grad_weight", "first"): ((_IMAGE, True), (1, False)),
    ("grad_weight", "second"): ((_IMAGE, True), (_WEIGHT, True)),
}


def conv_of_batch(
    info: Any,
    in_dims: tuple[int | None, ...],
    first: Tensor,
    second: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    *arguments: Any,
) -> tuple[Tensor, int]:
    """The rule: operands that may have a further axis each, and a result whose axis 0 it is."""
    batch: int = info.batch_size
    task, size, stride, padding, dilation, groups, mode, activation, *rest = arguments

    def conv(first: Tensor, second: Tensor, bias: Tensor | None, groups: int) -> Tensor:
        y: Tensor = torch.ops.faltung.conv.default(
            first, second, bias, None, task, size, stride, padding, dilation, groups, mode, None,
            *rest,
        )  # fmt: skip
        return y

    first, second = (_in_front(t, dim) for t, dim in zip((first, second), in_dims, strict=False))
    biases = None if bias is None else _in_front(bias, in_dims[2])
    residuals = None if residual is None else _in_front(residual, in_dims[3])
    are_batched = tuple(dim is not None for dim in in_dims[:3])
    if are_batched[:2] == (True, True):
        axes = _BOTH[task]
        y = conv(_folded(first, axes[0]), _folded(second, axes[1]), None, batch * groups)
        y = _unfolded(y, axes[2], batch)
    elif are_batched[:2] == (False, False):
        y = conv(first, second, None, groups).unsqueeze(0)
    elif are_batched[0] and task != "grad_weight":
        fused = None if are_batched[2] else bias
        y = _split(conv(first.flatten(0, 1), second, fused, groups), 0, batch, first.shape[1])
        biases = None if fused is not None else biases
    else:
        which = "first" if are_batched[0] else "second"
        (axis, inside), (result_axis, result_inside) = _ONE[task, which]
        moved = _folded(first if are_batched[0] else second, axis, groups if inside else 1)
        operands = (moved, second) if are_batched[0] else (first, moved)
        y = _unfolded(conv(*operands, None, groups), result_axis, batch,
                      groups if result_inside else 1)  # fmt: skip
    if biases is not None:
        y = y + biases.reshape(-1, 1, biases.shape[-1], *[1] * (y.dim() - 3))
    return activate(activation, y if residuals is None else y + residuals), 0


def _in_front(tensor: Tensor, dim: int | None) -> Tensor:
    """The batch's axis first, where there is one."""
    return tensor if dim is None else tensor.movedim(dim, 0)


def _folded(tensor: Tensor, axis: int, groups: int = 1) -> Tensor:
    """[B, …, G·c, …] -> [… , G·B·c, …]: the batch into an axis, inside each of its groups."""
    divided = _split(tensor, axis + 1, groups, tensor.shape[axis + 1] // groups)
    return divided.movedim(0, axis + 1).flatten(axis, axis + 2)


def _unfolded(tensor: Tensor, axis: int, batch: int, groups: int = 1) -> Tensor:
    """[…, G·B·c, …] -> [B, …, G·c, …]: back from there."""
    divided = _split(tensor, axis, groups, batch, tensor.shape[axis] // (groups * batch))
    return divided.movedim(axis + 1, 0).flatten(axis + 1, axis + 2)


def _split(tensor: Tensor, axis: int, *sizes: int) -> Tensor:
    """One axis made several."""
    return tensor.reshape(*tensor.shape[:axis], *sizes, *tensor.shape[axis + 1 :])
