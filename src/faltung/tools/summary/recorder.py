"""Run a model once and write down every convolution and matrix product in it.

A dispatch mode sees what PyTorch is asked to do in the end, so it makes no difference whether a
layer is a module, a subclass of one, a function, or an operator called by its own name; our own
functions become one operator under a mode. Hooks say which module was running.
"""

import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from ... import settings
from ...ops.conv.arguments import conv_spec, conv_transpose_spec
from ...ops.conv.operator import spec_of
from ...ops.conv.spec import ConvSpec
from ...ops.operands import dtype_name, memory_layout
from .notes import Note, forgotten, settled
from .rules import Operation, after, product_macs
from .seen import Reach

Sizes = tuple[int, ...]
_ALIASES = ("t", "view", "transpose", "permute", "detach", "alias", "_to_copy", "expand", "reshape",
            "slice", "select", "unsqueeze", "squeeze")  # fmt: skip


@dataclass(frozen=True)
class Call:
    """One convolution, matrix product or pool of a run."""

    place: tuple[tuple[str, nn.Module], ...]
    """The modules that were running, outermost first, by their names in the model."""

    owner: str
    """Name of the module that owns the weight, where another one calls the function with it."""

    function: str
    """What was called: `conv2d`, `conv_transpose1d`, `matmul`, `avg_pool2d`."""

    detail: str
    """Kernel size, and stride, dilation and groups that are not 1: `3×3 s2 g64`."""

    output: Sizes
    spec: ConvSpec | None
    macs: int
    bytes: int
    field: tuple[int | None, ...]
    """Receptive field per axis of the image; None where it is not known, or see `whole`."""

    whole: tuple[bool, ...]
    """Axes of the image that are seen from end to end."""

    learned: tuple[Tensor, ...]
    """The parameters that it used."""

    grad_input: int
    """Multiply-adds of the gradient of what comes in; 0 where nothing before it learns."""

    grad_weight: int
    """Multiply-adds of the gradient of the weight; 0 where that does not learn."""

    knobs: settings.Settings


def record(model: nn.Module, inputs: tuple[Any, ...]) -> list[Call]:
    """The calls of one run of the model on the inputs, in evaluation mode and without gradients.

    The model is as it was afterwards: the modes of its modules are put back, and evaluation
    changes no statistics.
    """
    training = {module: module.training for module in model.modules()}
    recorder = _Recorder(model)
    try:
        model.eval()
        # what the model warns of is for those who run it, not for those who look at it
        with warnings.catch_warnings(action="ignore"), torch.no_grad(), recorder.watching():
            recorder.begin(inputs)
            model(*inputs)
    finally:
        for module, mode in training.items():
            module.training = mode
    return recorder.calls


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """The mode, with what it knows of tensors and of the modules that are running."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: list[Call] = []
        self._names = {module: name for name, module in model.named_modules()}
        # who has a weight and nothing else to do would have been seen to run
        self._owners = {
            id(module._parameters["weight"]): name
            for name, module in model.named_modules()
            if next(module.children(), None) is None and "weight" in module._parameters
        }
        self._running: list[tuple[str, nn.Module]] = []
        self._notes: Any = WeakTensorKeyDictionary()
        self._image: frozenset[int] = frozenset()  # axes of the input that convolutions slid along
        self._sources: Any = WeakTensorKeyDictionary()  # views and copies, and what they are of

    def begin(self, inputs: tuple[Any, ...]) -> None:
        """The model's inputs are where all positions are counted from."""
        for tensor in _tensors(inputs):
            if tensor.is_floating_point() or tensor.is_complex():
                self._notes[tensor] = Note.of_input(tensor.shape)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Everything that is looked at while the model runs."""
        with ExitStack() as stack:
            for handle in (
                hooks.register_module_forward_pre_hook(self._enter),
                hooks.register_module_forward_hook(self._leave, always_call=True),
            ):
                stack.callback(handle.remove)
            stack.enter_context(self)
            yield

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        arguments = _by_name(func, args, kwargs or {})
        given = _tensors(arguments.values())
        notes = tuple(self._note(tensor) for tensor in given)
        out = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        results = tuple(_tensors([out]))
        if name in ("convolution", "_convolution", "convolution_overrideable"):
            self._convolved(arguments, out)
            return out
        if name == "faltung::conv":
            self._convolved_by_us(arguments, out)
            return out
        operation = Operation(
            name, torch.Tag.pointwise in func.tags, arguments, results, notes, self._note
        )
        for result, note in zip(results, after(operation), strict=True):
            self._notes[result] = note
        if func._schema.is_mutable and results and results[0] in self._sources:
            # a part of that tensor is another one now; which part is not followed
            source = self._sources[results[0]]
            known = [self._note(source), *notes]
            self._notes[source] = settled(forgotten(known, source.shape), known)
        if name in _ALIASES and results:
            self._sources[results[0]] = self._sources.get(given[0], given[0])
        if results:
            self._multiplied(operation, given)
        return out

    # -- modules ----------------------------------------------------------------------------------

    def _enter(self, module: nn.Module, _: Any) -> None:
        self._running.append((self._names.get(module, ""), module))

    def _leave(self, module: nn.Module, *_: Any) -> None:
        self._running.pop()

    # -- what is written down ---------------------------------------------------------------------

    def _convolved(self, arguments: dict[str, Any], y: Tensor) -> None:
        """PyTorch's operator, whose arguments say everything."""
        x, w, b = (arguments[name] for name in ("input", "weight", "bias"))
        note = self._note(x)
        size, layout = tuple(x.shape), memory_layout(x)
        padding = [(p, p) for p in _spread(arguments["padding"], x.dim() - 2)]
        transposed = arguments["transposed"]
        if note.padded is not None and not transposed:
            # zeros that were put around the image are this convolution's padding
            size, layout = (*size[:2], *note.padded.size), note.padded.layout
            padding = [
                (p + low, q + high)
                for (p, q), (low, high) in zip(padding, note.padded.padding, strict=True)
            ]
        common: dict[str, Any] = {
            "stride": arguments["stride"], "padding": padding, "dilation": arguments["dilation"],
            "groups": arguments["groups"], "dims": x.dim() - 2, "dtype": dtype_name(x),
            "device": str(x.device), "layout": layout,
        }  # fmt: skip
        if transposed:
            common["output_padding"] = arguments["output_padding"]
        make = conv_transpose_spec if transposed else conv_spec
        spec = make(size, w.shape, None if b is None else b.shape, **common)
        self._noted(spec, (x, w, b), y, settings.current())

    def _convolved_by_us(self, arguments: dict[str, Any], y: Tensor) -> None:
        """The operator that our functions become under a mode."""
        x, w, b = (arguments.pop(name) for name in ("first", "second", "bias"))
        algorithm = arguments.pop("algorithm")
        del arguments["changing_weight"]  # training makes other plans, but no other layer
        spec = replace(spec_of(x, w, b, **arguments), layout=memory_layout(x))
        self._noted(spec, (x, w, b), y, settings.with_algorithm(algorithm))

    def _noted(
        self,
        spec: ConvSpec,
        operands: tuple[Tensor, Tensor, Tensor | None],
        y: Tensor,
        knobs: settings.Settings,
    ) -> None:
        """A convolution: what it has seen and what it counts."""
        x, w, b = operands
        before, weight = self._note(x), self._note(w)
        self._image |= before.axes(range(len(x.shape) - spec.dims, len(x.shape)))
        learns = before.learns or weight.learns or (b is not None and self._note(b).learns)
        note = replace(_after_convolution(spec, before, tuple(y.shape)), learns=learns)
        self._notes[y] = note = settled(note, [before, weight])
        kind = "conv_transpose" if spec.task == "grad_input" else "conv"
        gradients = (spec.macs * before.learns, spec.macs * weight.learns)
        detail = written(spec.kernel_size, spec.stride, spec.dilation, spec.groups)
        self._append(f"{kind}{spec.dims}d", detail, y, note, spec, spec.macs, spec.bytes, (w, b),
                     gradients, knobs)  # fmt: skip

    def _multiplied(self, operation: Operation, given: list[Tensor]) -> None:
        """A matrix product or a pool."""
        result, name = operation.results[0], operation.name
        macs = product_macs(name, operation.arguments)
        if macs is None and "_pool" not in name:
            return
        learn = [note.learns for note in operation.notes[-2:]]
        gradients = (0, 0)
        if macs and "attention" in name:
            gradients = (2 * macs * any(note.learns for note in operation.notes), 0)
        elif macs:
            gradients = (macs * learn[0], macs * learn[1])
        size = sum(t.numel() * t.element_size() for t in (*given, result))
        self._append(_usual(name), _of_pool(operation.arguments), result, self._note(result), None,
                     macs or 0, size, tuple(given), gradients, settings.current())  # fmt: skip

    def _append(
        self,
        function: str,
        detail: str,
        output: Tensor,
        note: Note,
        spec: ConvSpec | None,
        macs: int,
        size: int,
        operands: tuple[Tensor | None, ...],
        gradients: tuple[int, int],
        knobs: settings.Settings,
    ) -> None:
        axes = sorted(self._image)
        sources = [self._sources.get(t, t) for t in operands if t is not None]
        learned = tuple(t for t in sources if isinstance(t, nn.Parameter))
        owners = [self._owners[id(t)] for t in learned if self._owners.get(id(t))]
        self.calls.append(
            Call(
                tuple(self._running), owners[0] if owners else "", function, detail,
                tuple(output.shape), spec, macs, size,
                tuple(note.size_of(axis) for axis in axes),
                tuple(axis in note.whole for axis in axes),
                tuple(t for t in sources if isinstance(t, nn.Parameter)), *gradients, knobs,
            )
        )  # fmt: skip

    def _note(self, tensor: Tensor) -> Note:
        """What is known of a tensor; what nobody made during the run hangs on itself alone."""
        found = self._notes.get(tensor)
        if found is None:
            found = Note.plain(tensor.shape, bool(tensor.requires_grad))
        return found  # type: ignore[no-any-return]


def _after_convolution(spec: ConvSpec, before: Note, shape: Sizes) -> Note:
    """The image's axes are read by the windows; the channels are summed."""
    transposed = spec.task == "grad_input"
    note = forgotten([before], shape)
    dims = spec.dims
    if len(before.dimensions) > dims + 1:
        note = replace(note, dimensions=(before.dimensions[0], *note.dimensions[1:]))
    for number, axis in enumerate(spec.axes):
        window = Reach.of_window(axis.kernel_size, axis.stride, axis.padding[0], axis.dilation)
        reach = Reach.of_transposed(axis) if transposed else window
        # zeros that were put around the image are in the spec's padding; positions count inside
        inner = before.padded.padding[number][0] if before.padded and not transposed else 0
        seen = before.seen(number - dims)
        if seen is not None:
            seen = seen.through(Reach.of_window(1, 1, -inner)).through(reach)
        note = note.with_dimension(number - dims, shape[number - dims], seen)
    return note


def _by_name(func: Any, args: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """An operator's arguments by their names, defaults filled in."""
    names = func._schema.arguments
    found = {a.name: a.default_value for a in names if a.has_default_value()}
    found |= {a.name: value for a, value in zip(names, args, strict=False)}
    return found | kwargs


def _tensors(values: Iterable[Any]) -> list[Tensor]:
    """The tensors among values and in the lists among them."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, dict):
            found += _tensors(value.values())
        elif isinstance(value, list | tuple):
            found += _tensors(value)
    return found


def _spread(values: Sequence[int], dims: int) -> list[int]:
    return list(values) * dims if len(values) == 1 else list(values)


def written(kernel: Sizes, stride: Sizes, dilation: Sizes, groups: int = 1) -> str:
    """A window's kernel size, and what is not 1 of the rest.

    >>> written((3, 3), (2, 2), (1, 1), 64)
    '3×3 s2 g64'
    """
    words = ["×".join(map(str, kernel))]
    for letter, values in (("s", stride), ("d", dilation)):
        if set(values) != {1}:
            once = len(set(values)) == 1
            words.append(letter + (str(values[0]) if once else "×".join(map(str, values))))
    return " ".join([*words, *([f"g{groups}"] if groups > 1 else [])])


def _of_pool(arguments: dict[str, Any]) -> str:
    if "kernel_size" not in arguments:
        return ""
    kernel = tuple(arguments["kernel_size"])
    dilation = arguments.get("dilation", 1)
    steps = (1,) if isinstance(dilation, int) else tuple(dilation)
    return written(kernel, tuple(arguments["stride"]) or kernel, steps)


def _usual(name: str) -> str:
    """The name that users know an operator by."""
    if "attention" in name:
        return "scaled_dot_product_attention"
    return "matmul" if "mm" in name else name.removesuffix("_with_indices").removeprefix("_")
