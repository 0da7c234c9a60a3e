import doctest
import inspect
import sys

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from faltung import by_hand

FORBIDDEN = ("conv", "im2col", "col2im")  # what F.conv*, F.unfold and F.fold come down to

functions = {name: value for name, value in vars(by_hand).items() if inspect.isfunction(value)}
pages = sorted({function.__module__ for function in functions.values()})


class Seen(TorchDispatchMode):
    """Remembers the names of the operators that ran."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        self.names.add(operator._schema.name.removeprefix("aten::"))
        return operator(*args, **(kwargs or {}))


def test_the_index_names_all_that_it_imports():
    assert sorted(by_hand.__all__) == sorted(functions)


@pytest.mark.parametrize("name", sorted(functions))
def test_every_function_shows_an_example(name):
    function = functions[name]
    assert ">>>" in function.__doc__
    assert function.__module__.split(".")[-2] == "by_hand"


@pytest.mark.parametrize("page", pages)
def test_every_page_names_its_source_and_uses_no_convolution_of_pytorch(page):
    module = sys.modules[page]
    assert "Source: " in module.__doc__
    with Seen() as seen:
        assert doctest.testmod(module).failed == 0
    assert seen.names  # the examples ran inside
    assert not [name for name in seen.names if any(word in name for word in FORBIDDEN)]
