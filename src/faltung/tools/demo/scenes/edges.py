"""One filter slid over the photograph: edges, and why an inner product finds them."""

import torch

from ....by_hand import conv2d_sliding_window
from ..filters import SOBEL_X, SOBEL_Y, stacked
from ..line import counted
from ..paint import magnitude, signed
from ..scene import Claim, Grid, Scene, strip
from ..stage import Stage, rows, whole_pixels


def scene(stage: Stage) -> Scene:
    """Sobel's pair of filters, and the equivariance that makes sliding worth while."""
    sobel = stacked(SOBEL_X, SOBEL_Y)
    line = stage.run(
        'conv2d(grey, sobel, padding="same", padding_mode="replicate")', {"sobel": sobel}
    )
    across, along = line.result[0]
    pixels = stage.grey.shape[-2] * stage.grey.shape[-1]
    return Scene(
        name="edges",
        title="A filter slid over a photograph",
        rows="1–4, 19, 20",
        text="Nine weights, laid over every 3×3 region in turn: multiply, add up, move on. The sum "
        "is large where the region looks like the weights, so a filter that is negative on one "
        "side and positive on the other finds edges. Two filters make two output channels, and "
        "the length of the pair is the strength of the edge, whatever its direction. A fully "
        f"connected layer between the same two pictures would have {counted(2 * pixels * pixels)} "
        "weights; this one has 18.",
        strips=(
            strip(
                Grid("filter 1: left to right", rows(SOBEL_X), share=0.6),
                Grid("filter 2: top to bottom", rows(SOBEL_Y), share=0.6),
            ),
            strip(
                signed(across, "channel 1: edges that stand", "Upright edges in blue and red."),
                signed(along, "channel 2: edges that lie", "Level edges in blue and red."),
                magnitude(
                    torch.hypot(across, along),
                    "√(channel 1² + channel 2²)",
                    "The outlines of the portrait, bright on black.",
                ),
            ),
        ),
        lines=(stage.made_grey, line),
        claims=(_equivariance(stage), _by_hand(stage)),
    )


def _equivariance(stage: Stage) -> Claim:
    """Filter and shift commute, away from the border; exact in whole numbers."""
    names = {"x": whole_pixels(stage.grey), "sobel": stacked(SOBEL_X, SOBEL_Y)}
    shifted = {**names, "x": names["x"].roll((7, 11), (2, 3))}
    first = stage.run('conv2d(x, sobel, padding=1, padding_mode="circular")', names).result
    second = stage.run('conv2d(x, sobel, padding=1, padding_mode="circular")', shifted).result
    return Claim(
        "Translation equivariance: shift the photograph by 7 rows and 11 columns and the edges "
        "shift with it",
        torch.equal(first.roll((7, 11), (2, 3)), second),
        "equal in every bit",
    )


def _by_hand(stage: Stage) -> Claim:
    """The fast call against the textbook's loops, on whole numbers."""
    x = whole_pixels(stage.grey)[..., :40, :50]
    names = {"x": x, "sobel": stacked(SOBEL_X, SOBEL_Y)}
    fast = stage.run("conv2d(x, sobel, stride=2, padding=1)", names).result
    slow = conv2d_sliding_window(x, names["sobel"], stride=2, padding=1)
    return Claim(
        "The textbook's loops (by_hand.conv2d_sliding_window) give the same on a 40×50 corner",
        torch.equal(fast, slow),
        f"{slow.numel()} whole numbers, equal in every bit",
    )
