"""Speed up a network that somebody else wrote, without touching its code or its weights.

    python examples/speed_up_a_network.py

The network is MobileNet V1 from the `transformers` package with random weights; without that
package a small ConvNeXt-like one, written below. `faltung.optimize_` swaps its convolutions in
place, does BatchNorm and activations in the same pass where nothing else sees what lies between,
and picks one memory layout for the whole network. It checks the result against float64 before it
lets go. `faltung.report` says what runs in each layer, and `faltung.restore_` takes it all back.
"""

import copy
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

import faltung
from faltung.optimize import Report

SIZE = 192
ROUNDS = 9


class Block(nn.Module):
    """A 7×7 depthwise convolution, then two pointwise ones, beside a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.BatchNorm2d(channels)
        self.wide = nn.Conv2d(channels, 4 * channels, 1)
        self.act = nn.GELU()
        self.narrow = nn.Conv2d(4 * channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[N, C, H, W] -> the same shape."""
        y = self.norm(self.depthwise(x))
        short_cut: Tensor = x + self.narrow(self.act(self.wide(y)))
        return short_cut


def small_network() -> nn.Module:
    """Three stages of such blocks."""
    layers: list[nn.Module] = [nn.Conv2d(3, 32, 4, stride=4)]
    for channels, blocks in ((32, 2), (64, 2), (128, 4)):
        if channels > 32:
            layers.append(nn.Conv2d(channels // 2, channels, 2, stride=2))
        layers += [Block(channels) for _ in range(blocks)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(128, 10))


def network() -> tuple[str, nn.Module]:
    """A real network if there is one to be had."""
    try:
        from transformers import MobileNetV1Config, MobileNetV1Model  # noqa: PLC0415
    except ImportError:
        return "a small network like ConvNeXt", small_network().eval()
    return "MobileNet V1 of transformers", MobileNetV1Model(MobileNetV1Config()).eval()


def used_to(model: nn.Module, x: Tensor) -> nn.Module:
    """The model as if it was trained: BatchNorm knows its statistics, and no number vanishes."""
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="linear")
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.cat([x, x.flip(-1)]))
    return model.eval()


def times(contestants: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Median milliseconds of a call of each; they take turns."""
    taken: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, call in contestants.items():
            call()
            begin = time.perf_counter()
            call()
            taken[name].append(time.perf_counter() - begin)
    return {name: 1e3 * statistics.median(seconds) for name, seconds in taken.items()}


def main() -> None:
    """Optimise, compare and restore."""
    torch.manual_seed(0)
    name, model = network()
    x = torch.randn(1, 3, SIZE, SIZE)
    used_to(model, x)
    turned = copy.deepcopy(model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    ours = faltung.optimize_(
        copy.deepcopy(model),
        example_inputs=x,
        fold_batchnorm=True,
        fuse_activations=True,
        verify=True,
    )
    x_turned = x.contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        taken = times(
            {
                "PyTorch": lambda: model(x),
                "PyTorch, channels-last": lambda: turned(x_turned),
                "faltung.optimize_": lambda: ours(x),
            }
        )
    report = faltung.report(ours)
    print(f"{name}, one image of {SIZE}×{SIZE}, {torch.get_num_threads()} threads\n")
    print("the layers that gained most, by estimate:")
    gains = sorted(report.layers, key=lambda layer: (layer.after or 0) - (layer.before or 0))
    print(Report(tuple(gains[:8])), "\n")
    best = min(taken["PyTorch"], taken["PyTorch, channels-last"])
    print(f"{'the whole network':<24}{'ms':>8}{'against PyTorch':>18}")
    for contestant, milliseconds in taken.items():
        print(f"{contestant:<24}{milliseconds:>8.2f}{best / milliseconds:>17.2f}×")
    faltung.restore_(ours)
    assert all(
        torch.equal(a, b) for a, b in zip(ours.parameters(), model.parameters(), strict=True)
    )
    print("\nrestored: the same classes, and every weight to the bit")


if __name__ == "__main__":
    main()
