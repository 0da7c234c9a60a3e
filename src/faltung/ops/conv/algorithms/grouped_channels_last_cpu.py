"""Grouped convolution of channels-last images with few channels a group.

    y[q, o] = b[o] + Σ_{c, t} x[q·s − low + t·d, c] · w[t, c, o]          c in the group of o

Lanes are the output channels of several whole groups (see `parts.groups.lanes`). The inputs of
these groups at one pixel are loaded together; each turn picks one input of its group for every lane
and multiplies it by the weights of all taps through which an output of the tile reads the pixel.
Groups are not filled up with zeros, and stride and dilation cost nothing.

Where kernel rows see what others see for the next output row (stride and dilation 1 in height), two
rows are computed together from fewer products: see `parts.rows.pairs`. Sums of rows are added up in
registers there, and picked from instead of pixels.

Used for 2 to 8 channels a group, channel multipliers, and every number of inputs and outputs of
which two groups fit into a vector, in 2-D and 3-D. Not for contiguous images, and not for depthwise
convolution, which needs no picks.
"""

from torch import Tensor

from ....lang.compile import compiled
from ....lang.target import host_target, unavailable
from ....machine import Machine
from ....parts import activation, cover, taps
from ....parts.channels import sums as channel_sums
from ....parts.gemm import gather_panel
from ....parts.groups import ahead, borders, fours, lanes, sums, tile, weights
from ....parts.groups.tile import MOST_CODE
from ....parts.rows import fours as row_fours
from ....parts.rows import pairs as row_pairs
from ....parts.rows import tiles as row_tiles
from ....planning import Algorithm, Run
from ...calling import allocator, launcher
from ...packed import packer
from .. import group_layout, group_recording
from ..group_layout import GroupLayout
from ..group_recording import GroupRecording
from ..refusals import REGISTER_BYTES, refusals
from ..spec import ConvSpec

_CALL_SECONDS = 6e-6
_WAITING = 0.4  # of the time that moving more than that takes; the rest goes on meanwhile
_EFFICIENCY = 0.75  # of the cycles that arithmetic and picks take by count
# as many times as long as by count for one channel a group: `depthwise_channels_last_cpu` shares
# more of the loads; seen on two threads, layers of 32 to 144 channels
_DEPTHWISE, _DEPTHWISE_VOLUME = 1.5, 1.9
_DEPTHWISE_FEW = 0.8  # the same where a pixel's channels are fewer than a vector has lanes
_SPILLING = 0.5  # the same for one channel a group in sixteen registers
_PARTS = (
    activation, ahead, borders, channel_sums, cover, fours, gather_panel, group_layout,
    group_recording, lanes, row_fours, row_pairs, row_tiles, sums, tile, taps, weights,
)  # fmt: skip


class GroupedChannelsLastCpu(Algorithm):
    """Few channels a group, direct, vectors along several groups."""

    tasks = frozenset({"forward"})
    weight_seconds = (40e-6, 2.0e-9)

    def unsupported(self, spec: ConvSpec) -> list[str]:
        """Anything but channels-last images of floating-point numbers in small groups."""
        reasons = refusals(spec, ["channels_last"])
        if unavailable() is not None:
            return reasons
        room = host_target().lanes(REGISTER_BYTES.get(spec.dtype, 4))
        outputs = spec.out_channels // spec.groups
        if spec.groups < 2 or 2 * outputs > room:
            reasons.append(
                f"needs two groups to a vector of {room} channels, has {spec.groups} of {outputs}"
            )
        elif not reasons and (code := self.layout(spec).code) > 2 * MOST_CODE:
            reasons.append(f"would write down {code} operations, more than {2 * MOST_CODE}")
        return reasons

    def layout(self, spec: ConvSpec) -> GroupLayout:
        """How the spec is cut."""
        return GroupLayout(spec)

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles take, and part of what moving the bytes takes."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        spilling = spec.groups == spec.in_channels and machine.vector_bits < 512
        efficiency = _SPILLING if spilling else _EFFICIENCY
        computing = self.layout(spec).cycles * per_cycle / (machine.peak * efficiency)
        seconds = _CALL_SECONDS + computing + _WAITING * machine.moving(spec.bytes)
        if not spec.groups == spec.in_channels == spec.out_channels:
            return seconds
        if spec.groups < host_target().lanes(REGISTER_BYTES[spec.dtype]):
            return seconds * _DEPTHWISE_FEW
        return seconds * (_DEPTHWISE_VOLUME if spec.dims == 3 else _DEPTHWISE)

    def workspace(self, spec: ConvSpec) -> int:
        """The packed weight."""
        layout = self.layout(spec)
        return layout.lanes.blocks * layout.weights * layout.item_size

    def build(self, spec: ConvSpec) -> Run:
        """`run(x, w, bias=None)`."""
        layout = self.layout(spec)
        routine = compiled(
            f"{self.name} {spec}", 3 + spec.bias, lambda: GroupRecording(layout, self.name).r,
            sources=[__file__, *(str(part.__file__) for part in _PARTS)],
        )  # fmt: skip
        make = allocator(spec.y_shape, spec.dtype, spec.layout)
        launch = launcher(routine, 2 * spec.executed_macs, spec.bytes)
        pack = packer(layout.packing())

        def run(x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
            y, packed = make(), pack(w)
            if bias is None:
                launch(y.data_ptr(), x.data_ptr(), packed.data_ptr())
            else:
                given = bias.contiguous()
                launch(y.data_ptr(), x.data_ptr(), packed.data_ptr(), given.data_ptr())
            return y

        return run


ALGORITHM = GroupedChannelsLastCpu()
