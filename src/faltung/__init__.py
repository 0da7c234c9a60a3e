"""Every convolution for PyTorch, by hand and at full speed.

    faltung.functional   PyTorch's functions, our arithmetic      functional.conv2d(x, w)
    faltung.nn           PyTorch's modules, our arithmetic        nn.Conv2d(3, 8, 3)
    faltung.by_hand      every operator from its definition       by_hand.conv2d_im2col(x, w)
    faltung.plan         which algorithm a call runs, and why     print(plan(x, w))
    faltung.using        settings for a while                     with using(accuracy="exact"):

Importing compiles nothing and needs torch and numpy only.
"""

from . import by_hand as by_hand
from . import functional as functional
from . import nn as nn
from .errors import ArgumentError as ArgumentError
from .errors import ArgumentTypeError as ArgumentTypeError
from .ops.conv.api import plan as plan
from .ops.conv.receptive_field import receptive_field as receptive_field
from .ops.conv.spec import ConvSpec as ConvSpec
from .planning import NoAlgorithmError as NoAlgorithmError
from .planning import Plan as Plan
from .planning import usage as usage
from .settings import using as using

__version__ = "0.1.0"
