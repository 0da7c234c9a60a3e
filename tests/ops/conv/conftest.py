"""The check that every algorithm passes on every problem it accepts."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from by_taps import forward, grad_input, grad_weight
from faltung.ops.activations import activate
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm
from faltung.tools.budget import Budget, assert_equal, assert_within, in_double, in_own_dtype

TASKS = {"forward": forward, "grad_input": grad_input, "grad_weight": grad_weight}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def by_definition(spec: ConvSpec) -> Callable[..., Tensor]:
    """The spec's task from the definition, with bias and residual."""

    def run(
        first: Tensor, second: Tensor, bias: Tensor | None = None, residual: Tensor | None = None
    ) -> Tensor:
        y = TASKS[spec.task](first, second, spec)
        if bias is not None:
            y = y + bias.view(-1, *(1,) * spec.dims)
        return y if residual is None else y + residual

    return run


def budget_of(spec: ConvSpec, operands: list[Tensor | None], error_factor: float) -> Budget:
    """The budget of a spec's task; a residual may be added to what has been rounded, as PyTorch's
    addition would be."""
    definition = by_definition(spec)
    budget = Budget.of(definition, operands, error_factor)
    if spec.residual and spec.item_size == 2:
        *others, residual = operands
        return replace(budget, direct=in_own_dtype(definition, others) + residual)
    return budget


def laid_out(tensor: Tensor, layout: str) -> Tensor:
    """The same numbers in memory as the spec says they lie."""
    if layout == "channels_last":
        return tensor.contiguous(memory_format=CHANNELS_LAST[tensor.dim()])
    if layout == "strided":
        # every second column of a wider tensor that starts in the middle of its storage
        wide = tensor.new_full((*tensor.shape[:-1], 2 * tensor.shape[-1] + 3), 99)
        view = wide[..., 3::2]
        view.copy_(tensor)
        return view
    return tensor


@pytest.fixture
def check_algorithm(between_nans: Callable[[Tensor], Tensor]) -> Callable[..., None]:
    """`check_algorithm(algorithm, spec)` raises unless it does the spec's task right.

    Whole numbers must come out to the bit; real ones within the algorithm's error budget.
    """

    def numbers(spec: ConvSpec, make: Callable[..., Tensor]) -> list[Tensor | None]:
        def embedded(shape: tuple[int, ...], layout: str) -> Tensor:
            dtype = getattr(torch, spec.dtype)
            tensor = make(shape).to(dtype)
            plain = dtype.is_floating_point and layout == "contiguous"
            return laid_out(between_nans(tensor) if plain else tensor, layout)

        first, second = spec.operand_shapes
        layout = spec.layout if spec.task == "grad_weight" else "contiguous"
        tensors = [embedded(first, spec.layout), embedded(second, layout)]
        bias = embedded(spec.result_shape[1:2], "contiguous") if spec.bias else None
        if spec.residual:
            return [*tensors, bias, embedded(*spec.run_operands[3])]
        return tensors if bias is None else [*tensors, bias]

    def check(algorithm: Algorithm, spec: ConvSpec) -> None:
        run, definition = algorithm.build(spec), by_definition(replace(spec, activation=None))
        linear = algorithm.build(replace(spec, activation=None))
        dtype = getattr(torch, spec.dtype)

        operands = numbers(spec, lambda shape: torch.randint(-2, 3, shape))
        kept = [None if t is None else t.clone() for t in operands]
        exact = in_own_dtype(definition, operands)
        if algorithm.error_factor <= 1:
            assert_equal(linear(*operands), exact)
        for t, before in zip(operands, kept, strict=True):
            assert t is None or torch.equal(t, before), "an operand was written to"

        if dtype.is_floating_point or dtype.is_complex:
            operands = numbers(spec, lambda shape: torch.randn(shape, dtype=torch.float64))
            budget = budget_of(spec, operands, algorithm.error_factor)
            assert_within(linear(*operands), budget)
            if spec.activation:
                y64 = activate(spec.activation, in_double(definition, operands))
                # no activation here has a slope above 1.13, so it keeps the error in its budget
                bent = Budget(1.13 * y64, 1.13 * budget.magnitude64, 1.13 * budget.direct)
                assert (run(*operands).double() - y64).abs().max() <= 2 * bent.limit

    return check
