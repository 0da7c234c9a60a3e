"""Dilation: the same nine weights, further apart."""

from ..filters import SOBEL_X, stacked
from ..line import Line
from ..paint import signed
from ..scene import Claim, Picture, Scene, strip
from ..stage import Stage

DILATIONS = (1, 2, 4)


def scene(stage: Stage) -> Scene:
    """One edge filter with dilation 1, 2 and 4."""
    sobel = stacked(SOBEL_X)
    lines = [
        stage.run(
            f'conv2d(grey, sobel, padding="same", dilation={d}, padding_mode="replicate")',
            {"sobel": sobel},
        )
        for d in DILATIONS
    ]
    specs = [line.solved[0] for line in lines]
    largest = max(float(line.result.abs().flatten().quantile(0.998)) for line in lines)
    return Scene(
        name="dilated",
        title="Dilated: see further with the same nine weights",
        rows="10, 19",
        text="With dilation d the taps of a 3×3 filter stand d pixels apart and span d·(3 − 1) + 1 "
        "of them: 3, 5, 9. Small detail fades, outlines grow; the weights and the multiply-adds "
        "stay the same. Same colours in all three.",
        strips=(
            strip(*(_picture(d, line, largest) for d, line in zip(DILATIONS, lines, strict=True))),
        ),
        lines=tuple(lines),
        claims=(
            Claim(
                "Parameters and multiply-adds are the same for d = 1, 2 and 4",
                len({(s.parameters, s.macs) for s in specs}) == 1,
                f"{specs[0].parameters} weights, {specs[0].macs:,} multiply-adds",
            ),
        ),
    )


def _picture(dilation: int, line: Line, largest: float) -> Picture:
    span = 2 * dilation + 1
    return signed(
        line.result[0, 0],
        f"d = {dilation}: sees {span}×{span}",
        f"Upright edges found with dilation {dilation}.",
        largest,
    )
