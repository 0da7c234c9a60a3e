"""What exporters and compilers of graphs find our operators as.

`torch.onnx.export` takes operators apart by PyTorch's table of decompositions. Inductor, which
should call ours whole, asks the same table where the environment says `CI`, and stops at an
operator that it would have to call though it could be taken apart. So it is told beforehand; not
when this package is imported, since Inductor takes seconds, but when shapes are asked for, as they
are in every trace.
"""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

_by_aten: dict[Any, Callable[..., Tensor]] = {}


def decompositions() -> dict[Any, Callable[..., Tensor]]:
    """A table for `run_decompositions` that leaves no operator of ours."""
    return dict(_by_aten)


def register(operator: Any, by_aten: Callable[..., Tensor], fake: Callable[..., Tensor]) -> None:
    """Have exporters take the operator apart as `by_aten` does; `fake` gives its shapes."""
    torch._decomp.register_decomposition(operator)(by_aten)
    # without this, the table would be asked for shapes as well
    torch._decomp.register_decomposition(operator, type="meta")(fake)
    _by_aten[operator] = by_aten


def tell_inductor() -> None:
    """Have Inductor call every registered operator, if this process uses Inductor."""
    inductor: Any = sys.modules.get("torch._inductor.lowering")
    # another thread may be importing it, and not be done
    if inductor is None or not hasattr(inductor, "make_fallback"):
        return
    for operator in _by_aten:
        if operator not in inductor.lowerings:
            strides = inductor.tag_to_layout_constraint(torch.Tag.needs_exact_strides)
            inductor.make_fallback(operator, strides, warn=False)
