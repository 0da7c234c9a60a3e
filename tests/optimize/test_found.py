"""Chains are found where nothing else can see what lies between, and nowhere else."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import faltung
from faltung.optimize.origin import origin_of
from near import assert_near, assert_near_model


class Layers(nn.Module):
    """A convolution, its normalisation and activation, and a `forward` of each test's own."""

    def __init__(self, forward: Callable[[Any, Tensor], Any]) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.act = nn.ReLU()
        self.stack = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
        self.run = forward
        self.kept: Any = None
        self.outputs: list[Tensor] = []
        self.eval()

    def forward(self, x: Tensor) -> Any:
        return self.run(self, x)


def chains(model: nn.Module, x: Tensor | None) -> dict[str, str]:
    faltung.optimize_(
        model, example_inputs=x, fold_batchnorm=True, fuse_activations=True, channels_last=False
    )
    found = {name: origin_of(m) for name, m in model.named_modules()}
    return {
        name: str(o.chain)
        for name, o in found.items()
        if o and o.chain and o.chain.convolution is model.get_submodule(name)
    }


def straight(m: Any, x: Tensor) -> Tensor:
    return m.act(m.norm(m.conv(x)))


def by_size(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    if x.shape[0] > 1:
        y = m.norm(y)
    return m.act(y)


def by_number(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return m.act(m.norm(y)) if x.sum() > 0 else y


def kept(m: Any, x: Tensor) -> Tensor:
    m.kept = y = m.conv(x)
    return m.act(m.norm(y))


def listed(m: Any, x: Tensor) -> Tensor:
    m.outputs.append(m.conv(x))
    return m.act(m.norm(m.outputs[-1]))


def returned(m: Any, x: Tensor) -> Any:
    y = m.conv(x)
    return m.act(m.norm(y)), y


def read_twice(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    return m.act(m.norm(y)) + y


def written_to(m: Any, x: Tensor) -> Tensor:
    y = m.conv(x)
    y += x
    return m.act(m.norm(y))


def twice(m: Any, x: Tensor) -> Tensor:
    return m.act(m.norm(m.conv(m.act(m.norm(m.conv(x))))))


def act_shared(m: Any, x: Tensor) -> Tensor:
    return m.act(m.act(m.norm(m.conv(x))) + x)


def by_function(m: Any, x: Tensor) -> Tensor:
    return F.relu(m.norm(m.conv(x)))


def gone_through(m: Any, x: Tensor) -> Any:
    seen = []
    for layer in m.stack:
        x = layer(x)
        seen.append(x)
    return seen


def stack(m: Any, x: Tensor) -> Tensor:
    return m.stack(x)


def stack_by_size(m: Any, x: Tensor) -> Tensor:
    return m.stack(x) if x.shape[0] > 1 else m.stack(x) * 1


BOTH = "BatchNorm + relu"


@pytest.mark.parametrize(
    ("forward", "written", "watched"),
    [
        (straight, {"conv": BOTH}, {"conv": BOTH}),
        (by_size, {}, {"conv": BOTH}),
        (by_number, {}, {}),
        (kept, {}, {}),
        (listed, {}, {}),
        (returned, {}, {}),
        (read_twice, {}, {}),
        (written_to, {}, {"conv": "residual"}),
        (twice, {}, {}),
        (act_shared, {"conv": "BatchNorm"}, {"conv": BOTH}),
        (by_function, {"conv": "BatchNorm"}, {"conv": BOTH}),
        (gone_through, {}, {}),
        (stack, {"stack.0": BOTH}, {"stack.0": BOTH}),
        (stack_by_size, {}, {"stack.0": BOTH}),
    ],
)
def test_found(forward: Any, written: dict[str, str], watched: dict[str, str]) -> None:
    x = torch.rand(2, 3, 5, 6)
    for example, expected in ((None, written), (x, watched)):
        model = Layers(forward)
        twin = copy.deepcopy(model)
        assert chains(model, example) == expected
        with torch.no_grad():
            for given in (x, x[:1], -x, torch.rand(2, 3, 4, 4)):
                wide = copy.deepcopy(twin).double()(given.double())
                results = [r if isinstance(r, list | tuple) else [r]
                           for r in (model(given), twin(given), wide)]  # fmt: skip
                for one in zip(*results, strict=True):
                    assert_near(*one)


def test_writing_down_leaves_no_trace_in_the_model() -> None:
    class Keeping(Layers):
        def forward(self, x: Tensor) -> Tensor:
            self.kept = self.act(self.norm(self.conv(x)))
            return self.kept + 1

    model = Keeping(straight)
    assert chains(model, None) == {"conv": BOTH} and model.kept is None
    model = Layers(listed)
    assert chains(model, None) == {} and model.outputs == []


def test_sizes_that_were_asked_for_hold_the_chain_to_them() -> None:
    x = torch.rand(2, 3, 5, 6)
    model = Layers(by_size)
    assert chains(model, x) == {"conv": BOTH}
    assert model.conv._faltung.chain.shape == (2, 3, 5, 6)
    with torch.no_grad():
        assert model.conv._faltung.chain.holds(model.conv, x)
        assert not model.conv._faltung.chain.holds(model.conv, x[:1])


def test_a_module_in_two_places_starts_no_chain() -> None:
    conv = nn.Conv2d(3, 3, 1)
    model = nn.Sequential(nn.Sequential(conv, nn.BatchNorm2d(3)), conv).eval()
    assert chains(model, torch.rand(2, 3, 5, 6)) == {}


@pytest.mark.parametrize(
    "norm",
    [
        nn.BatchNorm2d(3, track_running_stats=False),
        nn.BatchNorm2d(3).double(),
        nn.InstanceNorm2d(3),
        nn.GroupNorm(1, 3),
        nn.SyncBatchNorm(3),
    ],
    ids=str,
)
def test_other_normalisations_are_left(norm: nn.Module) -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), norm, nn.ReLU()).eval()
    assert chains(model, None) == {}


def test_nothing_is_folded_unless_asked() -> None:
    model = nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.ReLU()).eval()
    faltung.optimize_(model)
    assert model[0]._faltung.chain is None
    faltung.optimize_(model, fuse_activations=True)  # the activation does not follow directly
    assert model[0]._faltung.chain is None
    faltung.optimize_(model, fold_batchnorm=True)
    assert str(model[0]._faltung.chain) == "BatchNorm"


def test_activations_of_libraries_count_by_what_they_do() -> None:
    class Gelu(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.act = F.gelu

        def forward(self, x: Tensor) -> Tensor:
            return self.act(x)

    class Odd(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return F.relu(x) + 1

    x = torch.rand(2, 3, 5, 6)
    model = nn.Sequential(nn.Conv2d(3, 3, 1), Gelu(), nn.Conv2d(3, 3, 1), Odd())
    twin = copy.deepcopy(model)
    assert chains(model, x) == {"0": "gelu", "2": "relu"}
    with torch.no_grad():
        assert_near_model(model(x), twin, x)
