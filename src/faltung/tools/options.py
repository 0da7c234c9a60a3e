"""Sizes and padding as they are written on the command line, and the layer they describe.

    --input 56x48   --kernel 3   --padding 1+2x0   --padding same

One number stands for all axes; `x` separates axes, `+` the two ends of one axis.
"""

import re
from dataclasses import dataclass
from typing import TypeVar

from ..errors import ArgumentError
from ..ops.arguments import PADDING_WORDS
from ..ops.conv.arguments import conv_spec, conv_transpose_spec
from ..ops.conv.spec import ConvSpec

_T = TypeVar("_T")
_NUMBERS = re.compile(r"\d+(x\d+)*")
_PAIRS = re.compile(r"\d+(\+\d+)?(x\d+(\+\d+)?)*")


@dataclass(frozen=True)
class LayerOptions:
    """A layer as the options say it, not yet checked."""

    input: str
    kernel: str
    stride: str = "1"
    padding: str = "0"
    dilation: str = "1"
    output_padding: str = "0"
    transposed: bool = False
    channels: int = 1
    out_channels: int = 1
    groups: int = 1
    batch: int = 1
    bias: bool = False
    dtype: str = "float32"


def sizes(text: str, option: str) -> tuple[int, ...]:
    """The numbers of `56x48`.

    >>> sizes("56x48", "--input")
    (56, 48)
    """
    if not _NUMBERS.fullmatch(text):
        raise ArgumentError(f"{option} must be a number, or one per axis like 56x48, got {text!r}")
    return tuple(int(number) for number in text.split("x"))


def padding(text: str, option: str = "--padding") -> str | tuple[tuple[int, int], ...]:
    """A padding word as it is, or the (low, high) pairs of `1x0+2`.

    >>> padding("1x0+2"), padding("same")
    (((1, 1), (0, 2)), 'same')
    """
    if text in PADDING_WORDS:
        return text
    if not _PAIRS.fullmatch(text):
        words = ", ".join(PADDING_WORDS)
        raise ArgumentError(
            f"{option} must be a number, one per axis like 1x2, low+high like 1+2, or one of "
            f"{words}, got {text!r}"
        )
    ends = [axis.partition("+") for axis in text.split("x")]
    return tuple((int(low), int(high or low)) for low, _, high in ends)


def spread(values: tuple[_T, ...], dims: int, option: str) -> tuple[_T, ...]:
    """One value per axis from one value or one per axis already.

    >>> spread((3,), 2, "--kernel")
    (3, 3)
    """
    if len(values) not in (1, dims):
        raise ArgumentError(
            f"{option} must have one number or {dims} (one per axis), got {len(values)}"
        )
    return values * dims if len(values) == 1 else values


def layer_spec(options: LayerOptions) -> ConvSpec:
    """The spec of the layer; raises `ArgumentError` for everything that does not fit.

    >>> print(layer_spec(LayerOptions("56x48", "3", stride="2", padding="1")))
    forward n1 c1 o1 i56x48 k3x3 s2 p1 float32 cpu
    """
    given = {
        name: sizes(getattr(options, name), f"--{name.replace('_', '-')}")
        for name in ("input", "kernel", "stride", "dilation", "output_padding")
    }
    pairs = padding(options.padding)
    dims = max(len(v) for v in (*given.values(), () if isinstance(pairs, str) else pairs))
    if dims > 3:
        raise ArgumentError(f"a layer has 1, 2 or 3 spatial axes, got {dims}")
    shape = (options.batch, options.channels, *spread(given["input"], dims, "--input"))
    kernel = spread(given["kernel"], dims, "--kernel")
    _check_counts(options, kernel)
    if options.transposed:
        weight = (options.channels, options.out_channels // options.groups, *kernel)
        return conv_transpose_spec(
            shape, weight, (options.out_channels,) if options.bias else None, dims=dims,
            stride=given["stride"], padding=pairs, output_padding=given["output_padding"],
            groups=options.groups, dilation=given["dilation"], dtype=options.dtype,
        )  # fmt: skip
    if any(given["output_padding"]):
        raise ArgumentError("--output-padding is for --transposed")
    weight = (options.out_channels, options.channels // options.groups, *kernel)
    return conv_spec(
        shape, weight, (options.out_channels,) if options.bias else None, dims=dims,
        stride=given["stride"], padding=pairs, dilation=given["dilation"],
        groups=options.groups, dtype=options.dtype,
    )  # fmt: skip


def _check_counts(options: LayerOptions, kernel: tuple[int, ...]) -> None:
    """What would otherwise be said of a weight that the user never wrote."""
    if min(kernel) < 1:
        raise ArgumentError(f"--kernel must be at least 1, got {options.kernel}")
    for name in ("channels", "out_channels", "groups", "batch"):
        if getattr(options, name) < 1:
            option = name.replace("_", "-")
            raise ArgumentError(f"--{option} must be at least 1, got {getattr(options, name)}")
    if options.channels % options.groups or options.out_channels % options.groups:
        raise ArgumentError(
            f"--groups {options.groups} must divide both --channels {options.channels} and "
            f"--out-channels {options.out_channels}"
        )
