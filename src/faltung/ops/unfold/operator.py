"""An unfold or a fold as one call of an operator of PyTorch's.

    torch.ops.faltung.unfold(image, kernel_size, dilation, padding, stride, padding_mode, algorithm)
    torch.ops.faltung.fold(columns, output_size, kernel_size, dilation, padding, stride,
                           padding_mode, algorithm)

Image and columns have a batch. Every axis has an entry of its own, and `padding` is flat: the low
and the high end of each axis in turn. Sizes may be symbols. `faltung.torch_ops` registers the two.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ..geometry import flat
from ..operands import checked
from .arguments import fold_spec, unfold_spec
from .spec import UnfoldSpec


def call_operator(operand: Tensor, spec: UnfoldSpec, algorithm: str | None) -> Tensor:
    """The task of a spec as a call of its operator."""
    windows: list[Any] = [
        list(spec.kernel_size), list(spec.dilation), flat(spec.padding), list(spec.stride),
        spec.padding_mode, algorithm,
    ]  # fmt: skip
    result: Tensor
    if spec.task == "unfold":
        result = torch.ops.faltung.unfold.default(operand, *windows)
    else:
        result = torch.ops.faltung.fold.default(operand, list(spec.input_size), *windows)
    return result


def spec_of_unfold(
    image: Tensor,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
    padding_mode: str,
) -> UnfoldSpec:
    """The spec of a call of `faltung::unfold`."""
    dtype, device = checked("unfold", {"input": image})
    return unfold_spec(
        image.shape, kernel_size, dilation, _pairs(padding), stride,
        mode=padding_mode, dtype=dtype, device=device,
    )  # fmt: skip


def spec_of_fold(
    columns: Tensor,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
    padding_mode: str,
) -> UnfoldSpec:
    """The spec of a call of `faltung::fold`."""
    dtype, device = checked("fold", {"input": columns})
    return fold_spec(
        columns.shape, output_size, kernel_size, dilation, _pairs(padding), stride,
        mode=padding_mode, dtype=dtype, device=device,
    )  # fmt: skip


def _pairs(padding: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(padding[::2], padding[1::2], strict=True))
