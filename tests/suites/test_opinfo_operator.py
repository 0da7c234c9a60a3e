"""PyTorch's OpInfo samples, asked of the operator that a trace sees instead of a call.

opcheck: PyTorch's own checks of an operator. jvp, vmap, compile: the numbers, whole and in float64,
that PyTorch's function gives, to the bit.
"""

import itertools

import pytest
import torch
from torch.func import jvp, vmap
from torch.utils._python_dispatch import TorchDispatchMode

import faltung.functional as ours
from suites.judging import make_whole
from suites.test_opinfo import (
    OPS,
    bound,
    gradients,
    named,
    pytestmark,  # noqa: F401  (what PyTorch warns of in its own calls)
    small_samples,
)

CONVOLUTIONS = [name for name in OPS if name.startswith("conv")]
OPERATOR = torch.ops.faltung.conv.default
QUICK = ("test_schema", "test_autograd_registration", "test_faketensor")
SLOW = "test_aot_dispatch_dynamic"
# so many samples of each function, because PyTorch takes its time to look at one
MOST_CHECKED, MOST_SLOW = 6, 1
MOST_COMPILED = {False: 2, True: 1}  # with symbols for sizes a graph takes three times as long
MOST = 10


class Calls(TorchDispatchMode):
    """The arguments with which our operator was called."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        if operator is OPERATOR:
            self.found.append(args)
        return operator(*args, **(kwargs or {}))


def calls_of(name, sample):
    """The operator's arguments in a call and in its backward pass, ready to be checked."""
    call, tensors = bound(getattr(ours, name), sample)
    with Calls() as seen:
        y = call(*tensors)
        y.sum().backward()
    assert len(seen.found) == 3
    return [
        [v.detach().requires_grad_() if isinstance(v, torch.Tensor) else v for v in arguments]
        for arguments in seen.found
    ]


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_opcheck(name, cases):
    slow = list(map(named, small_samples(name, "float32", most=MOST_SLOW)))
    with cases("OpInfo opcheck") as case:
        for sample in small_samples(name, "float32", most=MOST_CHECKED):
            checks = (*QUICK, SLOW) if named(sample) in slow else QUICK
            for arguments in calls_of(name, sample):
                with case(f"{arguments[3]} of {named(sample)}"):
                    torch.library.opcheck(OPERATOR, arguments, test_utils=checks)


@pytest.mark.parametrize("name", list(OPS))
def test_jvp(name, cases):
    with cases("OpInfo jvp") as case:
        for sample in small_samples(name, "float64", most=MOST):
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
        for sample in small_samples(name, "float64", most=MOST):
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
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_compile(name, dynamic, cases):
    with cases("OpInfo compile") as case:
        for sample in small_samples(name, "float64", most=MOST_COMPILED[dynamic]):
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
