"""The real input: a photograph that comes with matplotlib, and patches cut from it.

The picture is the official portrait of Grace Hopper, a work of the United States Navy and in the
public domain, which matplotlib ships as sample data: nothing is downloaded.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, cast

import numpy as np
import torch
from matplotlib.cbook import get_sample_data
from PIL import Image
from torch import Tensor

NAME = "grace_hopper.jpg"

LEVELS = 7  # whole numbers −3 … 3: sums of a million products stay exact in float32
REACH = 0.4  # part of the photograph that a window spreads over, so that small ones vary too


def load(rows: int, columns: int) -> Tensor:
    """The photograph as float32 [1, 3, rows, columns] with values in 0 … 1, cropped to fit."""
    file = cast("IO[bytes]", get_sample_data(NAME))  # an image name opens a binary file
    with file, Image.open(file) as opened:
        picture = opened.convert("RGB")
    scale = max(rows / picture.height, columns / picture.width)
    width, height = columns / scale, rows / scale
    left, top = (picture.width - width) / 2, (picture.height - height) / 2
    box = (left, top, left + width, top + height)
    fitted = picture.resize((columns, rows), Image.Resampling.LANCZOS, box=box)
    return torch.from_numpy(np.array(fitted)).permute(2, 0, 1)[None].contiguous() / 255


@dataclass
class PhotographSource:
    """Operands of any shape, cut from a photograph.

    A shape whose last two sizes fit into the photograph becomes windows of it, each from another
    place and colour, a small one with gaps between its pixels; any other shape reads the pixels
    row after row and starts again at the end.
    """

    photograph: Tensor
    _places: torch.Generator = field(init=False)
    _edges: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self._places = torch.Generator().manual_seed(1953)
        pixels = self.photograph.flatten().double().sort().values
        between = torch.arange(1, LEVELS) * pixels.numel() // LEVELS
        self._edges = pixels[between]

    def whole(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Small whole numbers −3 … 3: seven steps of brightness with equally many pixels each."""
        if dtype.is_complex:
            return torch.complex(*(self.whole(shape, dtype.to_real()) for _ in range(2)))
        levels = torch.bucketize(self._cut(tuple(shape)).double(), self._edges)
        return (levels - LEVELS // 2).to(dtype)

    def real(self, shape: Sequence[int], dtype: torch.dtype) -> Tensor:
        """Pixels less the photograph's mean, in units of its standard deviation."""
        if dtype.is_complex:
            return torch.complex(*(self.real(shape, dtype.to_real()) for _ in range(2)))
        mean, deviation = self.photograph.mean(), self.photograph.std()
        return ((self._cut(tuple(shape)).double() - mean) / deviation).to(dtype)

    def _cut(self, shape: tuple[int, ...]) -> Tensor:
        rows, columns = self.photograph.shape[-2:]
        if len(shape) >= 2 and 1 <= shape[-2] <= rows and 1 <= shape[-1] <= columns:
            return self._windows(shape)
        pixels = self.photograph.reshape(-1)
        first = self._below(pixels.numel(), 1)
        index = (torch.arange(math.prod(shape)) + first) % pixels.numel()
        return pixels[index].reshape(shape)

    def _windows(self, shape: tuple[int, ...]) -> Tensor:
        *leading, height, width = shape
        rows, columns = self.photograph.shape[-2:]
        row_step = max(1, int(rows * REACH) // height)
        column_step = max(1, int(columns * REACH) // width)
        tall, wide = (height - 1) * row_step + 1, (width - 1) * column_step + 1
        count = math.prod(leading)
        top = self._below(rows - tall + 1, count)[:, None, None]
        left = self._below(columns - wide + 1, count)[:, None, None]
        colour = self._below(self.photograph.shape[1], count)[:, None, None]
        row = top + torch.arange(height)[:, None] * row_step
        column = left + torch.arange(width) * column_step
        return self.photograph[0, colour, row, column].reshape(shape)

    def _below(self, end: int, count: int) -> Tensor:
        """`count` places from 0 to `end` − 1."""
        return torch.randint(end, (count,), generator=self._places)
