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

from ....lang.target import host_target
from ....machine import Machine
from ..group_algorithm import GroupAlgorithm
from ..group_layout import GroupLayout
from ..refusals import REGISTER_BYTES
from ..spec import ConvSpec

# as many times as long as by count for one channel a group: `depthwise_channels_last_cpu` shares
# more of the loads; seen on two threads, layers of 32 to 144 channels
_DEPTHWISE, _DEPTHWISE_VOLUME = 1.5, 1.9
_DEPTHWISE_FEW = 0.8  # the same where a pixel's channels are fewer than a vector has lanes


class GroupedChannelsLastCpu(GroupAlgorithm):
    """Few channels a group, direct, vectors along several groups."""

    def layout(self, spec: ConvSpec) -> GroupLayout:
        """How the spec is cut: into rows, or pairs of them."""
        return GroupLayout(spec)

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles take, and part of what moving the bytes takes."""
        seconds = super().seconds(spec, machine)
        if not spec.groups == spec.in_channels == spec.out_channels:
            return seconds
        if spec.groups < host_target().lanes(REGISTER_BYTES[spec.dtype]):
            return seconds * _DEPTHWISE_FEW
        return seconds * (_DEPTHWISE_VOLUME if spec.dims == 3 else _DEPTHWISE)


ALGORITHM = GroupedChannelsLastCpu()
