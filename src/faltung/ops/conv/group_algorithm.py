"""What convolutions of small groups in channels-last images have in common, however they are cut.

`group_layout` cuts a spec into tiles, items and packed weights, and `group_recording` records the
routine for that; an algorithm says which layout is its own, and what it cannot do.
"""

from abc import abstractmethod

from ...lang.compile import compiled
from ...lang.target import host_target, unavailable
from ...machine import Machine
from ...parts import activation, cover, taps
from ...parts.channels import sums as channel_sums
from ...parts.gemm import gather_panel
from ...parts.groups import ahead, borders, fours, lanes, sums, tile, weights
from ...parts.groups.tile import MOST_CODE
from ...parts.rows import fours as row_fours
from ...parts.rows import pairs as row_pairs
from ...parts.rows import tiles as row_tiles
from ...planning import Algorithm, Run
from ..calling import allocator, launcher, weighted
from ..packed import packer
from . import group_layout, group_recording
from .group_layout import GroupLayout
from .group_recording import GroupRecording
from .refusals import REGISTER_BYTES, refusals
from .spec import ConvSpec

_CALL_SECONDS = 6e-6
_WAITING = 0.4  # of the time that moving more than that takes; the rest goes on meanwhile
_EFFICIENCY = 0.75  # of the cycles that arithmetic and picks take by count
_SPILLING = 0.5  # the same for one channel a group in sixteen registers
_PARTS = (
    activation, ahead, borders, channel_sums, cover, fours, gather_panel, group_layout,
    group_recording, lanes, row_fours, row_pairs, row_tiles, sums, tile, taps, weights,
)  # fmt: skip


class GroupAlgorithm(Algorithm):
    """Few channels a group, vectors along several groups; what is its own is its `layout`."""

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

    @abstractmethod
    def layout(self, spec: ConvSpec) -> GroupLayout:
        """How the spec is cut."""

    def seconds(self, spec: ConvSpec, machine: Machine) -> float:
        """The cycles that tiles take, and part of what moving the bytes takes."""
        per_cycle = 4 * host_target().vector_bits / 32  # operations of two multiply-adds on vectors
        spilling = spec.groups == spec.in_channels and machine.vector_bits < 512
        efficiency = _SPILLING if spilling else _EFFICIENCY
        computing = self.layout(spec).cycles * per_cycle / (machine.peak * efficiency)
        return _CALL_SECONDS + computing + _WAITING * machine.moving(spec.bytes)

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
        return weighted(make, pack, launch)
