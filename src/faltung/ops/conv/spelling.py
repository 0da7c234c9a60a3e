"""The one spelling of a convolution problem, written and read back.

    forward n1 c96 o96 i56x56 k7x7 p3 g96 bias gelu float32 cpu

Words are separated by spaces. The task comes first, dtype and device last; `n c o i k` always
stand, and everything else only where it differs from stride 1, no padding, dilation 1, one group.

| word | meaning |
| --- | --- |
| `n1 c96 o96` | batch, input channels, output channels |
| `i56x56 k7x7` | input size and kernel size, one number per spatial axis |
| `y28x28` | output size, only where it is not what the formula gives |
| `s2` `s2x1` | stride, one number for all axes or one each |
| `p3` `p3x0` `p1+2x0+0` | padding; `low+high` where the two ends differ |
| `d2` `g96` | dilation, groups |
| `reflect` `bias` `gelu` `channels_last` | padding mode, bias, activation, memory layout |

The same string names a problem in test ids, benchmark files, errors and the command line.
"""

import re
from typing import Any

from ...errors import ArgumentError
from ..arguments import PADDING_MODES

TASKS = ("forward", "grad_input", "grad_weight")
ACTIVATIONS = (
    "relu", "relu6", "silu", "gelu", "gelu_tanh", "hardswish", "sigmoid", "leaky_relu",
)  # fmt: skip
LAYOUTS = ("contiguous", "channels_last", "strided")

_NUMBER = re.compile(r"(?P<letter>[ncoikyspdg])(?P<value>\d[\d+x]*)")
_COUNTS = {"n": "batch", "c": "in_channels", "o": "out_channels", "g": "groups"}
_SIZES = {
    "i": "input_size", "k": "kernel_size", "y": "output_size", "s": "stride", "d": "dilation",
}  # fmt: skip


def spell(spec: Any) -> str:
    """The spelling of a `ConvSpec`."""
    words = [
        spec.task, f"n{spec.batch}", f"c{spec.in_channels}", f"o{spec.out_channels}",
        f"i{_sizes(spec.input_size)}", f"k{_sizes(spec.kernel_size)}",
    ]  # fmt: skip
    if spec.output_size != spec.full_output_size:
        words.append(f"y{_sizes(spec.output_size)}")
    if set(spec.stride) != {1}:
        words.append("s" + _same_or_each([str(s) for s in spec.stride]))
    if any(low or high for low, high in spec.padding):
        words.append("p" + _same_or_each([_pair(pair) for pair in spec.padding]))
    if set(spec.dilation) != {1}:
        words.append("d" + _same_or_each([str(d) for d in spec.dilation]))
    if spec.groups != 1:
        words.append(f"g{spec.groups}")
    if spec.padding_mode != "zeros":
        words.append(spec.padding_mode)
    if spec.bias:
        words.append("bias")
    if spec.activation is not None:
        words.append(spec.activation)
    if spec.layout != "contiguous":
        words.append(spec.layout)
    return " ".join([*words, spec.dtype, spec.device])


def read(text: str) -> dict[str, Any]:
    """The fields that a spelling names, as keyword arguments of `ConvSpec`."""
    words = text.split()
    if len(words) < 3 or words[0] not in TASKS:
        raise ArgumentError(
            f"a problem reads like 'forward n1 c8 o8 i32x32 k3x3 float32 cpu' and starts with one "
            f"of {', '.join(TASKS)}, got {text!r}"
        )
    fields: dict[str, Any] = {"task": words[0], "dtype": words[-2], "device": words[-1]}
    for word in words[1:-2]:
        name, value = _field(word, text)
        if name in fields:
            raise ArgumentError(f"{name} is given twice in {text!r}")
        fields[name] = value
    missing = {"batch", "in_channels", "out_channels", "input_size", "kernel_size"} - set(fields)
    if missing:
        raise ArgumentError(f"{text!r} does not say {', '.join(sorted(missing))}")
    return _spread(fields)


def _field(word: str, text: str) -> tuple[str, Any]:
    if word in PADDING_MODES:
        return "padding_mode", word
    if word in ACTIVATIONS:
        return "activation", word
    if word in LAYOUTS:
        return "layout", word
    if word == "bias":
        return "bias", True
    match = _NUMBER.fullmatch(word)
    try:
        if match is not None:
            letter, value = match["letter"], match["value"]
            if letter in _COUNTS:
                return _COUNTS[letter], int(value)
            if letter in _SIZES:
                return _SIZES[letter], tuple(int(v) for v in value.split("x"))
            return "padding", tuple(_read_pair(v) for v in value.split("x"))
    except ValueError:
        pass  # '3x' or '1+': the message below says it
    raise ArgumentError(f"cannot read the word {word!r} in {text!r}")


def _spread(fields: dict[str, Any]) -> dict[str, Any]:
    """Repeat a value that was written once for all axes."""
    dims = len(fields["input_size"])
    for name in ("stride", "dilation", "padding"):
        if len(fields.get(name, ())) == 1:
            fields[name] *= dims
    return fields


def _sizes(values: tuple[int, ...]) -> str:
    return "x".join(str(v) for v in values)


def _same_or_each(words: list[str]) -> str:
    return words[0] if len(set(words)) == 1 else "x".join(words)


def _pair(pair: tuple[int, int]) -> str:
    low, high = pair
    return str(low) if low == high else f"{low}+{high}"


def _read_pair(text: str) -> tuple[int, int]:
    low, plus, high = text.partition("+")
    return int(low), int(high) if plus else int(low)
