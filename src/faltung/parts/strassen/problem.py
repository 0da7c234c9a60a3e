"""A convolution that is one product of two matrices, and how Strassen's multiplication cuts it.

    y[n, m] = Σ_k x[n, k] · w[k, m]              n places, k input channels, m outputs of a place

Places, channels and outputs are cut in halves: places in pairs that are half a block apart, the
others in the middle. Seven products of quarters take the place of eight (`routine.py`).

The outputs of a place are the channels of a pointwise convolution; or, where a transposed one has a
kernel as large as its stride, the channels of all its phases, which no other place adds to.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf, prod

from ...lang.ops import STORAGE
from ..gemm.sharing import Pieces, cut, doubled, largest_share, whole_lines

_MOST_VECTORS = 4
_ENOUGH_SUMS = 10  # two additions begin in each cycle, and one takes four
# cycles of a term, as in `gemm/tiling.py`: a multiply-add that has a unit, a load where those are
# too many, a number that is spread, and on top
_SUM, _LOAD, _SPREAD, _TERM = 1.03, 0.58, 0.1, 0.8
_NEAR, _FAR = 22, 9  # bytes that arrive in a cycle from the second cache, and from beyond
_PRODUCT = 30  # cycles until a product is under way
_ACCUMULATING = 2.0  # cycles of each sum of a product, on its way from one to the next
_STORING = 1.5  # and of a vector of results
_FILLING = 9.0  # of seven vectors of a panel while products are computed,
_WAITING = 40.0  # and before they are
_COLLIDING, _WAYS = 4096, 8  # lines so far apart share the few ways of a set in the near cache
_PLANES, _MADE = 7, 4  # quarters and sums of them that are multiplied; and those that are sums


@dataclass(frozen=True)
class StrassenProblem:
    """The sizes of a product, and the machine that it is to be cut for."""

    images: int
    """Products beside each other; one where channels come last, whose places follow each other."""

    groups: int
    inputs: int
    """Channels of a group that are summed."""

    channels: int
    """Result channels of a group."""

    size: tuple[int, int, int]
    """Places: depth, of all images where channels come last, height and width."""

    stride: tuple[int, int, int]
    """Results of a place along each axis."""

    last: bool
    """Whether channels come last in both images."""

    dtype: str
    bias: bool
    activation: str | None
    lanes: int
    registers: int
    item_size: int
    """Bytes of a number in a register."""

    cache: int
    """Bytes of a core's second cache."""

    cores: int

    @property
    def kind(self) -> str:
        """What numbers are in registers."""
        return STORAGE[self.dtype][0]

    @property
    def wide(self) -> str:
        """The dtype of numbers in memory that are as in registers."""
        return "float64" if self.item_size == 8 else "float32"

    @property
    def places(self) -> int:
        """Places of a product."""
        return prod(self.size)

    @property
    def pixel(self) -> int:
        """Channels of all groups."""
        return self.inputs * self.groups

    @property
    def is_plain(self) -> bool:
        """Whether each place has one result a channel."""
        return self.stride == (1, 1, 1)

    @property
    def runs(self) -> int:
        """Stretches of memory that the results of a place lie in."""
        beside = 1 if self.groups == 1 or not self.last else self.stride[2]
        return self.stride[0] * self.stride[1] * beside

    @property
    def run(self) -> int:
        """Results of each; not of one stretch in contiguous images, but counted together there."""
        return prod(self.stride) * self.channels // self.runs

    @property
    def padded_run(self) -> int:
        """And with those that fill up vectors of channels."""
        return -(-self.run // self.lanes) * self.lanes if self.last else self.run

    @property
    def outputs(self) -> int:
        """Outputs of a place, in whole vectors."""
        return self.runs * self.padded_run

    @property
    def chunk(self) -> int:
        """Places whose results along a row are one vector of a contiguous image."""
        return self.lanes // self.stride[2]


@dataclass(frozen=True)
class Cut:
    """A tile of `vectors` vectors × `others` single numbers, and what a thread does at a time.

    That is `blocks` blocks in one of `parts` parts of the outputs. `cycles` are those of one core
    for everything, `last` those of the core that is done last.
    """

    vectors: int
    others: int
    blocks: int = 1
    parts: int = 1
    cycles: float = inf
    last: float = inf


class StrassenLayout:
    """A problem, how it is cut, and the sizes and places that follow."""

    def __init__(self, problem: StrassenProblem, cut: Cut | None = None) -> None:
        p = self.problem = problem
        c = self.cut = cut or best_cut(problem)
        vector = c.vectors * p.lanes
        self.width, self.half = (vector, c.others) if p.last else (c.others, vector)
        self.block = 2 * self.half
        self.blocks = -(-p.places // self.block)
        self.inputs = -(-p.inputs // 2)
        self.tiles = -(-p.outputs // (2 * self.width))
        self.outputs = self.tiles * self.width
        self.share = -(-self.tiles // c.parts)
        self.parts = -(-self.tiles // self.share)
        self.chunks = -(-self.blocks // c.blocks)

    @property
    def items(self) -> int:
        """Pieces of work."""
        return self.problem.images * self.problem.groups * self.chunks * self.parts

    @property
    def is_ragged(self) -> bool:
        """Whether some places of the last block do not exist."""
        return self.problem.places % self.block != 0

    @property
    def reads_image(self) -> bool:
        """Whether quarters that are no sums are read from the image itself."""
        p = self.problem
        collides = p.pixel * p.item_size % _COLLIDING == 0 and self.half > _WAYS
        plain = p.dtype == p.wide and p.inputs % 2 == 0
        return p.last and plain and not self.is_ragged and not collides

    @property
    def planes(self) -> int:
        """Quarters in a panel."""
        return _MADE if self.reads_image else _PLANES

    @property
    def line(self) -> int:
        """Numbers of a panel from one place to the next, or from one channel to the next."""
        p = self.problem
        if not p.last:
            return self.half
        line = -(-self.inputs // p.lanes) * p.lanes
        return line + p.lanes * (line * p.item_size % _COLLIDING == 0)

    @property
    def plane(self) -> int:
        """Numbers of a quarter in a panel."""
        return self.line * (self.half if self.problem.last else self.inputs)

    @property
    def steps(self) -> int:
        """Turns of the loop that fills a panel."""
        p = self.problem
        return self.half * -(-self.inputs // p.lanes) if p.last else self.inputs

    @property
    def panel_numbers(self) -> int:
        """Numbers of a thread's two panels, of which one is filled while the other is read."""
        return whole_lines(2 * self.planes * self.plane, self.problem.item_size)

    @property
    def sums(self) -> int:
        """Numbers of a tile."""
        return self.width * self.half

    @property
    def waiting_numbers(self) -> int:
        """Numbers of a thread's sums that wait: three that return, and some that are stored."""
        return whole_lines(4 * self.sums, self.problem.item_size)

    @property
    def weight_numbers(self) -> int:
        """Numbers of the weight's seven quarters and sums, of one group."""
        return self.tiles * _PLANES * self.inputs * self.width


@lru_cache(maxsize=1024)
def best_cut(problem: StrassenProblem) -> Cut:
    """The tile that takes the fewest cycles, in pieces that are done soonest."""
    tiles = [Cut(v, o) for v in range(1, _MOST_VECTORS + 1) for o in _others(problem, v)]
    best = min(tiles, key=lambda tile: _cycles(StrassenLayout(problem, tile)))
    return min(_pieces(problem, best), key=lambda found: (found.last, found.cycles))


def _others(problem: StrassenProblem, vectors: int) -> list[int]:
    """How many single numbers go with so many vectors."""
    most = max(1, (problem.registers - vectors - (1 if vectors == 2 else 3)) // vectors)
    sizes = range(max(1, most // 2), most + 1)
    if problem.last:
        in_row = [size for size in sizes if problem.size[2] % size == 0]
        return list(sizes) if problem.is_plain else in_row or list(sizes)
    beside = problem.stride[2]
    return [size for size in sizes if size % beside == 0] or [beside] * (vectors == 1)


def _pieces(problem: StrassenProblem, tile: Cut) -> list[Cut]:
    """Ways to share out the work of such tiles."""
    whole = StrassenLayout(problem, tile)
    computing = _cycles(whole)
    found = []
    for parts in doubled(whole.tiles):
        for pieces in {1, problem.cores, 2 * problem.cores, whole.blocks}:
            made = replace(tile, parts=parts, blocks=-(-whole.blocks // pieces))
            layout = StrassenLayout(problem, made)
            again = (layout.parts - 1) * layout.blocks * layout.steps * _FILLING
            beginning = layout.chunks * layout.parts * layout.steps * _WAITING
            more = problem.images * problem.groups * (again + beginning) * _vectors(layout)
            cycles = computing + more + _far_weights(layout)
            last = cycles * largest_share(_work(layout), problem.cores)
            found.append(replace(made, cycles=cycles, last=last))
    return found


def _work(layout: StrassenLayout) -> tuple[Pieces, ...]:
    """How the items are counted, innermost first, and what each has to do."""
    p = layout.problem
    return (
        cut(layout.blocks, layout.cut.blocks), cut(max(1, p.images * p.groups), 1),
        cut(layout.tiles, layout.share),
    )  # fmt: skip


def _cycles(layout: StrassenLayout) -> float:
    """Cycles of one core for all products, with weights in the second cache."""
    p, c = layout.problem, layout.cut
    arithmetic = max(c.vectors * c.others, _ENOUGH_SUMS) / 2 * _SUM
    term = max(
        arithmetic, (c.vectors + c.others) * _LOAD, c.vectors * p.lanes * p.item_size / _NEAR
    )
    term += _TERM + c.others * _SPREAD * p.last
    sums = c.vectors * c.others
    each = _PLANES * (layout.inputs * term + _PRODUCT + sums * _ACCUMULATING)
    each += 4 * sums * _STORING
    filling = layout.steps * _FILLING * _vectors(layout)
    return p.images * p.groups * layout.blocks * (layout.tiles * each + filling)


def _vectors(layout: StrassenLayout) -> int:
    """Vectors of each quarter that are filled together."""
    return 1 if layout.problem.last else layout.cut.vectors


def _far_weights(layout: StrassenLayout) -> float:
    """Cycles more where a part's weights do not stay in the second cache from block to block."""
    p = layout.problem
    size = layout.weight_numbers * p.item_size
    if size / layout.parts < p.cache / 2:
        return 0.0
    return p.images * p.groups * layout.blocks * size * (1 / _FAR - 1 / _NEAR)
