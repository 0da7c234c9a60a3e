"""What there is to say about a layer, as plain values: every number from its spec.

The spec knows the index map "output q reads input i through tap t"; sizes, counts, unread positions
and the receptive field are questions to that map. The rest is what the planner, the by-hand pages
and the machine say for themselves. Three renderings read these values: `terminal`, `page` and
`as_json`.
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from ...errors import ArgumentError
from ...machine import Machine, this_machine
from ...ops.conv.receptive_field import ReceptiveField, receptive_field
from ...ops.conv.spec import TASKS, ConvSpec
from ...ops.geometry import Axis, transposed_output_size
from ...planning import NoAlgorithmError, Plan, plan
from ...settings import Settings, current, for_changing_weight, planner_chooses
from ..counts import Relative, relatives
from ..sizes import AxisSize, axis_sizes
from .code import Page, by_hand_page, faltung_line, pytorch_line, pytorch_module
from .strip import Strip, strips

_GRADIENTS = {"forward": "grad_input", "grad_input": "forward"}
_NAMES = ("forward", "gradient of the input", "gradient of the weight")


@dataclass(frozen=True)
class Count:
    """A number with the formula it comes from, and the formula with its numbers."""

    name: str
    formula: str
    filled: str
    value: int


@dataclass(frozen=True)
class Task:
    """One of the three computations that a layer needs in training, and what would run it."""

    name: str
    plan: Plan

    @property
    def spec(self) -> ConvSpec:
        """The problem."""
        return self.plan.spec  # type: ignore[no-any-return]


@dataclass(frozen=True)
class Bound:
    """The least time that this machine could take, and what sets it."""

    peak: float
    bandwidth: float
    measured: bool
    computing: float
    """Seconds that the operations take at the peak."""

    moving: float
    """Seconds that the bytes take to memory and back."""

    @property
    def balance(self) -> float:
        """Operations a byte from which on arithmetic sets the time, not memory."""
        return self.peak / self.bandwidth

    @property
    def arithmetic(self) -> bool:
        """Whether it is arithmetic that sets the time."""
        return self.computing >= self.moving


@dataclass(frozen=True)
class Code:
    """The layer as lines of code; None where the line cannot be written."""

    pytorch: str | None
    module: str | None
    faltung: str | None
    by_hand: Page


@dataclass(frozen=True)
class Explanation:
    """Everything about one layer; prints itself, also in notebooks."""

    spec: ConvSpec
    name: str
    title: str
    before: tuple[int, ...]
    after: tuple[int, ...]
    weight: tuple[int, ...]
    sizes: tuple[AxisSize, ...]
    strips: tuple[Strip, ...]
    counts: tuple[Count, ...]
    intensity: float
    bound: Bound
    field: ReceptiveField
    relatives: tuple[Relative, ...]
    tasks: tuple[Task, ...]
    code: Code

    def facts(self) -> dict[str, Any]:
        """The same as plain values, for JSON."""
        from .as_json import facts  # noqa: PLC0415  (renderings read this file)

        return facts(self)

    def html(self) -> str:
        """The same as one page of HTML that needs nothing else."""
        from .page import page  # noqa: PLC0415  (jinja2 is optional)

        return page(self)

    def __str__(self) -> str:
        from .terminal import text  # noqa: PLC0415  (rich is optional)

        return text(self)

    def __repr__(self) -> str:
        return f"<Explanation of {self.spec}>"

    def _repr_html_(self) -> str:
        from .page import fragment  # noqa: PLC0415  (jinja2 is optional)

        return fragment(self)


def explained(spec: ConvSpec, name: str = "", knobs: Settings | None = None) -> Explanation:
    """The explanation of the layer that a spec describes.

    Raises `ArgumentError` for a `grad_weight`, which is no layer.
    """
    if spec.task not in _GRADIENTS:
        raise ArgumentError(
            f"a layer is one of {', '.join(_GRADIENTS)} (transposed), got {spec.task}; it is the "
            "gradient of the weight of either"
        )
    before, after = ends(spec)
    sizes = _sizes(spec)
    return Explanation(
        spec=spec,
        name=name,
        title=_title(spec),
        before=before,
        after=after,
        weight=spec.w_shape,
        sizes=sizes,
        strips=strips(spec, [one.place for one in sizes]),
        counts=_counts(spec),
        intensity=spec.intensity,
        bound=_bound(spec, this_machine()),
        field=receptive_field([spec]),
        relatives=tuple(relatives(spec)),
        tasks=_tasks(spec, knobs or current()),
        code=Code(
            pytorch_line(spec), pytorch_module(spec), faltung_line(spec), by_hand_page(spec)
        ),
    )  # fmt: skip


def ends(spec: ConvSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of what goes in and what comes out; a transposed spec holds them the other way."""
    if spec.task == "grad_input":
        return spec.y_shape, spec.x_shape
    return spec.x_shape, spec.y_shape


def _title(spec: ConvSpec) -> str:
    """What kind of layer it is, from what differs from the plainest one."""
    transposed = spec.task == "grad_input"
    words = [f"{spec.dims}-D", *(["transposed"] if transposed else [])]
    if 1 < spec.groups == ends(spec)[0][1]:
        words.append("depthwise")
    elif spec.groups > 1:
        words.append("grouped")
    if not transposed and spec.dims == 1 and spec.taps > 1:
        words += ["causal"] if spec.padding[0] == (spec.axes[0].span - 1, 0) else []
    if set(spec.dilation) != {1}:
        words.append("dilated")
    if spec.taps == 1:
        words.append("pointwise")
    extras = [_per_axis("kernel size", spec.kernel_size)]
    if set(spec.stride) != {1}:
        extras.append(_per_axis("stride", spec.stride))
    if set(spec.dilation) != {1}:
        extras.append(_per_axis("dilation", spec.dilation))
    if spec.groups > 1:
        extras.append(f"{spec.groups} groups")
    return f"{' '.join(words)} convolution, {', '.join(extras)}"


def _per_axis(name: str, values: tuple[int, ...]) -> str:
    same = len(set(values)) == 1 and name != "kernel size"
    return f"{name} {values[0] if same else '×'.join(map(str, values))}"


def _sizes(spec: ConvSpec) -> tuple[AxisSize, ...]:
    extra = tuple(
        a.input_size - transposed_output_size(
            a.output_size, a.kernel_size, a.stride, a.padding, a.dilation
        )
        for a in spec.axes
    )  # fmt: skip
    answers = axis_sizes(spec, extra)
    if spec.task == "grad_input":
        return tuple(
            replace(answer, remarks=(*answer.remarks, *_stamps(axis)))
            for answer, axis in zip(answers, spec.axes, strict=True)
        )
    found = []
    for answer, axis, full in zip(answers, spec.axes, spec.full_output_size, strict=True):
        if axis.output_size < full:
            last = f"= {full}, of which the first {axis.output_size} are wanted"
            formula = (*answer.formula[:-1], last)
            found.append(replace(answer, formula=formula, remarks=()))
        else:
            found.append(answer)
    return tuple(found)


def _stamps(axis: Axis) -> tuple[str, ...]:
    """How unequally often the outputs of a transposed layer are written to, borders aside."""
    taps = range(axis.kernel_size)
    counts = sorted(
        {
            sum((phase - tap * axis.dilation) % axis.stride == 0 for tap in taps)
            for phase in range(axis.stride)
        }
    )
    if len(counts) == 1:
        return ()
    return (f"Away from the borders, outputs get {' or '.join(map(str, counts))} stamps: "
            "a checkerboard.",)  # fmt: skip


def _counts(spec: ConvSpec) -> tuple[Count, ...]:
    """Parameters, work and memory, with their formulas; O and C are the layer's own."""
    before, after = ends(spec)
    transposed = spec.task == "grad_input"
    fan = f"{before[1]}/{spec.groups}" if spec.groups > 1 else f"{before[1]}"
    fan_formula = "C/G" if spec.groups > 1 else "C"
    kernel = _product(spec.kernel_size)
    windows = _product(spec.output_size)
    weights = f"{after[1]}·{fan}·{kernel}"
    passes, rows = ("∏in", "O") if transposed else ("∏out", "C")
    pairs = "·".join(str(axis.executed) for axis in spec.axes)
    tensors = [math.prod(shape) for shape in (before, spec.w_shape, after)]
    tensors += [after[1]] * spec.bias + [math.prod(after)] * spec.residual
    names = [*"xwy", *["b"] * spec.bias, *["residual"] * spec.residual]
    numbers = " + ".join(f"{n:,}" for n in tensors)
    return (
        Count(
            "parameters",
            f"O·{fan_formula}·∏K" + (" + O" if spec.bias else ""),
            weights + (f" + {after[1]}" if spec.bias else ""),
            spec.parameters,
        ),
        Count(
            "multiply-adds",
            f"N·O·{fan_formula}·∏K·{passes}",
            f"{spec.batch}·{weights}·{windows}",
            spec.macs,
        ),
        Count(
            "of these, not cropped away" if transposed else "of these, not on zero padding",
            f"N·O·{fan_formula}·∏pairs",
            f"{spec.batch}·{after[1]}·{fan}·{pairs}",
            spec.executed_macs,
        ),
        Count(
            "bytes moved at least",
            f"({' + '.join(names)})·{spec.dtype}",
            f"({numbers})·{spec.item_size}",
            spec.bytes,
        ),
        Count(
            "bytes of an im2col matrix",
            f"N·{rows}·∏K·{passes}·{spec.dtype}",
            f"{spec.batch}·{spec.in_channels}·{kernel}·{windows}·{spec.item_size}",
            spec.im2col_bytes,
        ),
    )


def _product(values: tuple[int, ...]) -> str:
    return "·".join(map(str, values))


def _bound(spec: ConvSpec, machine: Machine) -> Bound:
    peak, bandwidth = machine.peak, machine.bandwidth
    return Bound(
        peak, bandwidth, machine.rates(machine.cores) is not None,
        2 * spec.executed_macs / peak, spec.bytes / bandwidth,
    )  # fmt: skip


def _tasks(spec: ConvSpec, knobs: Settings) -> tuple[Task, ...]:
    """The layer and its two gradients, planned as autograd would plan them."""
    backward = planner_chooses(knobs)
    wanted = (
        (_NAMES[0], spec, knobs),
        (_NAMES[1], spec.with_task(_GRADIENTS[spec.task]), for_changing_weight(backward)),
        (_NAMES[2], spec.with_task(TASKS[2]), backward),
    )
    found = []
    for name, one, setting in wanted:
        try:
            found.append(Task(name, plan(one, "conv", setting)))
        except NoAlgorithmError:
            if one is spec:
                raise
            # whole numbers have no gradients
    return tuple(found)
