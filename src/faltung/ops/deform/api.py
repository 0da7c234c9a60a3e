"""`deform_conv2d` as users call it, with torchvision's names and order of arguments.

    y[n, o, q] = b[o] + Σ_{c, t} w[o, c, t] · m[n, f, t, q] · x̂[n, c, p]
             p = q·s − low + t·d + δ[n, f, t, q]

Use it where objects change shape or scale across an image: a second, ordinary convolution looks at
the image and says, per output, where each tap of this one should look.
"""

from typing import Any

import torch
from torch import Tensor

from ... import planning, settings
from ..geometry import flat
from ..operands import autocasts, checked
from ..tracing import is_symbolic
from .arguments import deform_spec, deform_windows
from .spec import DeformSpec

_is_compiling = torch.compiler.is_dynamo_compiling

# made of PyTorch's operators and of index arithmetic that symbols can do
_FOR_EVERY_SIZE = "gather_torch"


def deform_conv2d(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = (1, 1),
    padding: Any = (0, 0),
    dilation: Any = (1, 1),
    mask: Tensor | None = None,
    *,
    activation: str | None = None,
    algorithm: str | None = None,
) -> Tensor:
    """Convolution whose taps are moved by offsets: (N, C, H, W) -> (N, O, OH, OW), or without N.

    `weight` is (O, C/groups, KH, KW). `offset` (N, 2·F·KH·KW, OH, OW) holds (dy, dx) in pixels for
    each tap, row-major, once per offset group; the F groups divide the channels. `mask`
    (N, F·KH·KW, OH, OW) multiplies each sample (version 2). Groups and offset groups follow from
    the shapes. Padding is an integer, one entry per axis (an integer or a (low, high) pair),
    `"valid"`, `"same"` or `"same_lower"`.

    A sample between pixels is bilinear; past the border it fades to zero within one pixel. A NaN
    among the offsets makes the outputs that use it NaN, an infinite offset samples zero.

    Equivalent to `torchvision.ops.deform_conv2d(input, offset, weight, bias, stride, padding,
    dilation, mask)`; differentiable any number of times in every tensor.

    Raises `ArgumentError` or `ArgumentTypeError` for arguments that do not fit together. Sources:
    Dai et al., arXiv 1703.06211, section 2.1; Zhu et al., arXiv 1811.11168, section 3.2.

    >>> import torch
    >>> x = torch.tensor([[[[0.0, 8.0], [4.0, 2.0]]]])
    >>> half_a_pixel_right = torch.tensor([0.0, 0.5]).reshape(1, 2, 1, 1).expand(1, 2, 2, 2)
    >>> deform_conv2d(x, half_a_pixel_right, torch.ones(1, 1, 1, 1))
    tensor([[[[4., 4.],
              [3., 1.]]]])
    """
    operands = {"input": input, "offset": offset, "weight": weight, "bias": bias, "mask": mask}
    arguments = (stride, padding, dilation, activation, algorithm)
    if _is_compiling() or (isinstance(input, Tensor) and is_symbolic(input.shape)):
        return _as_operator(operands, *arguments)
    return under_autocast(operands, *arguments)


def under_autocast(
    operands: dict[str, Any],
    stride: Any,
    padding: Any,
    dilation: Any,
    activation: str | None,
    algorithm: str | None,
) -> Tensor:
    """The call with autocast off: in float32 as in torchvision, because offsets are positions."""
    arguments = (stride, padding, dilation, activation, algorithm)
    image = operands["input"]
    if not isinstance(image, Tensor) or not autocasts(image.device.type):
        return _planned(operands, *arguments)
    with torch.autocast(image.device.type, enabled=False):
        widened = {name: _widened(operand) for name, operand in operands.items()}
        return _planned(widened, *arguments).to(image.dtype)


def _planned(
    operands: dict[str, Any],
    stride: Any,
    padding: Any,
    dilation: Any,
    activation: str | None,
    algorithm: str | None,
) -> Tensor:
    """The call as a spec, a plan and a run."""
    x, offset, w, b, mask = operands.values()
    required = {"input": x, "offset": offset, "weight": w}
    dtype, device = checked("deform_conv2d", required, {"bias": b, "mask": mask})
    spec = deform_spec(
        x.shape, offset.shape, w.shape,
        None if b is None else b.shape, None if mask is None else mask.shape,
        stride=stride, padding=padding, dilation=dilation, activation=activation,
        dtype=dtype, device=device,
    )  # fmt: skip
    y: Tensor = _run_of(spec, settings.with_algorithm(algorithm))(
        x.reshape(spec.x_shape),
        offset.reshape(spec.offset_shape),
        w,
        b,
        None if mask is None else mask.reshape(spec.mask_shape),
    )
    return y if x.dim() == 4 else y.squeeze(0)


def _run_of(spec: DeformSpec, knobs: settings.Settings) -> planning.Run:
    """The plan for a spec; for one of symbols nothing can be estimated, so there is no choice."""
    if not is_symbolic(spec.x_shape, spec.w_shape, spec.offset_shape):
        return planning.plan(spec, "deform", knobs)
    if knobs.algorithm not in (None, _FOR_EVERY_SIZE):
        raise planning.NoAlgorithmError(
            f"deform_conv2d: algorithm={knobs.algorithm!r} is not for every size, only "
            f"{_FOR_EVERY_SIZE!r} is"
        )
    found = {algorithm.name: algorithm for algorithm in planning.algorithms("deform", spec.device)}
    return found[_FOR_EVERY_SIZE].build(spec)


def _as_operator(
    operands: dict[str, Any],
    stride: Any,
    padding: Any,
    dilation: Any,
    activation: str | None,
    algorithm: str | None,
) -> Tensor:
    """The call as an operator, for a graph that cannot plan."""
    x, offset, w, b, mask = operands.values()
    stride, pairs, dilation = deform_windows(x.shape, w.shape, stride, padding, dilation)
    y: Tensor = torch.ops.faltung.deform_conv2d(
        x, offset, w, b, mask, stride, flat(pairs), dilation, activation, algorithm
    )
    return y


def _widened(tensor: Any) -> Any:
    """A half-precision tensor in float32; anything else as it is."""
    halves = (torch.float16, torch.bfloat16)
    return tensor.float() if isinstance(tensor, Tensor) and tensor.dtype in halves else tensor
