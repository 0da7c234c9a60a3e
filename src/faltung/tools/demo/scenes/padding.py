"""What lies outside the photograph: the padding modes."""

import torch
from torch import Tensor

from ..filters import gauss
from ..line import Line
from ..paint import photograph
from ..scene import Claim, Picture, Scene, strip
from ..stage import Stage

MODES = {
    "zeros": "black, and a dark rim",
    "reflect": "a mirror at the last pixel",
    "replicate": "the last pixel again and again",
    "circular": "the other side of the picture",
}


def scene(stage: Stage) -> Scene:
    """Each mode, first by itself, then in the corner of a blurred picture."""
    rim = round(48 * stage.scale)
    radius = round(12 * stage.scale)
    pixel = torch.ones(3, 1, 1, 1)
    blur = gauss(2 * radius + 1, radius / 2)[None, None].repeat(3, 1, 1, 1)
    names = {"pixel": pixel, "blur": blur}
    padded = {mode: _run(stage, names, "pixel", rim, mode) for mode in MODES}
    blurred = {mode: _run(stage, names, "blur", radius, mode) for mode in MODES}
    return Scene(
        name="padding",
        title="Padding: what lies outside",
        rows="19",
        text=f"A {2 * radius + 1}×{2 * radius + 1} window at the border looks {radius} pixels "
        "beyond it, and something must stand there. Above: a 1×1 convolution with padding "
        f"{rim}, which shows what each mode puts outside. Below: the top left corner after a blur. "
        f"With padding {radius} = ⌊K/2⌋ and stride 1 the picture keeps its size in every mode.",
        strips=(
            strip(*(_whole(mode, line) for mode, line in padded.items())),
            strip(*(_corner(mode, line, stage) for mode, line in blurred.items())),
        ),
        lines=(padded["reflect"], blurred["reflect"]),
        claims=(
            _inside_alike(stage, padded, rim),
            Claim(
                "Padding ⌊K/2⌋ at stride 1 keeps the size in every mode",
                all(line.result.shape == stage.photo.shape for line in blurred.values()),
            ),
        ),
    )


def _run(stage: Stage, names: dict[str, Tensor], weight: str, padding: int, mode: str) -> Line:
    return stage.run(
        f'conv2d(photo, {weight}, padding={padding}, groups=3, padding_mode="{mode}")', names
    )


def _whole(mode: str, line: Line) -> Picture:
    return photograph(line.result[0], f"{mode}: {MODES[mode]}", f"The portrait, {MODES[mode]}.")


def _corner(mode: str, line: Line, stage: Stage) -> Picture:
    side = round(72 * stage.scale)
    corner = line.result[0, :, :side, :side]
    return photograph(
        corner, f"corner, blurred, {mode}", f"The blurred corner with {mode} padding."
    )


def _inside_alike(stage: Stage, padded: dict[str, Line], rim: int) -> Claim:
    inside = (slice(None), slice(None), slice(rim, -rim), slice(rim, -rim))
    return Claim(
        "Inside the rim all four hold the photograph itself",
        all(torch.equal(line.result[inside], stage.photo) for line in padded.values()),
        "equal in every bit",
    )
