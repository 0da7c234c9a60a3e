"""Padding is done by the convolution after it, and by nobody else when somebody looks."""

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

import faltung
from faltung.optimize import followed
from faltung.optimize.origin import origin_of
from faltung.optimize.padded import Padded, filled, padded


@pytest.fixture(autouse=True)
def _always_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed, "_PAD_SECONDS", 1.0)


class Calling(nn.Module):
    """Pads with `F.pad` in its own forward."""

    def __init__(
        self, dims: int, pad: tuple[int, ...], mode: str = "constant", **keywords: Any
    ) -> None:
        super().__init__()
        self.conv = getattr(nn, f"Conv{dims}d")(3, 4, 3, **keywords)
        self.pad, self.mode = pad, mode
        self.between: Callable[[Tensor], Any] = lambda x: None

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, self.pad, self.mode)
        self.between(x)
        return self.conv(x)


class Seen:
    """The images that a module's convolution was given, as they came."""

    def __init__(self, module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.kinds: list[type] = []
        own = type(module.conv).forward

        def forward(conv: Any, input: Tensor, *others: Any) -> Tensor:
            self.kinds.append(type(input))
            result: Tensor = own(conv, input, *others)
            return result

        monkeypatch.setattr(type(module.conv), "forward", forward)


def whole(model: nn.Module) -> nn.Module:
    """With whole numbers, of which every sum is exact."""
    for parameter in model.parameters():
        parameter.data = torch.randint(-3, 4, parameter.shape).float()
    return model.eval()


def numbers(*shape: int) -> Tensor:
    return torch.randint(-4, 5, shape).float()


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("keywords", [{}, {"stride": 2, "padding": 1}, {"padding": "valid"}])
def test_bits(
    dims: int, mode: str, keywords: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = whole(Calling(dims, (1, 2, 0, 3, 2, 1)[: 2 * dims], mode, **keywords))
    twin, x = copy.deepcopy(model), numbers(2, 3, *(7, 6, 5)[:dims])
    faltung.optimize_(model, example_inputs=x)
    assert origin_of(model) is not None
    seen = Seen(model, monkeypatch)
    for given in (x, numbers(1, 3, *(5, 4, 6)[:dims]), x[:0]):
        with torch.no_grad():
            ours, theirs = model(given), twin(given)
        assert torch.equal(ours, theirs) and ours.shape == theirs.shape
    assert seen.kinds[0] is Padded
    assert faltung.restore_(model) is model and type(model) is Calling


@pytest.mark.parametrize(
    "layer",
    [nn.ZeroPad2d((0, 1, 2, 0)), nn.ReflectionPad2d(1), nn.ReplicationPad2d((1, 0, 0, 2)),
     nn.CircularPad2d(2), nn.ConstantPad2d(1, 0.0), nn.ConstantPad2d(1, 2.0),
     nn.ZeroPad2d((-1, 1, 0, 0))],
    ids=repr,
)  # fmt: skip
@pytest.mark.parametrize("layout", ["contiguous", "channels_last"])
def test_padding_layers(layer: nn.Module, layout: str) -> None:
    model = whole(nn.Sequential(layer, nn.Conv2d(3, 4, 3, padding=1), nn.ReLU()))
    twin, x = copy.deepcopy(model), numbers(2, 3, 7, 6)
    faltung.optimize_(
        model, example_inputs=x, fuse_activations=True, channels_last=layout == "channels_last"
    )
    is_taken = getattr(layer, "value", 0) == 0
    assert (origin_of(model[0]) is not None) == is_taken
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
        again = pickle.loads(pickle.dumps(copy.deepcopy(model)))
        assert torch.equal(again(x), twin(x))
        alone = model[0](x)
        assert torch.equal(alone + 0, twin[0](x)) and alone.stride() == twin[0](x).stride()
    model(x).sum().backward()
    twin(x).sum().backward()
    ours, theirs = (list(m.parameters()) for m in (model, twin))
    assert all(torch.equal(a.grad, b.grad) for a, b in zip(ours, theirs, strict=True))


def test_others_see_a_padded_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = whole(Calling(2, (1, 1, 1, 1)))
    twin, x = copy.deepcopy(model), numbers(1, 3, 5, 5)
    faltung.optimize_(model, example_inputs=x)
    found: list[Any] = []
    model.between = lambda y: found.append((y.shape, float(y.abs().sum()), y.numpy().copy()))
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
    assert found[0][0] == (1, 3, 7, 7) and found[0][1] == x.abs().sum()
    assert (found[0][2] == F.pad(x, (1, 1, 1, 1)).numpy()).all()
    seen = Seen(model, monkeypatch)
    model.between = lambda y: y.mul_(2)  # changed in place after it was padded
    twin.between = model.between
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
    handle = model.conv.register_forward_pre_hook(lambda m, a: found.append(type(a[0])))
    model.between = twin.between = lambda y: None
    with torch.no_grad():
        assert torch.equal(model(x), twin(x))
    assert found[-1] is Tensor and seen.kinds[-1] is Tensor
    handle.remove()


def test_functions_are_left_to_whoever_follows_them() -> None:
    class Counting(TorchFunctionMode):
        pads = 0

        def __torch_function__(
            self, func: Any, types: Any, args: Any = (), kwargs: Any = None
        ) -> Any:
            self.pads += func is F.pad
            return func(*args, **(kwargs or {}))

    model = whole(Calling(2, (1, 1, 1, 1)))
    twin, x = copy.deepcopy(model), numbers(1, 3, 5, 5)
    faltung.optimize_(model, example_inputs=x)
    with torch.no_grad(), Counting() as counting:
        assert torch.equal(model(x), twin(x))
    assert counting.pads == 2


@torch.no_grad()
def test_padding_in_a_module_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    class Same(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.pad(x, (x.shape[-1] % 2, 1))

    class Outer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.pad, self.conv = Same(), nn.Conv1d(3, 4, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.conv(self.pad(x))  # type: ignore[no-any-return]

    model = whole(Outer())
    twin, x = copy.deepcopy(model), numbers(1, 3, 5)
    faltung.optimize_(model, example_inputs=x)
    seen = Seen(model, monkeypatch)
    for given in (x, numbers(2, 3, 6)):
        assert torch.equal(model(given), twin(given))
    assert seen.kinds == [Padded, Padded]
    found: list[Any] = []
    handle = model.pad.register_forward_hook(lambda m, a, y: found.append(y))
    assert torch.equal(model(x), twin(x)) and torch.equal(found[0], twin.pad(x))
    assert type(found[0]) is Tensor
    handle.remove()


@pytest.mark.parametrize("where", ["kept", "read_twice", "changed", "before_something_else"])
def test_not_where_something_else_reads_it(where: str) -> None:
    class Odd(Calling):
        def forward(self, x: Tensor) -> Any:
            x = x + 0
            y = F.pad(x, (1, 1))
            if where == "changed":
                x.zero_()
            if where == "before_something_else":
                return F.relu(y)
            z = self.conv(y)
            if where == "kept":
                self.kept = y
            return (z, y.sum()) if where == "read_twice" else z

    model = whole(Odd(1, (1, 1)))
    faltung.optimize_(model, example_inputs=numbers(1, 3, 6))
    assert origin_of(model) is None


def test_in_graphs_and_without_evaluation() -> None:
    model = whole(Calling(2, (1, 1, 1, 1)))
    twin, x = copy.deepcopy(model), numbers(1, 3, 5, 5)
    faltung.optimize_(model, example_inputs=x)
    for context in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        with context:
            assert torch.equal(model(x), twin(x))
    x.requires_grad_()
    (ours,) = torch.autograd.grad(model(x).sum(), x)
    (theirs,) = torch.autograd.grad(twin(x).sum(), x)
    assert torch.equal(ours, theirs)
    graph = torch.export.export(twin, (x,)).module()
    assert torch.equal(torch.export.export(model, (x,)).module()(x), graph(x))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
@pytest.mark.parametrize("shape", [(2, 3, 5), (2, 3, 5, 4), (1, 2, 3, 4, 5)])
@pytest.mark.parametrize("low", [0, 2])
def test_filled_is_what_pytorch_does(mode: str, shape: tuple[int, ...], low: int) -> None:
    x, dims = torch.randn(shape), len(shape) - 2
    for image in (x, x.transpose(0, 1).contiguous().transpose(0, 1)):
        pads = tuple((low, high) for high in (1, 2, 0)[:dims])
        flat = [amount for pair in reversed(pads) for amount in pair]
        theirs = F.pad(image, flat, mode)
        ours = filled(image, pads, mode)
        assert torch.equal(ours, theirs) and ours.stride() == theirs.stride()


@torch.no_grad()
def test_what_cannot_be_padded_is_left_to_pytorch() -> None:
    x = torch.ones(1, 1, 4)
    assert padded(x, (4, 0), "reflect") is None and padded(x, (3, 0), "reflect") is not None
    assert padded(x, (5, 0), "circular") is None and padded(x, (-1, 0)) is None
    assert padded(x, (0, 0), "constant", 1.0) is None and padded(x, (0, 0, 1, 1)) is None
    late = padded(x, (torch.tensor(1), torch.tensor(2)))
    assert (
        late is not None and late.shape == (1, 1, 7) and late.tolist() == [[[0, 1, 1, 1, 1, 0, 0]]]
    )
    assert copy.deepcopy(late).shape == late.shape and torch.equal(
        torch.cat([late, late]).sum(), 2 * x.sum()
    )
    model = Calling(1, (6, 0), "reflect")
    faltung.optimize_(model, example_inputs=torch.ones(1, 3, 9))
    with pytest.raises(RuntimeError, match=r"[Pp]adding size"):
        model(torch.ones(1, 3, 4))
