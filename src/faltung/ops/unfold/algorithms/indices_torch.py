"""One index per axis: the positions that all taps of all windows read.

    unfold   c[:, :, t, q] = padded[q·s + t·d]      gathered along one axis after the other
    fold     padded[q·s + t·d] += c[:, :, t, q]     the same backwards, then the padding's adjoint

A window is the product of its axes, so the positions along one axis are a list of K·out numbers,
which one call gathers, or adds up. Calls do not grow with the taps, but every axis is a pass over
the numbers of its own: for wide windows on small images. All index arithmetic is on tensors, so
that sizes may be symbols, of a trace that is to hold for every size. On CUDA, adding by index is in
a fixed order only under `torch.use_deterministic_algorithms`.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ....machine import Machine
from ....planning import Algorithm, Run
from ...geometry import Axis
from ..spec import UnfoldSpec

_CALL = {"unfold": 20e-6, "fold": 30e-6}  # seconds on any size, for each axis
_OVERHEAD = {"unfold": 3.0, "fold": 6.0}  # bytes moved against columns and image moved once


class Indices(Algorithm):
    """Unfold and fold by an index for each axis."""

    tasks = frozenset({"unfold", "fold"})

    def unsupported(self, spec: UnfoldSpec) -> list[str]:
        """Where adding has no fixed order."""
        if spec.task == "fold" and spec.device.startswith("cuda"):
            return ["adds by index, which on CUDA gives other bits in every run"]
        return []

    def seconds(self, spec: UnfoldSpec, machine: Machine) -> float:
        """Some passes over columns and image, and calls for each axis."""
        return _CALL[spec.task] * spec.dims + _OVERHEAD[spec.task] * spec.bytes / machine.bandwidth

    def workspace(self, spec: UnfoldSpec) -> int:
        """Two images with some of their axes unfolded, less than the columns each."""
        return 2 * spec.bytes

    def build(self, spec: UnfoldSpec) -> Run:
        """The two directions of this spec."""
        return _unfold(spec) if spec.task == "unfold" else _fold(spec)


def _unfold(spec: UnfoldSpec) -> Run:
    axes, mode = spec.axes, spec.padding_mode
    apart = [n for axis in axes for n in (axis.kernel_size, axis.output_size)]
    # taps first, then positions
    order = [0, 1, *range(2, 2 + 2 * spec.dims, 2), *range(3, 3 + 2 * spec.dims, 2)]

    def unfold(image: Tensor) -> Tensor:
        if mode == "zeros":
            image = F.pad(
                image, [end for low, high in reversed(spec.padding) for end in (low, high)]
            )
        for dim, axis in enumerate(axes, 2):
            image = image.index_select(dim, _read(axis, image.device))
        columns = image.reshape(spec.batch, spec.channels, *apart).permute(order)
        return columns.reshape(spec.columns_shape)

    return unfold


def _fold(spec: UnfoldSpec) -> Run:
    axes, dims = spec.axes, spec.dims
    shape = (spec.batch, spec.channels, *spec.kernel_size, *spec.output_size)
    order = [0, 1, *[i for axis in range(dims) for i in (2 + axis, 2 + dims + axis)]]
    cut = spec.padding_mode == "zeros"

    def fold(columns: Tensor) -> Tensor:
        halves = columns.dtype in (torch.float16, torch.bfloat16)
        image = columns.reshape(shape).permute(order).to(torch.float32 if halves else columns.dtype)
        image = image.reshape(
            spec.batch, spec.channels, *[axis.kernel_size * axis.output_size for axis in axes]
        )
        for dim, axis in enumerate(axes, 2):
            length = axis.input_size + (sum(axis.padding) if cut else 0)
            sums = image.new_zeros([*image.shape[:dim], length, *image.shape[dim + 1 :]])
            image = sums.index_add(dim, _read(axis, image.device), image)
            if cut:
                image = image.narrow(dim, axis.padding[0], axis.input_size)
        image = image.to(columns.dtype)
        # what was cut out of a larger image is no result of its own, even where it is contiguous
        return image.clone(memory_format=torch.contiguous_format) if cut else image

    return fold


def _read(axis: Axis, device: torch.device) -> Tensor:
    """What the taps of all windows read, tap after tap: places in the image, padded if by zeros."""
    outputs = torch.arange(axis.output_size, device=device)
    taps = torch.arange(axis.kernel_size, device=device)
    padded = (outputs * axis.stride + taps[:, None] * axis.dilation).flatten()
    if axis.padding_mode == "zeros":
        return padded
    position = padded - axis.padding[0]
    # a tensor, because exporters cannot read a scalar that is a symbol
    size = torch.full((1,), axis.input_size, dtype=torch.int64, device=device)
    if axis.padding_mode == "circular":
        return position.remainder(size)
    if axis.padding_mode == "replicate":
        return position.clamp(min=0).minimum(size - 1)
    return (size - 1) - ((size - 1) - position.abs()).abs()


ALGORITHM = Indices()
