"""`nn.Linear` over the last axis of maps and sequences, which is a pointwise convolution.

    [N, H, W, C] -> [N, H, W, O]     the channels-last image [N, C, H, W], kernel size 1×1
    [N, L, C]    -> [N, L, O]        the same with H = 1

ConvNeXt and SegFormer are written so. Taken where our plan for the example inputs, and for each
further size, is faster by estimate than PyTorch's pointwise convolution, which is as fast as
`F.linear`; with derivatives, under autocast and for other inputs PyTorch's `Linear` runs.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import planning, settings
from ..ops.conv.dispatch import convolve
from ..ops.conv.spec import ConvSpec
from ..ops.operands import dtype_name, plain_memory
from .pending import pending, without_memory
from .scaled import Scaled, folded_in, may_offer, offered

if TYPE_CHECKING:
    from .origin import Origin

CALL = "linear"
TAG = "_faltung_chain"  # on a result: what is done in it already

_MARGIN = 0.95  # of PyTorch's estimate; less is not worth another way
_CALL_SECONDS = 8e-6  # that a call of ours takes longer than `F.linear`, whatever its size
_MOST_SIZES = 64  # of which is remembered whether they are taken
_DIMENSIONS = (3, 4)


class LinearState:
    """The weight as a convolution has it, and which sizes are taken. Copies begin without."""

    def __init__(self) -> None:
        self.last: tuple[Tensor, Tensor] | None = None
        self.taken: dict[Any, bool] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return LinearState, ()


class OptimizedLinear(nn.Linear):
    """A `Linear` that is done as a convolution where that is faster."""

    _faltung: "Origin"

    def _get_name(self) -> str:
        return "Linear"

    def forward(self, input: Tensor) -> Tensor:
        """[…, C] -> […, O]."""
        image = input.source.map if isinstance(input, Scaled) else input
        weight = self._weight_of(image)
        if weight is None:
            return super().forward(input)
        chain = self._faltung.chain
        if chain is not None and not chain.holds(self, image):
            chain = None
        bias: Tensor | None = self._parameters["bias"]
        if isinstance(input, Scaled):
            input, weight, bias = folded_in(input, weight, bias)
        compute = partial(_product, input, weight, bias)
        if chain is not None and chain.waits(input, weight, bias):
            shape = (*input.shape[:-1], weight.shape[0])
            y: Tensor = pending(compute, without_memory(shape, "", input.dtype), chain.steps)
        else:
            y = compute(None, None if chain is None else chain.activation)
            if may_offer(self._faltung, y):
                y = offered(y, -1)
        if chain is not None:
            y.__dict__[TAG] = chain
        return y

    def _learned(self) -> tuple[Any, Any]:
        return self.weight, self.bias

    def _weight_of(self, input: Tensor) -> Tensor | None:
        """The weight for this call as a convolution; None where PyTorch's `Linear` is to do it."""
        own = self._parameters
        if torch.compiler.is_dynamo_compiling() or not ("weight" in own and "bias" in own):
            return None
        weight: Any = own["weight"]
        bias = own["bias"]
        if input.dim() not in _DIMENSIONS or not plain_memory(input, weight, bias):
            return None
        if torch._C._is_any_autocast_enabled() or not input.is_contiguous():
            return None
        if torch._C._are_functorch_transforms_active() or _wants_derivatives(input, weight, bias):
            return None
        state = self._faltung.linear
        key = (input.shape, input.dtype, settings.current())
        taken = state.taken.get(key)
        if taken is None:
            if len(state.taken) >= _MOST_SIZES:
                state.taken.clear()
            spec = spec_of_linear(self, input)
            taken = state.taken[key] = spec is not None and is_faster(spec)
            if self._faltung.seen is None:
                self._faltung.seen = spec if taken else None
        return _as_convolution(state, weight) if taken else None


def _product(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    residual: Tensor | None,
    activation: str | None,
) -> Tensor:
    """The pointwise convolution of what is last in [N, H, W, C] or [N, L, C]."""
    image, residual = _as_image(input), None if residual is None else _as_image(residual)
    y = convolve(
        "conv2d", image, weight, bias, 1, 0, 0, 1, 1, "zeros", activation, None, residual
    ).permute(0, 2, 3, 1)
    return y if input.dim() == 4 else y.squeeze(1)


def _as_image(t: Tensor) -> Tensor:
    """[N, H, W, C] or [N, L, C] -> [N, C, H, W]."""
    return (t if t.dim() == 4 else t.unsqueeze(1)).permute(0, 3, 1, 2)


def spec_by_linear(module: nn.Module) -> Callable[..., ConvSpec | None]:
    """What tells the spec from the arguments of a call."""
    return partial(spec_of_linear, module)


def spec_of_linear(module: Any, input: Tensor) -> ConvSpec | None:
    """The spec of a call as a convolution; None where it is none."""
    weight, bias = module.weight, module.bias
    if input.dim() not in _DIMENSIONS or input.shape[-1] != weight.shape[1] or not input.numel():
        return None
    if input.dtype != weight.dtype or not input.is_contiguous() or input.device != weight.device:
        return None
    batch, *sizes, channels = input.shape
    size = (1, *sizes) if len(sizes) == 1 else tuple(sizes)
    return ConvSpec(
        "forward", batch, channels, weight.shape[0], size, (1, 1), bias=bias is not None,
        dtype=dtype_name(input), device=str(input.device),
        layout="contiguous" if channels == 1 or size == (1, 1) else "channels_last",
    )  # fmt: skip


def is_faster(spec: ConvSpec) -> bool:
    """Whether one of our algorithms does it, and in clearly less time than PyTorch's."""
    plan = planning.plan(spec, "conv", settings.planner_chooses(settings.current()))
    times = {c.name: c.seconds if c.measured is None else c.measured for c in plan.candidates}
    native = times.get("native_torch")
    return native is not None and times[plan.algorithm] + _CALL_SECONDS < _MARGIN * native


def _wants_derivatives(*tensors: Tensor | None) -> bool:
    if not torch.is_grad_enabled():
        return torch.autograd.forward_ad._current_level >= 0
    return any(t is not None and t.requires_grad for t in tensors)


def _as_convolution(state: LinearState, weight: Tensor) -> Tensor | None:
    """The weight [O, C] as [O, C, 1, 1], the same tensor for as long as it is the same weight."""
    last = state.last
    if last is not None and last[0] is weight and last[1].data_ptr() == weight.data_ptr():
        return last[1]
    if weight.is_inference():
        return None
    with torch.inference_mode(mode=False), torch.no_grad():
        view = weight.detach()[:, :, None, None]
    state.last = weight, view
    return view
