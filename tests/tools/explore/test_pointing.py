"""Hovering, pinning, editing and walking: what is lit in every view is what the spec says."""

import pytest

from faltung.ops.conv.spec import ConvSpec
from tools.explore.conftest import Page, actions, wait_until

Keys = pytest.importorskip("selenium.webdriver", reason="selenium is not installed").Keys

STRIDED = "i=5x6&k=3x2&s=2x1&p=1+0x0+1&c=2&o=2"
SPEC = ConvSpec.parse("forward n1 c2 o2 i5x6 k3x2 s2x1 p1+0x0+1 float32 cpu")
TRANSPOSED = "i=3x3&k=3x3&s=2x2&p=1x1&e=1x1&t=1"
ADJOINT = ConvSpec.parse("grad_input n1 c1 o1 i6x6 k3x3 y3x3 s2 p1 float32 cpu")


def flat(position, size):
    index = 0
    for p, n in zip(position, size, strict=True):
        index = index * n + p
    return index


def read_by(spec, output):
    """Inputs of channel 0 and taps that an output position uses, as flat indices."""
    taps = [(r, s) for r in range(spec.kernel_size[0]) for s in range(spec.kernel_size[1])]
    sources = {t: spec.source(output, t) for t in taps}
    return {flat(i, spec.input_size) for i in sources.values() if i is not None}


def hover(page: Page, element) -> None:
    actions(page).move_to_element(element).perform()


def marks(page: Page, view: str, block: int) -> set[tuple[int, int]]:
    """Entries of a matrix that are lit."""
    found = page.run(
        "return views[arguments[0]].blocks.marks.filter(m => m.block === arguments[1])"
        ".map(m => [m.row, m.column])",
        view, block,
    )  # fmt: skip
    return {tuple(pair) for pair in found}


def release(page: Page) -> None:
    page.one("body").send_keys(Keys.ESCAPE)


def test_an_output_lights_its_inputs_and_weights(page):
    page.open(STRIDED)
    release(page)
    assert page.lit("x") == page.lit("w") == page.lit("y") == set()
    hover(page, page.cell("y", flat((1, 2), SPEC.output_size)))
    one = read_by(SPEC, (1, 2))
    assert page.lit("x") == one | {30 + i for i in one}
    assert page.lit("w") == set(range(12))  # the first filter, both channels
    assert page.lit("y") == {8}
    hover(page, page.one("h1"))
    assert page.lit("y") == {8}  # the last stays: nothing flickers on the way from cell to cell


def test_a_page_just_opened_points_at_the_middle_and_has_nothing_pinned(page):
    page.open(STRIDED)
    assert page.lit("y") == {flat((0, 2), SPEC.output_size)}  # of 2 rows and 6 columns
    assert page.all(".cell.pinned") == []
    hover(page, page.cell("y", 0))
    assert page.lit("y") == {0}


def test_an_input_lights_the_outputs_it_feeds(page):
    page.open(STRIDED)
    release(page)
    hover(page, page.cell("x", flat((3, 4), SPEC.input_size)))
    fed = {flat(q, SPEC.output_size) for q, _ in SPEC.readers((3, 4))}
    count = SPEC.output_size[0] * SPEC.output_size[1]
    assert page.lit("y") == fed | {count + q for q in fed}
    taps = {flat(t, SPEC.kernel_size) for _, t in SPEC.readers((3, 4))}
    assert page.lit("w") == taps | {12 + t for t in taps}
    assert page.lit("x") == {22}


def test_a_weight_lights_its_uses(page):
    page.open(STRIDED)
    release(page)
    tap = (2, 1)
    hover(page, page.cell("w", flat(tap, SPEC.kernel_size)))
    windows = [(r, c) for r in range(SPEC.output_size[0]) for c in range(SPEC.output_size[1])]
    sources = {q: SPEC.source(q, tap) for q in windows}
    assert page.lit("x") == {flat(i, SPEC.input_size) for i in sources.values() if i is not None}
    assert page.lit("y") == {flat(q, SPEC.output_size) for q in windows}


def test_transposed_is_the_same_read_backwards(page):
    page.open(TRANSPOSED)
    release(page)
    hover(page, page.cell("x", 4))
    assert page.lit("y") == read_by(ADJOINT, (1, 1))
    hover(page, page.cell("y", flat((3, 3), (6, 6))))
    assert page.lit("x") == {flat(q, (3, 3)) for q, _ in ADJOINT.readers((3, 3))}


def test_every_view_lights_the_same_products(page):
    page.open(STRIDED)
    release(page)
    hover(page, page.cell("y", 8))
    assert marks(page, "matrix", 0) == {(8, i) for i in page.lit("x")}
    assert marks(page, "columns", 0) == {(8, k) for k in range(12)}
    assert page.one(".loops .lit").get_attribute("data-line") == "add"
    assert len(page.all("#formula .product")) == 12


def test_pinned_stays_until_it_is_let_go(page):
    page.open(STRIDED)
    page.cell("y", 3).click()
    pinned = page.lit("x")
    hover(page, page.cell("y", 10))
    assert page.lit("x") == pinned
    assert page.one(".cell.pinned").get_attribute("data-index") == "3"
    page.cell("y", 3).click()
    assert page.all(".cell.pinned") == []
    page.cell("x", 5).click()
    page.cell("w", 2).click()
    assert page.one(".cell.pinned").get_attribute("data-kind") == "w"
    page.one(".pin").click()
    assert page.all(".cell.pinned") == []
    page.one(".pin").click()
    assert page.one(".cell.pinned").get_attribute("data-index") == "2"


def test_an_entry_of_the_kernel_matrix_lights_its_weight_everywhere(page):
    page.open("i=4x4&k=2x2")
    release(page)
    y, x = page.run(
        "const b = views.matrix.blocks; const k = b.blocks[0];"
        "const box = b.bandsShown[1].box; box.scrollIntoView({block: 'center'});"
        "const r = box.getBoundingClientRect();"
        "return [r.top + k.top + 0.5 * b.cell, r.left + k.left + 1.5 * b.cell]"
    )
    at = actions(page)
    at.w3c_actions.pointer_action.move_to_location(round(x), round(y))
    at.perform()
    assert page.lit("w") == {1}  # row 0, column 1
    assert marks(page, "matrix", 0) == {
        (3 * r + c, 4 * r + c + 1) for r in range(3) for c in range(3)
    }
    at.click().perform()
    assert page.one(".cell.pinned").get_attribute("data-kind") == "w"


def test_the_formula_puts_the_numbers_in(page):
    page.open("i=2x2&k=2x2&x=1x2x2:1,2,3,-4&w=1x1x2x2:5,-6,7,0.5&b=1:9")
    assert page.text("#formula .head").startswith("y[0, 0, 0] = 21")
    assert page.text("#formula .sum") == "= 9 + 5·1 + (−6)·2 + 7·3 + 0.5·(−4)"
    assert page.text("#announcement") == (
        "output channel 0, row 0, column 0 is 21: bias 9, plus 5 times 1, plus −6 times 2, "
        "plus 7 times 3, plus 0.5 times −4"
    )
    hover(page, page.all("#formula .product")[2])
    assert page.one(".cell.now[data-kind='x']").get_attribute("data-index") == "2"
    assert marks(page, "matrix", 0) >= {(0, 2)}
    assert page.text('.loops [data-line="add"] .remark') == "+ 7 · 3"


@pytest.mark.parametrize(("kind", "index", "typed", "result"), [
    ("x", 0, "10", "66"), ("w", 3, "2,5", "13"), ("b", 0, "-1", "11"),
])  # fmt: skip
def test_a_number_can_be_changed(page, kind, index, typed, result):
    page.open("i=2x2&k=2x2&x=1x2x2:1,2,3,-4&w=1x1x2x2:5,-6,7,0.5&b=1:9")
    cell = page.cell(kind, index)
    actions(page).double_click(cell).send_keys(typed, Keys.ENTER).perform()
    assert page.cell("y", 0).text == result.replace("-", "−")


def test_a_number_can_be_changed_in_the_formula(page):
    page.open("i=2x2&k=2x2&x=1x2x2:1,2,3,-4&w=1x1x2x2:5,-6,7,0.5&b=1:9&pin=x1")
    field = page.one("#formula input")
    field.clear()
    field.send_keys("0", Keys.TAB)
    assert page.cell("y", 0).text == "33"
    page.cell("x", 1).click()  # what was typed is what the cell says, and nonsense changes nothing
    page.cell("x", 1).click()
    field = page.one("#formula input")
    field.clear()
    field.send_keys("two", Keys.TAB)
    assert (page.cell("x", 1).text, page.cell("y", 0).text) == ("0", "33")


def outputs(page: Page) -> list[str]:
    return page.run("return views.maps.cells.y.map((cell) => cell.textContent)")


def test_stepping_by_output_shows_one_after_the_other(page):
    page.open("i=3x3&k=2x2")
    whole = outputs(page)
    for step in range(1, 4):
        page.one("#walk-forward").click()
        assert outputs(page) == whole[:step] + [""] * (4 - step)
    page.one("#walk-back").click()
    assert outputs(page) == [*whole[:2], "", ""]
    assert page.text(".count") == "2 / 4"
    page.one("#walk-stop").click()
    assert outputs(page) == whole


def test_stepping_by_product_adds_one_after_the_other(page):
    page.open("i=2x2&k=2x2&p=1+0x0&x=1x2x2:1,2,3,-4&w=1x1x2x2:5,-6,7,0.5&b=1:9")
    page.run("document.querySelector('.choices select').value = 'term'")
    lines = []
    for expected in ("9", "9", "9", "16", "17"):  # bias, two products on padding, 7·1, 0.5·2
        page.one("#walk-forward").click()
        assert outputs(page) == [expected, ""]
        lines.append(page.one(".loops .lit").get_attribute("data-line"))
    assert lines == ["init", "if", "if", "add", "add"]
    assert "after" not in page.text("#formula .head")
    page.one("#walk-forward").click()
    assert outputs(page) == ["17", "9"]


def test_a_transposed_layer_is_stamped_input_by_input(page):
    page.open("i=2&k=2&t=1&x=1x2:1,10&w=1x1x2:3,4&bias=0")
    page.one("#walk-forward").click()
    assert outputs(page) == ["3", "4", "0"]
    page.one("#walk-forward").click()
    assert outputs(page) == ["3", "34", "40"]


def test_play_goes_on_by_itself_until_it_is_paused_or_done(page):
    page.open("i=6x6&k=2x2")
    page.run("document.querySelectorAll('.choices select')[1].value = '40'")
    page.one("#walk-play").click()
    assert page.one("#walk-play").get_attribute("aria-label") == "Pause"
    wait_until(page, "return app.walk && app.walk.unit >= 3")
    page.one("#walk-play").click()
    unit = page.run("return app.walk.unit")
    assert outputs(page)[unit] != "" and outputs(page)[unit + 1 :] == [""] * (24 - unit)
    page.one("#walk-play").click()
    wait_until(page, "return app.walk.unit === 24 && views.transport.timer === null")
