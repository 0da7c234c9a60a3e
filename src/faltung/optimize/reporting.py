"""What optimising a model gave: layer by layer, what runs, what it takes, and what was left alone.

print(faltung.report(model))
"""

import json
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch import nn

from .. import planning, settings
from ..errors import ArgumentError, ArgumentTypeError
from ..ops.conv.spec import ConvSpec
from .origin import Origin, origin_of
from .swapping import is_convolution, why_not

_NATIVE = "native_torch"
_LEFT_OUT = "left out by filter_fn, or not there when optimize_ ran"
_NOT_CALLED = "not called so far, or by a forward of its class that convolves by itself"


@dataclass(frozen=True)
class Layer:
    """One convolution of a model.

    name
        Where it is in the model.
    spec
        Its first call, as a spec; None if there was none.
    algorithm
        What runs.
    before, after
        Seconds of PyTorch's convolution as the model called it, and of what runs now.
    measured
        Whether these were measured; else estimated.
    does
        What it does besides: a bias of its own, `BatchNorm`, an activation.
    note
        Why it was left alone, or has no times.
    """

    name: str
    spec: str | None = None
    algorithm: str | None = None
    before: float | None = None
    after: float | None = None
    measured: bool = False
    does: str = ""
    note: str = ""


@dataclass(frozen=True)
class Report:
    """All convolutions of a model; `print(report)` is a table, `to_json()` has the same numbers.

    Times are of one run of a layer's convolution. What a layer does besides (normalising, an
    activation) is in `after`, where it is fused, and not in `before`.
    """

    layers: tuple[Layer, ...]

    @property
    def before(self) -> float:
        """Seconds of all layers that have times, before."""
        return sum(layer.before or 0.0 for layer in self.layers)

    @property
    def after(self) -> float:
        """Seconds of the same layers now."""
        return sum(layer.after or 0.0 for layer in self.layers)

    def to_json(self) -> str:
        """The report as JSON: `layers`, and the totals `before` and `after`, in seconds."""
        return json.dumps(
            {"layers": [asdict(layer) for layer in self.layers],
             "before": self.before, "after": self.after},
            indent=1,
        )  # fmt: skip

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("layer", "before", "after", "ratio", "algorithm", "")]
        rows += [_row(layer) for layer in self.layers]
        rows.append(("all", _time(self.before), _time(self.after), self._ratio, "", self._how))
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = []
        for row in rows:
            cells = [row[0].ljust(widths[0])]
            cells += [row[i].rjust(widths[i]) for i in (1, 2, 3)]
            lines.append("  ".join([*cells, row[4].ljust(widths[4]), row[5]]).rstrip())
        return "\n".join(lines)

    @property
    def _ratio(self) -> str:
        return f"{self.before / self.after:.2f}" if self.after else ""

    @property
    def _how(self) -> str:
        timed = [layer.measured for layer in self.layers if layer.after is not None]
        if not timed:
            return "no times"
        return "measured" if all(timed) else "estimates"


def report(model: nn.Module, *, measure: bool = False) -> Report:
    """What runs in an optimised model, layer by layer, and what it takes before and after.

    The shapes are those of each layer's first call, or of the example inputs of `optimize_`. Times
    are estimates of the planner; with `measure=True` the algorithms are run to find out, which
    takes up to 0.3 s for each kind of layer and is remembered on this computer.

    Raises `ArgumentError` if no convolution was called since `optimize_`.

    >>> from faltung.optimize import optimize_
    >>> import torch
    >>> model = optimize_(nn.Sequential(nn.Conv2d(64, 64, 13, padding=6, groups=64)))
    >>> _ = model(torch.ones(1, 64, 56, 56))
    >>> report(model).layers[0].algorithm.startswith("depthwise")
    True
    """
    if not isinstance(model, nn.Module):
        raise ArgumentTypeError(f"report: model must be a module, got {type(model).__name__}")
    layers = []
    with settings.using(algorithm=None, measure=measure or settings.current().measure):
        for name, module in model.named_modules():
            if is_convolution(module) or _is_taken(module):
                layers.append(_layer(name, module))
    swapped = [layer for layer in layers if origin_of(model.get_submodule(layer.name))]
    if swapped and not any(layer.spec for layer in swapped):
        raise ArgumentError(
            f"report: none of the {len(swapped)} optimised convolutions was called so far; call "
            "the model once, or give optimize_ example_inputs"
        )
    return Report(tuple(layers))


def _is_taken(module: nn.Module) -> bool:
    origin = origin_of(module)
    return origin is not None and bool(origin.call)


def _layer(name: str, module: nn.Module) -> Layer:
    origin = origin_of(module)
    if origin is None:
        return Layer(name, note=why_not(module) or _LEFT_OUT)
    now = _now(origin)
    if now is None:
        return Layer(name, note=_NOT_CALLED)
    plan = planning.plan(now, "conv", settings.current())
    after, measured = _seconds(plan.chosen)
    before, known = _before(origin, now)
    does = "" if origin.chain is None else str(origin.chain)
    note = f"images made {origin.layout.replace('_', '-')}" if origin.layout else ""
    return Layer(
        name, str(now), plan.algorithm, after if before is None else before, after,
        measured and known, does, note,
    )  # fmt: skip


def _now(origin: Origin) -> ConvSpec | None:
    """What runs: as the first call had it, or as the example inputs say it will."""
    if origin.seen is not None or origin.before is None:
        return origin.seen
    spec, chain = origin.before, origin.chain
    if origin.layout is not None:
        spec = replace(spec, layout=origin.layout)
    if chain is not None:
        spec = replace(spec, activation=chain.activation, bias=spec.bias or chain.norm is not None)
    return spec


def _before(origin: Origin, now: ConvSpec) -> tuple[float | None, bool]:
    """Seconds of PyTorch's own, on what it was given, and whether they were measured."""
    spec = origin.before
    if spec is None:
        spec = replace(now, activation=None if origin.chain else now.activation)
    candidates = planning.plan(spec, "conv", settings.current()).candidates
    return next((_seconds(c) for c in candidates if c.name == _NATIVE), (None, True))


def _seconds(candidate: Any) -> tuple[float, bool]:
    if candidate.measured is None:
        return candidate.seconds, False
    return candidate.measured, True


def _row(layer: Layer) -> tuple[str, ...]:
    if layer.before is None or layer.after is None:
        return (layer.name, "", "", "", "left alone" if layer.spec is None else "", layer.note)
    does = f"with {layer.does}" if layer.does else ""
    said = "; ".join(part for part in (layer.spec or "", does) if part)
    ratio = f"{layer.before / layer.after:.2f}" if layer.after else ""
    return (layer.name, _time(layer.before), _time(layer.after), ratio, layer.algorithm or "", said)


def _time(seconds: float) -> str:
    return f"{seconds * 1e3:.3f} ms"
