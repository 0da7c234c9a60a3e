"""The layers of a model with what each costs: the facts, before anyone prints them.

multiply-adds  from the specs, so by the definition's index map: grouped, dilated and transposed
               layers count what they do, whatever way they were called
gradients      the same number again for each gradient that training needs
field          what one position of the output sees of the model's input, branches followed
gain           estimated time of PyTorch's own convolution, in the faster of its two memory
               layouts, ÷ that of the planned algorithm
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from torch import nn

from ... import planning, settings
from ...machine import this_machine
from ...ops.conv.spec import ConvSpec
from .models import as_inputs, as_module
from .recorder import Call, record

_NATIVE = "native_torch"
_LAYOUTS = ("contiguous", "channels_last")  # the second is for images only


@dataclass(frozen=True)
class Layer:
    """One call of a model: what it was, what it costs, what it sees, and what would run it."""

    name: str
    kind: str
    """The module's class, or the function with brackets: `Conv2d`, `conv2d()`."""

    detail: str
    """Kernel size and what differs from the defaults: `3×3 s2 g32`."""

    output: tuple[int, ...]
    parameters: int
    """Learned numbers that no layer before used."""

    shared: bool
    """Whether a layer before used the same parameters."""

    macs: int
    grad_input: int
    grad_weight: int
    bytes: int
    field: tuple[int | str | None, ...]
    """Positions seen per axis of the image, or `"all"`; None where it is not known."""

    spec: ConvSpec | None
    plan: planning.Plan | None
    seconds: tuple[float, float] | None
    """Estimated time of the planned algorithm, and of PyTorch's own in its faster memory layout."""

    @property
    def gradients(self) -> int:
        """Multiply-adds of the gradients that training needs."""
        return self.grad_input + self.grad_weight

    @property
    def gain(self) -> float | None:
        """How many times as fast as PyTorch's own the planned algorithm is estimated to be."""
        return None if self.seconds is None else self.seconds[1] / self.seconds[0]


@dataclass(frozen=True)
class Summary:
    """Everything that a run of a model showed; prints itself, also in notebooks."""

    model: str
    inputs: tuple[tuple[int, ...], ...]
    layers: tuple[Layer, ...]
    parameters: int
    trainable: int
    rest: tuple[tuple[str, int, int], ...]
    """Modules that own the parameters which no layer of the table has: kind, number, parameters."""

    @property
    def macs(self) -> int:
        """Multiply-adds of one run."""
        return sum(layer.macs for layer in self.layers)

    @property
    def gradients(self) -> int:
        """Multiply-adds of the backward pass."""
        return sum(layer.gradients for layer in self.layers)

    @property
    def bytes(self) -> int:
        """Bytes that the layers must move if each reads its operands and writes its result once."""
        return sum(layer.bytes for layer in self.layers)

    @cached_property
    def gain(self) -> float | None:
        """PyTorch's estimated time in all convolutions ÷ that of the planned algorithms."""
        seconds = [layer.seconds for layer in self.layers if layer.seconds is not None]
        ours = sum(planned for planned, _ in seconds)
        return sum(native for _, native in seconds) / ours if ours else None

    def facts(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        return {
            "model": self.model,
            "inputs": [list(shape) for shape in self.inputs],
            "layers": [_layer_facts(layer) for layer in self.layers],
            "rest": [
                {"kind": kind, "modules": count, "parameters": parameters}
                for kind, count, parameters in self.rest
            ],
            "total": {
                "parameters": self.parameters,
                "trainable": self.trainable,
                "multiply_adds": self.macs,
                "gradients": self.gradients,
                "bytes": self.bytes,
                "gain": self.gain,
            },
        }

    def html(self) -> str:
        """The same as one page of HTML that needs nothing else."""
        from .page import page  # noqa: PLC0415  (jinja2 is optional)

        return page(self)

    def __str__(self) -> str:
        from .terminal import text  # noqa: PLC0415  (rich is optional)

        return text(self)

    def _repr_html_(self) -> str:
        from .page import fragment  # noqa: PLC0415  (jinja2 is optional)

        return fragment(self)


def summary(model: Any, *inputs: Any) -> Summary:
    """Every layer of a model with its counts, receptive field, plan and expected gain.

    `model` is a `torch.nn.Module` or a function, `inputs` are its tensors, or shapes that zeros are
    made of. It is run once, in evaluation mode and without gradients, and is left as it was.
    Convolutions are seen however they are called; matrix products and pools are listed, too.

    The count of a convolution is that of its definition, in the forward pass and in the gradients
    that training needs: none with respect to the model's input, none of frozen weights.

    Raises `ArgumentError` or `ArgumentTypeError` for what is no model or input, and what the model
    raises.

    >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 3, groups=8))
    >>> found = summary(model, (1, 3, 9, 9))
    >>> [(layer.name, layer.macs, layer.gradients, layer.field) for layer in found.layers]
    [('0', 10584, 10584, (3, 3)), ('1', 1800, 3600, (5, 5))]
    """
    module = as_module(model)
    tensors = as_inputs(module, inputs)
    calls = record(module, tensors)
    layers = tuple(_layers(calls))
    name = type(model).__name__ if isinstance(model, nn.Module) else getattr(model, "__name__", "?")
    learned = list(module.parameters())
    return Summary(
        name,
        tuple(tuple(t.shape) for t in tensors if hasattr(t, "shape")),
        layers,
        sum(p.numel() for p in learned),
        sum(p.numel() for p in learned if p.requires_grad),
        tuple(_rest(module, calls)),
    )


def named_calls(calls: Sequence[Call]) -> Iterator[tuple[str, Call]]:
    """Every call with a name of its own: the module's, the function's, `#2` where one comes again.

    >>> calls = record(model := nn.Sequential(nn.MaxPool2d(2)), as_inputs(model, [(1, 1, 4, 4)]))
    >>> [name for name, _ in named_calls(calls)]
    ['0']
    """
    counted: Counter[str] = Counter()
    for call in calls:
        name, module = call.place[-1]
        if not _is_leaf(module):
            inside = f"{name}.{call.function}" if name else call.function
            name = call.owner or inside
        name = name or type(module).__name__
        counted[name] += 1
        yield (name if counted[name] == 1 else f"{name}#{counted[name]}"), call


def plan_of(call: Call) -> planning.Plan | None:
    """What we would run for a convolution, by the estimates; None if it is none."""
    if call.spec is None:
        return None
    spec = replace(call.spec, device="cpu") if call.spec.device == "meta" else call.spec
    try:
        return planning.plan(spec, "conv", settings.by_estimate(call.knobs))
    except planning.NoAlgorithmError:
        return None


def _seconds(plan: planning.Plan) -> tuple[float, float] | None:
    """Estimates of the plan, and of PyTorch's own, which may be had in either layout."""
    machine, spec = this_machine(), plan.spec
    native = {a.name: a for a in planning.algorithms("conv", spec.device)}[_NATIVE]
    layouts = [replace(spec, layout=layout) for layout in _LAYOUTS[: 1 + (spec.dims > 1)]]
    possible = [one for one in layouts if not native.unsupported(one)]
    if not possible:
        return None
    return plan.chosen.seconds, min(native.seconds(one, machine) for one in possible)


def _layers(calls: Sequence[Call]) -> Iterator[Layer]:
    used: set[int] = set()
    for name, call in named_calls(calls):
        learned = {id(p): p.numel() for p in _learned(call)}
        fresh = {key: size for key, size in learned.items() if key not in used}
        used |= set(learned)
        module, plan = call.place[-1][1], plan_of(call)
        yield Layer(
            name=name,
            kind=type(module).__name__ if _is_leaf(module) else f"{call.function}()",
            detail=call.detail,
            output=call.output,
            parameters=sum(fresh.values()),
            shared=len(fresh) < len(learned),
            macs=call.macs,
            grad_input=call.grad_input,
            grad_weight=call.grad_weight,
            bytes=call.bytes,
            field=tuple(
                "all" if whole else size
                for size, whole in zip(call.field, call.whole, strict=True)
            ),
            spec=call.spec,
            plan=plan,
            seconds=None if plan is None else _seconds(plan),
        )  # fmt: skip


def _learned(call: Call) -> list[Any]:
    """Parameters of a call: all of the module, if it is one that does nothing else."""
    module = call.place[-1][1]
    return list(module.parameters()) if _is_leaf(module) else list(call.learned)


def _rest(model: nn.Module, calls: Sequence[Call]) -> Iterator[tuple[str, int, int]]:
    """Modules whose parameters are in no row, by kind."""
    used = {id(p) for call in calls for p in _learned(call)}
    count: Counter[str] = Counter()
    size: Counter[str] = Counter()
    for module in model.modules():
        own = [p for p in module.parameters(recurse=False) if id(p) not in used]
        if own:
            used |= {id(p) for p in own}
            count[type(module).__name__] += 1
            size[type(module).__name__] += sum(p.numel() for p in own)
    return iter([(kind, count[kind], size[kind]) for kind in count])


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None


def _layer_facts(layer: Layer) -> dict[str, Any]:
    return {
        "name": layer.name,
        "kind": layer.kind,
        "detail": layer.detail,
        "spec": None if layer.spec is None else str(layer.spec),
        "output": list(layer.output),
        "parameters": layer.parameters,
        "shared": layer.shared,
        "multiply_adds": {
            "forward": layer.macs,
            "grad_input": layer.grad_input,
            "grad_weight": layer.grad_weight,
        },
        "bytes": layer.bytes,
        "field": list(layer.field),
        "algorithm": None if layer.plan is None else layer.plan.algorithm,
        "gain": layer.gain,
    }
