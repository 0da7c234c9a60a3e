"""How gradients by Winograd's filtering are cut: every channel, tile and image once."""

import dataclasses

import pytest

from faltung.parts.weights.winograd_cutting import best_winograd_layout, busy
from faltung.parts.weights.winograd_layout import WinogradWeightProblem
from faltung.parts.winograd.tiles import PlainAxis

MACHINES = [(16, 32), (8, 16), (8, 32), (4, 16)]  # lanes and registers
AXES = [PlainAxis(56, 56, 3, 1), PlainAxis(7, 7, 3, 1), PlainAxis(33, 33, 3, 8, 8)]


def problem(
    inputs: int, outputs: int, axis: PlainAxis, lanes: int, registers: int, batch: int = 1
) -> WinogradWeightProblem:
    return WinogradWeightProblem(
        batch, 2, inputs, outputs, PlainAxis(), axis, axis, "float32", False, lanes, registers
    )


@pytest.mark.parametrize(("lanes", "registers"), MACHINES)
@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("inputs", "outputs"), [(64, 64), (17, 5), (512, 2048), (1, 1)])
@pytest.mark.parametrize("threads", [1, 8])
def test_everything_is_covered(
    inputs: int, outputs: int, axis: PlainAxis, lanes: int, registers: int, threads: int
) -> None:
    p = problem(inputs, outputs, axis, lanes, registers, batch=6)
    layout = best_winograd_layout(p, 3.0, threads)
    assert layout is not None
    c = layout.cutting
    assert c.vectors * c.most + c.vectors + 1 < registers
    assert c.inputs % c.vectors == 0
    assert c.inputs * layout.blocks[0] >= p.vectors[0] > c.inputs * (layout.blocks[0] - 1)
    assert c.made * layout.blocks[1] >= p.vectors[1] > c.made * (layout.blocks[1] - 1)
    covered = [o for run in layout.runs() for o in range(run.begin, run.end)]
    assert covered == list(range(layout.made))
    assert p.batch % c.images == 0
    for block in (layout.high, layout.wide):
        assert block.is_whole
        assert block.count * block.groups * block.axis.span >= axis.outputs
    tile = 6 * layout.tiles
    assert all(tile % layout.together(run.size) == 0 for run in layout.runs())
    assert 0 < layout.parts <= layout.visits
    assert layout.cycles > 0


def test_threads_change_shares_only() -> None:
    """What results depend on is the same for any number of threads."""
    one, many = (best_winograd_layout(problem(128, 128, AXES[0], 16, 32), 3.0, n) for n in (1, 16))
    assert one is not None and many is not None
    assert busy(many, 16) > busy(one, 16)
    same = [
        dataclasses.replace(layout.cutting, inputs=1, made=1, vectors=1, most=1)
        for layout in (one, many)
    ]
    assert same[0] == same[1] and one.parts == many.parts


def test_several_small_images_are_a_block() -> None:
    layout = best_winograd_layout(problem(256, 256, AXES[1], 16, 32, batch=4), 3.0, 1)
    assert layout is not None and layout.cutting.images > 1


def test_few_pixels_have_exact_tiles_or_none() -> None:
    few = PlainAxis(2, 2, 3, 1)
    assert best_winograd_layout(problem(64, 64, few, 16, 32), 3.0, 1) is None
    assert best_winograd_layout(problem(64, 64, AXES[0], 16, 32), 0.9, 1) is None


def test_more_pixels_take_longer() -> None:
    few = best_winograd_layout(problem(64, 64, AXES[0], 16, 32), 3.0, 1)
    many = best_winograd_layout(problem(64, 64, AXES[0], 16, 32, batch=4), 3.0, 1)
    assert few is not None and many is not None
    assert 3 < many.cycles / few.cycles < 4.2
