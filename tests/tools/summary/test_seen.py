"""What a position has seen, against positions that are followed one by one."""

import random
from fractions import Fraction

import pytest

from faltung import ConvSpec, receptive_field
from faltung.tools.summary.seen import Reach, Seen


def random_reach(random, enlarging=True):
    k, s, d, low = (random.randint(least, 4) for least in (1, 1, 1, 0))
    if enlarging and random.random() < 0.4:
        axis = ConvSpec("grad_input", 1, 1, 1, (60,), (k,), (), (s,), ((low, low),), (d,)).axes[0]
        return Reach.of_transposed(axis)
    return Reach.of_window(k, s, low, d)


def followed(reaches, at):
    """Positions behind one position of the last layer."""
    positions = {at}
    for reach in reversed(reaches):
        period = len(reach.offsets)
        positions = {
            reach.jump * (q // period) + offset
            for q in positions
            for offset in reach.offsets[q % period]
        }
    return positions


@pytest.mark.parametrize("seed", range(60))
def test_layers_in_a_row(seed):
    chance = random.Random(seed)
    reaches = [random_reach(chance) for _ in range(chance.randint(1, 5))]
    seen = Seen.start(2)
    for reach in reaches:
        seen = seen.through(reach)
    for at in range(-7, 40):
        assert seen.positions(at) == followed(reaches, at)
    assert seen.step * seen.period == seen.jump


@pytest.mark.parametrize("seed", range(60))
def test_the_same_as_the_receptive_field_of_a_stack(seed):
    chance = random.Random(seed)
    seen, layers = Seen.start(2), []
    for _ in range(chance.randint(1, 5)):
        k, s, d, low = (chance.randint(least, 4) for least in (1, 1, 1, 0))
        task = chance.choice(("forward", "grad_input"))
        layers.append(ConvSpec(task, 1, 1, 1, (60,), (k,), (), (s,), ((low, low),), (d,)))
        window = Reach.of_window(k, s, low, d)
        transposed = Reach.of_transposed(layers[-1].axes[0])
        seen = seen.through(window if task == "forward" else transposed)
    field = receptive_field(layers)
    assert (seen.size, seen.step) == (field.size[0], field.jump[0])


@pytest.mark.parametrize("seed", range(40))
def test_branches(seed):
    chance = random.Random(seed)
    stem = [random_reach(chance, enlarging=False)]
    a, b = ([*stem, Reach.of_window(chance.randint(1, 5), 1, low)] for low in (0, 2))
    a.append(Reach.of_copies(2))
    b.append(Reach.of_linear(2))
    found = []
    for reaches in (a, b):
        seen = Seen.start(2)
        for reach in reaches:
            seen = seen.through(reach)
        found.append(seen)
    both = found[0].joined(found[1])
    for at in range(-5, 20):
        assert both.positions(at) == followed(a, at) | followed(b, at)


def test_branches_that_do_not_advance_alike_are_not_followed():
    seen = Seen.start(2)
    halved = seen.through(Reach.of_window(1, 2, 0))
    assert seen.joined(halved) is None
    assert seen.joined(Seen.start(3)) is None


def test_periods_do_not_pile_up_along_a_decoder():
    seen = Seen.start(2)
    for _ in range(8):
        seen = seen.through(Reach.of_window(3, 2, 1)).through(Reach.of_copies(2))
        seen = seen.through(Reach.of_window(3, 1, 1))
    assert seen.period <= 2 and seen.step == Fraction(1)


def test_interpolation_reads_the_neighbours_that_have_a_weight():
    # by 3, the middle copy lies on its pixel
    assert Reach.of_linear(3).offsets == ((-1, 0), (0,), (0, 1))
    assert Reach.of_linear(2, 1, 2).offsets == ((-2, -1, 0, 1), (-1, 0, 1, 2))
