"""Putting things beside and under each other; a block is a tuple of items."""

from .figure import Box, Items, Label, Stroke, box_of, text_width

CAPTION = 0.5  # font size of what stands over a grid


def moved(block: Items, right: float, down: float) -> Items:
    """The block at another place."""
    return tuple(item.moved(right, down) for item in block)


def beside(*blocks: Items, gap: float = 0.7, align: str = "middle") -> Items:
    """Blocks from left to right, their middles (or tops, or bottoms) on one line."""
    found: Items = ()
    x = 0.0
    for block in blocks:
        _, top, _, bottom = body_of(block) if align == "middle" else box_of(block)
        line = {"middle": (top + bottom) / 2, "top": top, "bottom": bottom}[align]
        wide = box_of(block)
        found += moved(block, x - wide[0], -line)
        x += wide[2] - wide[0] + gap
    return found


def under(*blocks: Items, gap: float = 0.7, align: str = "left") -> Items:
    """Blocks from top to bottom, their left ends, middles or right ends on one line."""
    found: Items = ()
    y = 0.0
    for block in blocks:
        left, top, right, bottom = box_of(block)
        line = {"left": left, "middle": (left + right) / 2, "right": right}[align]
        found += moved(block, -line, y - top)
        y += bottom - top + gap
    return found


def captioned(block: Items, text: str, below: str = "", role: str = "ink") -> Items:
    """The block with a line of text centred over it, and perhaps a fainter one under it."""
    left, top, right, bottom = body_of(block)
    middle = (left + right) / 2
    above = (Label(text, middle, top - 0.55, CAPTION, role=role, bold=True),)
    beneath = (Label(below, middle, bottom + 0.5, 0.42, role="faint"),) if below else ()
    return (*block, *above, *beneath)


def sign(text: str) -> Items:
    """A sign between two blocks: ∗, =, →; a dot is small, so it is written larger."""
    return (Label(text, size=1.8 if text == "·" else 0.9, role="faint"),)


def arrow(length: float = 1.6, text: str = "", *, down: bool = False) -> Items:
    """An arrow to the right, as long as its text needs, or down."""
    if down:
        stroke = Stroke(((0, 0), (0, length)), "faint", 1.4, arrow=True)
        label = (Label(text, 0.35, length / 2, 0.45, "left", "ink"),) if text else ()
        return (stroke, *label)
    length = max(length, text_width(text, 0.45) + 0.5)
    stroke = Stroke(((0, 0), (length, 0)), "faint", 1.4, arrow=True)
    over = (Label(text, length / 2, -0.45, 0.45, role="ink"),) if text else ()
    return (stroke, *over)


def framed(box: Box, role: str, *, dashed: bool = False, room: float = 0.3) -> Stroke:
    """A rectangle around a box."""
    left, top, right, bottom = box[0] - room, box[1] - room, box[2] + room, box[3] + room
    corners = ((left, top), (right, top), (right, bottom), (left, bottom), (left, top))
    return Stroke(corners, role, 1.2, dashed)


def body_of(block: Items) -> Box:
    """The box around a block without its texts, if there is anything else in it."""
    solid = tuple(item for item in block if not isinstance(item, Label))
    return box_of(solid or block)


def explained(block: Items, sentence: str) -> Items:
    """The block with a sentence under it: what this frame computes."""
    left, _, right, bottom = box_of(block)
    return (*block, Label(sentence, (left + right) / 2, bottom + 0.9, role="formula"))


def equation(dims: int, left: Items, joint: str, right: Items, result: Items) -> Items:
    """left joint right = result: side by side, or rows under each other in 1-D."""
    if dims == 1:
        return under(left, right, result, gap=0.5, align="middle")
    return beside(left, sign(joint), right, sign("="), result)
