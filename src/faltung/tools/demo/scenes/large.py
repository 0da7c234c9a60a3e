"""A large kernel: 31×31 weights a channel, and branches merged into it."""

import torch
from torch import Tensor

from ....by_hand import merge_branches
from ..filters import LAPLACE, gauss, stacked
from ..paint import photograph, signed
from ..scene import Claim, Scene, strip
from ..stage import Stage, whole_pixels

SIZE = 31


def scene(stage: Stage) -> Scene:
    """A 31×31 blur, and a sharpening made of three branches that become one weight."""
    blur = gauss(SIZE, 6.0)[None, None].repeat(3, 1, 1, 1)
    fine = gauss(5, 1.0)[None, None].repeat(3, 1, 1, 1)
    point = torch.full((3, 1, 1, 1), 2.2)
    merged, _ = merge_branches([-0.8 * blur, -0.4 * fine, point])
    names = {"blur": blur, "merged": merged}
    blurred = stage.run('conv2d(photo, blur, padding="same", groups=3)', names)
    sharp = stage.run('conv2d(photo, merged, padding="same", groups=3)', names)
    spec = blurred.solved[0]
    assert spec.executed_macs is not None
    skipped = 1 - spec.executed_macs / spec.macs
    return Scene(
        name="large",
        title="Large kernels: 31×31 at once",
        rows="18",
        text="One layer sees 961 pixels at once, where 3×3 layers need fifteen in a row to reach "
        f"as far. Writing the regions out would take {spec.im2col_bytes / 1e6:,.0f} MB for this "
        f"small photograph; {skipped:.0%} of the multiply-adds fall on zero padding and need not "
        "be done. A large kernel trains well with small branches beside it, and since convolution "
        "is linear they merge into one weight: here 2.2 × the pixel − 0.4 × a 5×5 blur − 0.8 × "
        "the 31×31 blur sharpens the picture in one pass.",
        strips=(
            strip(
                photograph(stage.photo[0], "the photograph", "The portrait of Grace Hopper."),
                photograph(blurred.result[0], "31×31 blur", "The portrait, strongly blurred."),
                photograph(sharp.result[0], "three branches in one", "The portrait, sharpened."),
                signed(
                    _root(merged[0, 0]),
                    "the merged weight, square roots",
                    "A bright point in a ring of small negative weights.",
                ),
            ),
        ),
        lines=(blurred, sharp),
        claims=(_merged(stage),),
    )


def _root(weight: Tensor) -> Tensor:
    """Signed square root: the centre is a thousand times the rim."""
    return weight.sign() * weight.abs().sqrt()


def _merged(stage: Stage) -> Claim:
    """Merged against branch by branch, on whole numbers small enough for exact sums."""
    wide = (gauss(SIZE, 6.0) * 4000).round()[None, None]
    holes, point = stacked(LAPLACE), torch.full((1, 1, 1, 1), 7.0)
    names = {"x": whole_pixels(stage.grey), "wide": wide, "holes": holes, "point": point}
    branches = [
        stage.run(f'conv2d(x, {branch}, padding="same")', names).result
        for branch in ("wide", "holes, dilation=5", "point")
    ]
    merged, _ = merge_branches([wide, holes, point], dilations=[1, 5, 1])
    at_once = stage.run('conv2d(x, merged, padding="same")', {**names, "merged": merged}).result
    return Claim(
        "Three branches, 31×31, 3×3 with dilation 5 and 1×1, and their merged weight give the "
        "same, here with whole weights",
        torch.equal(sum(branches), at_once),
        "equal in every bit",
    )
