"""Every convolution for PyTorch, by hand and at full speed.

    faltung.functional   PyTorch's functions, our arithmetic      functional.conv2d(x, w)
    faltung.nn           PyTorch's modules, our arithmetic        nn.Conv2d(3, 8, 3)
    faltung.by_hand      every operator from its definition       by_hand.conv2d_im2col(x, w)
    faltung.plan         which algorithm a call runs, and why     print(plan(x, w))
    faltung.using        settings for a while                     with using(accuracy="exact"):
    faltung.explain      everything about one layer               explain(model, x, layer="stem")
    faltung.summary      every layer of a model                   print(summary(model, x))
    faltung.optimize_    all of a model's layers, in place        optimize_(model); report(model)

Importing compiles nothing and needs torch and numpy only.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import by_hand as by_hand
from . import functional as functional
from . import nn as nn
from . import torch_ops as torch_ops
from .errors import ArgumentError as ArgumentError
from .errors import ArgumentTypeError as ArgumentTypeError
from .ops.conv.api import plan as plan
from .ops.conv.receptive_field import receptive_field as receptive_field
from .ops.conv.spec import ConvSpec as ConvSpec
from .ops.memory import empty_cache as empty_cache
from .optimize import optimize_ as optimize_
from .optimize import replace_torch as replace_torch
from .optimize import report as report
from .optimize import restore_ as restore_
from .planning import NoAlgorithmError as NoAlgorithmError
from .planning import Plan as Plan
from .planning import usage as usage
from .settings import using as using

if TYPE_CHECKING:
    from .tools.explain import explain as explain
    from .tools.summary import summary as summary

# what people ask for by name is loaded then, because the tools need more than torch and numpy
_ON_DEMAND = {"explain": "tools.explain", "summary": "tools.summary"}

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name not in _ON_DEMAND:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_ON_DEMAND[name]}", __name__), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_ON_DEMAND})
