"""Who is given an operator: whoever looks at a call, and nobody else."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from faltung.ops.tracing import is_symbolic, is_traced


class _Mode(TorchDispatchMode):
    def __torch_dispatch__(  # type: ignore[no-untyped-def]
        self, operator, types, args=(), kwargs=None
    ) -> Any:
        return operator(*args, **(kwargs or {}))


class _Foreign(Tensor):
    """Somebody else's."""


def test_numbers_in_memory_are_not_looked_at() -> None:
    x = torch.ones(2, 3)
    assert not is_traced(x, None, torch.nn.Parameter(x), x.requires_grad_())
    with torch.no_grad(), torch.inference_mode():
        assert not is_traced(x)


def test_who_looks() -> None:
    x, seen = torch.ones(2, 3), []
    with _Mode():
        assert is_traced(x)
        assert not is_traced(x, x.as_subclass(_Foreign))
    with FakeTensorMode() as mode:
        fake = mode.from_tensor(x)
    assert is_traced(x, fake) and is_traced(None, fake)
    torch.func.vmap(lambda one: (seen.append(is_traced(one)), one)[1])(x)
    torch.func.grad(lambda one: (seen.append(is_traced(x)), one.sum())[1])(x)
    assert seen == [True, True]


@pytest.mark.parametrize("dynamic", [False, True])
def test_symbols(dynamic: bool) -> None:
    seen = []

    def look(x: Tensor) -> Tensor:
        seen.append(is_symbolic((1, 2), x.shape))
        return x + 1

    tracing = "symbolic" if dynamic else "fake"
    torch.fx.experimental.proxy_tensor.make_fx(look, tracing_mode=tracing)(torch.ones(3, 4))
    assert seen == [dynamic]
