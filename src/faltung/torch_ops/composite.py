"""`faltung::deform_conv2d`: an operator made of PyTorch's own.

Its algorithm is calls of PyTorch's operators, which have derivatives, `vmap`, FLOPs and fakes of
their own. So it runs under `CompositeImplicitAutograd`: whoever traces what is below `autograd`
sees PyTorch's operators, and only Dynamo, which reads Python before that, sees this one instead of
the planner. Sizes may be symbols. An algorithm that is a compiled routine will need what `conv`
has.

Arguments are the function's own, one entry for each axis, with padding flat: low and high in turn.
"""

from collections.abc import Sequence

from torch import Tensor

from ..ops.deform.api import under_autocast
from .library import LIBRARY

_SCHEMA = (
    "deform_conv2d(Tensor input, Tensor offset, Tensor weight, Tensor? bias, Tensor? mask, "
    "SymInt[] stride, SymInt[] padding, SymInt[] dilation, str? activation, str? algorithm) "
    "-> Tensor"
)


def _deform(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    activation: str | None,
    algorithm: str | None,
) -> Tensor:
    operands = {"input": input, "offset": offset, "weight": weight, "bias": bias, "mask": mask}
    pairs = tuple(zip(padding[::2], padding[1::2], strict=True))
    return under_autocast(operands, stride, pairs, dilation, activation, algorithm)


LIBRARY.define(_SCHEMA)
LIBRARY.impl(_SCHEMA.partition("(")[0], _deform, "CompositeImplicitAutograd")
