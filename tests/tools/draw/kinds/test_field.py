import pytest

from drawn import frames
from faltung.errors import ArgumentError
from faltung.ops.conv.receptive_field import receptive_field
from faltung.tools.draw import figure
from faltung.tools.draw.kinds.field import stack

STACKS = ["k3 k3s2 k3", "k7s2p3 k3s2p1 k3p2d2", "k3s2p1 k3x5 Tk4s2p1", "k2s2 Tk3s2p1 k3", "k5d3"]


@pytest.mark.parametrize("words", STACKS)
def test_the_input_that_stands_out_is_the_receptive_field(words):
    specs = stack(words.split())
    size = receptive_field(specs).size
    drawn = figure("field", specs)
    cells = drawn.frame(drawn.frames - 1).lit("layer0")
    sections = sorted({cell.ref[1][0] for cell in cells})
    seen = []
    for section in sections:
        places = [cell.ref[1][1] for cell in cells if cell.ref[1][0] == section]
        seen.append(max(places) - min(places) + 1)
    assert len(sections) == len(set(seen)) or len(specs) == 1
    assert max(seen) == max(size) and min(seen) <= min(size)


@pytest.mark.parametrize("words", STACKS)
def test_every_row_reads_the_row_below_by_the_index_map(words):
    specs = stack(words.split())
    for top, frame in enumerate(frames(figure("field", specs)), 1):
        for layer in range(1, top + 1):
            spec = specs[layer - 1]
            above = {cell.ref[1] for cell in frame.lit(f"layer{layer}") if cell.ref}
            expected = set()
            for section, q in above:
                axis = spec.axes[section if section < spec.dims else 0]
                if spec.task == "grad_input":
                    expected |= {(section, source, q, t) for source, t in axis.readers[q]}
                else:
                    reads = ((axis.source(q, t), t) for t in range(axis.kernel_size))
                    expected |= {(section, i, q, t) for i, t in reads if i is not None}
            found = {
                (*cell.ref[1], *index)
                for cell in frame.lit(f"layer{layer - 1}")
                if cell.ref
                for name, index in cell.weights
                if name == f"w{layer}"
            }
            assert found == expected


def test_a_frame_shows_the_layers_up_to_it():
    drawn = frames(figure("field", "k3 k3 k3"))
    widths = [len(frame.lit("layer0")) for frame in drawn]
    assert widths == [3, 5, 7]


def test_cells_stand_over_the_middle_of_what_they_see():
    frame = frames(figure("field", "k3 k3s2 k4p1"))[-1]
    rows = {grid.name: grid for grid in frame.grids}
    for layer in range(1, 4):
        above, below = rows[f"layer{layer}"], rows[f"layer{layer - 1}"]
        for cell in above.cells:
            if not cell.lit:
                continue
            reads = [c for c in below.cells if any(q == cell.column for _, (q, _) in c.weights)]
            middle = sum(below.corner(c)[0] for c in reads) / len(reads)
            assert round(middle - above.corner(cell)[0], 9) == 0


def test_a_given_input_meets_its_borders():
    drawn = figure("field", stack(["k5p2", "k5p2"], (5,)))
    roles = [cell.role for cell in drawn.frame(1).lit("layer0")]
    assert roles.count("padding") == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "field needs layers"),
        (["x3"], "a layer reads like k7s2p3"),
        (["k300"], "too large to draw: this stack sees more than 256 positions"),
    ],
)
def test_mistakes_are_explained(words, message):
    with pytest.raises(ArgumentError, match=message):
        stack(words)


def test_layers_that_do_not_follow_each_other_are_refused():
    (first,) = stack(["k3"], (9,))
    (second,) = stack(["k3"], (9,))
    with pytest.raises(ArgumentError, match="gives \\(7,\\) positions, the next takes \\(9,\\)"):
        figure("field", [first, second])
