"""How a grouped convolution of channels-last images is cut; in 2-D the depth has size 1.

Tiles (`parts/groups/tile.py`) go along rows, or two or four of them, in vectors of several groups.
Rows come first when work is shared out, then vectors of channels.
"""

from functools import cached_property, partial

from ...lang.target import host_target
from ...parts.cover import Cover
from ...parts.groups.borders import steady_first, steady_rows
from ...parts.groups.lanes import GroupLanes
from ...parts.groups.tile import best_tile, readers
from ...parts.groups.weights import ordered
from ...parts.rows import fours
from ...parts.rows.tiles import RowTiles
from ..gathered import Gathered
from ..geometry import Axis
from .refusals import REGISTER_BYTES
from .spec import ConvSpec

_ITEMS = 32  # pieces of work to share out, if there are so many
_NEAR_BYTES = 40 << 10  # of weights that stay in the first cache


class GroupLayout:
    """How a spec is cut: into tiles, items and packed weights; `four` for tiles of four rows."""

    def __init__(self, spec: ConvSpec, four: bool = False) -> None:
        self.spec = spec
        self.depth, self.high, self.wide = (*[Axis(1, 1)] * (3 - spec.dims), *spec.axes)
        self.item_size = REGISTER_BYTES[spec.dtype]
        self.wide_name = "float64" if spec.dtype == "float64" else "float32"
        lanes = host_target().lanes(self.item_size)
        while lanes > 4 and spec.out_channels <= lanes // 2:
            lanes //= 2
        self.lanes = GroupLanes(
            spec.groups, spec.in_channels // spec.groups, spec.out_channels // spec.groups, lanes
        )
        self.tile = best_tile(self.lanes, (self.depth, self.high, self.wide), four)
        wide, pairs = self.wide, self.tile.pairs
        self.lines = -(-self.high.output_size // self.tile.down)
        self.steady = steady_rows(self.high, self.lines, self.tile.down)
        self.pairs = steady_first(pairs, self.steady) if pairs else None
        self.tiles = RowTiles(
            wide.output_size, self.tile.columns, wide.stride, wide.padding[0], wide.span,
            wide.input_size,
        )  # fmt: skip
        planes = max(spec.batch, 1) * self.depth.output_size
        wanted = -(-_ITEMS // planes)
        self.rows = Cover(self.lines, 1, wanted)
        # as many parts as keep the weights of one near, see `blocks_inside`
        near = -(-self.weights * self.lanes.blocks * self.item_size // _NEAR_BYTES)
        self.parts = Cover(self.lanes.blocks, 1, max(1, wanted // self.rows.blocks, near))
        self.items = spec.batch * self.depth.output_size * self.rows.blocks * self.parts.blocks

    @property
    def code(self) -> int:
        """About how many operations are written down."""
        return self.tile.code(self.lanes, self.wide)

    @property
    def cycles(self) -> float:
        """Cycles of one core that arithmetic and picks take."""
        one = self.tile.cycles(self.lanes, (self.depth, self.high, self.wide))
        return self.spec.batch * one

    @cached_property
    def outside(self) -> frozenset[int]:
        """Pixels a tile reads, by their distance from the first, that some tile has not."""
        tiles, wide = self.tiles, self.wide
        every = readers(self.tile.columns, self.tile.taps, wide)
        if self.tile.taps < wide.kernel_size:
            return frozenset(every)  # other taps come in later turns
        firsts = [tiles.first_read(tiles.start(n)) for n in range(tiles.count)]
        return frozenset(
            place
            for place in every
            if any(not 0 <= first + place < wide.input_size for first in firsts)
        )

    @property
    def blocks_inside(self) -> bool:
        """Whether all blocks of a part come before the next tile, while weights stay near.

        Then pixels are read and written in long pieces, one after the other.
        """
        return self.weights * self.parts.share * self.item_size <= _NEAR_BYTES

    @property
    def lines_inside(self) -> range:
        """The pairs of rows whose products have all their rows in the image."""
        if self.pairs is None:
            return range(0)
        high, step = self.high, 2 * self.high.stride
        offsets = [offset for product in self.pairs.products for offset, _ in product.rows]
        first = -(-(high.padding[0] - min(offsets)) // step)
        behind = (high.input_size - 1 + high.padding[0] - max(offsets)) // step + 1
        return range(max(first, 0), min(behind, self.lines))

    @property
    def one_way(self) -> bool:
        """Whether the same code does pairs at the ends of the image and those inside."""
        products = self.pairs.products if self.pairs else ()
        return all(product.rows[0][0] in self.steady for product in products)

    @cached_property
    def kernel_rows(self) -> int:
        """Rows of weights of a kernel plane: the products of a pair, or the kernel's."""
        return self.tile.products or self.high.kernel_size

    @property
    def new_rows(self) -> range:
        """The rows that a tile reads and the one above has not read, from its own first row on."""
        last = self.pairs.last_row if self.pairs else fours.READ - 1
        return range(max(0, last + 1 - self.tile.down * self.high.stride), last + 1)

    @property
    def weights(self) -> int:
        """Numbers of the weight of one block."""
        rows = self.depth.kernel_size * self.kernel_rows
        return rows * self.lanes.inputs * self.wide.kernel_size * self.lanes.lanes

    def packing(self) -> Gathered:
        """What packs a weight: by blocks, kernel plane, row or product, turn, column, lane."""
        kernel = (self.depth.kernel_size, self.high.kernel_size, self.wide.kernel_size)
        rows = kernel[1]
        factors = [product.factors(rows) for product in self.pairs.products] if self.pairs else None
        if self.tile.four:
            factors = fours.FACTORS
        shape = (*self.spec.w_shape[:2], *kernel)
        return Gathered(shape, partial(ordered, self.lanes, self.tile.sets), factors, axis=2)
