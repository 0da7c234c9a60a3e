"""Convolutions that wait for views, residuals and activations: right whatever comes instead."""

import copy
import io
import pickle
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import faltung
from faltung.machine import this_machine
from faltung.optimize import found, layers
from faltung.optimize.lazy import Lazy
from faltung.optimize.origin import origin_of
from faltung.optimize.running import Inputs
from faltung.optimize.verifying import Truth
from near import assert_near, assert_near_model

Forward = Callable[[Any, Tensor], Any]


class Block(nn.Module):
    """Layers with whole numbers, and a forward of each test's own."""

    def __init__(self, forward: Forward, dims: int = 2) -> None:
        super().__init__()
        conv = getattr(nn, f"Conv{dims}d")
        self.conv, self.short = conv(4, 4, 3, padding=1), conv(4, 4, 1)
        self.act, self.drop = nn.ReLU(), nn.Dropout()
        self.run = forward
        self.kept: Any = None
        for parameter in self.parameters():
            parameter.data = torch.randint(-2, 3, parameter.shape).float()
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def in_place(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y += x
    return m.act(y)


def shortcut(m: Any, x: Tensor) -> Tensor:
    y = m.drop(m.conv(x))
    r = m.short(x)
    return F.relu(y.add(r), inplace=True)


def reversed_order(m: Any, x: Tensor) -> Tensor:
    return torch.add(x, m.conv(x)).relu()


def without_activation(m: Any, x: Tensor) -> Tensor:
    return m.conv(x) + x


def turned(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x).movedim(1, -1)
    return m.act(y + x.movedim(1, -1)).movedim(-1, 1)


def flattened(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x).flatten(2).transpose(1, 2)
    return m.act(y).transpose(1, 2).reshape(x.shape)


def by_method(m: Any, x: Tensor) -> Tensor:
    return m.conv(x).relu_()


TAKEN: dict[Forward, str] = {
    in_place: "residual + relu", shortcut: "residual + relu", reversed_order: "residual + relu",
    without_activation: "residual", turned: "residual + relu", flattened: "relu", by_method: "relu",
}  # fmt: skip


def chain_of(model: Any) -> str:
    origin = origin_of(model.conv)
    assert origin is not None
    return "" if origin.chain is None else str(origin.chain)


def fused(model: nn.Module, x: Tensor, channels_last: bool = False) -> nn.Module:
    return faltung.optimize_(
        model, example_inputs=x, fuse_activations=True, channels_last=channels_last
    )


def numbers(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape).float()


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[bool, str | None]]]:
    """Of each convolution, whether it was given a residual, and its activation."""
    found: list[tuple[bool, str | None]] = []
    own = layers.convolve

    def convolve(*given: Any) -> Tensor:
        found.append((given[12] is not None, given[10]))
        return own(*given)

    monkeypatch.setattr(layers, "convolve", convolve)
    yield found


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("forward", TAKEN, ids=lambda f: f.__name__)
def test_done_in_one(forward: Forward, channels_last: bool, dims: int, calls: list[Any]) -> None:
    model, x = Block(forward, dims), numbers(2, 4, *(6, 5, 4)[:dims])
    twin = copy.deepcopy(model)
    fused(model, x, channels_last)
    assert chain_of(model) == TAKEN[forward]
    channels_last = channels_last and dims > 1
    order = {2: torch.channels_last, 3: torch.channels_last_3d}.get(dims)
    for image in (x, numbers(1, 4, *(3, 7, 5)[:dims]), x[:0]):
        given = image.contiguous(memory_format=order) if channels_last and order else image
        for context in (torch.no_grad(), torch.inference_mode()):
            calls.clear()
            with context:
                ours, theirs = model(given), twin(given)
            assert torch.equal(ours, theirs) and type(ours) is Tensor
            assert channels_last or not given.numel() or ours.stride() == theirs.stride()
            steps = TAKEN[forward].split(" + ")
            if given.numel():
                done = ("residual" in steps, "relu" if "relu" in steps else None)
                assert done in calls and len(calls) == 1
    faltung.restore_(model)
    assert all(type(a) is type(b) for a, b in zip(model.modules(), twin.modules(), strict=True))


def kept(m: Any, x: Tensor) -> Tensor:
    m.kept = m.conv(x)
    return m.act(m.kept)


def returned(m: Any, x: Tensor) -> Any:
    y = m.conv(x)
    return y, F.relu(y)


def read_twice(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return F.relu(y) + y.sum()


def changed_between(m: Any, x: Tensor) -> Tensor:
    x = x + 0
    y = m.conv(x)
    x.mul_(2)
    return F.relu(y)


def view_changed_between(m: Any, x: Tensor) -> Tensor:
    x = x + 0
    y = m.conv(x.view(x.shape))
    x.mul_(2)
    return y + x


def residual_changed(m: Any, x: Tensor) -> Tensor:
    r = x + 0
    y = m.conv(x) + r
    r.zero_()
    return F.relu(y)


def broadcast(m: Any, x: Tensor) -> Tensor:
    return m.conv(x) + x.sum((2, 3), keepdim=True)


def scaled(m: Any, x: Tensor) -> Tensor:
    return m.conv(x).add(x, alpha=2)


def into_another(m: Any, x: Tensor) -> Tensor:
    r = x + 0
    r += m.conv(x)
    return r


@pytest.mark.parametrize(
    "forward",
    [kept, returned, read_twice, changed_between, view_changed_between, broadcast, scaled,
     into_another],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_left_alone(forward: Forward) -> None:
    model, x = Block(forward), numbers(2, 4, 5, 6)
    twin = copy.deepcopy(model)
    fused(model, x)
    assert chain_of(model) == ""
    with torch.no_grad():
        ours, theirs = model(x), twin(x)
    for a, b in zip(*((v if isinstance(v, tuple) else (v,)) for v in (ours, theirs)), strict=True):
        assert torch.equal(a, b)


def test_a_residual_that_is_changed_is_added_before() -> None:
    model, x = Block(residual_changed), numbers(2, 4, 5, 6)
    twin = copy.deepcopy(model)
    fused(model, x)
    assert chain_of(model) == "residual"
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))


@torch.no_grad()
def test_another_way_through_the_model_is_right_as_well() -> None:
    model, x = Block(in_place), numbers(2, 4, 5, 6)
    twin = copy.deepcopy(model)
    fused(model, x)
    for forward in (*TAKEN, kept, returned, read_twice, broadcast, scaled, into_another):
        model.run = twin.run = forward
        ours, theirs = model(x), twin(x)
        for a, b in zip(
            *((v if isinstance(v, tuple) else (v,)) for v in (ours, theirs)), strict=True
        ):
            assert torch.equal(a + 0, b) and a.shape == b.shape
    assert isinstance(returned(model, x)[0], Lazy)  # what it lies as is known, and no more
    model.run = twin.run = in_place
    turned_x = x.transpose(2, 3).contiguous().transpose(2, 3)
    for given in (turned_x, x.contiguous(memory_format=torch.channels_last)):
        assert torch.equal(model(given), twin(given))


@torch.no_grad()
def test_a_layer_by_itself_gives_a_tensor_like_any_other() -> None:
    model, x = Block(in_place), numbers(2, 4, 5, 6)
    expected = model.conv(x)
    fused(model, x)

    def result() -> Tensor:
        return model.conv(x)  # type: ignore[no-any-return]

    y = result()
    assert isinstance(y, Lazy) and y.shape == expected.shape and y.dtype == expected.dtype
    assert y.stride() == expected.stride() and y.is_contiguous() and not y.requires_grad
    assert (result().numpy() == expected.numpy()).all() and result().tolist() == expected.tolist()
    assert torch.equal(copy.deepcopy(result()), expected) and repr(result()) == repr(expected)
    assert torch.equal(pickle.loads(pickle.dumps(result())), expected)
    file = io.BytesIO()
    torch.save(result(), file)
    assert torch.equal(torch.load(io.BytesIO(file.getvalue())), expected)
    y = result()
    y += x
    z, y = y, y.relu()
    assert torch.equal(y, (expected + x).relu()) and torch.equal(z + 0, expected + x)
    y = result()
    once = y.data_ptr()
    assert y.data_ptr() == once and float(y.sum()) == float(expected.sum())
    x[0], y[0] = 0.0, 1.0
    assert float(y[0].sum()) == y[0].numel()


def test_hooks_training_and_copies() -> None:
    model, x = Block(in_place), numbers(2, 4, 5, 6)
    twin = copy.deepcopy(model)
    fused(model, x)
    found: list[Tensor] = []
    handles = [model.act.register_forward_pre_hook(lambda m, a: found.append(a[0] + 0)),
               model.conv.register_forward_hook(lambda m, a, y: found.append(y + 0))]  # fmt: skip
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
        assert torch.equal(found[0], twin.conv(x)) and torch.equal(found[1], twin.conv(x) + x)
    for handle in handles:
        handle.remove()
    for again in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), model.train()):
        with torch.no_grad():
            assert torch.equal(again(x), twin(x))
        again(x).sum().backward()
        twin.zero_grad()
        twin(x).sum().backward()
        pairs = zip(again.parameters(), twin.parameters(), strict=True)
        assert all(a.grad is None or torch.equal(a.grad, b.grad) for a, b in pairs)
        again.zero_grad()


@torch.no_grad()
def test_hooks_on_modules_around_it_get_what_they_got() -> None:
    class Inner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(x)  # type: ignore[no-any-return]

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner, self.drop = Inner(), nn.Dropout()

        def forward(self, x: Tensor) -> Tensor:
            return F.relu(self.drop(self.inner(x)) + x)

    model, x = Outer().eval(), torch.randn(2, 4, 5, 6)
    twin = copy.deepcopy(model)
    fused(model, x)
    origin = origin_of(model.inner.conv)
    assert origin is not None and str(origin.chain) == "residual + relu"
    found: list[Any] = []
    model(x)
    for module in (model.inner, model.drop):
        for register in (module.register_forward_hook, module.register_forward_pre_hook):
            handle = register(lambda m, a, *y: found.append((*a, *y)))
            model(x)
            handle.remove()
    assert all(type(t) is Tensor for tensors in found for t in tensors) and len(found) == 4
    assert_near_model(found[0][1], twin.inner, x)


def test_whoever_follows_functions_sees_them() -> None:
    class Counting(TorchFunctionMode):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[str] = []

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.seen.append(func.__name__)
            return func(*args, **(kwargs or {}))

    model, x = Block(in_place), numbers(2, 4, 5, 6)
    expected = model(x)
    fused(model, x)
    with torch.no_grad(), Counting() as counting:
        assert torch.equal(model(x), expected)
    assert "add_" in counting.seen and "relu" in counting.seen
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        assert model(x).dtype == Block(in_place)(x).dtype


def test_after_a_folded_normalisation() -> None:
    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)
            self.norm.running_mean.normal_()
            self.norm.running_var.uniform_(0.5, 2)

        def forward(self, x: Tensor) -> Tensor:
            return F.silu(self.norm(self.conv(x)) + x)

    model, x = Residual().eval(), torch.randn(2, 8, 9, 7)
    twin = copy.deepcopy(model)
    faltung.optimize_(model, example_inputs=x, fold_batchnorm=True, fuse_activations=True)
    assert chain_of(model) == "BatchNorm + residual + silu"
    assert Truth.of(twin, Inputs.of(x)).check(model, Inputs.of(x), 1.0) <= 1
    model.train()
    twin.train()
    wide = copy.deepcopy(twin).double()
    with torch.no_grad():
        assert_near(model(x), twin(x), wide(x.double()))
    assert model.norm.num_batches_tracked == twin.norm.num_batches_tracked == 1


def test_results_that_are_passed_over_quickly_are_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rates = this_machine()
    moved = 2 * 4 * 4 * 9 * 9 / rates.bandwidth  # an activation's, in the layer below
    for seconds, waits in ((0.9 * moved, True), (1.1 * moved, False), (2.6 * moved, False)):
        monkeypatch.setattr(found, "_WAITING_SECONDS", seconds)
        model = Block(lambda m, x: F.relu(m.conv(x)))
        faltung.optimize_(model, example_inputs=torch.ones(1, 4, 9, 9), fuse_activations=True)
        origin = origin_of(model.conv)
        assert origin is not None and (origin.chain is not None) == waits
    # a residual is read besides, and an exponential takes PyTorch longer
    longer = 4 * 9 * 9 * found._EXPONENTIAL_SECONDS
    for forward, seconds in (
        (in_place, 2.4 * moved),
        (lambda m, x: F.elu(m.conv(x)), moved + 0.9 * longer),
    ):
        monkeypatch.setattr(found, "_WAITING_SECONDS", seconds)
        model = Block(forward)
        faltung.optimize_(model, example_inputs=torch.ones(1, 4, 9, 9), fuse_activations=True)
        origin = origin_of(model.conv)
        assert origin is not None and origin.chain is not None
