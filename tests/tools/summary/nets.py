"""Models that the summary is tried on."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import faltung


class Block(nn.Module):
    """A residual block with a bottleneck of branches."""

    def __init__(self, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, stride, 1)
        self.norm = nn.BatchNorm2d(channels)
        self.b = nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), groups=channels)
        self.skip = nn.Conv2d(channels, channels, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        return F.relu(self.b(F.relu(self.norm(self.a(x)))) + self.skip(x))


class Branches(nn.Module):
    """A small encoder and decoder: every kind of layer, and every way to call one."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 5, 2, 2)
        self.one, self.two = Block(8), Block(8, stride=2)
        self.weight = nn.Parameter(torch.ones(8, 8, 3, 3))
        self.up = nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.ours = faltung.nn.Conv2d(12, 6, 3, padding="same", dilation=2)
        self.mix = nn.Sequential(nn.Linear(6, 12), nn.GELU(), nn.Linear(12, 6))
        self.head = nn.Linear(6, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Class scores."""
        early = self.one(self.stem(x))
        deep = F.conv2d(self.two(early), self.weight, padding=2, dilation=2)
        x = self.ours(torch.cat([early, self.up(deep)], 1))
        x = x + self.mix(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = faltung.functional.conv2d(x, torch.ones(6, 1, 3, 3), groups=6, padding=1)
        return self.head(F.adaptive_avg_pool2d(F.max_pool2d(x, 2), 1).flatten(1))


class Basic(nn.Module):
    """ResNet's basic block."""

    def __init__(self, channels: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.skip: nn.Module = nn.Identity()
        if stride > 1:
            narrow = nn.Conv2d(channels, outputs, 1, stride, bias=False)
            self.skip = nn.Sequential(narrow, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The block's output."""
        y = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(y)) + self.skip(x))


class ResNet18(nn.Sequential):
    """He et al., arXiv 1512.03385, table 1, second column."""

    def __init__(self) -> None:
        stem = [
            nn.Conv2d(3, 64, 7, 2, 3, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, 2, 1),
        ]
        stages = [Basic(64, 64, 1), Basic(64, 64, 1)]
        for width in (64, 128, 256):
            stages += [Basic(width, 2 * width, 2), Basic(2 * width, 2 * width, 1)]
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 1000)]
        super().__init__(*stem, *stages, *head)
