"""Does an optimised model still compute what it did?

Its outputs are compared with those of the model in float64, and may be further from them than the
model's own were by no more than rounding explains:

    |y − y64|  ≤  error_factor · 3 · ( max|y_before − y64| + max|y64' − y64| + u · max|y64| )

y64' is the model in float64 with every number that it has learned changed at random by up to u·√n
of it, where n are the products in a sum of its layer, or the one before: what roundings come to in
a sum, and then at the end. u is the unit roundoff. error_factor is the largest of the algorithms in
use, and 3 is what one order of summing may be luckier than another (as in `tools.budget`, which
computes the budget of a single sum from its magnitudes; for a whole network there is no such sum).
Where a copy of the model cannot run in float64, the model without oneDNN stands in for it: the same
arithmetic, summed in another order. Whole numbers that a model returns must be the same.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .running import Inputs, outputs

_ANY_ORDER = 3


class VerificationError(AssertionError):
    """An optimised model gave something else than before; the text says where and how much."""


@dataclass(frozen=True)
class Truth:
    """What a model gave before, and what it should give."""

    before: list[Tensor]
    exact: list[Tensor]
    shaken: list[Tensor]

    @classmethod
    def of(cls, model: nn.Module, inputs: Inputs) -> "Truth":
        """Run a model as it is, and again in float64."""
        before = _copied(outputs(model, inputs))
        try:
            wide = copy.deepcopy(model).double()
            exact = _copied(outputs(wide, inputs.mapped(_widened)))
            _shake(wide, model)
            shaken = outputs(wide, inputs.mapped(_widened))
        except (RuntimeError, TypeError, ValueError):
            with _without_onednn():
                exact = shaken = _copied(outputs(model, inputs))
        return cls(before, exact, shaken)

    def check(self, model: nn.Module, inputs: Inputs, error_factor: float) -> float:
        """The largest error of the model's outputs, in units of what is allowed; at most 1.

        Raises `VerificationError` if it is more, or if the outputs are of another kind.
        """
        after = outputs(model, inputs)
        if len(after) != len(self.before):
            raise VerificationError(
                f"the model returns {len(after)} tensors, not {len(self.before)}"
            )
        worst = 0.0
        for number, tensors in enumerate(
            zip(after, self.before, self.exact, self.shaken, strict=True)
        ):
            worst = max(worst, _error(f"output {number}", *tensors, error_factor))
        return worst


def _error(
    name: str, y: Tensor, before: Tensor, exact: Tensor, shaken: Tensor, error_factor: float
) -> float:
    if (y.shape, y.dtype) != (before.shape, before.dtype):
        raise VerificationError(
            f"{name} is {tuple(y.shape)} {y.dtype}, not {tuple(before.shape)} {before.dtype}"
        )
    if not y.is_floating_point():
        if not torch.equal(y, before):
            count = int((y != before).sum())
            raise VerificationError(f"{name} differs in {count} of {y.numel()} places")
        return 0.0
    if not torch.equal(y.isfinite(), before.isfinite()):
        raise VerificationError(f"{name} is infinite or NaN in other places than before")
    finite = before.isfinite() & exact.isfinite() & shaken.isfinite()
    own = _largest((before.double() - exact)[finite])
    rounding = own + _largest((shaken - exact)[finite]) + _unit(y) * _largest(exact[finite])
    error, limit = _largest((y.double() - exact)[finite]), _ANY_ORDER * error_factor * rounding
    if error > limit:
        raise VerificationError(
            f"{name} is wrong by {error:.3g}, and {limit:.3g} would be rounding (before: "
            f"{own:.3g}, largest number {_largest(exact[finite]):.3g}); "
            "the model was put back as it was"
        )
    return error / limit if limit else 0.0


def _shake(wide: nn.Module, model: nn.Module) -> None:
    """Change the numbers of a model in float64 by up to the roundoff of those they came from."""
    generator = torch.Generator().manual_seed(0)
    terms = 1
    with torch.no_grad():
        for ours, theirs in zip(_learned(wide), _learned(model), strict=True):
            if theirs.dim() > 1 and len(theirs):
                terms = theirs[0].numel()
            if theirs.is_floating_point():
                noise = 2 * torch.rand(ours.shape, generator=generator, dtype=torch.float64) - 1
                ours.mul_(1 + _unit(theirs) * math.sqrt(terms) * noise.to(ours.device))


def _learned(model: nn.Module) -> list[Tensor]:
    """Parameters and buffers, those of one layer together."""
    found = {
        id(t): t
        for module in model.modules()
        for t in (*module._parameters.values(), *module._buffers.values())
        if t is not None
    }
    return list(found.values())


@contextmanager
def _without_onednn() -> Iterator[None]:
    # `torch.backends.mkldnn.flags()` sets more and warns of it; the attribute may be frozen
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    try:
        yield
    finally:
        torch._C._set_mkldnn_enabled(before)


def _unit(t: Tensor) -> float:
    """The unit roundoff: half the distance from 1 to the next number."""
    return torch.finfo(t.dtype).eps / 2


def _largest(values: Tensor) -> float:
    return float(values.abs().max()) if values.numel() else 0.0


def _copied(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [t.clone() for t in tensors]


def _widened(t: Tensor) -> Tensor:
    return t.double() if t.is_floating_point() else t
