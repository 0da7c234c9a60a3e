"""Running Winograd's routine as it is cut by hand, for tests."""

import torch
from torch import Tensor
from torch.nn import functional as F

from faltung.lang.compile import compiled
from faltung.ops.scratch import with_scratch
from faltung.parts import activation, taps, transpose
from faltung.parts.winograd import problem as winograd_problem
from faltung.parts.winograd import routine as winograd_routine
from faltung.parts.winograd import strips as winograd_strips
from faltung.parts.winograd import tiles as winograd_tiles
from faltung.parts.winograd import transforms as winograd_transforms
from faltung.parts.winograd import weights
from faltung.parts.winograd.problem import Layout, Problem
from faltung.parts.winograd.weights import FilterRoutine, Filters

PARTS = (activation, taps, transpose, winograd_problem, winograd_routine, winograd_strips,
         winograd_tiles, winograd_transforms)  # fmt: skip


def run(layout: Layout, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """The routine's result, [N, O, D, H, W], for x in the memory order of the problem."""
    p = layout.problem
    routine = with_scratch(compiled(
        f"test {p} {layout.cutting}", winograd_routine.BUFFERS + p.bias,
        lambda: winograd_routine.winograd_routine(layout),
        sources=[__file__, *(str(part.__file__) for part in PARTS)],
    ))  # fmt: skip
    order = torch.channels_last_3d if p.last else torch.contiguous_format
    wide, threads = getattr(torch, p.wide_dtype), torch.get_num_threads()
    sizes = [axis.outputs for axis in (p.depth, p.high, p.wide)]
    shape = (p.batch, p.groups * p.outputs, *sizes)
    y = torch.empty(shape, dtype=getattr(torch, p.dtype), memory_format=order)
    given = [
        y, x.contiguous(memory_format=order), transformed_weight(layout, w),
        torch.tensor([float(c) for c in layout.factors], dtype=wide),
        *([] if bias is None else [bias]),
    ]  # fmt: skip
    routine(threads, *[t.data_ptr() for t in given])
    return y


def transformed_weight(layout: Layout, w: Tensor, filters: Filters | None = None) -> Tensor:
    """The transformed weight, of [groups · outputs, inputs, D, H, W] if nothing else is said."""
    p, taps = layout.problem, w[0, 0].numel()
    if filters is None:
        one = p.inputs * taps
        filters, w = Filters(w.numel(), p.outputs * one, one, taps, 1), w.contiguous()
    routine = with_scratch(compiled(
        f"test {p} {layout.cutting} {filters}", weights.BUFFERS,
        lambda: FilterRoutine(layout, filters).r,
        sources=[__file__, str(weights.__file__), *(str(part.__file__) for part in PARTS)],
    ))  # fmt: skip
    made = torch.full((layout.weights,), torch.nan, dtype=getattr(torch, p.wide_dtype))
    routine(torch.get_num_threads(), made.data_ptr(), w.data_ptr())
    return made


def expected(problem: Problem, x: Tensor, w: Tensor, bias: Tensor | None = None) -> Tensor:
    """The same from PyTorch, in float64."""
    axes = (problem.depth, problem.high, problem.wide)
    pads = []
    for axis in reversed(axes):
        pads += [axis.low, axis.seen - axis.low - axis.inputs]
    padded = F.pad(x.double(), pads)
    dilation = [axis.dilation for axis in axes]
    bias = None if bias is None else bias.double()
    stride = [axis.stride for axis in axes]
    return F.conv3d(padded, w.double(), bias, stride, 0, dilation, problem.groups)


def operands(problem: Problem, most: int = 2) -> tuple[Tensor, Tensor, Tensor | None]:
    """x, w and perhaps a bias of small whole numbers."""
    p, dtype = problem, getattr(torch, problem.dtype)
    axes = (p.depth, p.high, p.wide)
    shapes = [
        (p.batch, p.groups * p.inputs, *(axis.inputs for axis in axes)),
        (p.groups * p.outputs, p.inputs, *(axis.taps for axis in axes)),
    ]
    x, w = (torch.randint(-most, most + 1, shape).to(dtype) for shape in shapes)
    return x, w, torch.arange(p.groups * p.outputs).sub(3).to(dtype) if p.bias else None
