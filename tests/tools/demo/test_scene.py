from faltung.tools.demo.scene import Grid, strip


def test_numbers_are_written_with_a_minus_sign_and_no_minus_zero():
    grid = Grid("g", [[-1.5, -0.0001, 0.25]], digits=2)
    assert [grid.text(v) for v in grid.cells[0]] == ["−1.50", "0.00", "0.25"]
    assert grid.largest == 1.5
    assert Grid("zeros", [[0.0]]).largest == 1.0


def test_the_frame_runs_around_the_marked_cells_only():
    grid = Grid("g", [[0] * 3] * 3, marked=frozenset({(1, 0), (1, 1)}))
    assert grid.frame(1, 0) == "top bottom left"
    assert grid.frame(1, 1) == "top bottom right"
    assert grid.frame(0, 0) == ""


def test_a_strip_is_one_row_unless_said_otherwise():
    grid = Grid("g", [[1.0]])
    assert strip(grid, grid).columns == 2
    assert strip(grid, grid, columns=1).columns == 1
