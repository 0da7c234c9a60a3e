"""A convolution and the normalisation and activation after it, done in one.

    act(BatchNorm(conv(x, w) + b)) = act(conv(x, w·s) + (b − mean)·s + β),   s = γ / √(var + ε)

Nothing is written: the weight that stands for both is kept beside the convolution's own, made in
float64, rounded once, and made again when one of the numbers changes that it was made of. So
`state_dict`, training, hooks and updates go on as before, and there is nothing to be undone.

A result in which all is done carries a tag, which the normalisation and the activation look for:
they return what has it as it came, and do their own work on everything else. Whether the
convolution does all or only itself is decided at each call (`holds`): itself in training, under a
derivative of the weights, where a hook wants to see what lies between, and while something traces.

`steps` are what comes after that and is no module that could let it pass: see `pending`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import _has_any_global_hook

from ..ops.conv.dispatch import planned
from ..ops.operands import plain_memory
from .lazy import Lazy, give_ordinary, is_followed, may_wait
from .padded import Padded, is_putting_off
from .pending import ADD, VIEW, without_memory
from .scaled import Scaled
from .snapshot import Snapshot

_Both = tuple[Snapshot | None, Tensor | None, Tensor | None]  # and what was made of them

_MOST_BARE = 64
_SPOKEN = {ADD: "residual"}
_KEPT = ("convolution", "norm", "act", "activation", "shape", "steps", "passed")


class Chain:
    """A convolution, the BatchNorm after it or None, and the activation after that or None.

    `activation` is its name. `shape` is that of the image for which the three are known to follow
    each other; None: any. `steps` are for what the convolution may wait, and `passed` the
    modules whose hooks would see it meanwhile.
    """

    def __init__(
        self,
        convolution: Any,
        norm: Any,
        act: nn.Module | None,
        activation: str | None,
        shape: tuple[int, ...] | None = None,
        steps: tuple[str, ...] = (),
        passed: tuple[nn.Module, ...] = (),
    ) -> None:
        self.convolution = convolution
        self.norm = norm
        self.act = act
        self.activation = activation
        self.shape = shape
        self.steps = steps
        self.passed = passed
        self._both: _Both = (None, None, None)
        self._bare: dict[Any, Tensor] = {}

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in _KEPT}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _both=(None, None, None), _bare={})

    def __str__(self) -> str:
        norm = [] if self.norm is None else ["BatchNorm"]
        steps = [_SPOKEN.get(step, step) for step in self.steps if step != VIEW]
        return " + ".join([*norm, *([self.activation] if self.activation else []), *steps])

    @property
    def modules(self) -> list[nn.Module]:
        """The two or three."""
        return [m for m in (self.convolution, self.norm, self.act) if m is not None]

    def holds(self, module: nn.Module, input: Tensor) -> bool:
        """Whether this call does all of it."""
        conv, norm, act = self.convolution, self.norm, self.act
        if module is not conv:  # a replica, whose normalisation is another
            return False
        if self.shape is not None and self.shape != input.shape:
            return False
        if torch.compiler.is_dynamo_compiling() or not plain_memory(_image(input)):
            return False
        if torch._C._are_functorch_transforms_active() or _has_any_global_hook():  # type: ignore[no-untyped-call]
            return False
        if conv._forward_hooks or conv._backward_hooks or conv._backward_pre_hooks:
            return False
        if act is not None and _is_watched(act):
            return False
        if norm is None:
            return True
        batched = input.dim() == len(self.convolution.kernel_size) + 2
        return batched and not norm.training and not _is_watched(norm) and self._fold()

    def operands(self) -> tuple[Any, Any, str | None]:
        """Weight, bias and activation of a call that does all of it."""
        if self.norm is None:
            return *self.convolution._learned(), self.activation
        return *self._both[1:], self.activation

    def waits(self, *operands: Tensor | None) -> bool:
        """Whether a call of these may wait for the steps that come after it."""
        return (
            bool(self.steps)
            and may_wait(*operands)
            and not (is_followed() and not is_putting_off())
            and not any(map(_is_watched, self.passed))
        )

    def bare(
        self, call: str, input: Tensor, weight: Tensor, bias: Tensor | None, arguments: Any
    ) -> Tensor:
        """A tensor without memory that lies as the result of a call."""
        key = input.shape, input.stride(), input.dtype, weight.shape, arguments[1], arguments[2]
        found = self._bare.get(key)
        if found is None:
            if len(self._bare) >= _MOST_BARE:
                self._bare.clear()
            spec = planned(call, input, weight, bias, arguments).spec
            shape = spec.result_shape if input.dim() == spec.dims + 2 else spec.result_shape[1:]
            found = self._bare[key] = without_memory(shape, spec.layout, input.dtype)
        return found

    def _fold(self) -> bool:
        """Have the folded weight of the numbers as they are; False where there can be none."""
        own, norm = self.convolution._parameters, self.norm
        its, statistics = norm._parameters, norm._buffers
        if not ("weight" in own and "bias" in own and "weight" in its and "bias" in its):
            return False  # something computes them at each call
        learned = (own["weight"], own["bias"], its["weight"], its["bias"])
        if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in learned):
            return False
        mean, variance = statistics.get("running_mean"), statistics.get("running_var")
        if mean is None or variance is None:
            return False  # it takes those of each batch
        known, weight, _ = self._both
        numbers = [t for t in (*learned, mean, variance) if t is not None]
        if known is None or not known.holds(numbers, norm.eps):
            if not plain_memory(*numbers) or any(t.is_inference() for t in numbers):
                return False
            with torch.inference_mode(mode=False), torch.no_grad():
                weight, bias = _folded(self.convolution, norm)
                self._both = Snapshot(numbers, norm.eps), weight, bias
        return weight is not None


def _image(input: Tensor) -> Tensor:
    """The plain tensor of which a convolution is computed."""
    if isinstance(input, Padded):
        return input.image
    if isinstance(input, Scaled):
        return input.source.map
    return input.numbers() if isinstance(input, Lazy) else input


def _is_watched(module: nn.Module) -> bool:
    """Whether somebody wants to see what goes into a module, or comes out."""
    hooks = module._forward_hooks
    return bool(
        (hooks and any(hook is not give_ordinary for hook in hooks.values()))
        or module._forward_pre_hooks
        or module._backward_hooks
        or module._backward_pre_hooks
    )


def _folded(conv: Any, norm: Any) -> tuple[Tensor | None, Tensor | None]:
    """Weight and bias of a convolution that normalises, too; None where they would overflow."""
    weight, dims = conv.weight, conv.weight.dim() - 2
    scale = torch.rsqrt(norm.running_var.double() + norm.eps)
    if norm.weight is not None:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double()
    if conv.bias is not None:
        shift = shift + conv.bias.double()
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias.double()
    if conv.transposed:  # [C, O/G, K…], the groups one behind the other in C
        groups = conv.groups
        parts = weight.double().unflatten(0, (groups, -1))
        scaled = (parts * scale.view(groups, 1, -1, *(1,) * dims)).flatten(0, 1)
    else:
        scaled = weight.double() * scale.view(-1, *(1,) * (dims + 1))
    folded, bias = scaled.to(weight.dtype), shift.to(weight.dtype)
    if not (torch.isfinite(folded).all() and torch.isfinite(bias).all()):
        return None, None
    return torch.empty_like(weight).copy_(folded), bias
