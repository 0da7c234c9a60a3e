import copy
import pickle
from typing import Any

import pytest
import torch

from faltung.errors import ArgumentError
from faltung.ops.unfold.api import unfold
from faltung.ops.unfold.modules import Fold, Unfold

ARGUMENTS: list[tuple[Any, ...]] = [
    ((2, 3),),
    (2, 1, 1, 2),
    ((3, 2), (1, 2), (2, 1), (2, 3)),
]


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=str)
def test_drop_in_for_pytorchs(arguments: tuple[Any, ...]) -> None:
    x = (torch.arange(180) % 11 - 5.0).reshape(2, 3, 5, 6)
    ours, theirs = Unfold(*arguments), torch.nn.Unfold(*arguments)
    assert isinstance(ours, torch.nn.Unfold)
    assert repr(ours) == repr(theirs)
    columns = theirs(x)
    assert torch.equal(ours(x), columns)
    back, their_back = Fold((5, 6), *arguments), torch.nn.Fold((5, 6), *arguments)
    assert isinstance(back, torch.nn.Fold)
    assert repr(back) == repr(their_back)
    assert torch.equal(back(columns), their_back(columns))
    assert torch.equal(back(columns[0]), their_back(columns[0]))


def test_keyword_names_are_pytorchs() -> None:
    names = {"kernel_size": 3, "dilation": 2, "padding": 1, "stride": 2}
    x = torch.arange(64.0).reshape(1, 1, 8, 8)
    columns = torch.nn.Unfold(**names)(x)
    assert torch.equal(Unfold(**names)(x), columns)
    folded = torch.nn.Fold(output_size=8, **names)(columns)
    assert torch.equal(Fold(output_size=8, **names)(columns), folded)


def test_other_numbers_of_axes_and_padding_modes() -> None:
    x = torch.arange(40.0).reshape(2, 2, 10)
    module = Unfold((3,), padding=((2, 0),), stride=2, padding_mode="circular")
    assert "padding_mode=circular" in repr(module)
    expected = unfold(x, (3,), padding=((2, 0),), stride=2, padding_mode="circular")
    for one in (module, copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert torch.equal(one(x), expected)
    ones = torch.ones(1, 8, 1)
    assert torch.equal(Fold((2, 2, 2), 2)(ones), torch.ones(1, 1, 2, 2, 2))


def test_refuses_an_unknown_padding_mode() -> None:
    with pytest.raises(ArgumentError, match=r"padding_mode must be one of .* got 'constant'"):
        Unfold(2, padding_mode="constant")
