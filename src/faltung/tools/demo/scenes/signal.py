"""One row of the photograph as a signal in time: causal 1-D convolution."""

import torch
from matplotlib.axes import Axes
from torch import Tensor

from ..chart import Ink, chart
from ..paint import crop
from ..scene import Chart, Claim, Scene, strip
from ..stage import Stage, whole_pixels

ROW = 0.856  # the height of the ribbon bar, as a part of the photograph's
TAPS = 12


def scene(stage: Stage) -> Scene:
    """A row through the ribbons, three channels, each filtered by its past only."""
    height = stage.photo.shape[-2]
    row = round(ROW * height)
    signal = stage.photo[:, :, row].contiguous()
    memory = _memory()
    line = stage.run(
        "causal_conv1d(signal, memory, groups=3)", {"signal": signal, "memory": memory}
    )
    band = stage.photo[0, :, max(0, row - 6) : row + 7]
    return Scene(
        name="signal",
        title="One dimension: a row of pixels as a signal",
        rows="16",
        text="A row through the medal ribbons, read from left to right as if it were time. Each "
        f"colour is smoothed by a filter that remembers {TAPS} pixels, the last one best, and "
        "looks only back: all of its padding lies before the signal. Step for step the answer "
        "follows the signal and never runs ahead of it. Audio and sequence models are made of "
        "this.",
        strips=(
            strip(crop(band, "the row, and six above and below", "A strip with coloured ribbons.")),
            strip(_chart(signal, line.result)),
        ),
        lines=(line,),
        claims=(_causal(stage, row),),
    )


def _memory() -> Tensor:
    """Weights that fade by 0.75 a step into the past and sum to one: [3, 1, TAPS]."""
    fading = 0.75 ** torch.arange(TAPS - 1, -1, -1.0)
    return (fading / fading.sum()).repeat(3, 1, 1)


def _chart(signal: Tensor, filtered: Tensor) -> Chart:
    start = signal.shape[-1] // 2  # the ribbons are in the right half

    def draw(axes: Axes, ink: Ink) -> None:
        x = range(start, signal.shape[-1])
        for c, (name, colour) in enumerate(zip(("red", "blue"), (1, 0), strict=True)):
            channel = 0 if c == 0 else 2
            before, after = signal[0, channel, start:], filtered[0, channel, start:]
            axes.plot(x, before.tolist(), color=ink.series[colour], lw=0.9, alpha=0.55)
            axes.plot(x, after.tolist(), color=ink.series[colour], lw=2.2, label=name)
        axes.set_xlabel("pixel of the row, read as time")
        axes.set_ylabel("brightness")
        axes.set_ylim(0, 1.05)
        axes.margins(x=0.01)
        axes.legend(frameon=False, loc="upper right", ncols=2)

    return chart(
        draw,
        "thin: the red and blue channel; thick: what the causal filter makes of them",
        "Two jagged lines and, behind them in time, two smooth ones.",
    )


def _causal(stage: Stage, row: int) -> Claim:
    signal = whole_pixels(stage.photo[:, :, row])
    half = signal.shape[-1] // 2
    other = signal.clone()
    other[..., half:] = 255 - other[..., half:]
    whole = torch.arange(1.0, TAPS + 1).repeat(3, 1, 1)
    text = "causal_conv1d(x, w, groups=3)"
    first = stage.run(text, {"x": signal, "w": whole}).result
    second = stage.run(text, {"x": other, "w": whole}).result
    return Claim(
        "Causal: turn the second half of the signal into its negative and the first half of the "
        "answer does not change",
        torch.equal(first[..., :half], second[..., :half])
        and not torch.equal(first[..., half:], second[..., half:]),
        "equal in every bit",
    )
