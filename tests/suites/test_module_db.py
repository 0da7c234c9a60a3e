"""PyTorch's tables of module tests: `module_db` and `get_new_module_tests`.

Ours are made with the same constructor arguments, take PyTorch's `state_dict` as it is, and give
an output as good as PyTorch's (`judging`).
"""

import copy
import re

import pytest
import torch

from faltung import nn
from faltung.tools.budget import assert_equal
from suites import judging
from suites.tally import spelled
from suites.torch_tables import module_db, new_module_tests

NAMES = re.compile(r"(Lazy)?Conv(Transpose)?[123]d|Unfold|Fold")
FLOATS = (torch.float32, torch.float64)

# PyTorch says so of its own padded copy; ours pads without a word
pytestmark = pytest.mark.filterwarnings(
    "ignore:Using padding='same' with even kernel lengths and odd dilation:UserWarning"
)


def module_name(entry):
    """`Conv1d` of an entry called `Conv1d` or `Conv1d_pad_same`; None for other modules."""
    name = (entry.get("module_name") or entry.get("fullname")).partition("_")[0]
    return name if NAMES.fullmatch(name) else None


def dtypes(name):
    return sorted(set(INFOS[name].dtypes) - NOT_ON_CPU, key=str)


def label(entry):
    return "_".join(filter(None, (entry.get("fullname", entry.get("module_name")),
                                  entry.get("desc"))))  # fmt: skip


INFOS = {info.name.removeprefix("nn."): info for info in module_db}
INFOS = {name: info for name, info in INFOS.items() if NAMES.fullmatch(name)}
# in the table for other devices: PyTorch has no convolution of it on the CPU
NOT_ON_CPU = {torch.complex32}
ENTRIES = [entry for entry in new_module_tests if module_name(entry)]


def whole(tensor):
    """Other numbers of the same shape and dtype: whole ones, whose sums are exact."""
    parts = torch.view_as_real(tensor) if tensor.is_complex() else tensor
    numbers = torch.randint(-4, 5, parts.shape).to(parts.dtype)
    return torch.view_as_complex(numbers) if tensor.is_complex() else numbers


def with_numbers(module, change):
    """A copy of a module with other parameters."""
    changed = copy.deepcopy(module)
    for parameter in changed.parameters():
        parameter.data = change(parameter.data)
    return changed


def assert_replaces(mine, theirs, x, ran):
    """Ours is a module of PyTorch's class that takes its parameters and gives its output."""
    expected = theirs(x)
    mine.load_state_dict(theirs.state_dict(), strict=True)
    y = mine(x)
    assert isinstance(mine, type(theirs))
    assert type(mine) is getattr(nn, type(theirs).__name__)
    assert list(mine.state_dict()) == list(theirs.state_dict())
    assert_as_good(y, theirs, x, ran)
    if list(theirs.parameters()):
        assert y.requires_grad and expected.requires_grad


def assert_as_good(y, theirs, x, ran):
    """The output against PyTorch's, and PyTorch's in float64."""
    with torch.no_grad():
        y64, sums = (
            with_numbers(theirs, change)(change(x))
            for change in (judging.in_double, judging.magnitude)
        )
        judging.assert_as_good(y.detach(), theirs(x), y64, sums, ran.error_factor())


@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize(("name", "dtype"), [(name, t) for name in INFOS for t in dtypes(name)])
def test_module_db(name, dtype, training, cases):
    info = INFOS[name]
    inputs = info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=False, training=training
    )
    with cases("module_db") as case:
        for item in inputs:
            args, kwargs = item.constructor_input.args, item.constructor_input.kwargs
            (x,), named = item.forward_input.args, item.forward_input.kwargs
            assert not named
            with case(f"{name}({spelled(*args, **kwargs)}) of {spelled(x)}") as ran:
                x = whole(x) if dtype in judging.DOUBLE else x
                mine = getattr(nn, name)(*args, **kwargs, dtype=dtype).train(training)
                theirs = info.module_cls(*args, **kwargs, dtype=dtype).train(training)
                if dtype in judging.DOUBLE:
                    theirs(x)  # a lazy module has no parameters before
                    theirs = with_numbers(theirs, whole)
                assert_replaces(mine, theirs, x, ran)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("entry", ENTRIES, ids=map(label, ENTRIES))
def test_new_module_tests(entry, dtype, cases, monkeypatch):
    with cases("common_nn") as case, case(label(entry)) as ran:
        theirs = constructed(entry, torch.nn, monkeypatch).to(dtype)
        mine = constructed(entry, nn, monkeypatch).to(dtype)
        x = torch.randn(entry["input_size"], dtype=dtype)
        if dtype == torch.float64:
            x, theirs = whole(x), with_numbers(theirs, whole)
        assert_replaces(mine, theirs, x, ran)


@pytest.mark.parametrize(
    "entry",
    [entry for entry in ENTRIES if entry.get("check_with_long_tensor")],
    ids=label,
)
def test_new_module_tests_with_integers(entry, cases, monkeypatch):
    with cases("common_nn integers") as case, case(label(entry)):
        theirs = with_numbers(constructed(entry, torch.nn, monkeypatch), whole).double()
        mine = constructed(entry, nn, monkeypatch)
        mine.load_state_dict(theirs.state_dict(), strict=True)
        for parameter in mine.parameters():
            parameter.requires_grad_(False)
            parameter.data = parameter.data.long()
        x = whole(torch.empty(entry["input_size"], dtype=torch.int64))
        with torch.no_grad():
            assert_equal(mine(x), theirs(x.double()).long())


def constructed(entry, namespace, monkeypatch):
    """The module of an entry, of PyTorch's class or of ours of the same name."""
    name = module_name(entry)
    if "constructor" not in entry:
        return getattr(namespace, name)(*entry.get("constructor_args", ()))
    with monkeypatch.context() as patch:  # the constructors spell out torch.nn
        patch.setattr(torch.nn, name, getattr(namespace, name))
        return entry["constructor"]()


def test_the_tables_hold_what_they_did():
    assert {"Conv1d", "LazyConv2d", "ConvTranspose3d", "LazyConvTranspose1d"} <= set(INFOS)
    assert {"Conv3d", "ConvTranspose2d", "Unfold", "Fold"} <= set(map(module_name, ENTRIES))
