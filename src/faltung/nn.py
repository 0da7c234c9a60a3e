"""Every operator as a module, with PyTorch's names: one line says where it lives."""

from .ops.conv.large_kernel import LargeKernelConv2d as LargeKernelConv2d
from .ops.conv.modules import CausalConv1d as CausalConv1d
from .ops.conv.modules import Conv1d as Conv1d
from .ops.conv.modules import Conv2d as Conv2d
from .ops.conv.modules import Conv3d as Conv3d
from .ops.conv.modules import ConvTranspose1d as ConvTranspose1d
from .ops.conv.modules import ConvTranspose2d as ConvTranspose2d
from .ops.conv.modules import ConvTranspose3d as ConvTranspose3d
from .ops.conv.modules import LazyConv1d as LazyConv1d
from .ops.conv.modules import LazyConv2d as LazyConv2d
from .ops.conv.modules import LazyConv3d as LazyConv3d
from .ops.conv.modules import LazyConvTranspose1d as LazyConvTranspose1d
from .ops.conv.modules import LazyConvTranspose2d as LazyConvTranspose2d
from .ops.conv.modules import LazyConvTranspose3d as LazyConvTranspose3d
from .ops.deform.modules import DeformConv2d as DeformConv2d
from .ops.separable.modules import DepthwiseSeparableConv2d as DepthwiseSeparableConv2d
from .ops.unfold.modules import Fold as Fold
from .ops.unfold.modules import Unfold as Unfold
