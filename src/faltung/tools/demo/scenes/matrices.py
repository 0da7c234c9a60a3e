"""The same convolution as two matrix products, with the photograph's own numbers."""

import torch
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch.nn.functional import conv2d

from ....by_hand import conv2d_fft, conv2d_winograd, kernel_matrix, region_matrix
from ..agreement import agrees
from ..filters import SOBEL_X, gauss, stacked
from ..line import run_line
from ..paint import MARK, overlay
from ..photograph import PhotographSource
from ..scene import Claim, Grid, Picture, Scene, strip
from ..stage import Stage, rows, whole_pixels

SIDE = 5  # pixels of the crop: 3×3 outputs, and matrices that still fit on a page


TEXT = (
    "A 5×5 crop, its brightness in ten steps. Write every region as a row (im2col, what unfold "
    "does) and the nine sums are one product: regions times weights. Or write every output's "
    "weights as a row over the whole input (the kernel matrix) and the nine sums are another: "
    "matrix times pixels. The first repeats pixels, the second repeats weights; the framed row is "
    "the centre output in both."
)


def scene(stage: Stage) -> Scene:
    """im2col and the kernel matrix of a 5×5 crop, both equal to the sliding window."""
    top, left = _corner(stage)
    cut = (..., slice(top, top + SIDE), slice(left, left + SIDE))
    crop = whole_pixels(stage.grey, 10)[cut].contiguous()
    weight = stacked(SOBEL_X)
    regions = region_matrix(crop, (3, 3))[0]
    kernel = kernel_matrix(weight, (SIDE, SIDE))
    line = run_line("conv2d(crop, sobel)", {"crop": crop, "sobel": weight})
    by_regions = regions @ weight.flatten()
    by_kernel = kernel @ crop.flatten()
    return Scene(
        name="matrices",
        title="The same as a matrix product, twice",
        rows="3, 5, 6",
        text=TEXT,
        strips=(
            strip(
                _where(stage, top, left),
                Grid("the crop, 5×5", rows(crop[0, 0]), marked=_centre()),
                Grid("the weight, 3×3", rows(SOBEL_X)),
                Grid("the result, 3×3", rows(line.result[0, 0]), marked=frozenset({(1, 1)})),
            ),
            strip(
                Grid(
                    "region matrix: 9 outputs × 9 taps",
                    rows(regions),
                    marked=frozenset((4, j) for j in range(9)),
                    share=0.55,
                ),
            ),
            strip(
                Grid(
                    "kernel matrix: 9 outputs × 25 inputs",
                    rows(kernel),
                    marked=frozenset((4, j) for j in range(SIDE * SIDE)),
                ),
            ),
        ),
        lines=(line,),
        claims=(
            Claim(
                "regions @ weight and kernel matrix @ pixels give the sliding window's numbers",
                torch.equal(by_regions, line.result.flatten())
                and torch.equal(by_kernel, line.result.flatten()),
                ", ".join(f"{v:.0f}".replace("-", "−") for v in by_regions),
            ),
            *_agreement(stage),
        ),
    )


def _corner(stage: Stage) -> tuple[int, int]:
    """Where the strongest edge of the photograph is: the crop's top left corner."""
    across = run_line("conv2d(x, w)", {"x": stage.grey, "w": stacked(SOBEL_X)}).result[0, 0]
    place = int(across.abs().argmax())
    row, column = divmod(place, across.shape[1])
    limits = (stage.grey.shape[-2] - SIDE, stage.grey.shape[-1] - SIDE)
    return min(max(row - 1, 0), limits[0]), min(max(column - 1, 0), limits[1])


def _centre() -> frozenset[tuple[int, int]]:
    return frozenset((i, j) for i in range(1, 4) for j in range(1, 4))


def _where(stage: Stage, top: int, left: int) -> Picture:
    """The photograph with the crop's place framed; the frame is wider than the crop, to be seen."""

    def draw(axes: Axes) -> None:
        margin = 4
        corner, side = (left - margin - 0.5, top - margin - 0.5), SIDE + 2 * margin
        for colour, width in (("white", 5), (MARK, 2.5)):
            axes.add_patch(Rectangle(corner, side, side, fill=False, ec=colour, lw=width))

    return overlay(
        stage.photo[0], draw, "where the crop is", "The portrait with a small frame on an edge."
    )


def _agreement(stage: Stage) -> tuple[Claim, ...]:
    """Winograd's and Fourier's ways to the same picture, each within a direct sum's budget."""
    x, bell = stage.grey, gauss(15, 3.0)[None, None]
    mixed = PhotographSource(stage.photo).real((8, 3, 3, 3), torch.float32)
    return (
        agrees(
            "Winograd F(2×2, 3×3) agrees on the whole photograph, with 8 filters over 3 colours",
            conv2d_winograd(stage.photo, mixed),
            conv2d,
            (stage.photo, mixed),
        ),
        agrees(
            "The Fourier transform agrees on the whole photograph, with a 15×15 weight",
            conv2d_fft(x, bell),
            conv2d,
            (x, bell),
        ),
    )
