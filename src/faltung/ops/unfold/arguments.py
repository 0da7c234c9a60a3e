"""What users write for an unfold or a fold, checked and turned into a spec.

How many axes the windows have follows from the arguments alone: a tuple `kernel_size` has one entry
per axis. An integer one means what it means in PyTorch, 2-D, for every shape that PyTorch takes;
where PyTorch takes none, an input with 5 dimensions can only be a batch of 3-D images.
"""

import math
from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ..arguments import integers, lengths, padding_mode, padding_pairs
from ..geometry import Pairs, Sizes, resolve_padding
from .spec import UnfoldSpec

_Windows = tuple[Sizes, Sizes, Pairs, Sizes]

_AXES = {1: "L", 2: "H, W", 3: "D, H, W"}
_DIMS_OF_INTEGER = {3: 2, 4: 2, 5: 3}  # dimensions of the input -> axes an integer stands for


def unfold_spec(
    input_shape: Sequence[int],
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    mode: str = "zeros",
    dtype: str = "float32",
    device: str = "cpu",
) -> UnfoldSpec:
    """The spec of `F.unfold` for an input (N, C, …) or, unbatched, (C, …).

    Raises `ArgumentError` or `ArgumentTypeError` for every mistake a caller can make.

    >>> print(unfold_spec((2, 5, 3, 4), (2, 3)))
    unfold n2 c5 i3x4 k2x3 float32 cpu
    """
    shape = tuple(input_shape)
    kernel, dilation, pairs, stride = unfold_windows(shape, kernel_size, dilation, padding, stride)
    dims = len(kernel)
    batch = shape[0] if len(shape) == dims + 2 else 1
    return UnfoldSpec(
        "unfold", batch, shape[-dims - 1], shape[-dims:], kernel, stride, pairs, dilation,
        padding_mode(mode), dtype, device,
    )  # fmt: skip


def fold_spec(
    input_shape: Sequence[int],
    output_size: Any,
    kernel_size: Any,
    dilation: Any = 1,
    padding: Any = 0,
    stride: Any = 1,
    *,
    mode: str = "zeros",
    dtype: str = "float32",
    device: str = "cpu",
) -> UnfoldSpec:
    """The spec of `F.fold` for columns (N, C·∏K, L) or, unbatched, (C·∏K, L).

    Raises `ArgumentError` or `ArgumentTypeError` for every mistake a caller can make.

    >>> print(fold_spec((2, 30, 4), (3, 4), (2, 3)))
    fold n2 c5 i3x4 k2x3 float32 cpu
    """
    shape = tuple(input_shape)
    if len(shape) not in (2, 3):
        raise ArgumentError(
            f"fold: input must have 3 dimensions (N, C·∏K, L) or 2 (C·∏K, L), got {len(shape)}: "
            f"{shape}"
        )
    size, kernel, dilation, pairs, stride = fold_windows(
        output_size, kernel_size, dilation, padding, stride
    )
    batch = shape[0] if len(shape) == 3 else 1
    taps = math.prod(kernel)
    if shape[-2] % taps:
        raise ArgumentError(
            f"fold: input {shape} has {shape[-2]} values per column, not a multiple of the {taps} "
            f"that kernel size {kernel} takes from each channel"
        )
    spec = UnfoldSpec(
        "fold", batch, shape[-2] // taps, size, kernel, stride, pairs, dilation,
        padding_mode(mode), dtype, device,
    )  # fmt: skip
    positions = spec.columns_shape[-1]
    if shape[-1] != positions:
        raise ArgumentError(
            f"fold: input {shape} has {shape[-1]} columns but output_size {size} with kernel size "
            f"{kernel}, stride {stride}, padding {pairs} and dilation {dilation} has "
            f"{positions} window positions: {' × '.join(map(str, spec.output_size))}"
        )
    return spec


def unfold_windows(
    input_shape: Sequence[int], kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> _Windows:
    """Kernel size, dilation, padding pairs and stride of an unfold, one entry for each axis."""
    shape = tuple(input_shape)
    size = shape[-_unfold_dims(shape, kernel_size) :]
    return _windows("unfold", size, kernel_size, dilation, padding, stride)


def fold_windows(
    output_size: Any, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> tuple[Sizes, Sizes, Sizes, Pairs, Sizes]:
    """Size of the image, and kernel size, dilation, padding pairs and stride, of a fold."""
    dims = _fold_dims(output_size, kernel_size)
    size = lengths(output_size, dims, "fold: output_size")
    return (size, *_windows("fold", size, kernel_size, dilation, padding, stride))


def _unfold_dims(shape: Sizes, kernel_size: Any) -> int:
    """Number of spatial axes of an unfold."""
    if isinstance(kernel_size, (tuple, list)):
        dims = _entries("unfold: kernel_size", kernel_size)
        if len(shape) not in (dims + 1, dims + 2):
            axes = _AXES[dims]
            raise ArgumentError(
                f"unfold: kernel_size={tuple(kernel_size)} is {dims}-D, so input must have "
                f"{dims + 2} dimensions (N, C, {axes}) or {dims + 1} (C, {axes}), "
                f"got {len(shape)}: {shape}"
            )
        return dims
    if len(shape) not in _DIMS_OF_INTEGER:
        raise ArgumentError(
            f"unfold: kernel_size={kernel_size!r} is 2-D for an input of 4 or 3 dimensions and 3-D "
            f"for one of 5, got {len(shape)}: {shape}; 1-D windows need kernel_size="
            f"({kernel_size!r},)"
        )
    return _DIMS_OF_INTEGER[len(shape)]


def _fold_dims(output_size: Any, kernel_size: Any) -> int:
    """Number of spatial axes of a fold: 2, as in PyTorch, unless a tuple says otherwise."""
    found = {
        name: _entries(f"fold: {name}", value)
        for name, value in (("output_size", output_size), ("kernel_size", kernel_size))
        if isinstance(value, (tuple, list))
    }
    if len(set(found.values())) == 2:
        raise ArgumentError(
            f"fold: output_size={output_size} and kernel_size={kernel_size} must have one entry "
            f"per spatial axis each, got {found['output_size']} and {found['kernel_size']}"
        )
    return next(iter(found.values()), 2)


def _entries(what: str, value: Sequence[Any]) -> int:
    if len(value) not in _AXES:
        raise ArgumentError(f"{what} must have 1, 2 or 3 entries, got {len(value)}: {value!r}")
    return len(value)


def _windows(
    call: str, size: Sizes, kernel_size: Any, dilation: Any, padding: Any, stride: Any
) -> _Windows:
    """Kernel size, dilation, padding pairs and stride, one entry per axis of the image."""
    dims = len(size)
    kernel = integers(kernel_size, dims, f"{call}: kernel_size", minimum=1)
    dilation = integers(dilation, dims, f"{call}: dilation", minimum=1)
    stride = integers(stride, dims, f"{call}: stride", minimum=1)
    padding = padding_pairs(padding, dims, f"{call}: padding")
    per_axis = (padding,) * dims if isinstance(padding, str) else padding
    pairs = tuple(
        resolve_padding(p, n, k, s, d)
        for p, n, k, s, d in zip(per_axis, size, kernel, stride, dilation, strict=True)
    )
    return kernel, dilation, pairs, stride
