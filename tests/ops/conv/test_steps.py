"""Steps of a training: one that is like an earlier one runs its plans at once, no other does."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import faltung
from faltung import functional as FF
from faltung.ops.conv import autograd
from faltung.tools.budget import Budget, assert_within

Whole = Callable[..., Tensor]
CHANNELS_LAST = torch.channels_last


def gradients(conv: Callable[..., Tensor], *operands: Tensor, **keywords: Any) -> list[Tensor]:
    """The result and the gradients of what wants one, for a cotangent that is no constant."""
    leaves = [t.detach().requires_grad_(t.requires_grad) for t in operands]
    y = conv(*leaves, **keywords)
    ct = torch.arange(y.numel(), dtype=y.dtype).remainder(5).sub(2).view(y.shape)
    wanted = [t for t in leaves if t.requires_grad]
    return [y.detach(), *torch.autograd.grad(y, wanted, ct)]


def same(found: list[Tensor], expected: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.fixture(autouse=True)
def _to_the_bit() -> Iterator[None]:
    with faltung.using(accuracy="exact"):
        yield


@pytest.fixture
def triple(whole: Whole) -> tuple[Tensor, Tensor, Tensor]:
    operands = whole(2, 8, 9, 9), whole(8, 4, 3, 3), whole(8)
    x, w, b = (t.float().requires_grad_() for t in operands)
    return x, w, b


@pytest.fixture
def looked_up(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How often the long way is gone, one entry a task."""
    ways: list[int] = []
    run = autograd.Job.run

    def noted(job: autograd.Job, *operands: Any) -> Tensor:
        ways.append(1)
        return run(job, *operands)

    monkeypatch.setattr(autograd.Job, "run", noted)
    return ways


def test_a_step_like_the_last_goes_no_long_way(
    triple: tuple[Tensor, ...], looked_up: list[int]
) -> None:
    x, w, b = triple
    for step in range(4):
        before = len(looked_up)
        with torch.no_grad():
            w.add_(1)
        found = gradients(FF.conv2d, x, w, b, padding=1, groups=2)
        assert same(found, gradients(F.conv2d, x, w, b, padding=1, groups=2))
        assert len(looked_up) - before == (0 if step else 3)


def test_what_ran_is_counted_on_either_way(triple: tuple[Tensor, ...]) -> None:
    counts = []
    for _ in range(3):
        before = faltung.usage()
        gradients(FF.conv2d, *triple, padding=1, groups=2)
        counts.append(faltung.usage() - before)
    assert sum(counts[0].values()) == 3
    assert counts[1] == counts[0] == counts[2]


def test_steps_that_differ_from_the_last(triple: tuple[Tensor, ...], whole: Whole) -> None:
    x, w, b = triple
    steps = [
        (x, w, b),
        (x.detach(), w, b),  # no gradient of the image
        (x, w.detach(), b),
        (x.detach().contiguous(memory_format=CHANNELS_LAST).requires_grad_(), w, b),
        (x, w.detach().contiguous(memory_format=CHANNELS_LAST).requires_grad_(), b),
        (whole(5, 8, 9, 9, dtype=torch.float32).requires_grad_(), w, b),
        (whole(2, 8, 18, 9, dtype=torch.float32)[:, :, ::2].requires_grad_(), w, b),
        tuple(t.detach().double().requires_grad_() for t in triple),
        (x, w, b),
    ]
    for _ in range(3):
        for given in steps:
            found = gradients(FF.conv2d, *given, padding=1, groups=2)
            assert same(found, gradients(F.conv2d, *given, padding=1, groups=2))


def test_a_cotangent_of_another_layout(triple: tuple[Tensor, ...]) -> None:
    x, w, b = triple
    for _ in range(3):
        for change in (
            lambda ct: ct, lambda ct: ct.contiguous(memory_format=CHANNELS_LAST),
            lambda ct: ct[:1, :1, :1, :1].expand(ct.shape),
        ):  # fmt: skip
            results = []
            for conv in (FF.conv2d, F.conv2d):
                y = conv(x, w, b, padding=1, groups=2)
                ct = change(torch.arange(y.numel()).remainder(3).float().view(y.shape))
                results.append(list(torch.autograd.grad(y, (x, w, b), ct)))
            assert same(*results)


def test_second_derivatives_after_steps_without(triple: tuple[Tensor, ...]) -> None:
    x, w, b = triple
    for _ in range(3):
        gradients(FF.conv2d, x, w, b, padding=1, groups=2)
    results = []
    for conv in (FF.conv2d, F.conv2d):
        y = conv(x, w, b, padding=1, groups=2)
        (gx,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
        results.append([gx.detach(), *torch.autograd.grad(gx.sum(), (x, w))])
    assert same(*results)


def test_transforms_after_steps_without(triple: tuple[Tensor, ...]) -> None:
    x, w, b = (t.detach() for t in triple)
    for _ in range(3):
        gradients(FF.conv2d, *triple, padding=1, groups=2)
    results = []
    for conv in (FF.conv2d, F.conv2d):

        def loss(w: Tensor, image: Tensor, conv: Callable[..., Tensor] = conv) -> Tensor:
            return conv(image, w, b, padding=1, groups=2).sum()

        each = torch.func.vmap(torch.func.grad(loss), (None, 0))(w, x)
        along = torch.func.jvp(lambda w, f=loss: f(w, x), (w,), (torch.ones_like(w),))
        results.append([each, *along])
    assert same(*results)


def test_fewer_threads_and_other_settings_in_between(triple: tuple[Tensor, ...]) -> None:
    expected = gradients(F.conv2d, *triple, padding=1, groups=2)
    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            torch.set_num_threads(threads)
            for algorithm in (None, "native_torch", None):
                with faltung.using(algorithm=algorithm):
                    assert same(gradients(FF.conv2d, *triple, padding=1, groups=2), expected)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("layout", [torch.contiguous_format, CHANNELS_LAST])
def test_a_bias_in_every_step_alike(layout: torch.memory_format) -> None:
    """Its gradient comes with the weight's, and rounds in the first step as in later ones."""
    x, gy = (torch.randn(2, 32, 20, 20).contiguous(memory_format=layout) for _ in range(2))
    leaves = [x.requires_grad_(), torch.randn(32, 4, 3, 3, requires_grad=True),
              torch.randn(32, requires_grad=True)]  # fmt: skip
    with faltung.using(accuracy="default"):
        steps = [
            torch.autograd.grad(FF.conv2d(*leaves, padding=1, groups=8), leaves, gy)
            for _ in range(3)
        ]
    assert all(same(list(step), list(steps[0])) for step in steps)
    budget = Budget.of(lambda gy: gy.sum((0, 2, 3)), [gy])
    assert_within(steps[0][2], budget)


def test_a_bias_of_a_transposed_convolution(whole: Whole) -> None:
    """There the weight's gradient has the operands the other way round."""
    given = [t.float().requires_grad_() for t in (whole(2, 8, 9, 9), whole(8, 1, 3, 3), whole(8))]
    for _ in range(3):
        found = gradients(FF.conv_transpose2d, *given, padding=1, groups=8)
        assert same(found, gradients(F.conv_transpose2d, *given, padding=1, groups=8))
