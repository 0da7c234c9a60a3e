"""Depthwise, then pointwise: space first, colours after."""

import torch

from ..filters import SEPIA, gauss
from ..paint import photograph
from ..scene import Claim, Scene, strip
from ..stage import Stage, whole_pixels


def scene(stage: Stage) -> Scene:
    """A soft sepia print: blur every colour, then mix the colours."""
    blur = gauss(7, 1.5)[None, None].repeat(3, 1, 1, 1)
    sepia = SEPIA[:, :, None, None]
    names = {"blur": blur, "sepia": sepia}
    line = stage.run("depthwise_separable_conv2d(photo, blur, sepia, padding=3)", names)
    between = stage.run("conv2d(photo, blur, padding=3, groups=3)", names)
    dense = torch.einsum("oc,cij->ocij", SEPIA, blur[:, 0])
    full = stage.run("conv2d(photo, dense, padding=3)", {"dense": dense})
    separable = sum(s.macs for s in line.solved)
    weights = sum(s.parameters for s in line.solved)
    spec = full.solved[0]
    return Scene(
        name="separable",
        title="Depthwise-separable: space, then colour",
        rows="13, 14, 15",
        text="A 7×7 blur in each colour (depthwise), then a 3×3 matrix of colours at each point "
        f"(pointwise, 1×1): {weights} weights and {separable / spec.macs:.0%} of the work of the "
        f"full convolution with its {spec.parameters} weights that does the same.",
        strips=(
            strip(
                photograph(stage.photo[0], "the photograph", "The portrait of Grace Hopper."),
                photograph(between.result[0], "after depthwise: blurred", "The portrait, blurred."),
                photograph(
                    line.result[0], "after pointwise: sepia", "The portrait, blurred and in sepia."
                ),
            ),
        ),
        lines=(line, full),
        claims=(_same(stage),),
    )


def _same(stage: Stage) -> Claim:
    """Both ways on whole numbers, small enough for exact sums."""
    blur = torch.tensor([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]])
    mix = torch.tensor([[4.0, 8.0, 2.0], [3.0, 7.0, 2.0], [3.0, 5.0, 1.0]])
    names = {
        "x": whole_pixels(stage.photo),
        "blur": blur[None, None].repeat(3, 1, 1, 1),
        "mix": mix[:, :, None, None],
        "dense": torch.einsum("oc,ij->ocij", mix, blur),
    }
    apart = stage.run("depthwise_separable_conv2d(x, blur, mix, padding=1)", names).result
    at_once = stage.run("conv2d(x, dense, padding=1)", names).result
    return Claim(
        "Apart and at once give the same picture, here with whole weights",
        torch.equal(apart, at_once),
        "equal in every bit",
    )
