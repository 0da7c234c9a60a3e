"""What PyTorch's functions tell Python about a tensor: its kind, its sizes, or its numbers."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor


def _asking(attributes: str, *functions: Callable[..., Any]) -> set[Any]:
    """What a mode sees when Python asks for an attribute of a tensor, and some functions."""
    return {getattr(Tensor, name).__get__ for name in attributes.split()} | set(functions)


# the same for every other tensor of its kind
HARMLESS = _asking(
    "dtype device requires_grad layout ndim grad_fn is_cuda is_sparse is_quantized",
    Tensor.is_floating_point, Tensor.is_complex, Tensor.dim, Tensor.is_contiguous,
    torch.is_floating_point, torch.is_complex,
)  # fmt: skip
SIZES = _asking(
    "shape", Tensor.size, Tensor.numel, Tensor.nelement, Tensor.__len__, Tensor.stride, torch.numel
)
NUMBERS = _asking(
    "", Tensor.item, Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__,
    Tensor.__complex__, Tensor.__contains__, Tensor.tolist, Tensor.numpy, Tensor.__array__,
    Tensor.equal, torch.equal, Tensor.allclose, torch.allclose, Tensor.is_nonzero,
    torch.is_nonzero,
)  # fmt: skip
