"""The counts of a model's layers: the definition's, and PyTorch's where that is right."""

import copy
import json
import random
import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode

import faltung
from counting import multiply_adds, random_spec
from faltung import planning
from faltung.errors import ArgumentError, ArgumentTypeError
from faltung.machine import this_machine
from faltung.tools.explain.facts import ends
from faltung.tools.summary import summary

from .nets import Branches, ResNet18

LAYERS = [random_spec(random.Random(seed), modes=False) for seed in range(100)]


class Subclass(nn.Conv2d):
    """A class that no table of classes knows."""


def module_of(spec):
    """The layer as PyTorch's module, where PyTorch has one that runs."""
    if any(low != high for low, high in spec.padding):
        return None
    padding = tuple(low for low, _ in spec.padding)
    arguments = {
        "stride": spec.stride, "padding": padding, "dilation": spec.dilation,
        "groups": spec.groups, "bias": spec.bias,
    }  # fmt: skip
    transposed = spec.task == "grad_input"
    kind = getattr(nn, f"Conv{'Transpose' if transposed else ''}{spec.dims}d")
    layer = kind(*(shape[1] for shape in ends(spec)), spec.kernel_size, **arguments)
    try:
        layer(torch.zeros(spec.operand_shapes[0]))
    except RuntimeError:  # oneDNN has no layout for some transposed layers that crop everything
        return None
    return layer


def function_of(spec, layer):
    """The same as a functional call."""
    kind = "conv" if spec.task == "forward" else "conv_transpose"
    function = getattr(F, f"{kind}{spec.dims}d")
    last = {"groups": spec.groups, "dilation": spec.dilation}
    return lambda x: function(x, layer.weight, layer.bias, spec.stride, layer.padding, **last)


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_a_layer_counts_what_its_definition_does(spec):
    layer = module_of(spec)
    if layer is None:
        pytest.skip("PyTorch has no such layer")
    x = torch.zeros(spec.operand_shapes[0])
    # a module that learns before the layer makes it want its input's gradient
    before = nn.PReLU()
    for model in (
        nn.Sequential(before, layer),
        lambda x: function_of(spec, layer)(before(x)),
    ):
        (row,) = summary(model, x).layers
        expected, inside = multiply_adds(row.spec)
        assert (row.macs, row.spec.executed_macs) == (expected, inside)
        assert (row.grad_input, row.grad_weight) == (expected, expected)
        assert row.output == tuple(layer(x).shape)
        tensors = [x, layer(x), *layer.parameters()]
        assert row.bytes == sum(t.numel() * t.element_size() for t in tensors)
    assert summary(layer, x).layers[0].grad_input == 0  # nothing learns before it
    assert summary(layer, x).parameters == sum(p.numel() for p in layer.parameters())


@pytest.mark.parametrize("spec", LAYERS, ids=str)
def test_forward_is_what_pytorch_counts(spec):
    layer = module_of(spec)
    if layer is None:
        pytest.skip("PyTorch has no such layer")
    with FlopCounterMode(display=False) as counter:
        layer(x := torch.zeros(spec.operand_shapes[0]))
    assert 2 * summary(layer, x).macs == counter.get_total_flops()


def trained(model, x):
    with FlopCounterMode(display=False) as counter:
        model(x).sum().backward()
    return counter.get_total_flops()


def test_training_a_dense_model_is_what_pytorch_counts():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, stride=2), nn.ReLU(), nn.Conv2d(6, 4, 3, dilation=2, padding=1),
        nn.ConvTranspose2d(4, 5, 3, stride=2, padding=1), nn.Flatten(2), nn.Linear(289, 7),
    )  # fmt: skip
    x = torch.randn(2, 3, 23, 23)
    found = summary(model, x)
    assert 2 * (found.macs + found.gradients) == trained(model, x)


@pytest.mark.parametrize("groups", [2, 4, 8])
def test_where_pytorch_counts_wrong(groups):
    """Its counter forgets to divide the weight's gradient by the groups."""
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=groups, bias=False)
    x = torch.randn(1, 8, 10, 12, requires_grad=True)
    row = summary(nn.Sequential(nn.PReLU(), layer), x).layers[0]
    assert row.macs + row.gradients == 3 * multiply_adds(row.spec)[0] == 3 * 8640 * 8 // groups
    theirs = trained(layer, x)
    if theirs == 2 * 3 * row.macs:
        pytest.skip("this PyTorch counts grouped gradients right")
    assert theirs == 2 * (2 + groups) * row.macs


def test_every_way_to_call_a_layer_counts_the_same():
    w, x = torch.ones(8, 2, 3, 3), torch.zeros(1, 8, 10, 12)
    shared = {"padding": 1, "groups": 4, "bias": False}
    ways = [
        nn.Conv2d(8, 8, 3, **shared),
        Subclass(8, 8, 3, **shared),
        faltung.nn.Conv2d(8, 8, 3, **shared),
        lambda x: F.conv2d(x, w, padding=1, groups=4),
        lambda x: faltung.functional.conv2d(x, w, padding="same", groups=4),
        lambda x: torch.conv2d(x, w, padding="same", groups=4),
        lambda x: torch.ops.aten.convolution(x, w, None, (1, 1), (1, 1), (1, 1), False, (0, 0), 4),
        lambda x: F.conv2d(F.pad(x, (1, 1, 1, 1)), w, groups=4),
    ]
    found = {(str(row.spec), row.macs) for way in ways for row in summary(way, x).layers}
    assert found == {("forward n1 c8 o8 i10x12 k3x3 p1 g4 float32 cpu", 17280)}


def test_our_own_call_is_one_layer_whatever_runs_it():
    layer = faltung.nn.Conv2d(4, 4, 4, stride=3, padding="same", activation="relu")
    for algorithm in (None, "native_torch"):
        layer.algorithm = algorithm
        (row,) = summary(layer, (1, 4, 10, 10)).layers
        assert str(row.spec) == "forward n1 c4 o4 i10x10 k4x4 s3 p1+2 bias relu float32 cpu"
        assert row.macs == multiply_adds(row.spec)[0]
    assert row.plan.algorithm == "native_torch"


def test_the_gain_is_over_the_faster_of_two_layouts():
    row = summary(nn.Conv2d(32, 32, 3, padding=1), (1, 32, 56, 56)).layers[0]
    native = {a.name: a for a in planning.algorithms("conv", "cpu")}["native_torch"]
    layouts = [replace(row.spec, layout=name) for name in ("contiguous", "channels_last")]
    theirs = min(native.seconds(spec, this_machine()) for spec in layouts)
    assert row.gain == theirs / row.plan.chosen.seconds


def test_a_whole_model():
    model = Branches()
    found = summary(model, (2, 3, 64, 48))
    names = [layer.name for layer in found.layers]
    assert names == [
        "stem", "one.a", "one.b", "two.a", "two.b", "two.skip", "conv2d", "up", "ours", "mix.0",
        "mix.2", "conv2d#2", "max_pool2d", "head",
    ]  # fmt: skip
    rows = dict(zip(names, found.layers, strict=True))
    for row in found.layers:
        if row.spec is not None:
            assert row.macs == multiply_adds(row.spec)[0]
            assert row.plan.spec == row.spec
    assert rows["mix.0"].macs == 2 * 32 * 24 * 6 * 12
    assert rows["head"].macs == 2 * 6 * 10
    # the weight of the last functional convolution does not learn, the stem's input neither
    assert rows["conv2d#2"].grad_weight == rows["stem"].grad_input == 0
    assert rows["conv2d"].parameters == 8 * 8 * 9
    assert found.parameters == sum(p.numel() for p in model.parameters())
    assert sum(row.parameters for row in found.layers) + 2 * 16 == found.parameters
    assert found.rest == (("BatchNorm2d", 2, 32),)
    assert rows["head"].field == ("all", "all")


def test_a_model_whose_numbers_are_published():
    """He et al., arXiv 1512.03385: ResNet-18 has 11.7 M parameters and 1.8 G multiply-adds.

    Its receptive field of 435 is in Araujo, Norris and Sim, Distill 2019, table of networks.
    """
    found = summary(ResNet18(), (1, 3, 224, 224))
    assert (found.parameters, found.macs) == (11_689_512, 1_814_073_344)
    assert found.layers[-2].field == (435, 435)
    # training needs everything twice more, but for the gradient of the picture
    assert found.gradients == 2 * found.macs - found.layers[0].macs


def test_the_total_of_training_is_what_pytorch_counts_without_groups():
    model = Branches()
    found = summary(model, (2, 3, 64, 48))
    with warnings.catch_warnings(action="ignore"):
        theirs = trained(model, torch.randn(2, 3, 64, 48))
    # PyTorch's mistake: the weight's gradient of a grouped layer times its groups
    grouped = [r for r in found.layers if r.spec is not None and r.kind == "Conv2d"]
    mistake = sum(2 * r.grad_weight * (r.spec.groups - 1) for r in grouped)
    ours = 2 * (found.macs + found.gradients)
    assert theirs in (ours, ours + mistake)


def test_shared_and_frozen_parameters():
    layer = nn.Conv2d(3, 3, 3, padding=1)
    layer.weight.requires_grad_(False)
    first, second = summary(nn.Sequential(layer, nn.ReLU(), layer), (1, 3, 5, 5)).layers
    assert (first.name, second.name) == ("0", "0#2")
    assert (first.parameters, first.shared) == (84, False)
    assert (second.parameters, second.shared) == (0, True)
    assert first.grad_weight == second.grad_weight == 0
    assert first.grad_input == 0 and second.grad_input == second.macs  # the bias learns
    found = summary(nn.Sequential(layer), (1, 3, 5, 5))
    assert (found.parameters, found.trainable) == (84, 3)


def test_the_model_is_left_as_it_was():
    model = Branches().train()
    model.one.norm.eval()
    before = copy.deepcopy(model.state_dict())
    modes = [module.training for module in model.modules()]
    hooks = torch.nn.modules.module._global_forward_hooks
    found = len(hooks)
    summary(model, (1, 3, 32, 32))
    with pytest.raises(RuntimeError):
        summary(model, (1, 4, 32, 32))
    assert [module.training for module in model.modules()] == modes
    assert len(hooks) == found
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    assert model(torch.randn(1, 3, 32, 32)).requires_grad


def test_other_dtypes_and_no_memory():
    (row,) = summary(nn.Conv2d(3, 4, 3).bfloat16(), (1, 3, 9, 9)).layers
    assert row.spec.dtype == "bfloat16" and row.bytes == 2 * (243 + 108 + 4 + 196)
    with torch.device("meta"):
        model = nn.Conv2d(512, 512, 3)
    (row,) = summary(model, (1, 512, 1000, 1000)).layers
    assert row.macs == 512 * 512 * 9 * 998 * 998
    assert row.plan.spec.device == "cpu"


def test_attention_counts_two_products():
    layer = nn.MultiheadAttention(8, 2, batch_first=True)
    found = summary(lambda x: layer(x, x, x, need_weights=False)[0], (3, 5, 8))
    # in and out projections, scores and their use
    assert found.macs == 3 * 5 * 8 * 24 + 3 * 5 * 8 * 8 + 2 * 3 * 5 * 5 * 8


def test_facts_are_plain():
    found = summary(Branches(), (2, 3, 64, 48))
    read = json.loads(json.dumps(found.facts()))
    assert read["total"]["multiply_adds"] == sum(
        row["multiply_adds"]["forward"] for row in read["layers"]
    )
    assert read["total"]["parameters"] == found.parameters
    assert read["layers"][-1]["field"] == ["all", "all"]
    assert read["inputs"] == [[2, 3, 64, 48]]


@pytest.mark.parametrize(
    ("call", "kind", "message"),
    [
        (lambda: summary(nn.ReLU()), ArgumentError, "a model needs its inputs"),
        (lambda: summary("resnet", (1, 2)), ArgumentTypeError, "a function of tensors, got str"),
    ],
)
def test_mistakes(call, kind, message):
    with pytest.raises(kind, match=message):
        call()
