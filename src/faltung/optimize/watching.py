"""Who reads what lies between the modules of a model, seen in one run of it.

Every function of PyTorch that is called during the run is looked at (a `TorchFunctionMode`), and
every module that is entered and left. Of each output of a module that is asked about it is known
then which modules read it, whether it outlived the run, and whether Python asked for sizes or
numbers on the way, which another call may answer otherwise.
"""

import gc
import weakref
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from .asking import HARMLESS, NUMBERS, SIZES
from .pending import ADD, step_of
from .scaled import PRODUCTS, SUMS, channel_axis

_MOST_SOURCES = 16  # images held on to at a time, to see whether they are changed

_CONVOLVING = (nn.modules.conv._ConvNd, nn.Linear)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

PAD, SAME = "pad", "same"
"""Steps besides those of `pending`: `F.pad`, and an index that takes all there is."""


class _Source:
    """What a convolution read, and whether that has been changed since; it is no proof for ever."""

    __slots__ = ("_tensor", "_version")

    def __init__(self, tensor: Tensor) -> None:
        self._tensor: Tensor | None = None if tensor.is_inference() else tensor.detach()
        self._version = -1 if tensor.is_inference() else tensor._version

    def unchanged(self) -> bool:
        """Whether it is known to be as it was."""
        return self._tensor is not None and self._tensor._version == self._version

    def forget(self) -> None:
        """Let go of it; from now on nothing is known."""
        self._tensor = None


@dataclass
class Use:
    """One function that read a tensor."""

    reader: nn.Module | None
    """The module in whose `forward` it was called."""

    step: str | None
    """What it does that a convolution may do, see `pending`."""

    result: "Output | None"
    """What it made, where that is followed further."""

    intact: bool
    """Whether what the convolution read was as it had been then."""


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

    uses: list[Use] = field(default_factory=list)
    """The functions that read it."""

    became: "Output | None" = None
    """The same tensor as the output of a module that returned it, if one did."""

    convolved: bool = False
    """Whether it is a convolution's result, perhaps normalised, or made of one by steps."""

    sources: tuple[_Source, ...] = ()
    """What that convolution read, and what was added."""

    scaled: "Output | None" = None
    """Of what it was made by scaling channels, see `scaled`."""

    axis: int | None = None
    """Of these channels."""

    functions: int = 0
    """That scaled them."""

    module: nn.Module | None = None
    """Whose output it is."""

    passed: list[nn.Module] = field(default_factory=list)
    """Modules that were given it or returned it, whose hooks would see it."""

    def is_(self, tensor: Tensor) -> bool:
        """Whether it is this tensor."""
        return self.reference is not None and self.reference() is tensor


@dataclass(frozen=True)
class Pad:
    """One call of `F.pad`."""

    callers: tuple[nn.Module, ...]
    """The modules in whose `forward` it was called, the last one by itself."""

    output: Output
    nbytes: int
    """Of the image and of what was made of it."""


@dataclass(frozen=True)
class Scaling:
    """One map whose channels were scaled, nothing of it changed until a convolution read it."""

    root: Output
    scaled: Output
    reader: nn.Module
    shape: tuple[int, ...]


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
        self.functions: Counter[nn.Module] = Counter()
        self.pads: list[Pad] = []
        self._all: list[Output] = []
        self._given: dict[nn.Module, _Source] = {}
        self._sources: deque[_Source] = deque()
        self.scalings: list[Scaling] = []

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
        self.functions.update(self._stack)
        if func in NUMBERS:
            self.asked_numbers.update(self._stack)
        elif func in SIZES:
            if not self._in_leaf():
                self.asked_sizes.update(self._stack)
        elif func not in HARMLESS:
            return self._read(func, args, keywords)
        return func(*args, **keywords)

    def _read(
        self, func: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Any:
        """Run a function that reads numbers; note what it may be to a convolution."""
        reader = self._stack[-1] if self._stack else None
        read = [o for t in _tensors((*args, *keywords.values())) if (o := self._followed(t))]
        for output in read:
            output.readers.append(reader)
        intact = [all(source.unchanged() for source in o.sources) for o in read]
        result = func(*args, **keywords)
        step = _step(func, args, keywords, result)
        main = self._subject(step, args[:1] if func is Tensor.add_ else args)
        made = None
        if step is not None and (main is not None or step == PAD):
            made = self._made(step, args, main, result)
        for output, whole in zip(read, intact, strict=True):
            mine = step if output is main and step != PAD else None
            output.uses.append(Use(reader, mine, made if mine else None, whole))
        if made is None and func in PRODUCTS | SUMS and len(args) == 2 and not keywords:
            self._scale(func, args, result)
        if step == PAD and made is not None:
            size = args[0].nbytes + result.nbytes
            self.pads.append(Pad(tuple(self._stack), made, size))
        return result

    def _followed(self, tensor: Any) -> Output | None:
        output = self._alive.get(id(tensor))
        return output if output is not None and output.is_(tensor) else None

    def _subject(self, step: str | None, args: tuple[Any, ...]) -> Output | None:
        """What a step is a step of: of two that are added, that which a convolution made."""
        for output in map(self._followed, args[: 2 if step == ADD else 1]):
            if output is not None and not output.uses and (output.convolved or step == SAME):
                return output
        return None

    def _made(
        self, step: str, args: tuple[Any, ...], main: Output | None, result: Tensor
    ) -> Output:
        """What a step has made, to be followed further."""
        reader = self._stack[-1] if self._stack else None
        output = Output(reader, [], weakref.ref(result))
        if step == PAD:
            output.sources = (self._source(args[0]),)
        elif main is not None:
            others = [t for t in args[:2] if step == ADD and not main.is_(t)]
            output.convolved = main.convolved
            output.sources = (*main.sources, *map(self._source, others))
            if main.is_(result):
                main.reference = None
        self._alive[id(result)] = output
        self._all.append(output)
        return output

    def _scale(self, func: Callable[..., Any], args: tuple[Any, ...], result: Tensor) -> None:
        """Follow a map whose channels may have been scaled."""
        known = [self._followed(t) for t in args]
        for n, output in enumerate(known):
            if output is None or (output.scaled is None and func in SUMS):
                continue
            root, map, other = output.scaled or output, args[n], args[1 - n]
            itself = func in SUMS and known[1 - n] is root
            axis = output.axis if itself else channel_axis(other, map)
            if axis is None or output.axis not in (None, axis):
                continue
            made = Output(self._stack[-1] if self._stack else None, [], weakref.ref(result))
            made.scaled, made.axis, made.functions = root, axis, output.functions + 1
            if output is not root:
                made.sources, made.passed = output.sources, list(output.passed)
            made.sources += (self._source(map if output is root else other),)
            if output is root:
                made.sources += (self._source(other),)
            self._alive[id(result)] = made
            self._all.append(made)
            return

    def _source(self, tensor: Tensor) -> _Source:
        source = _Source(tensor)
        if len(self._sources) == _MOST_SOURCES:
            self._sources.popleft().forget()
        self._sources.append(source)
        return source

    def finish(self, result: Any) -> None:
        """See what is still there after the run, whose result is given to be there, too."""
        for source in self._sources:
            source.forget()
        if any(o.reference is not None and o.reference() is not None for o in self._all):
            gc.collect()  # a model may hold on to things in circles
        for output in self._all:
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
        for tensor in _tensors(args):
            if (given := self._followed(tensor)) is not None:
                given.passed.append(module)
        if isinstance(module, _CONVOLVING) and args and isinstance(args[0], Tensor):
            with torch._C.DisableTorchFunction():
                self._convolves(module, args[0])

    def _convolves(self, module: nn.Module, image: Tensor) -> None:
        given = self._followed(image)
        scaled = None if given is None else given.scaled
        if given and scaled and all(source.unchanged() for source in given.sources):
            self.scalings.append(Scaling(scaled, given, module, tuple(image.shape)))
        self._given[module] = self._source(image)

    def _left(self, module: nn.Module, args: Any, result: Any) -> None:
        self._stack.pop()
        if not isinstance(result, Tensor):
            return
        if (known := self._followed(result)) is not None:
            known.passed.append(module)
        if id(module) not in self._modules:
            return
        given = self._followed(args[0]) if args else None
        output = Output(self._stack[-1] if self._stack else None, [], weakref.ref(result))
        output.module = module
        earlier = self._alive.pop(id(result), None)
        if earlier is not None:
            if earlier.is_(result):
                earlier.became = output
                output.convolved, output.sources = earlier.convolved, earlier.sources
                output.scaled, output.axis = earlier.scaled, earlier.axis
                output.functions, output.passed = earlier.functions, list(earlier.passed)
            earlier.reference = None  # changed in place or let pass: now it is this one's
        if module in self._given:
            output.convolved, output.sources = True, (self._given.pop(module),)
        elif isinstance(module, _NORMS) and given is not None:
            output.convolved, output.sources = given.convolved, given.sources
        self.outputs[module] = self._alive[id(result)] = output
        self._all.append(output)


def _step(
    func: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], result: Any
) -> str | None:
    """What a call may be to a convolution before or after it."""
    if not isinstance(result, Tensor) or not args or not isinstance(args[0], Tensor):
        return None
    if func is F.pad:
        return PAD
    if func is Tensor.__getitem__:
        return SAME if result.shape == args[0].shape else None
    step = step_of(func, args, keywords)
    if step == ADD and not _are_alike(*args):
        return None
    return step


def _are_alike(x: Any, y: Any) -> bool:
    return isinstance(y, Tensor) and x.shape == y.shape and x.dtype == y.dtype


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
