"""Channels that are scaled before a pointwise convolution are scaled by its weight."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import faltung
from faltung.optimize import followed, pointwise, scaled
from faltung.optimize.lazy import Lazy
from faltung.optimize.scaled import Offered, Scaled
from near import assert_near


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "_LEAST_SCALED", 0)
    monkeypatch.setattr(scaled, "_FOLDING", 0)
    monkeypatch.setattr(pointwise, "_MARGIN", 1e9)


@pytest.fixture
def folded(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    """The weights that images were scaled into."""
    weights: list[Tensor] = []
    for module in ("layers", "pointwise"):
        place = __import__(f"faltung.optimize.{module}", fromlist=[module])
        own = place.folded_in

        def noted(given: Scaled, w: Tensor, b: Tensor | None, own: Any = own) -> Any:
            found = own(given, w, b)
            if found[0] is given.source.map:
                weights.append(found[1])
            return found

        monkeypatch.setattr(place, "folded_in", noted)
    return weights


def nothing(x: Tensor, y: Tensor) -> None:
    """What a model may do with a map before it is read."""


class Excited(nn.Module):
    """Squeeze and excitation, as EfficientNet has it."""

    def __init__(self, dims: int = 2) -> None:
        super().__init__()
        conv = getattr(nn, f"Conv{dims}d")
        self.first = conv(6, 6, 3, padding=1, groups=6)
        self.down, self.up = conv(6, 2, 1), conv(2, 6, 1)
        self.last = conv(6, 5, 1)
        self.between: Callable[[Tensor, Tensor], Any] = nothing

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        mean = x.mean(tuple(range(2, x.dim())), keepdim=True)
        s = torch.sigmoid(self.up(torch.relu(self.down(mean))))
        y = x * s
        self.between(x, y)
        result: Tensor = self.last(y)
        return result


class Responding(nn.Module):
    """Response normalisation, as ConvNeXt V2 has it."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(4, 12), nn.Linear(12, 4)
        self.weight, self.bias = (nn.Parameter(torch.randn(1, 1, 1, 12)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        size = torch.linalg.vector_norm(x, ord=2, dim=(1, 2), keepdim=True)
        relative = size / (size.mean(dim=-1, keepdim=True) + 1e-6)
        x = self.weight * (x * relative) + self.bias + x
        result: Tensor = self.last(x)
        return result


CASES = {
    "excited": (Excited, (1, 6, 9, 11)),
    "excited, 1-D": (lambda: Excited(1), (1, 6, 50)),
    "excited, 3-D": (lambda: Excited(3), (1, 6, 4, 5, 6)),
    "excited, a batch": (Excited, (3, 6, 9, 11)),
    "responding": (Responding, (1, 9, 11, 4)),
    "responding, a batch": (Responding, (2, 9, 11, 4)),
}
LAYOUTS = pytest.mark.parametrize("last", [False, True], ids=["contiguous", "channels last"])


def made(name: str, last: bool = False) -> tuple[nn.Module, nn.Module, Tensor]:
    build, shape = CASES[name]
    model: nn.Module = build().eval()
    x = torch.randn(shape)
    if last and x.dim() in (4, 5):
        x = x.contiguous(
            memory_format=torch.channels_last if x.dim() == 4 else torch.channels_last_3d
        )
    twin = copy.deepcopy(model)
    faltung.optimize_(model, example_inputs=(x,), fuse_activations=True)
    return model, twin, x


def check(model: nn.Module, twin: nn.Module, x: Tensor) -> None:
    with torch.no_grad():
        y, expected = model(x), twin(x)
        wide = copy.deepcopy(twin).double()(x.double())
    assert type(y) is Tensor and y.shape == expected.shape
    # the scaled weight is rounded once more than the scaled image
    assert_near(y, expected, wide)


@LAYOUTS
@pytest.mark.parametrize("name", CASES)
def test_the_weight_is_scaled(name: str, last: bool, folded: list[Tensor]) -> None:
    model, twin, x = made(name, last)
    folded.clear()
    for _ in range(2):
        check(model, twin, torch.randn_like(x))
    # images of a batch have numbers of their own; a map whose channels lie apart is PyTorch's
    left = "batch" in name or (last and "responding" in name)
    expected = 0 if left else 2
    assert len(folded) == expected


def test_a_large_weight_is_not(folded: list[Tensor], monkeypatch: pytest.MonkeyPatch) -> None:
    model, twin, x = made("excited")
    folded.clear()
    monkeypatch.setattr(scaled, "_FOLDING", 10**9)
    check(model, twin, x)
    assert not folded


def test_whoever_looks_sees_numbers(folded: list[Tensor]) -> None:
    model, twin, x = made("excited")
    seen: list[Tensor] = []
    for one in (model, twin):
        one.between = lambda x, y: seen.append((y.flatten(1) + 1).sum())  # type: ignore[assignment]
    check(model, twin, x)
    assert_near(seen[0], seen[1], seen[1])


def test_an_image_that_is_changed_is_left_alone(folded: list[Tensor]) -> None:
    build, shape = CASES["excited"]
    model: Any = build().eval()
    model.between = lambda x, y: y.add_(1)
    x, twin = torch.randn(shape), copy.deepcopy(model)
    faltung.optimize_(model, example_inputs=(x,), fuse_activations=True)
    folded.clear()
    check(model, twin, x)
    assert not folded


def test_hooks_derivatives_and_training(folded: list[Tensor]) -> None:
    model, twin, x = made("excited")
    seen: list[type] = []
    handle = model.first.register_forward_hook(lambda m, i, o: seen.append(type(o)))  # type: ignore[union-attr,operator]
    folded.clear()
    check(model, twin, x)
    assert seen == [Tensor] and not folded
    handle.remove()
    results = []
    for one in (model, twin):
        leaf = x.clone().requires_grad_()
        one(leaf).sum().backward()
        results.append(leaf.grad)
    assert results[0] is not None and results[1] is not None
    assert_near(results[0], results[1], results[1])


def test_restored(folded: list[Tensor]) -> None:
    model, twin, x = made("excited")
    faltung.restore_(model)
    folded.clear()
    with torch.no_grad():
        assert torch.equal(model(x), twin(x)) and not folded
    assert type(model) is type(twin)


def test_a_map_that_waits_is_a_tensor_like_others() -> None:
    with torch.no_grad():
        x = scaled.offered(torch.randn(1, 3, 4, 5), 1)
        s = torch.randn(1, 3, 1, 1)
        y = x * s
        assert isinstance(x, Offered) and isinstance(y, Scaled) and isinstance(y + x, Scaled)
        assert torch.equal(y + 1, x.map * s + 1)
        assert torch.equal((x * s).relu(), (x.map * s).relu())
        assert not isinstance(x * torch.randn(1, 3, 4, 1), Scaled)  # another number for each row
        assert not isinstance(x + s, Scaled)
        assert torch.equal(s * x, s * x.map)


def waiting(dtype: torch.dtype = torch.float32) -> tuple[Offered, Tensor]:
    """A map that is offered, and it times one number a channel."""
    with torch.no_grad():
        x = scaled.offered(torch.randn(2, 3, 4, 5).to(dtype), 1)
        y = x * torch.randn(3, 1, 1).to(dtype)
    assert isinstance(y, Scaled)
    return x, y


@pytest.mark.parametrize(
    "through",
    [
        copy.deepcopy,
        copy.copy,
        lambda t: pickle.loads(pickle.dumps(t)),
        lambda t: torch.from_numpy(t.numpy()),
        torch.from_dlpack,
        lambda t: torch.cat([t, t])[:2],
        lambda t: torch.add(t, 0, out=torch.empty(2, 3, 4, 5)),
        torch.compile(lambda t: t * 1, backend="eager"),
    ],
)
def test_whatever_is_made_of_it_is_ordinary(through: Callable[[Tensor], Tensor]) -> None:
    for number in (0, 1):
        given = waiting()[number]
        made = through(given)
        assert type(made) is Tensor and torch.equal(made, given.numbers())  # type: ignore[attr-defined]


def test_derivatives_are_not_lost() -> None:
    for number in (0, 1):
        given = waiting()[number]
        factor = torch.ones(3, 1, 1, requires_grad=True)
        made = given * factor + factor
        assert type(made) is Tensor
        made.sum().backward()
        expected = given.numbers().sum((0, 2, 3)) + 40  # type: ignore[attr-defined]
        assert factor.grad is not None
        assert_near(factor.grad.flatten(), expected, expected.double())


def test_what_was_put_off_without_derivatives_has_none() -> None:
    factor = torch.ones(3, 1, 1, requires_grad=True)
    with torch.no_grad():
        made = waiting()[0] * factor
    assert isinstance(made, Scaled) and not made.numbers().requires_grad


def test_tensors_of_somebodys_class_and_other_dtypes_are_left_to_pytorch() -> None:
    class Own(Tensor):
        pass

    x, y = waiting()
    with torch.no_grad():
        for other in (torch.ones(3, 1, 1).double(), torch.ones(3, 1, 1).as_subclass(Own)):
            for given in (x, y):
                product = given * other
                assert not isinstance(product, Lazy)
                expected = given.numbers() * other
                assert type(product) is type(expected) and product.dtype == expected.dtype
                assert torch.equal(product, expected)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_small_factors_do_not_vanish(dtype: torch.dtype) -> None:
    with torch.no_grad():
        x = scaled.offered(torch.full((1, 4, 3, 3), 1000.0, dtype=dtype), 1)
        s, w = (torch.full((1, 4, 1, 1), 1e-4, dtype=dtype) for _ in range(2))
        y: Any = x * s
        image, weight, _ = scaled.folded_in(y, w, None)
        assert (image is x.map) == (dtype is torch.float32)
        assert torch.equal(image, x.map if dtype is torch.float32 else x.map * s)
        assert weight.count_nonzero() == 4


@pytest.mark.parametrize("last", [False, True])
def test_numbers_lie_as_was_said(last: bool) -> None:
    with torch.no_grad():
        map = torch.randn(2, 3, 4, 5)
        map = map.contiguous(memory_format=torch.channels_last) if last else map
        y: Any = scaled.offered(map, 1) * torch.randn(1, 3, 1, 1)
        for made in (y, y + torch.randn(3, 1, 1), y + torch.randn(2, 3, 1, 1)):
            assert made.numbers().stride() == made.stride() == map.stride()


class Choosing(Excited):
    """Another way through the model shows what lies between."""

    def forward(self, x: Tensor, shows: bool = False) -> Any:
        y = super().forward(x)
        first = self.first(x)
        return {"y": y, "all": [(first, first * self.up.bias.view(1, 6, 1, 1))]} if shows else y


def test_the_model_returns_ordinary_tensors() -> None:
    model: Any = Choosing().eval()
    twin, x = copy.deepcopy(model), torch.randn(1, 6, 9, 11)
    faltung.optimize_(model, example_inputs=(x,), fuse_activations=True)
    with torch.no_grad():
        shown, expected = model(x, shows=True), twin(x, shows=True)
    for y, y0 in zip(shown["all"][0], expected["all"][0], strict=True):
        assert type(y) is Tensor
        assert_near(y, y0, y0.double())
    loaded = pickle.loads(pickle.dumps(model))
    assert len(loaded._forward_hooks) == 1 and len(copy.deepcopy(model)._forward_hooks) == 1
    faltung.optimize_(model, example_inputs=(x,), fuse_activations=True)
    assert len(model._forward_hooks) == 1
    assert not faltung.restore_(model)._forward_hooks


def test_under_autocast_it_is_as_without_us() -> None:
    model, twin, x = made("excited")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        y, expected = model(x), twin(x)
    assert y.dtype == expected.dtype == torch.bfloat16
    with torch.no_grad():
        assert_near(y, expected, copy.deepcopy(twin).double()(x.double()))


def test_in_a_graph_nothing_waits() -> None:
    model, twin, x = made("excited")
    with torch.no_grad():
        y = torch.compile(model, backend="eager")(x)
    assert type(y) is Tensor
    with torch.no_grad():
        assert_near(y, twin(x), copy.deepcopy(twin).double()(x.double()))
