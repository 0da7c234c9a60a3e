"""Forward and backward of single layers as in a training step, ours against PyTorch.

    python benchmarks/gradients.py [part of a name] [--batch 1 4] [--threads 1] [--seconds 1]

A step is the forward pass and the gradients of input, weight and bias. Before each step the weight
counts as changed, as an optimizer would have it, so whatever is made from the weight is made anew.
Ours and PyTorch's take turns, each in both memory layouts; a figure is the median of the rounds, a
ratio the faster layout of PyTorch's divided by the faster of ours.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

import faltung
from faltung.ops.conv.spec import ConvSpec

CASES = {
    "convnext dw7x7 96 56": "c96 o96 i56x56 k7x7 p3 g96",
    "convnext dw7x7 384 14": "c384 o384 i14x14 k7x7 p3 g384",
    "van dw7x7d3 64 56": "c64 o64 i56x56 k7x7 p9 d3 g64",
    "replknet dw31x31 128 56": "c128 o128 i56x56 k31x31 p15 g128",
    "mamba dw1d k4 1536 2048": "c1536 o1536 i2048 k4 p3+0 g1536",
    "mobilenet dw3x3 144 56": "c144 o144 i56x56 k3x3 p1 g144",
    "mobilenet dw3x3s2 144 56": "c144 o144 i56x56 k3x3 s2 p1 g144",
    "resnext 3x3 g32 128 56": "c128 o128 i56x56 k3x3 p1 g32",
    "resnet 3x3 64 56": "c64 o64 i56x56 k3x3 p1",
    "resnet 3x3 128 28": "c128 o128 i28x28 k3x3 p1",
    "resnet 3x3 256 14": "c256 o256 i14x14 k3x3 p1",
    "resnet 3x3 512 7": "c512 o512 i7x7 k3x3 p1",
    "resnet 3x3s2 128 56": "c128 o128 i56x56 k3x3 s2 p1",
    "resnet 1x1 256->64 56": "c256 o64 i56x56 k1x1",
    "resnet stem 7x7s2": "c3 o64 i224x224 k7x7 s2 p3",
    "tcn 1-D d8 64 16000": "c64 o64 i16000 k3 p16+0 d8",
    "dw3d 7x7x7 32 16": "c32 o32 i16x16x16 k7x7x7 p3 g32",
}
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}
_PYTORCH = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d,
            3: torch.nn.functional.conv3d}  # fmt: skip
_OURS = {1: faltung.functional.conv1d, 2: faltung.functional.conv2d, 3: faltung.functional.conv3d}
_SLOW = 0.1  # seconds of a step that is run three times only


def step(
    convolve: Callable[..., Tensor], spec: ConvSpec, order: torch.memory_format
) -> Callable[[], object]:
    """One training step of a layer, as a call without arguments."""

    def operand(shape: tuple[int, ...]) -> Tensor:
        return torch.randn(shape).contiguous(memory_format=order)

    x, w, gy = operand(spec.x_shape), operand(spec.w_shape), operand(spec.y_shape)
    leaves = [t.requires_grad_() for t in (x, w, torch.randn(spec.out_channels))]

    def run() -> object:
        torch.autograd.graph.increment_version(w)
        return torch.autograd.grad(convolve(*leaves), leaves, gy)

    return run


def contestants(spec: ConvSpec) -> dict[str, Callable[[], object]]:
    """Ours and PyTorch's in every memory layout that there is."""
    ours = partial(_OURS[spec.dims], stride=spec.stride, padding=spec.padding,
                   dilation=spec.dilation, groups=spec.groups)  # fmt: skip
    # PyTorch pads both ends alike; what that is too much of is cut off again, as its users do
    padding = tuple(max(pair) for pair in spec.padding)
    cut = any(low != high for low, high in spec.padding)

    def theirs(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
        convolve = _PYTORCH[spec.dims]
        y = convolve(x, w, b, spec.stride, padding, spec.dilation, spec.groups)
        return y[..., : spec.output_size[-1]] if cut else y

    orders = {"contiguous": torch.contiguous_format}
    if spec.dims > 1:
        orders["channels last"] = _CHANNELS_LAST[spec.dims + 2]
    found = {}
    for name, order in orders.items():
        found[f"ours {name}"] = step(ours, spec, order)
        found[f"PyTorch {name}"] = step(theirs, spec, order)
    return found


def rounds(runs: dict[str, Callable[[], object]], seconds: float) -> dict[str, float]:
    """Median seconds of each, in turns."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    first = {}
    for name, run in runs.items():
        run()
        begin = time.perf_counter()
        run()
        first[name] = time.perf_counter() - begin
    begin, turn = time.perf_counter(), 0
    while turn < 3 or (time.perf_counter() - begin < seconds and turn < 200):
        for name, run in runs.items():
            if first[name] > _SLOW and turn >= 1:
                continue
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
        turn += 1
    return {name: statistics.median(times) for name, times in taken.items()}


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--batch", type=int, nargs="+", default=[1])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    print("| layer | batch | ours ms | PyTorch ms | ratio |\n| --- | --- | --- | --- | --- |")
    for name, words in CASES.items():
        for batch in asked.batch if asked.name in name else ():
            spec = ConvSpec.parse(f"forward n{batch} {words} float32 cpu")
            times = rounds(contestants(spec), asked.seconds)
            ours, theirs = (
                [seconds for contestant, seconds in times.items() if contestant.startswith(who)]
                for who in ("ours", "PyTorch")
            )
            figures = [" / ".join(f"{t * 1e3:.2f}" for t in some) for some in (ours, theirs)]
            ratio = min(theirs) / min(ours)
            print(f"| {name} | {batch} | {figures[0]} | {figures[1]} | {ratio:.2f} |", flush=True)


if __name__ == "__main__":
    main()
