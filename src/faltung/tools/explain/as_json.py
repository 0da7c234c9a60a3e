"""An explanation as plain values, for programs."""

from typing import Any

from ..sizes import AxisSize
from .facts import Explanation, Task


def facts(found: Explanation) -> dict[str, Any]:
    """Everything that the explanation has, in dictionaries, lists, numbers and strings."""
    return {
        "name": found.name,
        "spec": str(found.spec),
        "title": found.title,
        "input": list(found.before),
        "weight": list(found.weight),
        "output": list(found.after),
        "axes": [_axis(axis) for axis in found.sizes],
        "counts": [vars(count) for count in found.counts],
        "intensity": found.intensity,
        "bound": {
            "peak": found.bound.peak,
            "bandwidth": found.bound.bandwidth,
            "measured": found.bound.measured,
            "balance": found.bound.balance,
            "computing_seconds": found.bound.computing,
            "moving_seconds": found.bound.moving,
        },
        "field": {
            "size": list(found.field.size),
            "jump": [float(jump) for jump in found.field.jump],
            "start": [float(start) for start in found.field.start],
            "channels": found.field.channels,
        },
        "relatives": [
            {
                "name": one.name,
                "specs": [str(spec) for spec in one.specs],
                "parameters": one.parameters,
                "multiply_adds": one.macs,
                "executed": one.executed,
            }
            for one in found.relatives
        ],
        "tasks": [_task(task) for task in found.tasks],
        "code": {
            "pytorch": found.code.pytorch,
            "module": found.code.module,
            "faltung": found.code.faltung,
            "by_hand": found.code.by_hand.line,
            "by_hand_file": found.code.by_hand.file,
            "by_hand_formula": list(found.code.by_hand.formula),
            "by_hand_source": found.code.by_hand.source,
        },
    }


def _axis(axis: AxisSize) -> dict[str, Any]:
    return {
        "place": axis.place,
        "input": axis.before,
        "output": axis.after,
        "formula": list(axis.formula),
        "remarks": list(axis.remarks),
        **axis.facts,
    }


def _task(task: Task) -> dict[str, Any]:
    return {
        "name": task.name,
        "spec": str(task.spec),
        "multiply_adds": task.spec.macs,
        "algorithm": task.plan.algorithm,
        "candidates": [
            {
                "name": c.name,
                "seconds": c.seconds,
                "measured": c.measured,
                "workspace": c.workspace,
            }
            for c in task.plan.candidates
        ],
        "rejected": {name: list(why) for name, why in task.plan.rejected.items()},
    }
