"""PyTorch's convolution functions inside `with replace_torch()`."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import faltung
from near import assert_near_model

Whole = Callable[..., Tensor]


def calls(function: Callable[[], Any]) -> int:
    before = faltung.usage()
    function()
    return sum((faltung.usage() - before).values())


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True])
def test_every_function_and_module(dims: int, transposed: bool, whole: Whole) -> None:
    name = f"conv_transpose{dims}d" if transposed else f"conv{dims}d"
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dims}d")
    x, w = whole(2, 4, *(7, 6, 5)[:dims], dtype=torch.float32), whole(4, 4, *[3] * dims)
    w, module = w.float(), kind(4, 4, 3, stride=2)
    results = [getattr(F, name)(x, w), getattr(torch, name)(x, w, stride=2, padding=1), module(x)]
    with faltung.replace_torch(), torch.no_grad():
        assert calls(lambda: getattr(F, name)(x, w)) == 1
        assert calls(lambda: getattr(torch, name)(x, w)) == 1
        assert calls(lambda: module(x)) == 1
        ours = [getattr(F, name)(x, w), getattr(torch, name)(x, w, stride=2, padding=1)]
        assert all(torch.equal(a, b) for a, b in zip(ours, results[:2], strict=True))
        result = module(x)
    assert_near_model(result, module, x)
    assert calls(lambda: getattr(F, name)(x, w)) == 0


def test_gradients_and_blocks_in_blocks(whole: Whole) -> None:
    x, w = whole(2, 4, 7, 6).requires_grad_(), whole(4, 4, 3, 3).requires_grad_()
    F.conv2d(x, w).sum().backward()
    expected = x.grad, w.grad
    x.grad = w.grad = None
    with faltung.replace_torch(), faltung.replace_torch():
        assert calls(lambda: F.conv2d(x, w)) == 1
        F.conv2d(x, w).sum().backward()
    assert torch.equal(x.grad, expected[0]) and torch.equal(w.grad, expected[1])


def test_our_own_calls_of_pytorch_are_left(whole: Whole) -> None:
    x, w = whole(2, 4, 7, 6), whole(4, 4, 3, 3)
    with faltung.replace_torch():
        assert calls(lambda: faltung.functional.conv2d(x, w, algorithm="native_torch")) == 1
        layer = faltung.optimize_(nn.Conv2d(4, 4, 3))
        assert calls(lambda: layer(x.float())) == 1


def test_holds_for_its_thread_only(whole: Whole) -> None:
    x, w = whole(2, 4, 7, 6), whole(4, 4, 3, 3)
    counts: list[int] = []
    with faltung.replace_torch():
        other = threading.Thread(target=lambda: counts.append(calls(lambda: F.conv2d(x, w))))
        other.start()
        other.join()
    assert counts == [0]


def test_what_is_no_plain_tensor_stays_with_pytorch(whole: Whole) -> None:
    class Tagged(Tensor):
        pass

    x, w = whole(2, 4, 7, 6, dtype=torch.float32), whole(4, 4, 3, 3, dtype=torch.float32)
    expected = F.conv2d(x, w)
    with faltung.replace_torch():
        assert calls(lambda: F.conv2d(x.as_subclass(Tagged), w)) == 0
        assert torch.equal(F.conv2d(x.to_mkldnn(), w).to_dense(), expected)
        assert torch.equal(F.relu(x), x.clamp_min(0))
        with pytest.raises((TypeError, RuntimeError)):
            F.conv2d(3, w)


def test_compiled_graphs_keep_pytorchs_operators(whole: Whole) -> None:
    x, w = whole(2, 4, 7, 6, dtype=torch.float32), whole(4, 4, 3, 3, dtype=torch.float32)

    def double(x: Tensor) -> Tensor:
        return 2 * F.conv2d(x, w)

    compiled = torch.compile(double, backend="eager")
    expected = double(x)
    with faltung.replace_torch():
        assert torch.equal(compiled(x), expected) and torch.equal(double(x), expected)
    assert torch.equal(compiled(x), expected)
