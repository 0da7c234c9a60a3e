"""Every operator as a function, with PyTorch's names: one line says where it lives."""

from .ops.conv.api import causal_conv1d as causal_conv1d
from .ops.conv.api import conv1d as conv1d
from .ops.conv.api import conv2d as conv2d
from .ops.conv.api import conv3d as conv3d
from .ops.conv.api import conv_transpose1d as conv_transpose1d
from .ops.conv.api import conv_transpose2d as conv_transpose2d
from .ops.conv.api import conv_transpose3d as conv_transpose3d
from .ops.deform.api import deform_conv2d as deform_conv2d
from .ops.separable.api import depthwise_separable_conv2d as depthwise_separable_conv2d
from .ops.unfold.api import fold as fold
from .ops.unfold.api import unfold as unfold
