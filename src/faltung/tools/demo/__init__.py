"""`faltung demo`: every operator on one photograph, verified, drawn and written as a report.

The input is real: a photograph that matplotlib ships, and the layer shapes of real networks. What
is shown was run: the lines of code are evaluated as they are printed, the statements under the
pictures are computed, and a single one that does not hold makes the exit status 1.
"""

import time
import webbrowser
from collections.abc import Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress

from .. import verify
from ..verification.checks import Row
from .layers import LAYERS, Checked, check_layers
from .photograph import PhotographSource
from .report import Findings, write
from .scene import Scene
from .scenes import SCENES
from .sizes import FULL, Sizes
from .slides import write_slides
from .stage import Stage
from .terminal import progress, summary


def run(output: Path, open_report: bool = False, sizes: Sizes = FULL) -> int:
    """Do everything, write `index.html` and the slides into `output`; 0 if all of it held, else 1.

    With `open_report` the report is shown in the browser.
    """
    output.mkdir(parents=True, exist_ok=True)
    console = Console()
    start = time.perf_counter()
    with progress(console) as bars, torch.random.fork_rng(devices=[]):
        stage = Stage.set(sizes)
        rows = list(_verified(bars, stage))
        layers = list(_checked(bars, stage))
        scenes = list(_drawn(bars, stage))
        findings = Findings(rows, layers, scenes, time.perf_counter() - start)
        path = write(findings, stage, output)
        write_slides(scenes, output / "slides")
    console.print(summary(findings))
    for text in findings.broken:
        console.print(f"[bold red]does not hold[/]: {text}", highlight=False)
    console.print(
        f"{findings.cases:,} checks, {len(layers)} layers, {findings.claims} statements in "
        f"{findings.seconds:.0f} s: {'not all hold' if findings.broken else 'everything holds'}",
        highlight=False,
    )
    console.print(str(path.resolve()), highlight=False, soft_wrap=True)
    if open_report:
        webbrowser.open(path.resolve().as_uri())
    return 1 if findings.broken else 0


def _verified(bars: Progress, stage: Stage) -> Iterator[Row]:
    task = bars.add_task("systems of the text", total=None, now="")
    for row in verify.verify_systems(PhotographSource(stage.photo)):
        bars.update(task, advance=1, now=row.system)
        yield row
    done = bars.tasks[task].completed
    bars.update(task, total=done, now="")


def _checked(bars: Progress, stage: Stage) -> Iterator[Checked]:
    layers = LAYERS[: stage.sizes.layers]
    task = bars.add_task("layers of networks", total=len(layers), now=layers[0].name)
    for checked in check_layers(PhotographSource(stage.photo), stage.sizes.layers):
        bars.update(task, advance=1, now=checked.layer.name)
        yield checked
    bars.update(task, now="")


def _drawn(bars: Progress, stage: Stage) -> Iterator[Scene]:
    task = bars.add_task("pictures", total=len(SCENES), now="")
    for name, make in SCENES.items():
        bars.update(task, now=name)
        yield make(stage)
        bars.update(task, advance=1)
    bars.update(task, now="")
