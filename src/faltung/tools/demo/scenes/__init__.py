"""The scenes of the demo, in the order of the report: one file each."""

from collections.abc import Callable

from ..scene import Scene
from ..stage import Stage
from . import (
    deformable,
    dilated,
    edges,
    grouped,
    large,
    learned,
    matrices,
    padding,
    separable,
    signal,
    template,
    transposed,
)

SCENES: dict[str, Callable[[Stage], Scene]] = {
    "sliding a filter": edges.scene,
    "matrix products": matrices.scene,
    "dilated": dilated.scene,
    "grouped": grouped.scene,
    "depthwise-separable": separable.scene,
    "transposed": transposed.scene,
    "deformable": deformable.scene,
    "large kernel": large.scene,
    "one dimension": signal.scene,
    "padding": padding.scene,
    "learning a filter": learned.scene,
    "finding a template": template.scene,
}
