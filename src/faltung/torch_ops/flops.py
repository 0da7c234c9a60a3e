"""How many floating-point operations a convolution is, for `torch.utils.flop_counter`.

    flops = 2 · N · O · C/G · ∏K · ∏out

In all three tasks alike: each use of a weight on an input is a multiply-add in each of them, those
on zero padding counted as PyTorch counts them. What is added and activated is not, as there.
"""

from collections.abc import Sequence
from math import prod
from typing import Any


def conv_flops(
    first: Sequence[int],
    second: Sequence[int],
    bias: Sequence[int] | None,
    residual: Sequence[int] | None,
    task: str,
    size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
    padding_mode: str,
    activation: str | None,
    changing_weight: bool,
    algorithm: str | None,
    out_shape: Any = None,
) -> int:
    """The operations of a call of `faltung::conv` whose operands have these shapes.

    >>> rest = ([1, 1], [0, 0, 0, 0], [1, 1], 8, "zeros", None, False, None)
    >>> conv_flops((1, 8, 9, 9), (8, 1, 3, 3), None, None, "forward", [7, 7], *rest)
    7056
    """
    if task == "forward":
        return 2 * first[0] * second[0] * prod(size) * prod(second[1:])
    if task == "grad_input":
        return 2 * prod(first) * prod(second[1:])
    return 2 * prod(second) * (first[1] // groups) * prod(size)
