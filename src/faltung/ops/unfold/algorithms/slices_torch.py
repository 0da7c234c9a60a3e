"""One strided slice of the padded image per tap.

    unfold   c[:, :, t] = padded[t·d : t·d + (out−1)·s + 1 : s]
    fold     padded[t·d : … : s] += c[:, :, t], then the adjoint of the padding

All windows at once see, through one tap, a regular grid of the image; so there are as many slices
as taps and no index arithmetic per number. Any number of axes, any padding, any dtype, any device.
It pays a few calls' overhead per tap, and a copy of the image where there is padding.
"""

import itertools
import math
from collections.abc import Sequence
from types import EllipsisType

import torch
from torch import Tensor

from ....machine import Machine
from ....planning import Algorithm, Run
from ...geometry import Axis
from ...padding import pad, pad_adjoint
from ..spec import UnfoldSpec

_CALL = 15e-6  # seconds of one run on any size
_SLICE = {"unfold": 2e-6, "fold": 8e-6}  # seconds per tap on any size
_OVERHEAD = {"unfold": 1.0, "fold": 1.5}  # bytes moved against columns and image moved once


class Slices(Algorithm):
    """Unfold and fold by slices."""

    tasks = frozenset({"unfold", "fold"})

    def unsupported(self, spec: UnfoldSpec) -> list[str]:
        """Nothing: it does every spec."""
        return []

    def seconds(self, spec: UnfoldSpec, machine: Machine) -> float:
        """Columns and image once, the padded image written and read again, a call per tap."""
        moved = _OVERHEAD[spec.task] * spec.bytes + 2 * self.workspace(spec)
        calls = _CALL + _SLICE[spec.task] * math.prod(spec.kernel_size)
        return calls + moved / machine.bandwidth

    def workspace(self, spec: UnfoldSpec) -> int:
        """The padded image."""
        return spec.padded_bytes if spec.padded_size != spec.input_size else 0

    def build(self, spec: UnfoldSpec) -> Run:
        """The slices of this spec, one per tap."""
        axes = spec.axes
        slices = [_slices(axes, tap) for tap in itertools.product(*map(range, spec.kernel_size))]
        padded_shape = (spec.batch, spec.channels, *spec.padded_size)
        tap_shape = (spec.batch, spec.channels, len(slices), *spec.output_size)

        def unfold(image: Tensor) -> Tensor:
            padded = pad(image, axes)
            return torch.stack([padded[s] for s in slices], 2).reshape(spec.columns_shape)

        def fold(columns: Tensor) -> Tensor:
            padded = columns.new_zeros(padded_shape)
            for tap, s in zip(columns.reshape(tap_shape).unbind(2), slices, strict=True):
                padded[s] += tap
            return pad_adjoint(padded, axes)

        return unfold if spec.task == "unfold" else fold


def _slices(axes: Sequence[Axis], tap: Sequence[int]) -> tuple[EllipsisType | slice, ...]:
    """What all windows see of the padded image through one tap."""
    starts = [t * axis.dilation for axis, t in zip(axes, tap, strict=True)]
    grids = [
        slice(start, start + (axis.output_size - 1) * axis.stride + 1, axis.stride)
        for axis, start in zip(axes, starts, strict=True)
    ]
    return (..., *grids)


ALGORITHM = Slices()
