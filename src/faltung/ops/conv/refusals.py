"""Why routines in general cannot do a spec: what most algorithm files refuse in the same words.

An algorithm's `unsupported` begins with these and adds what it cannot do itself.
"""

from collections.abc import Sequence

from ...lang.target import unavailable
from .spec import ConvSpec

REGISTER_BYTES = {"float32": 4, "float64": 8, "bfloat16": 4, "float16": 4}
"""Bytes of a number while it is computed with: 16-bit numbers are stored as such and widened."""

_NO_SUCH_SIGNAL = "needs 2 or 3 dimensions to be channels last, has 1"
_SPOKEN = {"contiguous": "contiguous", "channels_last": "channels-last"}


def refusals(spec: ConvSpec, layouts: Sequence[str]) -> list[str]:
    """What routines cannot do: other dtypes, other memory layouts, padding with anything but zeros.

    >>> refusals(ConvSpec.parse("forward n1 c1 o1 i5x5 k3x3 int64 cpu"), ["contiguous"])
    ['needs one of float32, float64, bfloat16, float16, has int64']
    """
    reasons = []
    if spec.dtype not in REGISTER_BYTES:
        reasons.append(f"needs one of {', '.join(REGISTER_BYTES)}, has {spec.dtype}")
    if spec.layout not in layouts:
        wanted = " or ".join(_SPOKEN[layout] for layout in layouts)
        reasons.append(f"needs a {wanted} image, has {spec.layout}")
    elif spec.layout == "channels_last" and spec.dims == 1:
        reasons.append(_NO_SUCH_SIGNAL)
    if spec.padding_mode != "zeros" and any(map(any, spec.padding)):
        reasons.append(f"pads with zeros only, not {spec.padding_mode}")
    if (missing := unavailable()) is not None:
        reasons.append(missing)
    return reasons


def weight_refusals(spec: ConvSpec) -> list[str]:
    """What routines for gradients of weights cannot do, however they do it.

    >>> weight_refusals(ConvSpec.parse("grad_weight n0 c1 o1 i5x5 k3x3 float32 cpu"))
    ['needs something to sum up, has x of (0, 1, 5, 5)']
    """
    reasons = []
    if spec.dtype not in REGISTER_BYTES:
        reasons.append(f"needs one of {', '.join(REGISTER_BYTES)}, has {spec.dtype}")
    if spec.layout == "channels_last" and spec.dims == 1:
        reasons.append(_NO_SUCH_SIGNAL)
    if spec.padding_mode != "zeros" and any(map(any, spec.padding)):
        reasons.append(f"pads with zeros only, not {spec.padding_mode}")
    if 0 in (spec.batch, spec.in_channels, *spec.input_size):
        reasons.append(f"needs something to sum up, has x of {spec.x_shape}")
    if (missing := unavailable()) is not None:
        reasons.append(missing)
    return reasons


def depthwise_refusals(spec: ConvSpec) -> list[str]:
    """What algorithms cannot do that have one filter, and one output, for each channel."""
    if spec.groups == spec.in_channels == spec.out_channels:
        return []
    return [
        f"needs one group and one output per channel, has {spec.groups} groups, "
        f"{spec.in_channels} channels and {spec.out_channels} outputs"
    ]
