"""How a product is cut into halves, blocks and shares."""

from dataclasses import replace

import pytest

from faltung.parts.strassen.problem import Cut, StrassenLayout, StrassenProblem, best_cut

PLAIN = StrassenProblem(
    images=1, groups=1, inputs=64, channels=64, size=(1, 1, 3136), stride=(1, 1, 1), last=False,
    dtype="float32", bias=False, activation=None, lanes=16, registers=32, item_size=4,
    cache=1 << 21, cores=2,
)  # fmt: skip
LAST = replace(PLAIN, last=True)
PHASES = replace(PLAIN, size=(1, 56, 56), stride=(1, 2, 2), inputs=128)
PROBLEMS = {
    "contiguous": PLAIN,
    "channels last": LAST,
    "phases": PHASES,
    "phases, channels last": replace(PHASES, last=True),
    "odd": replace(LAST, inputs=33, channels=47, size=(1, 1, 101)),
    "odd groups": replace(PLAIN, groups=3, inputs=5, channels=7, images=2, size=(1, 1, 50)),
    "many weights": replace(LAST, inputs=1024, channels=1024, size=(1, 1, 196)),
    "one of each": replace(PLAIN, inputs=1, channels=1, size=(1, 1, 1)),
}
EVERY = pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)


@EVERY
def test_all_places_and_outputs_are_in_a_block_and_a_tile(problem: StrassenProblem) -> None:
    layout = StrassenLayout(problem)
    assert 0 <= layout.blocks * layout.block - problem.places < layout.block
    assert 0 <= 2 * layout.tiles * layout.width - problem.outputs < 2 * layout.width
    assert layout.inputs == (problem.inputs + 1) // 2
    assert (layout.parts - 1) * layout.share < layout.tiles <= layout.parts * layout.share
    assert (layout.chunks - 1) * layout.cut.blocks < layout.blocks
    assert layout.chunks * layout.cut.blocks >= layout.blocks


@EVERY
def test_sums_fit_the_registers(problem: StrassenProblem) -> None:
    cut = best_cut(problem)
    assert cut.vectors * cut.others + cut.vectors < problem.registers


@EVERY
def test_no_cut_nearby_is_done_sooner(problem: StrassenProblem) -> None:
    best = best_cut(problem)
    assert 0 < best.last <= best.cycles
    for blocks in {1, best.blocks, 2 * best.blocks}:
        found = StrassenLayout(problem, replace(best, blocks=blocks))
        assert found.items >= 1


def test_two_cores_have_half_as_much_to_do_each() -> None:
    for problem in (PLAIN, LAST, PHASES):
        alone = best_cut(replace(problem, cores=1))
        assert best_cut(problem).last < 0.6 * alone.last


def test_lines_that_collide_are_moved_apart() -> None:
    layout = StrassenLayout(replace(LAST, inputs=2048))
    assert layout.line * 4 % 4096 and not layout.reads_image


def test_quarters_are_read_from_an_image_that_is_made_of_them() -> None:
    tile = Cut(2, 14)
    assert StrassenLayout(replace(LAST, inputs=60, size=(1, 1, 2800)), tile).reads_image
    for other in (
        replace(LAST, inputs=61, size=(1, 1, 2800)),  # halves of different lengths
        replace(LAST, inputs=60, size=(1, 1, 2801)),  # places that do not exist
        replace(LAST, inputs=60, size=(1, 1, 2800), dtype="bfloat16"),  # wider in registers
        replace(PLAIN, inputs=60, size=(1, 1, 2800)),
    ):
        assert not StrassenLayout(other, tile).reads_image


def test_a_weight_beyond_the_cache_costs() -> None:
    small = replace(LAST, inputs=1024, channels=1024, cache=1 << 16)
    assert best_cut(small).cycles > best_cut(replace(small, cache=1 << 24)).cycles
