"""`faltung::unfold` and `faltung::fold`: their schemas and what runs under each dispatch key.

    FuncTorchBatched            one call for the whole batch: more images
    Autograd                    `Windows`, the Function of calls that need no operator
    Meta, and fake tensors      an empty result of the right shape
    CompositeExplicitAutograd   the planned algorithm, on every device

What the arguments mean stands in `ops/unfold/operator.py`. In PyTorch's own operators an unfold is
`aten.im2col` where that can do it, and else a gather along each axis; fold likewise.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch._functorch import autograd_function
from torch.autograd import forward_ad

from .. import planning, settings
from ..ops.tracing import is_symbolic
from ..ops.unfold.autograd import applied
from ..ops.unfold.operator import spec_of_fold, spec_of_unfold
from ..ops.unfold.spec import UnfoldSpec
from . import exporters
from .library import LIBRARY

_WINDOWS = (
    "SymInt[] kernel_size, SymInt[] dilation, SymInt[] padding, SymInt[] stride, "
    "str padding_mode, str? algorithm"
)
_SCHEMAS: dict[str, Callable[..., UnfoldSpec]] = {
    f"unfold(Tensor input, {_WINDOWS}) -> Tensor": spec_of_unfold,
    f"fold(Tensor input, SymInt[] output_size, {_WINDOWS}) -> Tensor": spec_of_fold,
}
# made of PyTorch's operators: for any size, and for padding that is known as well
_FOR_EVERY_SIZE, _FOR_KNOWN_PADDING = "indices_torch", "native_torch"

_after_autograd = torch._C._after_autograd_keyset
_transform = torch._C._functorch.peek_interpreter_stack
_one_level: Any = autograd_function.enable_single_level_autograd_function  # type: ignore[attr-defined]


def by_aten(operand: Tensor, spec: UnfoldSpec) -> Tensor:
    """The task in PyTorch's own operators, for any size: of symbols no time can be estimated."""
    found = {algorithm.name: algorithm for algorithm in planning.algorithms("unfold", "cpu")}
    chosen = found[_FOR_EVERY_SIZE]
    if not is_symbolic(*spec.padding) and not found[_FOR_KNOWN_PADDING].unsupported(spec):
        chosen = found[_FOR_KNOWN_PADDING]
    result: Tensor = chosen.build(spec)(operand)
    return result


def _register(schema: str, spec_of: Callable[..., UnfoldSpec]) -> None:
    name = schema.partition("(")[0]
    LIBRARY.define(schema, tags=(torch.Tag.pt2_compliant_tag,))
    operator: Any = getattr(torch.ops.faltung, name).default

    def run(operand: Tensor, *arguments: Any) -> Tensor:
        knobs = settings.with_algorithm(arguments[-1])
        result: Tensor = planning.plan(spec_of(operand, *arguments[:-1]), "unfold", knobs)(operand)
        return result

    def fake(operand: Tensor, *arguments: Any) -> Tensor:
        exporters.tell_inductor()
        return operand.new_empty(spec_of(operand, *arguments[:-1]).result_shape)

    def differentiate(keyset: Any, operand: Tensor, *arguments: Any) -> Tensor:
        if not _is_wanted(operand):
            with torch._C._AutoDispatchBelowAutograd():
                plain: Tensor = operator.redispatch(keyset & _after_autograd, operand, *arguments)
                return plain
        spec = spec_of(operand, *arguments[:-1])
        knobs = settings.with_algorithm(arguments[-1])
        if _transform() is None:
            return applied(operand, spec, knobs)
        with _one_level():
            return applied(operand, spec, knobs)

    def batched(
        info: Any, in_dims: tuple[int, ...], operand: Tensor, *arguments: Any
    ) -> tuple[Tensor, int]:
        folded = operand.movedim(in_dims[0], 0)
        result: Tensor = operator(folded.flatten(0, 1), *arguments)
        return result.reshape(*folded.shape[:2], *result.shape[1:]), 0

    def decomposed(operand: Tensor, *arguments: Any) -> Tensor:
        return by_aten(operand, spec_of(operand, *arguments[:-1]))

    LIBRARY.impl(name, run, "CompositeExplicitAutograd")
    LIBRARY.impl(name, differentiate, "Autograd", with_keyset=True)
    torch.library.register_fake(f"faltung::{name}", fake, lib=LIBRARY)
    torch.library.register_vmap(f"faltung::{name}", batched, lib=LIBRARY)
    exporters.register(operator, decomposed, fake)


def _is_wanted(operand: Tensor) -> bool:
    if forward_ad._current_level >= 0 or _transform() is not None:
        return True
    return torch.is_grad_enabled() and operand.requires_grad


for _schema, _spec_of in _SCHEMAS.items():
    _register(_schema, _spec_of)
