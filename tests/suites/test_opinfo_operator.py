"""PyTorch's OpInfo samples, asked of the operator that a trace sees instead of a call.

opcheck: PyTorch's own checks of an operator. jvp, vmap, compile: the numbers, whole and in float64,
that PyTorch's function gives, to the bit. PyTorch's algorithm comes last in all of them.
"""

import itertools

import pytest
import torch
from torch.func import jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

import faltung
import faltung.functional as ours
from suites.judging import make_whole
from suites.test_opinfo import (
    OPS,
    bound,
    gradients,
    named,
    pytestmark,
    samples,
)

pytestmark = [pytestmark, pytest.mark.usefixtures("pytorchs_last", "to_the_bit")]

CONVOLUTIONS = [name for name in OPS if name.startswith("conv")]
OPERATORS = [getattr(torch.ops.faltung, name).default for name in ("conv", "unfold", "fold")]
QUICK = ("test_schema", "test_autograd_registration", "test_faketensor")
SLOW = "test_aot_dispatch_dynamic"
# of what takes PyTorch long: every convolution, and one in so many of their backward passes and of
# the unfolds, which differ in little
ONE_IN = 8


@pytest.fixture
def to_the_bit(pytorchs_last):
    """Sums of the products themselves, which of whole numbers are exact."""
    with faltung.using(accuracy="exact"):
        yield


class Calls(TorchDispatchMode):
    """The calls of our operators, with their arguments."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator in OPERATORS:
            self.found.append((operator, args))
        return operator(*args, **(kwargs or {}))


def calls_of(name, sample):
    """The operators in a call and in its backward pass, with arguments ready to be checked."""
    call, tensors = bound(getattr(ours, name), sample)
    with Calls() as seen:
        y = call(*tensors)
        y.sum().backward()
    assert len(seen.found) == (3 if name in CONVOLUTIONS else 2)
    return [
        (
            operator,
            [v.detach().requires_grad_() if isinstance(v, torch.Tensor) else v for v in arguments],
        )
        for operator, arguments in seen.found
    ]


@pytest.mark.parametrize("name", list(OPS))
def test_opcheck(name, cases):
    with cases("OpInfo opcheck") as case:
        for number, sample in enumerate(samples(name, "float32", requires_grad=True)):
            for place, (operator, arguments) in enumerate(calls_of(name, sample)):
                words = " ".join(value for value in arguments if isinstance(value, str))
                with case(f"{operator} {words} of {named(sample)}"):
                    every = place == 0 and name in CONVOLUTIONS
                    checks = (*QUICK, SLOW) if every or number % ONE_IN == 0 else QUICK
                    torch.library.opcheck(operator, arguments, test_utils=checks)


@pytest.mark.parametrize("name", list(OPS))
def test_jvp(name, cases):
    with cases("OpInfo jvp") as case:
        for sample in samples(name, "float64"):
            call, tensors = bound(getattr(ours, name), sample)
            theirs, _ = bound(OPS[name].op, sample)
            tensors = [t.detach() for t in tensors]
            tangents = tuple(make_whole(3 * torch.randn_like(t)) for t in tensors)
            with case(named(sample)):
                found, expected = (jvp(f, (*tensors,), tangents) for f in (call, theirs))
                assert all(map(torch.equal, found, expected))


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_vmap(name, cases):
    with cases("OpInfo vmap") as case:
        for sample in samples(name, "float64"):
            call, tensors = bound(getattr(ours, name), sample)
            theirs, _ = bound(OPS[name].op, sample)
            tensors = [t.detach() for t in tensors]
            others = [make_whole(3 * torch.randn_like(t)) for t in tensors]
            for batched in itertools.product((0, None), repeat=len(tensors)):
                if any(dim is not None for dim in batched):
                    with case(f"{batched} of {named(sample)}"):
                        assert_batched(call, theirs, tensors, others, batched)


def assert_batched(call, theirs, tensors, others, batched):
    """Two calls in one, in which some of the tensors are the same."""
    given = [t if dim is None else torch.stack((t, other))
             for t, other, dim in zip(tensors, others, batched, strict=True)]  # fmt: skip
    second = [t if dim is None else other
              for t, other, dim in zip(tensors, others, batched, strict=True)]  # fmt: skip
    expected = torch.stack((theirs(*tensors), theirs(*second)))
    assert torch.equal(vmap(call, batched)(*given), expected)


@pytest.mark.parametrize("dynamic", [False, True], ids=["fixed sizes", "any size"])
@pytest.mark.parametrize("name", list(OPS))
def test_compile(name, dynamic, cases):
    with cases(f"OpInfo compile, {'any size' if dynamic else 'fixed sizes'}") as case:
        for sample in samples(name, "float64")[:: 1 if name in CONVOLUTIONS else ONE_IN]:
            call, tensors = bound(getattr(ours, name), sample)
            theirs, _ = bound(OPS[name].op, sample)
            torch._dynamo.reset()
            compiled = torch.compile(call, backend="aot_eager", fullgraph=True, dynamic=dynamic)
            tensors = [t.detach() for t in tensors]
            ct = make_whole(3 * torch.randn_like(theirs(*tensors)))
            with case(named(sample)):
                assert torch.equal(compiled(*tensors), theirs(*tensors))
                both = (gradients(f, tensors, ct) for f in (compiled, theirs))
                assert all(map(torch.equal, *both))
