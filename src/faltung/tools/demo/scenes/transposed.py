"""Down by stride and up again by transposed convolution: the shape returns, the values do not."""

import torch
from torch import Tensor

from ....by_hand import conv_transpose_kernel_matrix
from ..filters import gauss
from ..line import run_line
from ..paint import crop, photograph
from ..scene import Claim, Grid, Scene, strip
from ..stage import Stage, rows, whole_pixels

TEXT = (
    "A stride of 2 halves the picture; transposed convolution of stride 2 doubles it. It is the "
    "convolution's adjoint (its matrix transposed), not its inverse: the lost detail stays lost. "
    "Every small pixel paints a K×K patch of the large one; with K = 3 and stride 2 the patches "
    "overlap unevenly, and the picture gets a checkerboard. With K = 4 every pixel is painted four "
    "times and it does not."
)


def scene(stage: Stage) -> Scene:
    """Kernel 3 with stride 2 draws a checkerboard, kernel 4 with stride 2 does not."""
    ones3, ones4 = (torch.ones(1, 1, k, k) for k in (3, 4))
    three, four = ones3.repeat(3, 1, 1, 1) * (4 / 9), ones4.repeat(3, 1, 1, 1) / 4
    down = stage.run(
        "conv2d(photo, blur, stride=2, padding=1, groups=3)",
        {"blur": gauss(3, 0.8)[None, None].repeat(3, 1, 1, 1)},
    )
    names = {"small": down.result, "three": three, "four": four}
    up3 = stage.run(
        "conv_transpose2d(small, three, stride=2, padding=1, output_padding=1, groups=3)", names
    )
    up4 = stage.run("conv_transpose2d(small, four, stride=2, padding=1, groups=3)", names)
    cover3, cover4 = _coverage(ones3, extra=1), _coverage(ones4, extra=0)
    return Scene(
        name="transposed",
        title="Down and up again: the shape returns, the values do not",
        rows="7–9, 19",
        text=TEXT,
        strips=(
            strip(
                photograph(stage.photo[0], "the photograph", "The portrait of Grace Hopper."),
                photograph(down.result[0], "down: half as large", "The same at half size.", 0.5),
                photograph(up3.result[0], "up with K = 3", "Full size again, with a fine grid."),
                photograph(up4.result[0], "up with K = 4", "Full size again, a little soft."),
            ),
            strip(
                crop(_eye(stage.photo, stage), "before", "The eyes, enlarged."),
                crop(_eye(up3.result, stage), "K = 3: checkerboard", "The eyes under a grid."),
                crop(_eye(up4.result, stage), "K = 4: smooth", "The eyes, soft."),
            ),
            strip(
                Grid("K = 3: how often each pixel is painted", rows(cover3[:7, :7])),
                Grid("K = 4: how often each pixel is painted", rows(cover4[:7, :7])),
            ),
        ),
        lines=(down, up3, up4),
        claims=(
            _shape_not_values(stage.photo, up4.result),
            Claim(
                "Inside the border K = 3 paints 1, 2 or 4 times, K = 4 always 4 times",
                set(cover3[1:-2, 1:-2].flatten().tolist()) == {1.0, 2.0, 4.0}
                and set(cover4[1:-1, 1:-1].flatten().tolist()) == {4.0},
            ),
            _adjoint(stage),
            _matrix_transposed(stage),
        ),
    )


def _coverage(ones: Tensor, extra: int) -> Tensor:
    """How many small pixels paint each large one: the transposed convolution of all ones."""
    painted = run_line(
        f"conv_transpose2d(x, ones, stride=2, padding=1, output_padding={extra})",
        {"x": torch.ones(1, 1, 6, 6), "ones": ones},
    )
    coverage: Tensor = painted.result[0, 0]
    return coverage


def _eye(image: Tensor, stage: Stage) -> Tensor:
    top, left, height, width = (round(v * stage.scale) for v in (82, 82, 36, 52))
    return image[0, :, top : top + height, left : left + width]


def _shape_not_values(photo: Tensor, up: Tensor) -> Claim:
    lost = float((up - photo).abs().mean() * 255)
    return Claim(
        "The shape is restored, the values are not",
        up.shape == photo.shape and lost > 0,
        f"{tuple(photo.shape)}; mean difference {lost:.1f} of 255",
    )


def _adjoint(stage: Stage) -> Claim:
    """⟨W x, y⟩ = ⟨x, Wᵀ y⟩, exactly, in whole numbers."""
    x = whole_pixels(stage.grey, 16)
    w = torch.tensor([[[[1.0, 2.0, 1.0], [0.0, -3.0, 4.0], [5.0, 1.0, -2.0]]]])
    wx = run_line("conv2d(x, w, stride=2, padding=1)", {"x": x, "w": w}).result
    y = whole_pixels(stage.photo[:, 1:2, : wx.shape[2], : wx.shape[3]], 16)
    extra = (x.shape[2] + 1) % 2, (x.shape[3] + 1) % 2
    wty = run_line(
        f"conv_transpose2d(y, w, stride=2, padding=1, output_padding={extra})", {"y": y, "w": w}
    ).result
    left, right = (wx.double() * y).sum(), (x.double() * wty).sum()
    return Claim(
        "It is the adjoint: ⟨W x, y⟩ = ⟨x, Wᵀ y⟩ for the photograph x and another picture y",
        bool(left == right),
        f"{int(left):,} on both sides",
    )


def _matrix_transposed(stage: Stage) -> Claim:
    """The textbook's way: the kernel matrix, transposed, times the small picture."""
    x = whole_pixels(stage.grey, 16)[..., :9, :7]
    w = torch.arange(12.0).reshape(1, 1, 3, 4)
    fast = run_line("conv_transpose2d(x, w, stride=2, padding=1)", {"x": x, "w": w}).result
    slow = conv_transpose_kernel_matrix(x, w, stride=2, padding=1)
    return Claim(
        "The kernel matrix, transposed, gives the same on a 9×7 corner with a 3×4 weight",
        torch.equal(fast, slow),
        "equal in every bit",
    )
