"""Small groups of channels as lanes: several groups side by side in a vector.

Lanes are the output channels of as many whole groups as fit into a vector. What a lane multiplies
is an input of its own group, another one in every turn: turn j picks from the pixel's inputs, lane
by lane, so that after as many turns as a group has inputs each lane has had each of them. With a
power of two of inputs that is the input j lanes away within the group, with the bits of j flipped:
one instruction, or none for j = 0 where groups have as many inputs as outputs.

There the sums can be picked from as well: lane l then multiplies the input l XOR j XOR k, in a sum
that is moved by k lanes in the end. With two such sets of sums half of the turns need no picks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ...lang.routine import Routine, Value


@dataclass(frozen=True)
class GroupLanes:
    """`groups` groups of `inputs` and `outputs` channels each, in vectors of `lanes`.

    >>> four = GroupLanes(groups=32, inputs=4, outputs=4, lanes=16)
    >>> four.together, four.blocks, four.picks
    (4, 8, 3)
    """

    groups: int
    inputs: int
    outputs: int
    lanes: int

    @property
    def together(self) -> int:
        """Groups in a vector."""
        return min(self.lanes // self.outputs, self.groups)

    @property
    def blocks(self) -> int:
        """Vectors; the last may have groups of the one before once more."""
        return -(-self.groups // self.together)

    @property
    def used(self) -> int:
        """Lanes that are output channels."""
        return self.together * self.outputs

    @property
    def read(self) -> int:
        """Inputs of a vector's groups, which lie side by side."""
        return self.together * self.inputs

    @property
    def vectors(self) -> int:
        """Vectors that these inputs are."""
        return max(1, -(-self.read // self.lanes))

    def first(self, block: int) -> int:
        """The first group of a vector."""
        return min(block * self.together, self.groups - self.together)

    def input(self, turn: int, lane: int) -> int:
        """Which input of its group a lane multiplies in a turn."""
        output = lane % self.outputs
        if self.inputs & (self.inputs - 1):
            return (output + turn) % self.inputs
        return (output % self.inputs) ^ turn

    @cached_property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """For every turn, where each lane's input lies among those that are read."""
        return tuple(
            tuple(
                lane // self.outputs * self.inputs + self.input(turn, lane)
                if lane < self.used
                else lane  # anything will do
                for lane in range(self.lanes)
            )
            for turn in range(self.inputs)
        )

    @cached_property
    def picks(self) -> int:
        """Picks for all turns of a pixel."""
        return sum(len(self._steps(turn)) for turn in range(self.inputs))

    @property
    def most_sets(self) -> int:
        """Into how many sets an output's sum can be parted, see `merged`."""
        square = self.inputs == self.outputs and not self.inputs & (self.inputs - 1)
        return self.inputs if square else 1

    def turns(self, sets: int) -> int:
        """Turns of each of so many sets."""
        return self.inputs // sets

    def set_picks(self, sets: int) -> int:
        """Picks for all turns of a pixel, where sums are in so many sets."""
        return self.picks if sets == 1 else self.turns(sets) - 1

    def merged(self, r: Routine, sums: Sequence[Value], sets: int) -> list[Value]:
        """The sums of outputs, of which each set has a part in other lanes of the group.

        Set s has in lane l what its turns add up for the output in lane l XOR s·(inputs / sets),
        from the same picks as the first set. So a sum is picked from once instead of every pixel.
        """
        size = len(sums) // sets
        found = list(sums[:size])
        for number in range(1, sets):
            for n, part in enumerate(sums[number * size : (number + 1) * size]):
                found[n] = found[n] + self.picked(r, [part], number * self.turns(sets))
        return found

    def picked(self, r: Routine, pixel: list[Value], turn: int) -> Value:
        """What a turn multiplies, from the vectors of a pixel's inputs."""
        steps = self._steps(turn)
        found = pixel[0]
        for number, places in steps:
            found = r.pick(found, pixel[number], places)
        return found

    def _steps(self, turn: int) -> list[tuple[int, list[int]]]:
        """Picks from what was found so far and the vector of that number."""
        lanes, places = self.lanes, self.places[turn]
        if self.vectors == 1:
            return [] if places == tuple(range(lanes)) else [(0, list(places))]
        steps = []
        for number in range(1, self.vectors):
            chosen = []
            for lane, place in enumerate(places):
                inside = place - number * lanes
                if inside >= 0:  # in this vector or, for now anything, in a later one
                    chosen.append(lanes + min(inside, lanes - 1))
                else:  # in the first, or found before and put where it belongs
                    chosen.append(place if number == 1 else lane)
            steps.append((number, chosen))
        return steps
