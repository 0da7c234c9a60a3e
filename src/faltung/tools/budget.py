"""How wrong a result may be: the error budget, computed instead of typed.

    budget = error_factor · ( max|direct − y64|  +  3u · max Σ|x||w| )

`y64` is the operation by its definition in float64, on the inputs as they are in the dtype;
`direct` is the same definition in the dtype itself, and u the unit roundoff. The second term is
there because `direct` is one sum in one order, and another order of the same products may be less
lucky: rounded partial sums of mixed signs walk about 0.64u · Σ|x||w| (root mean square), whatever
their number, and 3u is more than four times that, enough for thousands of outputs. bfloat16 and
float16 are summed in float32 and rounded once: there u is float32's in the sum, and one rounding of
the largest result comes on top. The largest error of a result, divided by the budget, is its error
*in budgets*: at most 1 passes.

A float64 sum has nothing more exact to be compared with. There the error of `direct` is that of a
float32 sum of the same numbers, scaled, and it counts twice, because y64 has it too.

Sums of small whole numbers are exact in any order: there the budget is not used, and
`assert_equal` asks for the same bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

Operation = Callable[..., Tensor]

_ANY_ORDER = 3  # roundings of the largest sum of magnitudes; see above
_SINGLE = {torch.float64: torch.float32, torch.complex128: torch.complex64}
_WIDE = {torch.bfloat16: torch.float32, torch.float16: torch.float32}  # where sums are kept


class WrongResultError(AssertionError):
    """A result that is not what it should be; the text says what differs, `error` by how much."""

    def __init__(self, message: str, error: float = float("inf")) -> None:
        super().__init__(message)
        self.error = error


@dataclass(frozen=True, eq=False)
class Budget:
    """The result in float64, the sums of magnitudes behind it, and a direct sum in the dtype.

    y64, magnitude64 and direct have the shape of the result; `direct.dtype` is the dtype that a
    result must have.
    """

    y64: Tensor
    magnitude64: Tensor
    direct: Tensor
    error_factor: float = 1.0

    @classmethod
    def of(
        cls, operation: Operation, operands: Sequence[Tensor | None], error_factor: float = 1.0
    ) -> "Budget":
        """The budget of a sum of products, from its definition.

        `operation(*operands)` must work in every dtype and be a sum of products of the operands,
        so that on absolute values it gives the sums of magnitudes. It keeps sums of bfloat16 and
        float16 in float32 and rounds once.

        >>> x = torch.tensor([0.1, 0.2, 0.3])
        >>> budget = Budget.of(torch.dot, (x, x))
        >>> error_in_budgets(x.flip(0).dot(x.flip(0)), budget) <= 1
        True
        """
        y64 = in_double(operation, operands)
        magnitude64 = in_double(operation, [None if t is None else t.abs() for t in operands])
        return cls(y64, magnitude64, _direct(operation, operands, y64), error_factor)

    @cached_property
    def limit(self) -> float:
        """The largest error that passes."""
        finite = torch.isfinite(self.y64)
        slip = (self.direct.to(self.y64.dtype) - self.y64).abs()[finite]
        direct_error = _largest(slip)
        if direct_error == float("inf"):
            raise ValueError(
                f"the direct sum overflows {self.direct.dtype}: choose smaller numbers"
            )
        dtype = self.direct.dtype
        spread = _ANY_ORDER * _unit(_WIDE.get(dtype, dtype)) * _largest(self.magnitude64)
        if dtype in _WIDE:
            # the sum is kept wider and rounded once, which is an error of the result's own size
            spread += _unit(dtype) * _largest(self.y64.abs()[finite])
        return self.error_factor * (direct_error + spread)


def error_in_budgets(y: Tensor, budget: Budget) -> float:
    """max|y − y64| / budget; infinite where y is NaN or infinite and y64 is not.

    Raises `WrongResultError` if y has another shape, dtype or device than the result must have.
    """
    _check_kind(y, budget.direct)
    y, y64 = y.detach(), budget.y64
    same = y64 == y
    finite = torch.isfinite(y64)
    strange = ~finite & ~same & ~(torch.isnan(y64) & torch.isnan(y))
    error = float("inf") if bool(strange.any()) else _largest((y - y64).abs()[finite & ~same])
    if error == 0:
        return 0.0
    return error / budget.limit if budget.limit else float("inf")


def assert_within(y: Tensor, budget: Budget) -> None:
    """Raise `WrongResultError` if y is further from y64 than the budget allows."""
    error = error_in_budgets(y, budget)
    if not error <= 1:
        raise WrongResultError(
            f"error of {error:.3g} budgets ({budget.limit:.3g} each); "
            + where_they_differ(y.detach(), budget.y64),
            error,
        )


def assert_equal(y: Tensor, expected: Tensor) -> None:
    """Raise `WrongResultError` unless y is `expected`: shape, dtype, device and every value."""
    _check_kind(y, expected)
    if not torch.equal(y, expected):
        raise WrongResultError(where_they_differ(y.detach(), expected.detach()))


def in_double(operation: Operation, operands: Sequence[Tensor | None]) -> Tensor:
    """The operation in float64 (complex128) on exactly these numbers."""
    return operation(*[None if t is None else _widened(t, _double(t.dtype)) for t in operands])


def in_own_dtype(operation: Operation, operands: Sequence[Tensor | None]) -> Tensor:
    """The operation in the operands' dtype; narrow dtypes are summed in float32, rounded once."""
    dtype = next(t.dtype for t in operands if t is not None)
    wide = _WIDE.get(dtype, dtype)
    return operation(*[None if t is None else _widened(t, wide) for t in operands]).to(dtype)


def where_they_differ(y: Tensor, expected: Tensor) -> str:
    """The place where two tensors of one shape differ most, and how many places do.

    >>> where_they_differ(torch.tensor([1.0, 5.0]), torch.tensor([1.0, 2.0]))
    'differs in 1 of 2 places, most at [1]: 5, not 2'
    """
    wide = _double(torch.promote_types(y.dtype, expected.dtype))
    slip = (y.to(wide) - expected.to(wide)).abs()
    slip = torch.where(y == expected, 0.0, slip.nan_to_num(nan=float("inf")))
    count = int((slip > 0).sum())
    if not count:
        return "differs in no place"
    place = torch.unravel_index(slip.argmax(), slip.shape)
    index = ", ".join(str(int(i)) for i in place)
    got, wanted = (t[place].item() for t in (y, expected))
    return (
        f"differs in {count} of {slip.numel()} places, most at [{index}]: "
        f"{_written(got)}, not {_written(wanted)}"
    )


def _direct(operation: Operation, operands: Sequence[Tensor | None], y64: Tensor) -> Tensor:
    """A direct sum in the operands' dtype, with the error that such a sum has against y64."""
    if not _is_double(operands):
        return in_own_dtype(operation, operands)
    single = [None if t is None else t.to(_SINGLE[t.dtype]) for t in operands]
    slip = operation(*single).to(y64.dtype) - in_double(operation, single)
    return y64 + 2 * slip * (torch.finfo(torch.float64).eps / torch.finfo(torch.float32).eps)


def _is_double(operands: Sequence[Tensor | None]) -> bool:
    return all(t is None or t.dtype in _SINGLE for t in operands)


def _unit(dtype: torch.dtype) -> float:
    """The unit roundoff: half the distance from 1 to the next number."""
    return torch.finfo(dtype).eps / 2


def _check_kind(y: Tensor, expected: Tensor) -> None:
    if not isinstance(y, Tensor):
        raise WrongResultError(f"gives {type(y).__name__}, not a tensor")
    for what in ("shape", "dtype", "device"):
        got, wanted = getattr(y, what), getattr(expected, what)
        if got != wanted:
            plain = tuple if what == "shape" else str
            raise WrongResultError(f"has {what} {plain(got)}, not {plain(wanted)}")


def _largest(values: Tensor) -> float:
    """The largest of some magnitudes; NaN counts as infinite, and none at all as 0."""
    if not values.numel():
        return 0.0
    return float(values.nan_to_num(nan=float("inf"), posinf=float("inf")).max())


def _double(dtype: torch.dtype) -> torch.dtype:
    return torch.complex128 if dtype.is_complex else torch.float64


def _widened(t: Tensor, dtype: torch.dtype) -> Tensor:
    return t.to(dtype) if t.is_floating_point() or t.is_complex() else t


def _written(value: complex) -> str:
    return f"{value:.9g}"
