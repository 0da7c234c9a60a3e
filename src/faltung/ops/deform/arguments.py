"""What users write for a deformable convolution, checked and turned into a spec.

Weight groups and offset groups are not arguments: they follow from the shapes of weight and offset.
"""

from collections.abc import Sequence
from typing import Any

from ...errors import ArgumentError
from ..arguments import integers, padding_pairs
from ..geometry import Pairs, Sizes, resolve_paddings
from .spec import FLOATS, DeformSpec


def deform_spec(
    input_shape: Sequence[int],
    offset_shape: Sequence[int],
    weight_shape: Sequence[int],
    bias_shape: Sequence[int] | None = None,
    mask_shape: Sequence[int] | None = None,
    *,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    activation: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> DeformSpec:
    """The spec of `torchvision.ops.deform_conv2d` with these shapes and arguments.

    Input, offset and mask have 4 dimensions or, unbatched, 3.

    Raises `ArgumentError` or `ArgumentTypeError` for every mistake a caller can make.

    >>> print(deform_spec((1, 4, 5, 5), (1, 18, 5, 5), (6, 2, 3, 3), padding=1))
    forward n1 c4 o6 i5x5 k3x3 p1 g2 float32 cpu
    """
    if dtype not in FLOATS:
        raise ArgumentError(f"deform_conv2d: input must be one of {', '.join(FLOATS)}, got {dtype}")
    image, weight = _input(input_shape), _weight(weight_shape)
    groups = _groups(tuple(input_shape), image[1], weight)
    _check_bias(bias_shape, weight[0])
    size, kernel = image[2:], weight[2:]
    stride, pairs, dilation = deform_windows(input_shape, weight_shape, stride, padding, dilation)
    spec = DeformSpec(
        "forward", image[0], image[1], weight[0], size, kernel, stride, pairs, dilation, groups,
        _offset_groups(tuple(offset_shape), kernel), mask_shape is not None, bias_shape is not None,
        activation, dtype, device,
    )  # fmt: skip
    dims = len(input_shape)  # 3 if unbatched
    _check_shape(spec, "offset", offset_shape, spec.offset_shape[-dims:])
    if mask_shape is not None:
        _check_shape(spec, "mask", mask_shape, spec.mask_shape[-dims:])
    return spec


def deform_windows(
    input_shape: Sequence[int],
    weight_shape: Sequence[int],
    stride: Any,
    padding: Any,
    dilation: Any,
) -> tuple[Sizes, Pairs, Sizes]:
    """Stride, padding pairs and dilation, one entry for each axis."""
    size, kernel = tuple(input_shape)[-2:], tuple(weight_shape)[-2:]
    stride = integers(stride, 2, "deform_conv2d: stride", minimum=1)
    dilation = integers(dilation, 2, "deform_conv2d: dilation", minimum=1)
    padding = padding_pairs(padding, 2, "deform_conv2d: padding")
    return stride, resolve_paddings(padding, size, kernel, stride, dilation), dilation


def _input(shape: Sequence[int]) -> Sizes:
    shape = tuple(shape)
    if len(shape) not in (3, 4):
        raise ArgumentError(
            "deform_conv2d: input must have 4 dimensions (N, C, H, W) or 3 (C, H, W), got "
            f"{len(shape)}: {shape}"
        )
    if any(n < 1 for n in shape[-3:]):  # one by one: `min` would order what may be symbols
        raise ArgumentError(
            f"deform_conv2d: channels, height and width of input {shape} must be at least 1"
        )
    return shape if len(shape) == 4 else (1, *shape)


def _weight(shape: Sequence[int]) -> Sizes:
    shape = tuple(shape)
    if len(shape) != 4:
        raise ArgumentError(
            "deform_conv2d: weight must have 4 dimensions (O, C/groups, KH, KW), got "
            f"{len(shape)}: {shape}"
        )
    if any(n < 1 for n in shape):
        raise ArgumentError(f"deform_conv2d: every size of weight {shape} must be at least 1")
    return shape


def _groups(shape: Sizes, channels: int, weight: Sizes) -> int:
    groups = channels // weight[1]
    if channels % weight[1]:
        raise ArgumentError(
            f"deform_conv2d: input {shape} has {channels} channels, not a multiple of the "
            f"{weight[1]} that each filter of weight {weight} reads"
        )
    if weight[0] % groups:
        raise ArgumentError(
            f"deform_conv2d: {channels} input channels and weight {weight} make groups={groups}, "
            f"which does not divide the {weight[0]} output channels"
        )
    return groups


def _check_bias(shape: Sequence[int] | None, channels: int) -> None:
    if shape is not None and tuple(shape) != (channels,):
        raise ArgumentError(
            f"deform_conv2d: bias must have shape ({channels},), one value per output channel, "
            f"got {tuple(shape)}"
        )


def _offset_groups(shape: Sizes, kernel: Sizes) -> int:
    """How many times the taps' (dy, dx) fit into the channels of offset."""
    if len(shape) not in (3, 4):
        raise ArgumentError(
            "deform_conv2d: offset must have 4 dimensions (N, 2·F·KH·KW, OH, OW) or 3, got "
            f"{len(shape)}: {shape}"
        )
    channels, one = shape[-3], 2 * kernel[0] * kernel[1]
    if channels < one or channels % one:
        raise ArgumentError(
            f"deform_conv2d: offset {shape} has {channels} channels, not a multiple of the {one} "
            f"that kernel size {kernel} needs: (dy, dx) for each of its {one // 2} taps"
        )
    return channels // one


def _check_shape(spec: DeformSpec, name: str, shape: Sequence[int], wanted: Sizes) -> None:
    if tuple(shape) != wanted:
        raise ArgumentError(
            f"deform_conv2d: {name} must have shape {wanted} for {spec.batch} images, "
            f"{spec.offset_groups} offset groups, kernel size {spec.kernel_size} and output size "
            f"{spec.output_size}, got {tuple(shape)}"
        )
