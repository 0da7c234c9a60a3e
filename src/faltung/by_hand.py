"""Every operator as the textbook writes it. Look here first: one line per function.

Plain PyTorch, loops and matrix products, one page per way of doing it; each page begins with its
formula and names its source. The functions take the arguments of their namesakes in PyTorch, and
they are slow. `conv` is the definition of convolution; the others say the same in other ways.

>>> import torch
>>> from faltung import by_hand
>>> x, w = torch.arange(16.0).reshape(1, 1, 4, 4), torch.ones(1, 1, 3, 3)
>>> torch.equal(by_hand.conv(x, w), by_hand.conv2d_im2col(x, w))
True
"""

# the lines stand in the order of the book
# ruff: noqa: I001

# convolution: the definition, and other ways to compute it
from .ops.conv.by_hand.definition import conv
from .ops.conv.by_hand.sliding_window import conv2d_sliding_window
from .ops.conv.by_hand.im2col import conv2d_im2col
from .ops.conv.by_hand.im2col import conv_im2col
from .ops.conv.by_hand.im2col import region_matrix
from .ops.conv.by_hand.kernel_matrix import conv2d_kernel_matrix
from .ops.conv.by_hand.kernel_matrix import conv_kernel_matrix
from .ops.conv.by_hand.kernel_matrix import kernel_matrix
from .ops.conv.by_hand.kernel_matrix import kernel_matrix_sparse
from .ops.conv.by_hand.winograd import conv2d_winograd
from .ops.conv.by_hand.winograd import conv1d_winograd
from .ops.conv.by_hand.winograd import cook_toom
from .ops.conv.by_hand.fft import conv2d_fft
from .ops.conv.by_hand.fft import conv_fft
from .ops.conv.by_hand.fft import dft

# its three tasks over one spec: the convolution itself and both gradients
from .ops.conv.by_hand.definition import forward
from .ops.conv.by_hand.definition import grad_input
from .ops.conv.by_hand.definition import grad_weight

# transposed convolution, four times the same
from .ops.conv.by_hand.transposed import conv_transpose_kernel_matrix
from .ops.conv.by_hand.transposed import conv_transpose_gradient
from .ops.conv.by_hand.transposed import conv_transpose_zero_insertion
from .ops.conv.by_hand.transposed import conv_transpose_scatter

# the kinds of convolution
from .ops.conv.by_hand.dilated import conv_dilated
from .ops.conv.by_hand.dilated import dilate_weight
from .ops.conv.by_hand.causal import causal_conv1d
from .ops.conv.by_hand.grouped import grouped
from .ops.conv.by_hand.channel_shuffle import channel_shuffle
from .ops.conv.by_hand.depthwise import depthwise
from .ops.conv.by_hand.pointwise import pointwise
from .ops.conv.by_hand.depthwise_separable import depthwise_separable
from .ops.conv.by_hand.large_kernel import merge_branches

# windows as columns, and taps that move
from .ops.unfold.by_hand.unfold import unfold
from .ops.unfold.by_hand.fold import fold
from .ops.deform.by_hand.definition import deform_conv2d

__all__ = [
    "causal_conv1d",
    "channel_shuffle",
    "conv",
    "conv1d_winograd",
    "conv2d_fft",
    "conv2d_im2col",
    "conv2d_kernel_matrix",
    "conv2d_sliding_window",
    "conv2d_winograd",
    "conv_dilated",
    "conv_fft",
    "conv_im2col",
    "conv_kernel_matrix",
    "conv_transpose_gradient",
    "conv_transpose_kernel_matrix",
    "conv_transpose_scatter",
    "conv_transpose_zero_insertion",
    "cook_toom",
    "deform_conv2d",
    "depthwise",
    "depthwise_separable",
    "dft",
    "dilate_weight",
    "fold",
    "forward",
    "grad_input",
    "grad_weight",
    "grouped",
    "kernel_matrix",
    "kernel_matrix_sparse",
    "merge_branches",
    "pointwise",
    "region_matrix",
    "unfold",
]
