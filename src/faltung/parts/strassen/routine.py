"""Recording Strassen's multiplication: seven products in registers, and how they are put together.

With quarters x₁₁ (first channels, first places), x₂₁ (other channels), x₁₂ (other places), x₂₂, and
likewise of w by outputs and channels, Winograd's form of it needs four sums of each:

    t₁ = x₁₂ − x₁₁   t₂ = x₂₂ − t₁   t₃ = x₂₂ − x₁₂   t₄ = t₂ − x₂₁         a panel, in memory
    s₁ = w₂₁ + w₂₂   s₂ = s₁ − w₁₁   s₃ = w₁₁ − w₂₁   s₄ = w₁₂ − s₂         in the packed weight

    p = w₁₁x₁₁              y₁₁ = p + w₁₂x₂₁
    u = p + s₂t₂            v = u + s₃t₃            y₂₁ = v − w₂₂t₄
    y₂₂ = v + s₁t₁          y₁₂ = (y₂₂ − v) + u + s₄x₂₂

Sums go on from product to product in registers, so that p, u and v are all that is stored in
between and loaded again: three stores and four loads for four results.

While a block is multiplied, the panel of the next is filled, a little before each product: what the
loads and stores wait for, multiplications hide.
"""

from collections.abc import Sequence

from ...lang.routine import Operand, Routine, Value
from ..gemm.tile import Factor, GemmTile, Stream, SumAxis
from .problem import StrassenLayout
from .results import Results

# products in the order of the packed weight; planes of a panel, those that are sums last
X11, X21, X22, T4, T1, T2, T3 = range(7)
PRODUCTS = (X11, X21, T2, T3, T4, T1, X22)
_SHARES = 3  # times that a tile has none of its sums in registers


class StrassenRoutine:
    """`r` takes y, x, the packed weight, panels, waiting sums, and perhaps the bias."""

    def __init__(self, name: str, layout: StrassenLayout) -> None:
        self.of, p = layout, layout.problem
        self.p = p
        r = self.r = Routine(name, layout.items)
        images = p.images * p.groups * p.places
        results = p.channels * p.stride[0] * p.stride[1] * p.stride[2]
        self.y = r.writes("y", p.dtype, images * results)
        self.x = r.reads("x", p.dtype, images * p.inputs)
        self.w = r.reads("w", p.wide, p.groups * layout.weight_numbers)
        self.panel = r.scratch("panel", p.wide, layout.panel_numbers)
        self.waiting = r.scratch("waiting", p.wide, layout.waiting_numbers)
        self.b = r.reads("b", p.wide, p.groups * 2 * layout.outputs) if p.bias else None
        with r.work() as item:
            self.item(item)

    def item(self, item: Value) -> None:
        """Some blocks of places, in a part of a group's outputs."""
        of, p, r = self.of, self.p, self.r
        chunk, item = item % of.chunks, item // of.chunks
        self.image, item = item % max(p.images, 1), item // max(p.images, 1)
        self.group, part = item % p.groups, item // p.groups
        self.results = Results(r, of, self.y, self.waiting, self.b, self.image, self.group)
        self.tiles = part * of.share, r.minimum(part * of.share + of.share, of.tiles)
        begin = chunk * of.cut.blocks
        end = r.minimum(begin + of.cut.blocks, of.blocks)
        slot = of.planes * of.plane
        self.fill(begin, r.const(0), 0, of.steps)
        with r.loop(begin, end) as block:
            self.block = block.index
            self.mine = (block.index - begin) % 2 * slot
            self.other = slot - self.mine
            with r.loop(*self.tiles) as tile:
                self.tile(tile.index)

    # -- panels -----------------------------------------------------------------------------------

    def fill(self, block: Value, to: Value, begin: Operand, end: Operand) -> None:
        """Some steps of filling a panel with a block's quarters and their sums."""
        of, r, (first, sums) = self.of, self.r, (block * self.of.block, range(T4, T3 + 1))
        wanted = sums if of.reads_image else range(7)
        with r.loop(begin, end) as step:
            some = self.by_place if self.p.last else self.by_channel
            for at, (x11, x21, x12, x22) in some(first, step.index):
                t1 = x12 - x11
                t2 = x22 - t1
                made = {X11: x11, X21: x21, X22: x22, T1: t1, T2: t2, T3: x22 - x12, T4: t2 - x21}
                for n, plane in enumerate(wanted):
                    r.store(self.panel, to + at + n * of.plane, made[plane])

    def by_place(self, first: Value, step: Value) -> list[tuple[Value, list[Value]]]:
        """A vector of channels of a pair of places: where in the panel, and the four quarters."""
        of, p, r, lanes = self.of, self.p, self.r, self.p.lanes
        vectors = -(-of.inputs // lanes)
        place, channel = step // vectors, step % vectors * lanes
        found = []
        for half in (0, of.half):
            pixel = first + place + half
            if of.is_ragged:
                pixel = r.minimum(pixel, p.places - 1)  # its results are not stored
            at = pixel * p.pixel + self.group * p.inputs + channel
            for begin, count in ((0, of.inputs), (of.inputs, p.inputs - of.inputs)):
                mask = r.below(count - channel, lanes) if count % lanes or p.inputs % 2 else None
                found.append(r.load(self.x, at + begin, lanes, mask))
        return [(place * of.line + channel, found)]

    def by_channel(self, first: Value, channel: Value) -> list[tuple[Value, list[Value]]]:
        """Vectors of places of a pair of channels."""
        of, p, r, lanes = self.of, self.p, self.r, self.p.lanes
        row = (self.image * p.groups + self.group) * p.inputs + channel
        found = []
        for vector in range(0, of.half, lanes):
            quarters = []
            for half in (0, of.half):
                place = first + (vector + half)
                left: Operand = p.places - place
                mask = r.below(left, lanes) if of.is_ragged else None
                quarters.append(r.load(self.x, row * p.places + place, lanes, mask))
                if p.inputs % 2:  # the last channel is a pair by itself
                    exists = channel + of.inputs < p.inputs
                    mask = r.below(r.select(exists, left, r.const(0)), lanes)
                at = (row + of.inputs) * p.places + place
                quarters.append(r.load(self.x, at, lanes, mask))
            found.append((channel * of.line + vector, quarters))
        return found

    # -- products ---------------------------------------------------------------------------------

    def tile(self, tile: Value) -> None:
        """All results of a block in a tile's outputs of either half."""
        of, r, count = self.of, self.r, self.of.sums // self.p.lanes
        self.number, results = tile, self.results.of_tile(self.block * of.block, tile)
        self.fill_some(0)
        start = [r.const(0, self.p.kind, self.p.lanes)] * count
        p = self.product(0, start, results.ahead(0, 0))
        self.keep(0, p)
        results.put(self.product(1, p), 0, 0)
        self.fill_some(1)
        u = self.product(2, [self.kept(0, n) for n in range(count)], results.ahead(1, 0))
        self.keep(1, u)
        v = self.product(3, u, results.ahead(1, 1))
        self.keep(2, v)
        results.put(self.product(4, v, results.ahead(0, 1)), 1, 0)
        self.fill_some(2)
        y = self.product(5, [self.kept(2, n) for n in range(count)])
        results.put(y, 1, 1)
        start = [(y[n] - self.kept(2, n)) + self.kept(1, n) for n in range(count)]
        results.put(self.product(6, start), 0, 1)

    def product(
        self, number: int, sums: Sequence[Value], ahead: Sequence[Stream] = ()
    ) -> list[Value]:
        """The sums and one of the products."""
        of, p, r = self.of, self.p, self.r
        plane, lanes = PRODUCTS[number], p.lanes
        source, at, step = self.panel, self.mine, of.line
        if of.reads_image and plane < T4:
            half, begin = ((0, 0), (0, of.inputs), (of.half, of.inputs))[plane]
            source, step = self.x, p.pixel
            at = (self.block * of.block + half) * p.pixel + self.group * p.inputs + begin
        else:
            at = at + (plane - T4 if of.reads_image else plane) * of.plane
        w = (self.group * of.tiles + self.number) * (7 * of.inputs * of.width)
        w = w + number * of.inputs * of.width
        if p.last:
            x_side = Factor(source, tuple(step * n for n in range(of.half)), 1)
            w_side = Factor(self.w, tuple(range(0, of.width, lanes)), lanes)
            axis = SumAxis(of.inputs, 1)
        else:
            x_side = Factor(source, tuple(range(0, of.half, lanes)), lanes)
            w_side = Factor(self.w, tuple(range(of.width)), 1)
            axis = SumAxis(of.inputs, step)
        tile = GemmTile(x_side, w_side, (*ahead, *self.pixels_ahead(number)))
        return tile.more(r, sums, [axis], at, w)

    def fill_some(self, number: int) -> None:
        """A share in filling the next block's panel, while no sums are in registers."""
        of, r = self.of, self.r
        first, last = self.tiles
        share = -(-of.steps // (_SHARES * of.share))
        begin = r.minimum(((self.number - first) * _SHARES + number) * share, of.steps)
        end: Operand = r.minimum(begin + share, of.steps)
        if of.tiles % of.share and number == _SHARES - 1:  # the last part has fewer tiles
            end = r.select(self.number + 1 < last, end, r.const(of.steps))
        following = r.minimum(self.block + 1, of.blocks - 1)
        self.fill(following, self.other, begin, end)

    def pixels_ahead(self, number: int) -> list[Stream]:
        """A share of the pixels of the block after the next, to be fetched meanwhile."""
        of, p = self.of, self.p
        total = self.of.block * p.inputs
        each = -(-total // (7 * of.share))
        done = ((self.number - self.tiles[0]) * 7 + number) * each
        first = (self.block + 2) * of.block
        if p.last:
            start = first * p.pixel + self.group * p.inputs
            return [Stream(self.x, start, each, p.inputs, p.pixel, done)]
        start = (self.image * p.groups + self.group) * (p.inputs * p.places) + first
        return [Stream(self.x, start, each, of.block, p.places, done)]

    def keep(self, slot: int, sums: Sequence[Value]) -> None:
        """Store the sums where `kept` finds them."""
        for n, total in enumerate(sums):
            self.r.store(self.waiting, slot * self.of.sums + n * self.p.lanes, total)

    def kept(self, slot: int, number: int) -> Value:
        """One of them."""
        at = slot * self.of.sums + number * self.p.lanes
        return self.r.load(self.waiting, at, self.p.lanes)
