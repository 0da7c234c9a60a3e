"""Whether somebody looks at a call, and so has to be given an operator of PyTorch's.

Other calls save themselves PyTorch's dispatcher, which takes longer than a small layer.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.functional_tensor import FunctionalTensor

_is_wrapped = torch._C._functorch.is_functorch_wrapped_tensor
_transforms = torch._C._are_functorch_transforms_active
_modes = torch._C._len_torch_dispatch_stack
_STAND_INS = (FakeTensor, FunctionalTensor)
_PLAIN = (Tensor, torch.nn.Parameter, *_STAND_INS)


def is_traced(*operands: Tensor | None) -> bool:
    """Whether a call has to be one of the operator.

    That is so under a transform of `torch.func`, under a dispatch mode, and of tensors that stand
    for others, but not of a subclass that PyTorch does not have itself: whoever made it knows
    PyTorch's operators, and not ours.
    """
    # asked at every call with gradients, so only what is rare is looked at more closely
    watched = bool(_modes()) or _transforms()
    for operand in operands:
        if operand is not None:
            kind = type(operand)
            if kind not in _PLAIN:
                return False
            watched = watched or kind in _STAND_INS or _is_wrapped(operand)
    return watched


def is_symbolic(*shapes: Sequence[int]) -> bool:
    """Whether a size is a symbol, in a trace that is to hold for every size.

    >>> is_symbolic((2, 3))
    False
    """
    return not all(isinstance(n, int) for shape in shapes for n in shape)
