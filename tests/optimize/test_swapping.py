"""Swapped modules: everything but the arithmetic stays, through all that is done with modules."""

import copy
import io
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune, weight_norm
from torch.utils.data import DataLoader, Dataset

import faltung
from faltung import nn as fnn
from faltung.optimize.origin import KEY, origin_of, plain_class

PLAIN = ("Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d")
Whole = Callable[..., Tensor]


class Same(nn.Conv2d):
    """A class of a user's: pads, then does what PyTorch's does."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(nn.functional.pad(input, (1, 1, 0, 0)))


class Doubled(nn.ConvTranspose2d):
    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        return 2 * super().forward(input, output_size)


class Own(nn.Conv2d):
    """Convolves by itself, past anything that could be swapped."""

    def forward(self, input: Tensor) -> Tensor:
        return nn.functional.conv2d(input, self.weight, self.bias)


def made_whole(module: nn.Module) -> nn.Module:
    """Whole numbers for parameters, so that any order of summation gives the same bits."""
    for parameter in module.parameters():
        parameter.data = torch.randint(-3, 4, parameter.shape).to(parameter.dtype)
    return module


def image(name: str, whole: Whole, batch: int = 2) -> Tensor:
    return whole(batch, 4, *(7, 6, 5)[: int(name[-2])], dtype=torch.float32)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("mode", ["zeros", "circular", "reflect", "replicate"])
def test_computes_the_same_and_is_put_back(name: str, mode: Any, whole: Whole) -> None:
    if "Transpose" in name and mode != "zeros":
        return
    layer = getattr(nn, name)(4, 6, 3, stride=2, padding=1, groups=2, padding_mode=mode)
    made_whole(layer)
    x, twin = image(name, whole), copy.deepcopy(layer)
    dictionary, parameters = dict(layer.__dict__), dict(layer.named_parameters())
    assert faltung.optimize_(layer) is layer
    for _ in range(2):  # the first call notes what it is given
        assert torch.equal(layer(x), twin(x)) and torch.equal(layer(x[0]), twin(x[0]))
        assert torch.equal(layer(x[:0]), twin(x[:0]))
    assert type(layer) is getattr(fnn, name)
    assert all(parameters[n] is p for n, p in layer.named_parameters())
    assert layer.state_dict().keys() == twin.state_dict().keys()
    assert repr(layer) == repr(twin)
    faltung.restore_(layer)
    assert type(layer) is getattr(nn, name) and layer.__dict__ == dictionary
    assert list(layer.__dict__) == list(dictionary)


def test_ours_runs(whole: Whole) -> None:
    layer = made_whole(nn.Conv2d(8, 8, 3, groups=8))
    x = whole(1, 8, 9, 9, dtype=torch.float32)
    with torch.no_grad():
        faltung.optimize_(layer)(x)
        before = faltung.usage()
        layer(x)
    assert [name for name in faltung.usage() - before if name != "native_torch"]


def test_output_size_of_a_transposed_one(whole: Whole) -> None:
    layer = made_whole(nn.ConvTranspose2d(4, 6, 3, 2, 1))
    x = image("ConvTranspose2d", whole)
    expected = layer(x, output_size=[14, 12])
    faltung.optimize_(layer)
    for _ in range(2):
        assert torch.equal(layer(x, output_size=[14, 12]), expected)


def test_filter_and_names() -> None:
    model = nn.ModuleDict({"a": nn.Conv2d(2, 2, 1), "b": nn.Sequential(nn.Conv2d(2, 2, 1))})
    asked = []

    def only_b(name: str, module: nn.Module) -> bool:
        asked.append(name)
        return name.startswith("b")

    faltung.optimize_(model, only_b)
    assert asked == ["a", "b.0"]
    assert origin_of(model["a"]) is None and origin_of(model["b"][0]) is not None


def test_lazy_ones_are_left_until_they_are_built(whole: Whole) -> None:
    model = nn.Sequential(nn.LazyConv2d(6, 3), nn.Conv2d(6, 2, 1))
    faltung.optimize_(model)
    assert type(model[0]) is nn.LazyConv2d and origin_of(model[1])
    x = image("Conv2d", whole)
    expected = model(x)
    faltung.optimize_(model)
    assert origin_of(model[0]) and torch.allclose(model(x), expected)


@pytest.mark.parametrize("called", [False, True])
@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d, Same, Doubled, Own])
def test_survives_copying_pickling_and_saving(
    kind: type[nn.Module], called: bool, whole: Whole
) -> None:
    layer = made_whole(kind(4, 4, 3))
    x = image("Conv2d", whole)
    expected = layer(x)
    faltung.optimize_(layer)
    if called:
        layer(x)
    buffer = io.BytesIO()
    torch.save(layer, buffer)
    buffer.seek(0)
    loaded = torch.load(buffer, weights_only=False)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), loaded, copy.copy(layer)):
        assert torch.equal(twin(x), expected) and repr(twin) == repr(layer)
        assert isinstance(twin, kind)
        assert type(faltung.restore_(twin)) is kind and KEY not in twin.__dict__
        assert torch.equal(twin(x), expected)
    assert origin_of(layer) is not None  # each has its own


@pytest.mark.parametrize("kind", [Same, Doubled])
def test_super_of_a_users_class_leads_to_ours(kind: type[nn.Module], whole: Whole) -> None:
    layer = made_whole(kind(4, 4, 3))
    x = image("Conv2d", whole)
    expected = layer(x)
    faltung.optimize_(layer)
    with torch.no_grad(), faltung.using(algorithm="native_torch"):
        before = faltung.usage()["native_torch"]
        assert torch.equal(layer(x), expected)
        assert torch.equal(layer(x), expected)
    assert faltung.usage()["native_torch"] == before + 2  # both calls came through our planner


def test_classes_that_cannot_be_swapped_are_left_alone() -> None:
    model = nn.Sequential(fnn.CausalConv1d(2, 2, 3), nn.Conv2d(2, 2, 1))
    model[1].forward = model[1].forward  # type: ignore[method-assign]
    classes = [type(m) for m in model]
    faltung.optimize_(model)
    assert [type(m) for m in model] == classes and not any(map(origin_of, model))
    report = str(faltung.report(model))
    assert "CausalConv1d is faltung's own already" in report
    assert "its forward was replaced by another on the instance" in report


def test_our_own_modules_take_part_and_keep_their_extras(whole: Whole) -> None:
    layer = made_whole(fnn.Conv2d(4, 4, 3, activation="relu", algorithm="native_torch"))
    x, dictionary = image("Conv2d", whole), dict(layer.__dict__)
    expected = layer(x)
    faltung.optimize_(layer)
    assert torch.equal(layer(x), expected) and torch.equal(layer(x), expected)
    assert faltung.report(layer).layers[0].spec is not None
    faltung.restore_(layer)
    assert type(layer) is fnn.Conv2d and layer.__dict__ == dictionary


@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
@pytest.mark.parametrize("first", [True, False], ids=["optimised first", "optimised last"])
@torch.no_grad()
def test_weights_that_others_make(name: str, first: bool, whole: Whole) -> None:
    """Parametrisations, the old weight_norm and pruning, put on before or after, and taken off."""
    x = image(name, whole)
    makers: list[Callable[[nn.Module], Any]] = [
        parametrizations.weight_norm,
        weight_norm,
        lambda m: prune.l1_unstructured(m, "weight", amount=20),
    ]
    removers: list[Callable[[nn.Module], Any]] = [
        lambda m: nn.utils.parametrize.remove_parametrizations(m, "weight"),
        nn.utils.remove_weight_norm,
        lambda m: prune.remove(m, "weight"),
    ]
    for make, remove in zip(makers, removers, strict=True):
        layer = made_whole(getattr(nn, name)(4, 4, 3, padding=1))
        twin = copy.deepcopy(layer)
        if first:
            faltung.optimize_(layer)
            layer(x)
        with pytest.warns(FutureWarning) if make is weight_norm else _nothing():
            make(layer)
            make(twin)
        faltung.optimize_(layer)
        limit = 64 * torch.finfo(torch.float32).eps * float(twin(x).abs().max())
        for _ in range(2):
            assert float((layer(x) - twin(x)).abs().max()) <= limit
        assert torch.equal(layer.weight, twin.weight)
        changed = copy.deepcopy(layer)
        assert float((changed(x) - twin(x)).abs().max()) <= limit
        remove(layer)
        remove(twin)
        assert float((layer(x) - twin(x)).abs().max()) <= limit
        assert origin_of(layer) is not None and plain_class(layer) is type(layer)
        faltung.restore_(layer)
        assert type(layer) is getattr(nn, name)
        assert layer.state_dict().keys() == twin.state_dict().keys()


class _nothing:
    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: Any) -> None:
        pass


def test_restoring_while_parametrised(whole: Whole) -> None:
    layer = parametrizations.weight_norm(nn.Conv2d(4, 4, 3))
    x = image("Conv2d", whole)
    expected = layer(x)
    faltung.restore_(faltung.optimize_(layer))
    assert plain_class(layer) is nn.Conv2d and torch.equal(layer(x), expected)
    nn.utils.parametrize.remove_parametrizations(layer, "weight")
    assert type(layer) is nn.Conv2d


def test_hooks_stay_and_run(whole: Whole) -> None:
    layer = made_whole(nn.Conv2d(4, 4, 3))
    x, called = image("Conv2d", whole), []
    layer.register_forward_pre_hook(lambda m, args: called.append("before"))
    layer.register_forward_hook(lambda m, args, y: -y)
    layer.register_full_backward_hook(lambda m, gx, gy: called.append("backward"))
    expected = layer(x)
    faltung.optimize_(layer)
    called.clear()
    y = layer(x.requires_grad_())
    assert torch.equal(y, expected) and called == ["before"]
    y.sum().backward()
    assert called == ["before", "backward"]
    faltung.restore_(layer)
    assert torch.equal(layer(x), expected)


def test_training_follows_the_weights(whole: Whole) -> None:
    """Updates between calls are seen, gradients are PyTorch's, and `train` stays what it was."""
    layer = made_whole(nn.Conv2d(4, 4, 3, groups=4)).train()
    twin = faltung.optimize_(copy.deepcopy(layer))
    assert twin.training
    x = image("Conv2d", whole)
    for _ in range(3):
        for module in (layer, twin):
            module.zero_grad()
            module(x).sum().backward()
            with torch.no_grad():
                for parameter in module.parameters():
                    parameter.sub_(parameter.grad)
        for ours, theirs in zip(twin.parameters(), layer.parameters(), strict=True):
            assert torch.equal(ours.grad, theirs.grad) and torch.equal(ours, theirs)
        with torch.no_grad():
            assert torch.equal(layer(x), twin(x))
    with torch.inference_mode():
        assert torch.equal(layer(x), twin(x))
    twin.weight.data.mul_(2)
    layer.weight.data.mul_(2)
    with torch.no_grad():
        assert torch.equal(layer(x), twin(x))


def test_autocast(whole: Whole) -> None:
    layer = nn.Conv2d(4, 4, 3)
    for parameter in layer.parameters():
        parameter.data = torch.randint(-1, 2, parameter.shape).float()
    x = whole(1, 4, 5, 5, dtype=torch.float32, most=1)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        expected = layer(x)
        faltung.optimize_(layer)
        y = layer(x)
        assert y.dtype == torch.bfloat16 and torch.equal(y, expected)
        assert torch.equal(layer(x), expected)
    assert "bfloat16" in str(faltung.report(layer).layers[0].spec)


def test_replicas_as_data_parallel_makes_them(whole: Whole) -> None:
    """What `nn.parallel.replicate` does, which needs several devices to be called itself."""
    model = nn.Sequential(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU()).eval()
    made_whole(model)
    x = image("Conv2d", whole)
    expected = model(x)
    faltung.optimize_(model, example_inputs=x, fold_batchnorm=True, fuse_activations=True)
    with torch.no_grad():
        model(x)
    replica = model._replicate_for_data_parallel()
    for index, child in enumerate(model):
        twin = child._replicate_for_data_parallel()
        for name, parameter in child.named_parameters():
            setattr(twin, name, parameter.detach().clone() + 1)
        replica._modules[str(index)] = twin
    other = copy.deepcopy(faltung.restore_(copy.deepcopy(model)))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(1)
        assert torch.allclose(replica(x), other(x))
        assert not torch.allclose(replica(x), expected)


class Convolved(Dataset[Tensor]):
    """What a model makes of something, in the process that loads it."""

    def __init__(self, model: nn.Module, x: Tensor) -> None:
        self.model, self.x = model, x

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> Tensor:
        with torch.no_grad():
            y: Tensor = self.model(self.x)
        return y


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_workers_of_a_loader(start: str, whole: Whole) -> None:
    layer = made_whole(nn.Conv2d(4, 4, 3, groups=4))
    x = image("Conv2d", whole)
    expected = layer(x).detach()
    faltung.optimize_(layer)
    with torch.no_grad():
        layer(x)
    context = torch.multiprocessing.get_context(start)
    loader = DataLoader(Convolved(layer, x), num_workers=1, multiprocessing_context=context)
    assert all(torch.equal(batch[0], expected) for batch in loader)


def test_first_calls_from_several_threads(whole: Whole) -> None:
    layer = made_whole(nn.Conv2d(4, 4, 3))
    x = image("Conv2d", whole)
    expected = layer(x).detach()
    faltung.optimize_(layer)
    together, wrong = threading.Barrier(4), []

    def call() -> None:
        together.wait()
        for _ in range(20):
            if not torch.equal(layer(x), expected):
                wrong.append(1)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong and type(layer) is fnn.Conv2d


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")
def test_compiled_and_traced_models(whole: Whole) -> None:
    model = nn.Sequential(made_whole(nn.Conv2d(4, 4, 3)), nn.ReLU())
    x = image("Conv2d", whole)
    expected = model(x)
    faltung.optimize_(model)
    compiled = torch.compile(model, backend="eager")
    for _ in range(2):
        assert torch.equal(compiled(x), expected)
    assert torch.equal(torch.jit.trace(model, x)(x), expected)
    with pytest.raises(TypeError, match=r"compiled by torch.jit and has no Python left to swap"):
        faltung.optimize_(torch.jit.trace(model, x))


def test_a_module_in_two_places_is_swapped_once(whole: Whole) -> None:
    shared = made_whole(nn.Conv2d(4, 4, 3, padding=1))
    model = nn.Sequential(shared, shared)
    x = image("Conv2d", whole)
    expected = model(x)
    faltung.optimize_(faltung.optimize_(model))
    assert torch.equal(model(x), expected)
    faltung.restore_(model)
    assert type(shared) is nn.Conv2d and torch.equal(model(x), expected)


def test_what_is_no_model() -> None:
    for wrong in (3, nn.Conv2d, None):
        with pytest.raises(TypeError, match="model must be a module"):
            faltung.optimize_(wrong)
        with pytest.raises(TypeError, match="model must be a module"):
            faltung.restore_(wrong)
