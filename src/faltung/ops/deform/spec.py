"""Everything that is known about a deformable convolution before its numbers.

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · m[n, c', t, q] · x̂[n, c, q·s − low + t·d + δ[n, c', t, q]]

x̂ is the image read between its pixels (bilinear), δ a learned offset (dy, dx) and m a learned mask
per tap t and output q, each shared by the channels c of one offset group c'. Without a mask, m = 1.

    input   [N, C, H, W]                   weight  [O, C/G, KH, KW]
    offset  [N, 2·F·KH·KW, OH, OW]         mask    [N, F·KH·KW, OH, OW]        F offset groups

2-D. Plain Python, no tensors. Sources: Dai et al., arXiv 1703.06211, section 2.1 (offsets); Zhu et
al., arXiv 1811.11168, section 3.2 (the mask).
"""  # noqa: E501

import math
from dataclasses import dataclass
from functools import cached_property

from ...errors import ArgumentError
from ..geometry import Axis, Pairs, Sizes
from ..spelling import DTYPES, Choice, Count, Flag, PairPerAxis, PerAxis, Spelling

TASKS = ("forward",)
FLOATS = ("float16", "bfloat16", "float32", "float64")
ACTIVATIONS = (
    "relu", "relu6", "silu", "gelu", "gelu_tanh", "hardswish", "sigmoid", "leaky_relu",
)  # fmt: skip

_SPELLING = Spelling(
    tasks=TASKS,
    example="forward n1 c8 o8 i32x32 k3x3 p1 mask float32 cpu",
    words=(
        Count("n", "batch"),
        Count("c", "in_channels"),
        Count("o", "out_channels"),
        PerAxis("i", "input_size"),
        PerAxis("k", "kernel_size"),
        PerAxis("s", "stride", default=1),
        PairPerAxis("p", "padding"),
        PerAxis("d", "dilation", default=1),
        Count("g", "groups", default=1),
        Count("f", "offset_groups", default=1),
        Flag("mask"),
        Flag("bias"),
        Choice("activation", ACTIVATIONS),
    ),
)
