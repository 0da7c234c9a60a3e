"""Who reads what lies between the modules of a model, seen in one run of it.

Every function of PyTorch that is called during the run is looked at (a `TorchFunctionMode`), and
every module that is entered and left. Of each output of a module that is asked about it is known
then which modules read it, whether it outlived the run, and whether Python asked for sizes or
numbers on the way, which another call may answer otherwise.
"""

import gc
import weakref
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


def _asking(attributes: str, *functions: Callable[..., Any]) -> set[Any]:
    """What a mode sees when Python asks for an attribute of a tensor, and some functions."""
    return {getattr(Tensor, name).__get__ for name in attributes.split()} | set(functions)


# the same for every other tensor of its kind
_HARMLESS = _asking(
    "dtype device requires_grad layout ndim grad_fn is_cuda is_sparse is_quantized",
    Tensor.is_floating_point, Tensor.is_complex, Tensor.dim, Tensor.is_contiguous,
    torch.is_floating_point, torch.is_complex,
)  # fmt: skip
_SIZES = _asking(
    "shape", Tensor.size, Tensor.numel, Tensor.nelement, Tensor.__len__, Tensor.stride, torch.numel
)
_NUMBERS = _asking(
    "", Tensor.item, Tensor.__bool__, Tensor.__int__, Tensor.__float__, Tensor.__index__,
    Tensor.__complex__, Tensor.__contains__, Tensor.tolist, Tensor.numpy, Tensor.__array__,
    Tensor.equal, torch.equal, Tensor.allclose, torch.allclose, Tensor.is_nonzero,
    torch.is_nonzero,
)  # fmt: skip


@dataclass
class Output:
    """What became of the output of one call of a module."""

    caller: nn.Module | None
    """The module that called."""

    readers: list[nn.Module | None] = field(default_factory=list)
    """The modules that read it, once for each time."""

    reference: "weakref.ref[Tensor] | None" = None
    """It, if it is still somewhere; None once it was changed in place and is somebody else's."""

    is_gone: bool = True
    """Whether it was gone when the run was over, its result still there."""

    def is_(self, tensor: Tensor) -> bool:
        """Whether it is this tensor."""
        return self.reference is not None and self.reference() is tensor


@dataclass
class _Call:
    module: nn.Module
    asks_sizes: bool = False
    asks_numbers: bool = False


class Watch(TorchFunctionMode):
    """A `with` block in which a model runs once; ask afterwards.

    `modules` are those whose outputs matter.
    """

    def __init__(self, model: nn.Module, modules: Collection[nn.Module]) -> None:
        super().__init__()
        self.calls: Counter[nn.Module] = Counter()
        self.outputs: dict[nn.Module, Output] = {}
        self.asked_sizes: set[nn.Module] = set()
        self.asked_numbers: set[nn.Module] = set()
        self._model = model
        self._modules = {id(m) for m in modules}
        self._stack: list[nn.Module] = []
        self._alive: dict[int, Output] = {}
        self._handles = ExitStack()

    def __enter__(self) -> "Watch":
        """Watch from now on."""
        for module in self._model.modules():
            if isinstance(module, torch.jit.ScriptModule):
                continue
            before = module.register_forward_pre_hook(self._entered)
            after = module.register_forward_hook(self._left)
            self._handles.callback(before.remove)
            self._handles.callback(after.remove)
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the model as it was."""
        super().__exit__(kind, error, trace)  # type: ignore[no-untyped-call]
        self._handles.close()
        self._alive.clear()

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Note who reads what, and run it."""
        keywords = kwargs or {}
        if func in _NUMBERS:
            self.asked_numbers.update(self._stack)
        elif func in _SIZES:
            if not self._in_leaf():
                self.asked_sizes.update(self._stack)
        elif func not in _HARMLESS:
            reader = self._stack[-1] if self._stack else None
            for tensor in _tensors((*args, *keywords.values())):
                output = self._alive.get(id(tensor))
                if output is not None and output.is_(tensor):
                    output.readers.append(reader)
        return func(*args, **keywords)

    def finish(self, result: Any) -> None:
        """See what is still there after the run, whose result is given to be there, too."""
        if any(
            o.reference is not None and o.reference() is not None for o in self.outputs.values()
        ):
            gc.collect()  # a model may hold on to things in circles
        for output in self.outputs.values():
            output.is_gone = output.reference is None or output.reference() is None

    def _in_leaf(self) -> bool:
        """Whether one of PyTorch's own layers asks, which returns a tensor whatever it is told."""
        top = self._stack[-1] if self._stack else None
        if top is None or top._modules:
            return False
        return type(top).__module__.startswith("torch.nn.")

    def _entered(self, module: nn.Module, args: Any) -> None:
        self.calls[module] += 1
        self._stack.append(module)

    def _left(self, module: nn.Module, args: Any, result: Any) -> None:
        self._stack.pop()
        if id(module) not in self._modules or not isinstance(result, Tensor):
            return
        earlier = self._alive.pop(id(result), None)
        if earlier is not None:  # changed in place: from now on it is this one's
            earlier.reference = None
        output = Output(self._stack[-1] if self._stack else None, [], weakref.ref(result))
        self.outputs[module] = self._alive[id(result)] = output


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, tuple | list):
            found += _tensors(value)
        elif isinstance(value, dict):
            found += _tensors(value.values())
    return found
