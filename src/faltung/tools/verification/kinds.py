"""Rows 5 and 13 to 20 of the text: windows, the kinds of convolution, sizes, and learning."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import by_hand, functional, nn, planning
from ...ops.conv.spec import ConvSpec
from ...ops.deform.arguments import deform_spec
from ...ops.geometry import legal_output_paddings, output_size, transposed_output_size
from ...ops.unfold.arguments import unfold_spec
from .checks import Check, Truth, same
from .convolution import Layer, able, checks
from .source import Numbers
from .textbook import arguments

_POINTWISE = (
    "forward n2 c5 o7 i4x3 k1x1 bias float32 cpu",
    "forward n1 c8 o4 i6x6 k1x1 s2 float64 cpu",
    "forward n1 c6 o4 i5 k1 bias float32 cpu",
)
_DEPTHWISE = (
    "forward n2 c4 o4 i7x5 k3x3 p1 g4 bias float32 cpu",
    "forward n1 c3 o6 i9x8 k5x3 s2x1 p2x1 g3 bias float32 cpu",
    "forward n1 c5 o5 i11x11 k3x3 p2 d2 g5 float64 cpu",
)
_SIGNALS = (
    "forward n2 c3 o4 i17 k5 s2 p2 bias float32 cpu",
    "forward n1 c4 o4 i31 k3 p4 d4 g2 float32 cpu",
    "forward n1 c1 o1 i101 k11 p10+0 bias float64 cpu",
)
# (input shape, kernel size, dilation, padding, stride); the first is the text's
_WINDOWS = (
    ((2, 5, 3, 4), (2, 3), 1, 0, 1),
    ((1, 3, 7, 5), (3, 2), (1, 2), (1, 2), (2, 1)),
    ((1, 2, 6, 6), (2, 2), 1, 0, 3),
)


def unfold(numbers: Numbers) -> Iterator[Check]:
    """Row 5: every window a column, N × C·∏K × L; and fold, its adjoint."""
    for shape, *geometry in _WINDOWS:
        x = numbers.image(shape, torch.float32, whole=True)
        spec = unfold_spec(shape, *geometry)
        columns = numbers.image(spec.columns_shape, torch.float32, whole=True)
        truth = Truth(lambda t, g=geometry: by_hand.unfold(t, *g), (x,), whole=True)
        back = Truth(
            lambda t, s=spec, g=geometry: by_hand.fold(t, s.input_size, *g), (columns,), whole=True
        )
        yield truth.check(str(spec), "PyTorch", partial(F.unfold, x, *geometry))
        yield back.check(
            str(spec.adjoint), "PyTorch", partial(F.fold, columns, spec.input_size, *geometry)
        )
        for name in [None, *(a.name for a in able(spec, "unfold"))]:
            run = partial(functional.unfold, x, *geometry, algorithm=name)
            yield truth.check(str(spec), name or "planned", run)
        for name in [None, *(a.name for a in able(spec.adjoint, "unfold"))]:
            run = partial(functional.fold, columns, spec.input_size, *geometry, algorithm=name)
            yield back.check(str(spec.adjoint), name or "planned", run)


def pointwise(numbers: Numbers) -> Iterator[Check]:
    """Row 13: a matrix at every point."""
    yield from checks(
        _POINTWISE[::2],
        numbers,
        {"by hand: matrix product": lambda layer: by_hand.pointwise(layer.a, layer.w, layer.b)},
    )
    yield from checks(_POINTWISE[1:2], numbers)


def depthwise(numbers: Numbers) -> Iterator[Check]:
    """Row 14: one filter, or several, for each channel."""
    ways = {
        "by hand: channel by channel": lambda layer: by_hand.depthwise(
            layer.a, layer.w, layer.b, *arguments(layer)[:3]
        ),
    }
    yield from checks(_DEPTHWISE, numbers, ways)


def depthwise_separable(numbers: Numbers) -> Iterator[Check]:
    """Row 15: depthwise, then pointwise; as a function and as a module."""
    for whole in (True, False):
        x = numbers.image((2, 4, 6, 5), torch.float32, whole=whole)
        shapes = ((4, 1, 3, 3), (7, 4, 1, 1), (4,), (7,))
        dw, pw, db, pb = (numbers.weight(s, torch.float32, whole=whole) for s in shapes)
        module = nn.DepthwiseSeparableConv2d(4, 7, 3, stride=2, padding=1)
        values = {
            "depthwise.weight": dw, "depthwise.bias": db,
            "pointwise.weight": pw, "pointwise.bias": pb,
        }  # fmt: skip
        module.load_state_dict(values)
        truth = Truth(
            lambda *t: by_hand.conv(
                by_hand.conv(t[0], t[1], t[3], 2, 1, 1, 4), t[2], t[4]
            ),
            (x, dw, pw, db, pb),
            whole=whole,
        )  # fmt: skip
        name = "n2 c4 i6x5, 3×3 s2 p1 then 1×1 to 7 channels"
        operands = (x, dw, pw, db, pb, 2, 1)
        ways: dict[str, Callable[[], Tensor]] = {
            "by hand: both steps": partial(by_hand.depthwise_separable, *operands),
            "PyTorch": partial(_separated_by_pytorch, x, dw, pw, db, pb),
            "planned": partial(functional.depthwise_separable_conv2d, *operands),
            "module": partial(module, x),
        }
        for way, compute in ways.items():
            yield truth.check(name, way, compute)
    large = nn.DepthwiseSeparableConv2d(64, 128)
    yield same(
        "1×64×32×32", "module: shape of the output",
        lambda: torch.tensor(large(torch.zeros(1, 64, 32, 32)).shape),
        lambda: torch.tensor((1, 128, 32, 32)),
    )  # fmt: skip


def signals(numbers: Numbers) -> Iterator[Check]:
    """Row 16: a kernel that slides along time."""
    ways = {
        "by hand: im2col": lambda layer: by_hand.conv_im2col(
            layer.a, layer.w, layer.b, *arguments(layer)
        ),
        "by hand: kernel matrix": lambda layer: by_hand.conv_kernel_matrix(
            layer.a, layer.w, layer.b, *arguments(layer)
        ),
    }
    yield from checks(_SIGNALS, numbers, ways)


def causal(numbers: Numbers) -> Iterator[Check]:
    """Row 16, without a look at the future."""
    for stride, dilation, groups in ((1, 1, 1), (2, 1, 2), (1, 3, 4)):
        low = 3 * dilation
        problem = ConvSpec.parse(
            f"forward n2 c4 o4 i13 k4 s{stride} p{low}+0 d{dilation} g{groups} bias float32 cpu"
        )
        by = partial(_causal, by_hand.causal_conv1d)
        ours = partial(_causal, functional.causal_conv1d)
        ways = {"by hand: past only": by, "functional.causal_conv1d": ours}
        yield from checks((str(problem),), numbers, ways)


def deformable(numbers: Numbers) -> Iterator[Check]:
    """Row 17: with no offsets it is a convolution; with offsets every tap looks elsewhere."""
    for whole, version, groups, offset_groups, stride in (
        (True, 1, 1, 1, 1), (False, 1, 1, 1, 1), (True, 2, 2, 2, 2), (False, 2, 2, 2, 2),
    ):  # fmt: skip
        x = numbers.image((version, 4, 6, 5), torch.float32, whole=whole)
        w = numbers.weight((2, 4 // groups, 3, 3), torch.float32, whole=whole)
        b = numbers.weight((2,), torch.float32, whole=whole)
        size = F.conv2d(x, w, b, stride, 1, groups=groups).shape[2:]
        # quarters of a pixel: sums of whole numbers stay exact between the pixels
        shape = (version, 2 * offset_groups * 9, *size)
        offset = numbers.weight(shape, torch.float32, whole=True) / 4
        mask = None
        if version == 2:
            mask = (
                numbers.weight((version, offset_groups * 9, *size), torch.float32, whole=True) / 4
            )
        truth = Truth(partial(_deformed, offset, stride), (x, w, b, mask), whole=whole)
        call = partial(functional.deform_conv2d, x, offset, w, b, stride, 1, 1, mask)
        shapes = (x.shape, offset.shape, w.shape, b.shape, None if mask is None else mask.shape)
        spec = deform_spec(*shapes, stride=stride, padding=1, dilation=1)
        yield truth.check(str(spec), "planned", call)
        for algorithm in able(spec, "deform"):
            yield truth.check(
                str(spec), algorithm.name, partial(call, algorithm=algorithm.name),
                algorithm.error_factor,
            )  # fmt: skip
        yield from _without_offsets(x, w, b, offset, stride, groups, whole=whole)


def large_kernel(numbers: Numbers) -> Iterator[Check]:
    """Row 18: kernels as large as the image, and branches merged into one."""
    problems = (
        "forward n1 c2 o2 i5x7 k9x9 p4 g2 bias float32 cpu",
        "forward n1 c2 o2 i12x6 k11x3 p5x1 g2 float64 cpu",
    )
    yield from checks(problems, numbers)
    for whole in (True, False):
        x = numbers.image((1, 2, 9, 8), torch.float32, whole=whole)
        shapes = ((2, 1, 7, 7), (2, 1, 3, 3), (2, 1, 3, 3))
        weights = [numbers.weight(s, torch.float32, whole=whole) for s in shapes]
        dilations = (1, 1, 2)
        truth = Truth(lambda x, *w: _branches(by_hand.conv, x, w), (x, *weights), whole=whole)
        merged = by_hand.merge_branches(weights, dilations)[0]
        yield truth.check(
            "7×7 + 3×3 + 3×3 d2",
            "PyTorch, three branches",
            partial(_branches, F.conv2d, x, weights),
        )
        yield truth.check(
            "7×7 + 3×3 + 3×3 d2", "by hand: merged",
            partial(by_hand.conv, x, merged, padding="same", groups=2),
        )  # fmt: skip
        yield truth.check(
            "7×7 + 3×3 + 3×3 d2", "planned, merged",
            partial(functional.conv2d, x, merged, padding="same", groups=2),
        )  # fmt: skip


def sizes(numbers: Numbers) -> Iterator[Check]:
    """Row 19: the formula against PyTorch's own shapes, dilation included."""
    worked = {(7, 5, 2, 2): 4, (80, 3, 2, 1): 40, (13, 3, 1, 1): 13, (13, 7, 1, 3): 13}
    for (n, k, s, p), expected in worked.items():
        yield same(
            f"n={n} K={k} s={s} p={p}", "formula",
            partial(lambda *a: torch.tensor(output_size(*a)), n, k, s, (p, p), 1),
            partial(torch.tensor, expected),
        )  # fmt: skip
    grid = itertools.product(range(1, 12), range(1, 5), (1, 2, 3), (0, 1, 2), (1, 2, 3))
    cases = [c for c in grid if output_size(*c[:3], (c[3], c[3]), c[4]) > 0]
    yield same(
        f"{len(cases)} convolutions", "formula against PyTorch",
        lambda: torch.tensor([output_size(n, k, s, (p, p), d) for n, k, s, p, d in cases]),
        lambda: torch.tensor([_size(F.conv1d, *case) for case in cases]),
    )  # fmt: skip
    back = [
        (*case, e) for case in cases for e in legal_output_paddings(case[2], case[4])
        if transposed_output_size(*case[:3], (case[3], case[3]), case[4], e) > 0
    ]  # fmt: skip
    yield same(
        f"{len(back)} transposed convolutions", "formula against PyTorch",
        lambda: torch.tensor(
            [transposed_output_size(n, k, s, (p, p), d, e) for n, k, s, p, d, e in back]
        ),
        lambda: torch.tensor([_transposed_size(*case) for case in back]),
    )  # fmt: skip


def learning(numbers: Numbers) -> Iterator[Check]:
    """Row 20: a filter answers most where its template lies, moves along, and can be learned."""
    template = torch.tensor([[[[1.0, 0.0, -1.0], [2.0, 0.0, -2.0], [1.0, 0.0, -1.0]]]])
    scene = torch.zeros(1, 1, 11, 9)
    scene[..., 5:8, 2:5] = template
    x = numbers.weight((4, 1, 9, 9), torch.float32, whole=False)
    for name in [None, *(a.name for a in planning.algorithms("conv", "cpu"))]:
        conv = partial(functional.conv2d, algorithm=name)
        plain = ConvSpec.parse("forward n1 c1 o1 i11x9 k3x3 float32 cpu")
        around = ConvSpec.parse("forward n1 c1 o1 i11x9 k3x3 p1 circular float32 cpu")
        if name is not None and not all(name in [a.name for a in able(s)] for s in (plain, around)):
            continue
        yield same(
            "a template in an empty scene", f"{name or 'planned'}: strongest answer",
            partial(_strongest, conv, scene, template), lambda: torch.tensor([5, 2]),
        )  # fmt: skip
        yield same(
            "a scene moved by (3, 2)", f"{name or 'planned'}: the answer moves along",
            partial(_moved_first, conv, scene, template),
            partial(_moved_after, conv, scene, template),
        )  # fmt: skip
    yield same(
        "a Sobel filter from its answers", "gradient descent",
        lambda: _learned(functional.conv2d, x, template).round(), lambda: template,
    )  # fmt: skip


def _causal(function: Callable[..., Tensor], layer: Layer) -> Tensor:
    spec = layer.spec
    return function(layer.a, layer.w, layer.b, spec.stride, spec.dilation, spec.groups)


def _deformed(
    offset: Tensor, stride: int, x: Tensor, w: Tensor, b: Tensor, mask: Tensor | None
) -> Tensor:
    return by_hand.deform_conv2d(x, offset.to(x.dtype), w, b, stride, 1, 1, mask)


def _without_offsets(
    x: Tensor, w: Tensor, b: Tensor, offset: Tensor, stride: int, groups: int, *, whole: bool
) -> Iterator[Check]:
    truth = Truth(
        lambda x, w, b: by_hand.conv(x, w, b, stride, 1, 1, groups), (x, w, b), whole=whole
    )  # fmt: skip
    still = torch.zeros_like(offset)
    yield truth.check(
        "deform without offsets", "by hand: a convolution",
        partial(by_hand.deform_conv2d, x, still, w, b, stride, 1),
    )  # fmt: skip
    yield truth.check(
        "deform without offsets", "planned",
        partial(functional.deform_conv2d, x, still, w, b, stride, 1),
    )  # fmt: skip


def _separated(x: Tensor, dw: Tensor, pw: Tensor, db: Tensor, pb: Tensor) -> Tensor:
    return by_hand.conv(by_hand.conv(x, dw, db, 2, 1, 1, 4), pw, pb)


def _separated_by_pytorch(x: Tensor, dw: Tensor, pw: Tensor, db: Tensor, pb: Tensor) -> Tensor:
    return F.conv2d(F.conv2d(x, dw, db, 2, 1, groups=4), pw, pb)


def _branches(conv: Callable[..., Tensor], x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    first, second, third = weights
    return (
        conv(x, first, padding=3, groups=2)
        + conv(x, second, padding=1, groups=2)
        + conv(x, third, padding=2, dilation=2, groups=2)
    )


def _size(conv: Callable[..., Tensor], n: int, k: int, s: int, p: int, d: int) -> int:
    x, w = torch.empty(1, 1, n, device="meta"), torch.empty(1, 1, k, device="meta")
    return conv(x, w, None, s, p, d).shape[-1]


def _transposed_size(n: int, k: int, s: int, p: int, d: int, e: int) -> int:
    x, w = torch.empty(1, 1, n, device="meta"), torch.empty(1, 1, k, device="meta")
    return F.conv_transpose1d(x, w, None, s, p, e, 1, d).shape[-1]


def _strongest(conv: Callable[..., Tensor], scene: Tensor, template: Tensor) -> Tensor:
    answer = conv(scene, template)[0, 0]
    return torch.stack(torch.unravel_index(answer.argmax(), answer.shape))


def _moved_first(conv: Callable[..., Tensor], scene: Tensor, template: Tensor) -> Tensor:
    moved = scene.roll((3, 2), (2, 3))
    return conv(moved, template, padding=1, padding_mode="circular")


def _moved_after(conv: Callable[..., Tensor], scene: Tensor, template: Tensor) -> Tensor:
    return conv(scene, template, padding=1, padding_mode="circular").roll((3, 2), (2, 3))


def _learned(conv: Callable[..., Tensor], x: Tensor, template: Tensor) -> Tensor:
    """Gradient descent on the squared error, its step the inverse of the largest curvature."""
    target = conv(x, template)
    regions = by_hand.region_matrix(x, 3).flatten(0, 1)
    step = 1 / torch.linalg.eigvalsh(regions.T @ regions)[-1]
    w = torch.zeros_like(template, requires_grad=True)
    for _ in range(60):
        loss = (conv(x, w) - target).square().sum() / 2
        (slope,) = torch.autograd.grad(loss, w)
        w = (w - step * slope).detach().requires_grad_()
    return w.detach()
