"""What every scene starts from: the photograph, in colour and in grey, and the demo's sizes."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .line import Line, run_line
from .photograph import load
from .sizes import Sizes


@dataclass(frozen=True)
class Stage:
    """`photo` is [1, 3, H, W], `grey` [1, 1, H, W]; values 0 … 1."""

    sizes: Sizes
    photo: Tensor
    grey: Tensor
    made_grey: Line

    @classmethod
    def set(cls, sizes: Sizes) -> "Stage":
        """Load the photograph and make it grey with a 1×1 convolution."""
        photo = load(*sizes.photograph)
        # what the eye makes of linear red, green and blue (ITU-R BT.709)
        luminance = torch.tensor([0.2126, 0.7152, 0.0722]).view(1, 3, 1, 1)
        line = run_line("conv2d(photo, luminance)", {"photo": photo, "luminance": luminance})
        return cls(sizes, photo, line.result, line)

    def run(self, text: str, names: Mapping[str, Any]) -> Line:
        """Run a line that may use `photo` and `grey` besides the given names."""
        return run_line(text, {"photo": self.photo, "grey": self.grey, **names})

    @property
    def scale(self) -> float:
        """Size of this photograph relative to the demo's full one."""
        return self.photo.shape[-1] / Sizes().photograph[1]


def rows(values: Tensor) -> list[list[float]]:
    """A matrix [R, C] as lists, for a `Grid`."""
    return [[float(v) for v in row] for row in values]


def whole_pixels(image: Tensor, levels: int = 256) -> Tensor:
    """An image 0 … 1 in whole numbers 0 … levels − 1, where float32 sums are exact."""
    return (image * levels).floor().clamp(0, levels - 1)
