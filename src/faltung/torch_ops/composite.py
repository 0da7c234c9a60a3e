"""`faltung::unfold`, `fold` and `deform_conv2d`: operators made of PyTorch's own.

Their algorithms are calls of PyTorch's operators, which have derivatives, `vmap`, FLOPs and fakes
of their own. So they run under `CompositeImplicitAutograd`: whoever traces what is below `autograd`
sees PyTorch's operators, and only Dynamo, which reads Python before that, sees one of these instead
of the planner. A trace holds for the sizes it was made with. An algorithm that is a compiled
routine will need what `conv` has.

Arguments are the functions' own, one entry for each axis, with padding flat: low and high in turn.
"""

from collections.abc import Sequence

from torch import Tensor

from .. import planning, settings
from ..ops.deform.api import deform_conv2d
from ..ops.operands import dtype_name, sizes
from ..ops.unfold.arguments import fold_spec, unfold_spec
from ..ops.unfold.spec import UnfoldSpec
from .library import LIBRARY

_WINDOWS = "SymInt[] kernel_size, SymInt[] dilation, SymInt[] padding, SymInt[] stride"


def _pairs(padding: Sequence[int]) -> tuple[tuple[int, int], ...]:
    return tuple(zip(padding[::2], padding[1::2], strict=True))


def _unfold(
    input: Tensor,
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
    padding_mode: str,
    algorithm: str | None,
) -> Tensor:
    spec = unfold_spec(
        sizes(input), kernel_size, dilation, _pairs(padding), stride,
        mode=padding_mode, dtype=dtype_name(input), device=str(input.device),
    )  # fmt: skip
    columns = _composed(input.reshape(spec.image_shape), spec, algorithm)
    return columns if input.dim() == spec.dims + 2 else columns.squeeze(0)


def _fold(
    input: Tensor,
    output_size: Sequence[int],
    kernel_size: Sequence[int],
    dilation: Sequence[int],
    padding: Sequence[int],
    stride: Sequence[int],
    algorithm: str | None,
) -> Tensor:
    spec = fold_spec(
        sizes(input), output_size, kernel_size, dilation, _pairs(padding), stride,
        dtype=dtype_name(input), device=str(input.device),
    )  # fmt: skip
    image = _composed(input.reshape(spec.columns_shape), spec, algorithm)
    return image if input.dim() == 3 else image.squeeze(0)


def _composed(operand: Tensor, spec: UnfoldSpec, algorithm: str | None) -> Tensor:
    """The task without its Function, of which a transform knows nothing down here."""
    plan = planning.plan(spec, "unfold", settings.with_algorithm(algorithm))
    result: Tensor = plan(operand)
    return result


def _deform(
    input: Tensor,
    offset: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    mask: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    activation: str | None,
    algorithm: str | None,
) -> Tensor:
    return deform_conv2d(
        input, offset, weight, bias, stride, _pairs(padding), dilation, mask,
        activation=activation, algorithm=algorithm,
    )  # fmt: skip


for _schema, _function in (
    (f"unfold(Tensor input, {_WINDOWS}, str padding_mode, str? algorithm) -> Tensor", _unfold),
    (f"fold(Tensor input, SymInt[] output_size, {_WINDOWS}, str? algorithm) -> Tensor", _fold),
    (
        "deform_conv2d(Tensor input, Tensor offset, Tensor weight, Tensor? bias, Tensor? mask, "
        "SymInt[] stride, SymInt[] padding, SymInt[] dilation, str? activation, str? algorithm) "
        "-> Tensor",
        _deform,
    ),
):
    LIBRARY.define(_schema)
    LIBRARY.impl(_schema.partition("(")[0], _function, "CompositeImplicitAutograd")
