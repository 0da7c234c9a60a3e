"""How large a figure may be, in cells: for its numbers to be read, and to be drawn at all.

A slide is 960 × 540 points. At 48 × 30 cells a cell is 18 points wide and its number 8 points high.
"""

READABLE_COLUMNS, READABLE_ROWS = 48, 30
READABLE = READABLE_COLUMNS * READABLE_ROWS

MOST_COLUMNS, MOST_ROWS = 256, 144
"""The largest figure: 5 pixels a cell on a slide of 1280 × 720."""

MOST_FRAMES = 400
"""The longest GIF: more would take minutes to draw and megabytes to keep."""
