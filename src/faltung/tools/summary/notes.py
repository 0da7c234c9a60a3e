"""What is known of a tensor while a model runs: where its dimensions come from in the input.

Every dimension is a product of factors, each with what its positions have seen of one axis of the
input, or with nothing. A view only regroups factors, so an image that is flattened to rows for a
matrix product and folded back has lost nothing on the way.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from .seen import Reach, Seen

Factor = tuple[int, Seen | None]  # size, and what a position along it has seen
Dimension = tuple[Factor, ...]


@dataclass(frozen=True)
class Padded:
    """Zeros that were put around an image just before: what the image was."""

    size: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    layout: str


@dataclass(frozen=True)
class Note:
    """A tensor's dimensions, the axes of the input that it has seen whole, and what it hangs on."""

    dimensions: tuple[Dimension, ...]
    whole: frozenset[int] = frozenset()
    lost: frozenset[int] = frozenset()
    """Axes of the input of which something has been seen that is not followed."""

    learns: bool = False
    """Whether a gradient would be wanted: something learned lies before it."""
    padded: Padded | None = None

    @classmethod
    def plain(cls, shape: Sequence[int], learns: bool = False) -> "Note":
        """A tensor that has seen nothing of the input: a weight, a constant."""
        return cls(tuple(((size, None),) for size in shape), learns=learns)

    @classmethod
    def of_input(cls, shape: Sequence[int]) -> "Note":
        """An input of the model; its dimensions are the axes."""
        return cls(tuple(((size, Seen.start(axis)),) for axis, size in enumerate(shape)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Sizes of the dimensions."""
        sizes = []
        for dimension in self.dimensions:
            size = 1
            for factor, _ in dimension:
                size *= factor
            sizes.append(size)
        return tuple(sizes)

    def seen(self, dim: int) -> Seen | None:
        """What the positions along a dimension have seen, if it is one factor."""
        dimension = self.dimensions[dim]
        return dimension[0][1] if len(dimension) == 1 else None

    def size_of(self, axis: int) -> int | None:
        """How much a position has seen of an axis; None if that is not known."""
        if axis in self.lost:
            return None
        found = [s for d in self.dimensions for _, s in d if s is not None and s.axis == axis]
        return found[0].size if len(found) == 1 else None

    def axes(self, dims: Iterable[int] | None = None) -> frozenset[int]:
        """The input's axes that lie in these dimensions, or in any."""
        chosen = self.dimensions if dims is None else [self.dimensions[d] for d in dims]
        return frozenset(s.axis for dimension in chosen for _, s in dimension if s is not None)

    def with_dimension(self, dim: int, size: int, seen: Seen | None) -> "Note":
        """The same with another dimension in that place."""
        dimensions = list(self.dimensions)
        dimensions[dim] = ((size, seen),)
        return replace(self, dimensions=tuple(dimensions), padded=None)

    def read(self, dim: int, size: int, reach: Reach | None) -> "Note":
        """The same after a layer that reads a dimension so; None: in a way that is not followed."""
        seen = self.seen(dim)
        return self.with_dimension(
            dim, size, seen.through(reach) if seen is not None and reach is not None else None
        )

    def over(self, dims: Sequence[int]) -> "Note":
        """The same after something that looks at all positions of these dimensions."""
        return replace(self, whole=self.whole | self.axes(dims), padded=None)


def forgotten(notes: Sequence[Note], shape: Sequence[int]) -> Note:
    """After an operation that is not followed: what was seen whole remains so."""
    note = Note.plain(shape, any(n.learns for n in notes))
    return replace(note, whole=frozenset().union(*(n.whole for n in notes)))


def settled(note: Note, notes: Sequence[Note]) -> Note:
    """The note of a result, which owns up to every axis that its operands knew and it does not."""
    known = frozenset().union(*(n.axes() | n.lost for n in notes))
    return replace(note, lost=known - (note.axes() - frozenset().union(*(n.lost for n in notes))))


def merged(notes: Sequence[Note], shape: Sequence[int]) -> Note:
    """After an operation on each position by itself: what any of the operands has seen there."""
    dimensions: list[Dimension] = []
    for place, size in enumerate(shape):
        behind = [
            note.dimensions[place - len(shape)]
            for note in notes
            if len(note.dimensions) >= len(shape) - place
        ]
        dimensions.append(_joined([d for d in behind if any(s for _, s in d)], size))
    return replace(forgotten(notes, shape), dimensions=tuple(dimensions))


def regrouped(note: Note, shape: Sequence[int]) -> Note:
    """After a view: the same factors in other dimensions; split, a factor is forgotten."""
    factors = [factor for dimension in note.dimensions for factor in dimension if factor[0] != 1]
    dimensions: list[Dimension] = []
    for size in shape:
        taken: list[Factor] = []
        left = size
        while left > 1 and factors:
            count, seen = factors.pop(0)
            if left % count == 0:
                taken.append((count, seen))
                left //= count
            elif count % left == 0:
                taken.append((left, None))
                factors.insert(0, (count // left, None))
                left = 1
            else:
                return forgotten([note], shape)
        if left != 1:
            return forgotten([note], shape)
        dimensions.append(tuple(taken) or ((1, None),))
    return replace(note, dimensions=tuple(dimensions), padded=None)


def _joined(dimensions: Sequence[Dimension], size: int) -> Dimension:
    if not dimensions:
        return ((size, None),)
    first, *rest = dimensions
    for other in rest:
        if [count for count, _ in first] != [count for count, _ in other]:
            return ((size, None),)
        first = tuple(
            (count, b if a is None else a if b is None else a.joined(b))
            for (count, a), (_, b) in zip(first, other, strict=True)
        )
    return first
