"""PyTorch's convolution functions, computed by ours inside a `with` block.

For models that call `F.conv2d` themselves, which swapping modules does not reach.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, _get_current_function_mode_stack

from .. import functional as ours

_PACKAGE = (__package__ or "").partition(".")[0]
_PLAIN = (Tensor, torch.nn.Parameter)
_OURS: dict[Callable[..., Any], Callable[..., Tensor]] = {
    F.conv1d: ours.conv1d,
    F.conv2d: ours.conv2d,
    F.conv3d: ours.conv3d,
    F.conv_transpose1d: ours.conv_transpose1d,
    F.conv_transpose2d: ours.conv_transpose2d,
    F.conv_transpose3d: ours.conv_transpose3d,
}


class _Replacing(TorchFunctionMode):
    """Sees every function of PyTorch that its thread calls, and takes the convolutions."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The convolution by ours; every other function, and calls of our own, as they are."""
        keywords = kwargs or {}
        taken = _OURS.get(func)
        if taken is None or not _is_ours_to_do(args, keywords):
            return func(*args, **keywords)
        return taken(*args, **keywords)


def _is_ours_to_do(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether a call has plain tensors and does not come from this package, which means it."""
    if torch.compiler.is_compiling():
        return False  # a graph has PyTorch's operators in it
    operands = [v for v in (*args[:3], kwargs.get("input"), kwargs.get("weight"),
                            kwargs.get("bias")) if v is not None]  # fmt: skip
    if any(type(v) not in _PLAIN or v.layout != torch.strided for v in operands):
        return False
    caller = sys._getframe(2).f_globals.get("__name__", "")
    return not (caller == _PACKAGE or caller.startswith(_PACKAGE + "."))


@contextmanager
def replace_torch() -> Iterator[None]:
    """Compute the convolutions of PyTorch by ours inside a `with` block, wherever they are called.

    `F.conv1d` to `F.conv3d`, `F.conv_transpose1d` to `F.conv_transpose3d`, and the same names in
    `torch`; so every module and library that calls them. It holds for the thread that entered the
    block, as PyTorch's own modes do; blocks in blocks change nothing. Sparse, quantised and other
    special tensors stay with PyTorch, and so do the graphs of `torch.compile`: inside of them
    PyTorch's compiler does its own convolutions.

    Every function of PyTorch that is called in the block takes one or two microseconds more, which
    `optimize_` does not cost.

    >>> with replace_torch():
    ...     y = torch.nn.Conv2d(3, 8, 3)(torch.ones(1, 3, 9, 9))
    >>> y.shape
    torch.Size([1, 8, 7, 7])
    """
    modes = _get_current_function_mode_stack()  # type: ignore[no-untyped-call]
    if any(isinstance(mode, _Replacing) for mode in modes):
        yield
        return
    with _Replacing():
        yield
