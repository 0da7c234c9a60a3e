"""`faltung count`: parameters, work and memory of a layer, beside its cheaper relatives.

parameters     O · C/G · ∏K  (+ O with bias)
multiply-adds  N · O · C/G · ∏K · ∏out, in forward and in each of the two gradients
executed       those whose tap does not lie on zero padding
intensity      floating-point operations (2 a multiply-add) per byte that must move
"""

import math
from dataclasses import dataclass, replace
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from ..ops.conv.spec import TASKS, ConvSpec
from ..planning import readable_bytes
from .printing import new_table

_USUAL_GROUPS = (32, 16, 8, 4, 2)  # the first that fits stands for "grouped" where none is given


@dataclass(frozen=True)
class Relative:
    """The same layer in another form: one convolution, or two one after the other."""

    name: str
    specs: tuple[ConvSpec, ...]

    @property
    def parameters(self) -> int:
        """Learned numbers of all its convolutions."""
        return sum(spec.parameters for spec in self.specs)

    @property
    def macs(self) -> int:
        """Multiply-adds of one forward pass."""
        return sum(spec.macs for spec in self.specs)

    @property
    def executed(self) -> int:
        """Multiply-adds that are not on zero padding."""
        return sum(spec.executed_macs for spec in self.specs)


def report(spec: ConvSpec) -> RenderableType:
    """The answer for people."""
    share = spec.executed_macs / spec.macs if spec.macs else 1.0
    rows = (
        ("input", _shape(_ends(spec)[0])),
        ("output", _shape(_ends(spec)[1])),
        ("parameters", f"{spec.parameters:,}"),
        ("multiply-adds, forward", f"{spec.macs:,}"),
        ("multiply-adds, both gradients", f"{2 * spec.macs:,}"),
        ("executed, forward (zero padding skipped)", f"{spec.executed_macs:,}  ({share:.1%})"),
        ("memory moved at least", readable_bytes(spec.bytes)),
        ("memory of an im2col matrix", readable_bytes(spec.im2col_bytes)),
        ("arithmetic intensity", f"{spec.intensity:.1f} operations a byte"),
    )
    numbers = new_table("", "")
    numbers.show_header = False
    for row in rows:
        numbers.add_row(*row)
    return Group(Text(str(spec), style="bold"), numbers, _comparison(spec))


def facts(spec: ConvSpec) -> dict[str, Any]:
    """The answer for programs."""
    before, after = _ends(spec)
    return {
        "spec": str(spec),
        "input": list(before),
        "output": list(after),
        "parameters": spec.parameters,
        "multiply_adds": dict.fromkeys(TASKS, spec.macs),
        "executed": spec.executed_macs,
        "bytes": spec.bytes,
        "im2col_bytes": spec.im2col_bytes,
        "intensity": spec.intensity,
        "relatives": [
            {
                "name": r.name,
                "specs": [str(s) for s in r.specs],
                "parameters": r.parameters,
                "multiply_adds": r.macs,
                "executed": r.executed,
            }
            for r in relatives(spec)
        ],
    }


def relatives(spec: ConvSpec) -> list[Relative]:
    """The layer as dense, grouped, depthwise and depthwise-separable, where channels allow."""
    channels, outputs = spec.in_channels, spec.out_channels
    common = math.gcd(channels, outputs)
    found = [Relative("dense", (replace(spec, groups=1),))]
    groups = spec.groups
    if not 1 < groups < common:
        groups = next((g for g in _USUAL_GROUPS if g < common and common % g == 0), 1)
    if groups > 1:
        found.append(Relative(f"grouped, {groups}", (replace(spec, groups=groups),)))
    per_channel = _ends(spec)[0][1]
    if per_channel < 2:
        return found
    if common == per_channel:
        found.append(Relative("depthwise", (replace(spec, groups=per_channel),)))
    found.append(Relative("depthwise-separable", _separable(spec, per_channel)))
    return found


def _separable(spec: ConvSpec, channels: int) -> tuple[ConvSpec, ConvSpec]:
    """One filter a channel, then a 1×1 convolution to the outputs."""
    depthwise = replace(
        spec, in_channels=channels, out_channels=channels, groups=channels, activation=None
    )
    _, outputs = _ends(spec)
    ones = (1,) * spec.dims
    pointwise = ConvSpec(
        "forward", spec.batch, channels, outputs[1], outputs[2:], ones, bias=spec.bias,
        dtype=spec.dtype, device=spec.device,
    )  # fmt: skip
    return depthwise, pointwise


def _comparison(spec: ConvSpec) -> RenderableType:
    forms = relatives(spec)
    dense = forms[0]
    table = new_table("the same layer as", *["parameters", "multiply-adds", "executed", "of dense"])
    for form in forms:
        share = form.macs / dense.macs if dense.macs else 1.0
        ours = len(form.specs) == 1 and form.specs[0].groups == spec.groups
        table.add_row(
            form.name, f"{form.parameters:,}", f"{form.macs:,}", f"{form.executed:,}",
            f"{share:.1%}", style="bold" if ours else "",
        )  # fmt: skip
    return table


def _ends(spec: ConvSpec) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of what goes in and what comes out; a transposed spec holds them the other way."""
    if spec.task == "grad_input":
        return spec.y_shape, spec.x_shape
    return spec.x_shape, spec.y_shape


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape)
