"""The commands of `faltung`: what each takes; the work is in the file that each names."""

from pathlib import Path
from typing import Annotated

import typer

from .. import __version__, planning
from ..errors import ArgumentError
from ..ops.conv.spec import ConvSpec
from ..settings import using
from . import cache, counts, doctor, field, options, sizes
from .options import LayerOptions
from .printing import show, show_json
from .problems import read_problem

app = typer.Typer(
    help="Every convolution for PyTorch, by hand and at full speed.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

Input = Annotated[str, typer.Option("--input", "-i", help="Input size: 80, or 56x48 per axis.")]
Kernel = Annotated[str, typer.Option("--kernel", "-k", help="Kernel size.")]
Stride = Annotated[str, typer.Option("--stride", "-s", help="Stride.")]
Padding = Annotated[
    str,
    typer.Option(
        "--padding", "-p", help="1, 1x2 per axis, 1+2 low+high, same, same_lower, valid, causal."
    ),
]
Dilation = Annotated[str, typer.Option("--dilation", "-d", help="Dilation.")]
Transposed = Annotated[bool, typer.Option("--transposed", help="Transposed convolution.")]
OutputPadding = Annotated[str, typer.Option("--output-padding", help="With --transposed.")]
Channels = Annotated[int, typer.Option("--channels", "-c", help="Input channels.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON and nothing else.")]
Problem = Annotated[
    list[str] | None,
    typer.Argument(help="A spelled problem: forward n1 c64 o64 i56x56 k3x3 p1 float32 cpu."),
]


@app.callback(invoke_without_command=True)
def _faltung(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    if version:
        show(f"faltung {__version__}")
        raise typer.Exit
    if context.invoked_subcommand is None:
        show(context.get_help())


@app.command("size")
def _size(
    input: Input,
    kernel: Kernel,
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    transposed: Transposed = False,
    output_padding: OutputPadding = "0",
    as_json: Json = False,
) -> None:
    """Output size, with the formula filled in and what the floor throws away."""
    layer = LayerOptions(input, kernel, stride, padding, dilation, output_padding, transposed)
    spec = options.layer_spec(layer)
    extra = options.sizes(output_padding, "--output-padding")
    if as_json:
        show_json(sizes.facts(spec, extra))
    else:
        show(sizes.text(spec, extra))


@app.command("count")
def _count(
    problem: Problem = None,
    input: Annotated[str | None, typer.Option("--input", "-i", help="Input size.")] = None,
    kernel: Annotated[str | None, typer.Option("--kernel", "-k", help="Kernel size.")] = None,
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    transposed: Transposed = False,
    output_padding: OutputPadding = "0",
    channels: Channels = 1,
    out_channels: Annotated[int | None, typer.Option("--out-channels", "-o")] = None,
    groups: Annotated[int, typer.Option("--groups", "-g")] = 1,
    batch: Annotated[int, typer.Option("--batch", "-n")] = 1,
    bias: Annotated[bool, typer.Option("--bias", help="One bias per output channel.")] = False,
    dtype: Annotated[str, typer.Option("--dtype")] = "float32",
    as_json: Json = False,
) -> None:
    """Parameters, multiply-adds and memory of a layer, beside its cheaper relatives."""
    if problem:
        spec = ConvSpec.parse(" ".join(problem))
    elif input is None or kernel is None:
        raise ArgumentError("count needs --input and --kernel, or a spelled problem")
    else:
        outputs = channels if out_channels is None else out_channels
        spec = options.layer_spec(
            LayerOptions(
                input, kernel, stride, padding, dilation, output_padding, transposed, channels,
                outputs, groups, batch, bias, dtype,
            )
        )  # fmt: skip
    if as_json:
        show_json(counts.facts(spec))
    else:
        show(counts.report(spec))


@app.command("explain")
def _explain(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="A spelled problem, or a model: package.module:name(arguments)."),
    ] = None,
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="Input size; a model's input: 1x3x224x224, repeatable."),
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", "-l", help="Name in the model.")] = None,
    kernel: Annotated[str | None, typer.Option("--kernel", "-k", help="Kernel size.")] = None,
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    transposed: Transposed = False,
    output_padding: OutputPadding = "0",
    channels: Channels = 1,
    out_channels: Annotated[int | None, typer.Option("--out-channels", "-o")] = None,
    groups: Annotated[int, typer.Option("--groups", "-g")] = 1,
    batch: Annotated[int, typer.Option("--batch", "-n")] = 1,
    bias: Annotated[bool, typer.Option("--bias", help="One bias per output channel.")] = False,
    dtype: Annotated[str, typer.Option("--dtype")] = "float32",
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    as_json: Json = False,
) -> None:
    """A layer explained: sizes, costs, field, relatives, what runs and why, and its code."""
    from .explain import command  # noqa: PLC0415  (may run a model)

    described = None
    if kernel is not None and input:
        outputs = channels if out_channels is None else out_channels
        described = LayerOptions(
            input[0], kernel, stride, padding, dilation, output_padding, transposed, channels,
            outputs, groups, batch, bias, dtype,
        )  # fmt: skip
    command.run(what or [], described, input or [], layer, as_json=as_json, html=html)


@app.command("summary")
def _summary(
    model: Annotated[str, typer.Argument(help="package.module:name(arguments), or file.py:name.")],
    input: Annotated[
        list[str] | None,
        typer.Option("--input", "-i", help="Shape of an input: 1x3x224x224; repeatable."),
    ] = None,
    html: Annotated[Path | None, typer.Option("--html", help="Write a page to this file.")] = None,
    as_json: Json = False,
) -> None:
    """Every layer of a model: parameters, multiply-adds, bytes, field, algorithm, gain."""
    from .summary import command  # noqa: PLC0415  (runs a model)

    command.run(model, input or [], as_json=as_json, html=html)


@app.command("field")
def _field(
    layers: Annotated[list[str], typer.Argument(help="First layer first: k7s2p3 k3s2p1 Tk4s2p1.")],
    as_json: Json = False,
) -> None:
    """Receptive field of a stack of layers: k kernel, s stride, p padding, d dilation."""
    if as_json:
        show_json(field.facts(layers))
    else:
        show(field.table(layers))


@app.command("plan")
def _plan(
    problem: Annotated[list[str], typer.Argument(help="A spelled problem.")],
    family: Annotated[str | None, typer.Option(help="conv, deform or unfold.")] = None,
    algorithm: Annotated[str | None, typer.Option(help="Force this algorithm.")] = None,
    accuracy: Annotated[str, typer.Option(help="exact, default or fast.")] = "default",
    measure: Annotated[
        bool, typer.Option("--measure", help="Run what could do it; not only estimate.")
    ] = False,
) -> None:
    """Which algorithm does a problem, what else could, and why the rest cannot."""
    spec, family = read_problem(problem, family)
    with using(algorithm=algorithm, accuracy=accuracy, measure=measure) as settings:
        show(str(planning.plan(spec, family, settings)))


@app.command("draw")
def _draw(
    kind: Annotated[str | None, typer.Argument(help="What to draw: see --list.")] = None,
    words: Annotated[
        list[str] | None, typer.Argument(help="A spelled problem; for field layers: k3 k3s2p1.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File: .svg, .png, or moving .gif.")
    ] = None,
    input: Annotated[str | None, typer.Option("--input", "-i", help="Input size.")] = None,
    kernel: Annotated[str | None, typer.Option("--kernel", "-k", help="Kernel size.")] = None,
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    transposed: Transposed = False,
    output_padding: OutputPadding = "0",
    channels: Annotated[int | None, typer.Option("--channels", "-c")] = None,
    out_channels: Annotated[int | None, typer.Option("--out-channels")] = None,
    groups: Annotated[int | None, typer.Option("--groups", "-g")] = None,
    theme: Annotated[str, typer.Option(help="light or dark.")] = "light",
    frame: Annotated[int | None, typer.Option(help="Which frame a still picture shows.")] = None,
    listed: Annotated[bool, typer.Option("--list", help="Which kinds there are.")] = False,
) -> None:
    """Draw a layer with its numbers, still or moving; nothing said is the kind's example."""
    from .draw import command  # noqa: PLC0415  (draws, so it needs more than the other commands)

    if listed or kind is None:
        show(command.listing())
        return
    asked = command.Asked(
        input, kernel, stride, padding, dilation, output_padding, transposed, channels,
        out_channels, groups,
    )  # fmt: skip
    show(command.run(kind, words or [], asked, output, theme, frame))


@app.command("doctor")
def _doctor(as_json: Json = False) -> None:
    """What machine and software this is, and whether a convolution equals its definition."""
    found = doctor.examine()
    if as_json:
        show_json(doctor.facts(found))
    else:
        show(doctor.report(found))
    raise typer.Exit(0 if found.healthy else 1)


@app.command("verify")
def _verify(
    only: Annotated[str | None, typer.Option(help="Only systems whose name contains this.")] = None,
    as_json: Json = False,
) -> None:
    """Check every operator, by hand and by every algorithm, against its definition."""
    from . import verify  # noqa: PLC0415  (the one command that loads every operator)

    raise typer.Exit(verify.run(only, as_json=as_json))


@app.command("bench")
def _bench(
    what: Annotated[
        list[str] | None,
        typer.Argument(help="A family, a part of case names, or a spelled problem; else all."),
    ] = None,
    json: Annotated[
        Path | None, typer.Option("--json", help="File for the results, or folder of such files.")
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads; else as many as PyTorch has.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Few rounds: to look, not to report.")
    ] = False,
    planner: Annotated[
        bool, typer.Option("--planner", help="Judge our choices instead: regret by layer.")
    ] = False,
) -> None:
    """Time real layers: ours against PyTorch and ONNX Runtime, each result checked first."""
    from .bench import command  # noqa: PLC0415  (loads every operator)

    if planner:
        raise typer.Exit(command.judge(what or [], json=json, threads=threads))
    raise typer.Exit(command.run(what or [], json=json, threads=threads, quick=quick))


@app.command("cache")
def _cache(
    clear: Annotated[bool, typer.Option("--clear", help="Remove what is kept.")] = False,
    as_json: Json = False,
) -> None:
    """Where compiled routines and what was measured are kept, and how many files there are."""
    found = cache.cleared() if clear else cache.kept()
    if as_json:
        show_json(cache.facts(found))
    else:
        show(cache.text(found))


@app.command("explore")
def _explore(
    problem: Problem = None,
    input: Input = "5x5",
    kernel: Kernel = "3",
    stride: Stride = "1",
    padding: Padding = "0",
    dilation: Dilation = "1",
    transposed: Transposed = False,
    output_padding: OutputPadding = "0",
    channels: Annotated[int, typer.Option("--channels", "-c", help="Input channels.")] = 1,
    out_channels: Annotated[int | None, typer.Option("--out-channels", "-o")] = None,
    groups: Annotated[int, typer.Option("--groups", "-g")] = 1,
    padding_mode: Annotated[
        str, typer.Option(help="zeros, reflect, replicate or circular.")
    ] = "zeros",
    bias: Annotated[bool, typer.Option(help="One bias per output channel.")] = True,
    output: Annotated[Path, typer.Option("--output", help="File to write.")] = Path(
        "faltung-explorer.html"
    ),
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Show the page.")] = True,
) -> None:
    """A layer to play with in the browser: window, columns, matrix and loops, lit together."""
    from .explore import command  # noqa: PLC0415  (reads the page's sources)

    described = LayerOptions(
        input, kernel, stride, padding, dilation, output_padding, transposed, channels,
        channels if out_channels is None else out_channels, groups, bias=bias,
    )  # fmt: skip
    command.run(problem or [], described, padding_mode, output, open_page=open_page)


@app.command("demo")
def _demo(
    output: Annotated[Path, typer.Argument(help="Folder to write to.")] = Path("faltung-demo"),
    open_report: Annotated[bool, typer.Option("--open", help="Open the report.")] = False,
) -> None:
    """Run every operator on a photograph and write an illustrated report."""
    from . import demo  # noqa: PLC0415  (draws, so it needs more than the other commands)

    raise typer.Exit(demo.run(output, open_report=open_report))


@app.command("version")
def _version() -> None:
    """Print the version."""
    show(f"faltung {__version__}")
