"""Normalisation and activation done by the convolution: right at every call, whatever changes."""

import copy
import itertools
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import faltung
from faltung.optimize.origin import origin_of
from faltung.optimize.running import Inputs
from faltung.optimize.verifying import Truth
from near import assert_near, assert_near_model

NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
ACTS = (nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.SiLU(), nn.GELU(), nn.GELU("tanh"),
        nn.Hardswish(), nn.Sigmoid(), nn.LeakyReLU(), nn.LeakyReLU(0.2), nn.ELU(),
        nn.ELU(0.5))  # fmt: skip


def seasoned(model: nn.Module) -> nn.Module:
    """With statistics and weights as after some training."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 2)
            if module.affine:
                module.weight.data.normal_()
                module.bias.data.normal_()
    return model.eval()


def block(act: nn.Module | None = None, **keywords: Any) -> nn.Module:
    layers = [nn.Conv2d(4, 6, 3, padding=1, **keywords), nn.BatchNorm2d(6)]
    return seasoned(nn.Sequential(*layers, *([act] if act else [])))


def fused(model: nn.Module, x: Tensor | None = None) -> nn.Module:
    return faltung.optimize_(
        model, example_inputs=x, fold_batchnorm=True, fuse_activations=True, channels_last=False
    )


def chained(model: nn.Module) -> list[str]:
    found = [(m, origin_of(m)) for m in model.modules()]
    return [str(o.chain) for m, o in found if o and o.chain and o.chain.convolution is m]


@torch.no_grad()
def assert_like(model: nn.Module, twin: nn.Module, x: Tensor) -> None:
    """Within rounding of what `twin`, which is not optimised, gives in float64."""
    inputs = Inputs.of(x)
    assert Truth.of(twin, inputs).check(model, inputs, 1.0) <= 1
    assert twin(x).std() > 0


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("transposed", [False, True], ids=["", "transposed"])
@pytest.mark.parametrize("keywords", [{}, {"groups": 2, "bias": False, "stride": 2}])
def test_every_kind(dims: int, transposed: bool, keywords: dict[str, Any]) -> None:
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{dims}d")
    model = nn.Sequential(kind(4, 6, 3, padding=1, **keywords), NORM[dims](6), nn.ReLU())
    seasoned(model)
    x, twin = torch.randn(2, 4, *(7, 6, 5)[:dims]), copy.deepcopy(model)
    fused(model, x)
    assert chained(model) == ["BatchNorm + relu"]
    assert_like(model, twin, x)
    assert_like(model, twin, torch.randn(1, 4, *(9, 5, 7)[:dims]))
    with torch.no_grad():
        assert model(x[:0]).shape == twin(x[:0]).shape
        plain = nn.Sequential(model[0])(x)  # a layer that is called by itself does all three
        assert torch.equal(plain, model(x))


def test_padding_modes_and_dtypes() -> None:
    for mode, dtype in itertools.product(("zeros", "circular"), (torch.float32, torch.float64)):
        model = block(nn.SiLU(), padding_mode=mode).to(dtype)
        twin = copy.deepcopy(model)
        x = torch.randn(2, 4, 6, 7, dtype=dtype)
        if dtype is torch.float64:
            with torch.no_grad():
                slip = (fused(model)(x) - twin(x)).abs().max()
            assert slip <= 64 * torch.finfo(dtype).eps * twin(x).abs().max()
        else:
            assert_like(fused(model), twin, x)
        assert chained(model) == ["BatchNorm + silu"]


@pytest.mark.parametrize("act", ACTS, ids=repr)
def test_every_activation(act: nn.Module) -> None:
    for model in (block(copy.deepcopy(act)), nn.Sequential(nn.Conv2d(4, 6, 3), act)):
        twin = copy.deepcopy(model)
        assert_like(fused(model), twin, torch.randn(2, 4, 6, 7))
        assert len(chained(model)) == 1 and chained(model)[0].split()[-1] != "BatchNorm"


def test_what_is_not_ours_to_do_runs_as_before() -> None:
    for act in (nn.CELU(0.5), nn.Tanh(), nn.PReLU(), nn.Dropout()):
        model = block(act)
        twin = copy.deepcopy(model)
        fused(model)
        assert chained(model) == ["BatchNorm"]
        assert_like(model, twin, torch.randn(2, 4, 6, 7))


def test_state_is_not_written_and_comes_back_to_the_bit() -> None:
    model = block(nn.ReLU())
    before, kinds = copy.deepcopy(model.state_dict()), [type(m) for m in model]
    dictionaries = [dict(m.__dict__) for m in model]
    fused(model)
    with torch.no_grad():
        model(torch.randn(2, 4, 6, 7))
    for key, value in model.state_dict().items():
        assert torch.equal(value, before[key])
    assert model.state_dict().keys() == before.keys()
    faltung.restore_(model)
    assert [type(m) for m in model] == kinds
    assert [m.__dict__ for m in model] == dictionaries


@pytest.mark.parametrize(
    "change",
    [
        lambda m: m[0].weight.data.mul_(2),
        lambda m: m[0].weight.data[0].zero_(),
        lambda m: m[0].bias.detach().add_(1),
        lambda m: m[1].weight.data.neg_(),
        lambda m: m[1].bias.data.add_(1),
        lambda m: m[1].running_mean.data.add_(1),
        lambda m: m[1].running_var.mul_(3),
        lambda m: setattr(m[1], "eps", 0.5),
        lambda m: setattr(m[1], "running_mean", torch.ones(6)),
        lambda m: m.load_state_dict({k: v + 1 for k, v in m.state_dict().items()}),
        lambda m: m.train()(torch.randn(4, 4, 5, 5)) is m.eval(),
        lambda m: m.to(torch.float64).to(torch.float32)[0].weight.data.add_(1),
        lambda m: setattr(m[0], "weight", nn.Parameter(torch.ones(6, 4, 3, 3))),
    ],
)
def test_changed_numbers_are_seen(change: Any) -> None:
    model = block(nn.SiLU())
    twin, x = copy.deepcopy(model), torch.randn(2, 4, 6, 7)
    fused(model)
    with torch.no_grad():
        first = model(x)
        for module in (model, twin):
            torch.manual_seed(1)
            change(module)
        assert not torch.allclose(model(x), first)
    assert_like(model, twin, x)


def test_training_is_as_before() -> None:
    model = block(nn.ReLU())
    twin, wide, x = copy.deepcopy(model), copy.deepcopy(model).double(), torch.randn(4, 4, 6, 7)
    fused(model)
    for module in (model, twin, wide):
        module.train()
        optimizer = torch.optim.SGD(module.parameters(), 0.1)
        for _ in range(3):
            optimizer.zero_grad()
            module(x.to(module[0].weight.dtype)).square().mean().backward()
            optimizer.step()
        module.eval()
    states = (module.state_dict().values() for module in (model, twin, wide))
    for ours, theirs, truth in zip(*states, strict=True):
        if theirs.is_floating_point():
            assert_near(ours, theirs, truth)
        else:
            assert torch.equal(ours, theirs)
    twin.load_state_dict(model.state_dict())
    assert_like(model, twin, x)


def test_derivatives_of_weights_and_images() -> None:
    model = block(nn.SiLU())
    twin, wide, x = copy.deepcopy(model), copy.deepcopy(model).double(), torch.randn(2, 4, 6, 7)
    fused(model)
    images = (x, x, x.double())
    for module, image in zip((model, twin, wide), images, strict=True):
        module(image).square().mean().backward()
    parameters = (module.parameters() for module in (model, twin, wide))
    for ours, theirs, truth in zip(*parameters, strict=True):
        assert_near(ours.grad, theirs.grad, truth.grad)
    for module in (model, twin, wide):
        module.requires_grad_(False)  # then the convolution does all, and the image has a gradient
    xs = [image.clone().requires_grad_() for image in images]
    for module, image in zip((model, twin, wide), xs, strict=True):
        module(image).square().mean().backward()
    assert_near(*(image.grad for image in xs))


def test_hooks_see_what_lies_between() -> None:
    for index in range(3):
        model = block(nn.ReLU())
        twin, wide = copy.deepcopy(model), copy.deepcopy(model).double()
        x = torch.randn(2, 4, 6, 7)
        fused(model)
        for module in (model, twin, wide):
            seen: list[Tensor] = []
            once: list[Any] = []

            def note(
                m: nn.Module, args: Any, y: Tensor, seen: Any = seen, once: Any = once
            ) -> None:
                seen += [args[0].clone(), y.clone()]
                once.pop().remove()  # gone before the next layer runs

            once.append(module[index].register_forward_hook(note))
            with torch.no_grad():
                seen.append(module(x.to(module[0].weight.dtype)))
            module.seen = seen
        for stages in zip(model.seen, twin.seen, wide.seen, strict=True):
            assert_near(*stages)


def test_transforms_and_watchers_see_three_operators() -> None:
    model = block(nn.ReLU())
    twin, wide, x = copy.deepcopy(model), copy.deepcopy(model).double(), torch.randn(3, 2, 4, 6, 7)
    fused(model)
    with torch.no_grad():
        theirs = torch.stack([twin(part) for part in x])
        truth = torch.stack([wide(part.double()) for part in x])
        assert_near(torch.vmap(model)(x), theirs, truth)
        assert_near(torch.compile(model, backend="eager")(x[0]), theirs[0], truth[0])
        replaced = {"0.weight": torch.zeros(6, 4, 3, 3), "0.bias": torch.zeros(6)}
        y = torch.func.functional_call(model, replaced, (x[0],))
        # of weights that are 0 nothing is rounded before the normalisation
        assert torch.equal(y, torch.func.functional_call(twin, replaced, (x[0],)))
    from torch._subclasses import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True), torch.no_grad():
        assert model(torch.empty(2, 4, 6, 7)).shape == (2, 6, 6, 7)


def test_inference_mode_and_autocast() -> None:
    model = block(nn.ReLU())
    twin, x = copy.deepcopy(model), torch.randn(2, 4, 6, 7)
    fused(model)
    with torch.inference_mode():
        assert_near(model(x), twin(x), copy.deepcopy(twin).double()(x.double()))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y, expected = model(x), twin(x)
        assert y.dtype == expected.dtype == torch.bfloat16
        unit = torch.finfo(torch.bfloat16).eps / 2
        assert (y - expected).abs().max() <= 8 * unit * expected.abs().max()
        born_here = block(nn.ReLU())
        expected = copy.deepcopy(born_here)
        assert_near_model(fused(born_here)(x), expected, x)


def test_numbers_that_would_overflow_are_left_apart() -> None:
    model = block().half()
    model[1].running_var.fill_(1e-7)
    model[1].eps = 1e-8
    model[0].weight.data.mul_(100)
    twin = copy.deepcopy(model)
    x = torch.randn(1, 4, 5, 5).half() / 2**14
    fused(model)
    with torch.no_grad():
        expected, y = twin(x), model(x)
    assert chained(model) == ["BatchNorm"] and model[0]._faltung.chain._both[1] is None
    assert torch.equal(y.isfinite(), expected.isfinite())


def test_copies_are_chains_of_their_own() -> None:
    model = block(nn.ReLU())
    twin, x = copy.deepcopy(model), torch.randn(2, 4, 6, 7)
    fused(model)
    with torch.no_grad():
        model(x)
    for other in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        chain = other[0]._faltung.chain
        assert chain.modules == list(other) and other[1]._faltung.chain is chain
        assert_like(other, twin, x)
        other[1].running_mean.add_(1)
        assert_like(model, twin, x)
        faltung.restore_(other)
        assert [type(m) for m in other] == [nn.Conv2d, nn.BatchNorm2d, nn.ReLU]
    shallow = copy.copy(model[0])
    with torch.no_grad():
        assert_near_model(shallow(x), twin[0], x)


def test_unbatched_images_are_refused_as_by_pytorch() -> None:
    model = fused(block())
    with torch.no_grad(), pytest.raises(ValueError, match="expected 4D input"):
        model(torch.randn(4, 6, 7))


def test_pytorch_folds_to_the_same() -> None:
    model = block(bias=False)
    twin = copy.deepcopy(model).double()
    expected = nn.utils.fuse_conv_bn_eval(model[0], model[1])
    fused(model)
    with torch.no_grad():
        model(torch.randn(1, 4, 5, 5))
    _, weight, bias = model[0]._faltung.chain._both
    wide = nn.utils.fuse_conv_bn_eval(twin[0], twin[1])
    assert_near(weight, expected.weight, wide.weight)
    assert_near(bias, expected.bias, wide.bias)
    assert F.relu(weight).sum() > 0
