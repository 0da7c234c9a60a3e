"""The operators that PyTorch knows of: importing this registers them.

    torch.ops.faltung.conv            every convolution, transposed convolution and their gradients
    torch.ops.faltung.unfold  .fold   windows as columns, and back
    torch.ops.faltung.deform_conv2d   deformable convolution

Each comes with what PyTorch asks of an operator: its result without numbers (fake tensors, `meta`),
derivatives of any order in both directions, `vmap`, autocast, the number of its multiply-adds, and
a form in PyTorch's own operators for exporters that know no other. A call that nobody traces does
not come here.
"""

from . import composite as composite
from . import windows as windows
from .conv import CONV as CONV
from .exporters import decompositions as decompositions
