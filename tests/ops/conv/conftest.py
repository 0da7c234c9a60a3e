"""The check that every algorithm passes on every problem it accepts."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from faltung.by_hand import forward, grad_input, grad_weight
from faltung.ops.activations import activate
from faltung.ops.conv.spec import ConvSpec
from faltung.planning import Algorithm
from faltung.tools.budget import Budget, assert_equal, assert_within, in_double, in_own_dtype

TASKS = {"forward": forward, "grad_input": grad_input, "grad_weight": grad_weight}
CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def by_definition(spec: ConvSpec) -> Callable[..., Tensor]:
    """The spec's task from the definition's loops, bias included."""

    def run(first: Tensor, second: Tensor, bias: Tensor | None = None) -> Tensor:
        y = TASKS[spec.task](first, second, spec)
        return y if bias is None else y + bias.view(-1, *(1,) * spec.dims)

    return run


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

    def numbers(spec: ConvSpec, make: Callable[..., Tensor]) -> list[Tensor]:
        shapes = [*spec.operand_shapes] + ([spec.result_shape[1:2]] if spec.bias else [])
        dtype = getattr(torch, spec.dtype)
        tensors = [make(shape).to(dtype) for shape in shapes]
        if dtype.is_floating_point and spec.layout == "contiguous":
            tensors = [between_nans(t) for t in tensors]
        if spec.task != "grad_weight":
            return [laid_out(tensors[0], spec.layout), *tensors[1:]]
        return [laid_out(t, spec.layout) for t in tensors]

    def check(algorithm: Algorithm, spec: ConvSpec) -> None:
        run, definition = algorithm.build(spec), by_definition(replace(spec, activation=None))
        linear = algorithm.build(replace(spec, activation=None))
        dtype = getattr(torch, spec.dtype)

        operands = numbers(spec, lambda shape: torch.randint(-2, 3, shape))
        kept = [t.clone() for t in operands]
        exact = in_own_dtype(definition, operands)
        if algorithm.error_factor <= 1:
            assert_equal(linear(*operands), exact)
        assert all(map(torch.equal, operands, kept)), "an operand was written to"

        if dtype.is_floating_point or dtype.is_complex:
            operands = numbers(spec, lambda shape: torch.randn(shape, dtype=torch.float64))
            budget = Budget.of(definition, operands, algorithm.error_factor)
            assert_within(linear(*operands), budget)
            if spec.activation:
                y64 = activate(spec.activation, in_double(definition, operands))
                # no activation here has a slope above 1.13, so it keeps the error in its budget
                bent = Budget(1.13 * y64, 1.13 * budget.magnitude64, 1.13 * budget.direct)
                assert (run(*operands).double() - y64).abs().max() <= 2 * bent.limit

    return check
