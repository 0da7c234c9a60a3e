"""A large kernel: 31×31 weights a channel, and branches merged into it."""

import torch
from torch import Tensor
from torch.nn.functional import conv2d

from ....by_hand import merge_branches
from ..agreement import agrees
from ..filters import gauss
from ..paint import photograph, signed
from ..scene import Claim, Scene, strip
from ..stage import Stage

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
    spec = blurred.solved[0].spec
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
        claims=(_merged(stage, merged, blur, fine, point),),
    )


def _root(weight: Tensor) -> Tensor:
    """Signed square root: the centre is a thousand times the rim."""
    return weight.sign() * weight.abs().sqrt()


def _merged(stage: Stage, merged: Tensor, blur: Tensor, fine: Tensor, point: Tensor) -> Claim:
    y = stage.run('conv2d(photo, merged, padding="same", groups=3)', {"merged": merged})

    def branches(x: Tensor, wide: Tensor, small: Tensor, single: Tensor) -> Tensor:
        parts = ((wide, SIZE // 2), (small, 2), (single, 0))
        first, second, third = (conv2d(x, w, padding=p, groups=3) for w, p in parts)
        return first + second + third

    return agrees(
        "The merged weight does what the three branches do together",
        y.result,
        branches,
        (stage.photo, -0.8 * blur, -0.4 * fine, point),
    )
