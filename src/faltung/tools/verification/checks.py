"""One check: something computed in one way, measured against the truth.

The truth is the operation by its definition in float64. Whole numbers must come out bit for bit;
everything else must stay inside its error budget. A way that does not sum the products themselves
(Winograd, Fourier) is measured by its budget on whole numbers too, with its own error factor.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from ...settings import using
from ..budget import (
    Budget,
    Operation,
    assert_equal,
    assert_within,
    error_in_budgets,
    in_double,
)
from .source import Numbers

Compute = Callable[[], Tensor]


@dataclass(frozen=True)
class Check:
    """What is computed, by whom, and how to measure it.

    `measure()` gives the error in budgets, at most 1; it raises whatever is wrong.
    """

    problem: str
    way: str
    measure: Callable[[], float]


@dataclass(frozen=True)
class System:
    """One thing the library does: the text's row that teaches it, and its checks."""

    number: str
    name: str
    checks: Callable[[Numbers], Iterable[Check]]


class Truth:
    """The right result of an operation on given operands, computed when it is first needed."""

    def __init__(
        self, operation: Operation, operands: Sequence[Tensor | None], *, whole: bool
    ) -> None:
        self._operation = operation
        self._operands = operands
        self._whole = whole

    def measure(self, compute: Compute, error_factor: float = 1.0) -> float:
        """The error of what `compute` gives, in budgets; raises where it is wrong.

        A way that may round no more than a direct sum is held to it by the settings: there the
        planner picks no algorithm that rounds more.
        """
        with using(accuracy="exact" if error_factor <= 1 else "fast"):
            y = compute()
        if self._whole and error_factor <= 1:
            assert_equal(y, self._exact)
            return 0.0
        budget = replace(self._budget, error_factor=error_factor)
        assert_within(y, budget)
        return error_in_budgets(y, budget)

    def check(self, problem: str, way: str, compute: Compute, error_factor: float = 1.0) -> Check:
        """The check of one way to compute this."""
        kind = "whole numbers" if self._whole else "real numbers"
        return Check(f"{problem}, {kind}", way, lambda: self.measure(compute, error_factor))

    @cached_property
    def _budget(self) -> Budget:
        return Budget.of(self._operation, self._operands)

    @cached_property
    def _exact(self) -> Tensor:
        """The result on whole numbers; raises `ValueError` if the dtype does not hold it."""
        dtype = next(t.dtype for t in self._operands if t is not None)
        y = in_double(self._operation, self._operands)
        exact = y.to(dtype)
        if not torch.equal(exact.to(y.dtype), y):
            raise ValueError(f"the whole numbers of this problem are too large for {dtype}")
        return exact


def same(problem: str, way: str, compute: Compute, expected: Compute) -> Check:
    """The check that two things are the same tensor, bit for bit."""

    def measure() -> float:
        with using(accuracy="exact"):
            assert_equal(compute(), expected())
        return 0.0

    return Check(problem, way, measure)


@dataclass(frozen=True)
class Failure:
    """A check that failed, and what was wrong."""

    problem: str
    way: str
    message: str


@dataclass(frozen=True)
class Row:
    """What came of one system."""

    number: str
    system: str
    cases: int
    error: float
    failures: tuple[Failure, ...]

    @property
    def passed(self) -> bool:
        """Whether something was checked and nothing failed."""
        return self.cases > 0 and not self.failures


def run_system(system: System, numbers: Numbers) -> Row:
    """Run the checks of a system, one after the other; an exception is a failure like any other."""
    cases, worst, failures = 0, 0.0, []
    try:
        for check in system.checks(numbers):
            cases += 1
            try:
                error = check.measure()
            except Exception as wrong:
                failures.append(Failure(check.problem, check.way, _said(wrong)))
                error = getattr(wrong, "error", math.inf)
            worst = max(worst, error)
    except Exception as wrong:
        failures.append(Failure("the checks themselves", system.name, _said(wrong)))
        worst = math.inf
    return Row(system.number, system.name, cases, worst, tuple(failures))


def _said(wrong: Exception) -> str:
    text = " ".join(str(wrong).split())
    return text if isinstance(wrong, AssertionError) else f"{type(wrong).__name__}: {text}"
