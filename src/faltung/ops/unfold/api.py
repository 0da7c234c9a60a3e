"""`unfold` and `fold` as users call them, with PyTorch's names and order of arguments.

    c[n, (c, t), q] = x[n, c, q·s − low + t·d]       L = ∏ ⌊(n + low + high − d·(K−1) − 1)/s⌋ + 1

1-D, 2-D and 3-D, batched and unbatched. Use them to build an operator of one's own out of windows;
for a convolution call the convolution, which never writes the columns.
"""

from typing import Any

import torch
from torch import Tensor

from ... import settings
from ..geometry import flat
from ..operands import checked
from ..tracing import is_traced
from .arguments import fold_spec, fold_windows, unfold_spec, unfold_windows
from .autograd import run

_is_compiling = torch.compiler.is_dynamo_compiling


def unfold(
    input: Tensor,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    padding_mode: str = "zeros",
    algorithm: str | None = None,
) -> Tensor:
    """Every window of the input as a column: (N, C, in…) -> (N, C·∏K, L), or without N both.

    A tuple `kernel_size` has one entry per spatial axis, so `(3,)` is 1-D. An integer is 2-D for
    inputs of 4 or 3 dimensions, as in PyTorch, and 3-D for inputs of 5. Padding is an integer, one
    entry per axis (an integer or a (low, high) pair), `"valid"`, `"same"` or `"same_lower"`.

    Equivalent to `F.unfold(input, kernel_size, dilation, padding, stride)` in 2-D.

    Raises `ArgumentError` or `ArgumentTypeError` for arguments that do not fit together. Source:
    Chellapilla, Puri and Simard, "High performance convolutional neural networks for document
    processing" (2006), where unfolding is introduced.

    >>> import torch
    >>> unfold(torch.zeros(2, 5, 3, 4), (2, 3)).shape
    torch.Size([2, 30, 4])
    >>> unfold(torch.tensor([[1, 2, 3]]), (2,), padding=((1, 0),), padding_mode="circular")
    tensor([[3, 1, 2],
            [1, 2, 3]])
    """
    if _is_traced(input):
        kernel, dilation, pairs, stride = unfold_windows(
            input.shape, kernel_size, dilation, padding, stride
        )
        arguments = (kernel, dilation, flat(pairs), stride, padding_mode, algorithm)
        seen: Tensor
        if input.dim() == len(kernel) + 2:
            seen = torch.ops.faltung.unfold.default(input, *arguments)
        else:
            seen = torch.ops.faltung.unfold.default(input.unsqueeze(0), *arguments).squeeze(0)
        return seen
    dtype, device = checked("unfold", {"input": input})
    spec = unfold_spec(
        input.shape, kernel_size, dilation, padding, stride,
        mode=padding_mode, dtype=dtype, device=device,
    )  # fmt: skip
    columns = run(input.reshape(spec.image_shape), spec, settings.with_algorithm(algorithm))
    return columns if input.dim() == spec.dims + 2 else columns.squeeze(0)


def fold(
    input: Tensor,
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    algorithm: str | None = None,
) -> Tensor:
    """Columns added back to where windows took them: (N, C·∏K, L) -> (N, C, out…), or without N.

    The adjoint of `unfold`; where windows overlap their values are summed. A tuple `output_size`
    or `kernel_size` has one entry per spatial axis; two integers are 2-D, as in PyTorch. Padding is
    written as for `unfold` and refers to the image of `output_size`.

    Equivalent to `F.fold(input, output_size, kernel_size, dilation, padding, stride)` in 2-D.

    Raises `ArgumentError` or `ArgumentTypeError` for arguments that do not fit together. Source:
    Dumoulin and Visin, "A guide to convolution arithmetic for deep learning", arXiv 1603.07285,
    section 4.

    >>> import torch
    >>> fold(torch.ones(1, 4, 4), (3, 3), 2)
    tensor([[[[1., 2., 1.],
              [2., 4., 2.],
              [1., 2., 1.]]]])
    """
    if _is_traced(input):
        size, kernel, dilation, pairs, stride = fold_windows(
            output_size, kernel_size, dilation, padding, stride
        )
        arguments = (size, kernel, dilation, flat(pairs), stride, "zeros", algorithm)
        seen: Tensor
        if input.dim() == 3:
            seen = torch.ops.faltung.fold.default(input, *arguments)
        else:
            seen = torch.ops.faltung.fold.default(input.unsqueeze(0), *arguments).squeeze(0)
        return seen
    dtype, device = checked("fold", {"input": input})
    spec = fold_spec(
        input.shape, output_size, kernel_size, dilation, padding, stride,
        dtype=dtype, device=device,
    )  # fmt: skip
    image = run(input.reshape(spec.columns_shape), spec, settings.with_algorithm(algorithm))
    return image if input.dim() == 3 else image.squeeze(0)


def _is_traced(input: Any) -> bool:
    """Whether the call has to be one of the operator."""
    return _is_compiling() or (isinstance(input, Tensor) and is_traced(input))
