"""The table of convolution problems that tests and benchmarks share, in their one spelling.

Small on purpose: the definition's Python loops run on each, in every task. What they cover stands
beside them.
"""

SMALL = (
    # the text's own: one channel 5×5 K=3 s=2 p=1; two of each; and everything at once
    "forward n1 c1 o1 i5x5 k3x3 s2 p1 float32 cpu",
    "forward n2 c2 o3 i5x5 k3x3 s2 p1 bias float32 cpu",
    "forward n2 c2 o4 i5x5 k3x3 s2 p1 d2 g2 bias float32 cpu",
    # 7×7 with K=3, d=3 gives one number; 4×4 with K=3 the 4×16 kernel matrix
    "forward n1 c1 o1 i7x7 k3x3 d3 float32 cpu",
    "forward n1 c1 o1 i4x4 k3x3 float32 cpu",
    # 1-D: sequences, causal, stride beyond the kernel, a kernel longer than the signal
    "forward n1 c3 o5 i17 k3 p1 float32 cpu",
    "forward n2 c4 o4 i13 k4 p3+0 g4 bias float32 cpu",
    "forward n1 c2 o3 i11 k2 s5 float32 cpu",
    "forward n1 c2 o2 i3 k7 p3 float32 cpu",
    "forward n1 c1 o2 i23 k5 p8 d4 silu float32 cpu",
    # 2-D: rectangular everything, primes, size 1, unequal padding, pointwise
    "forward n1 c3 o2 i7x11 k2x5 s1x3 p1x2 d3x1 float32 cpu",
    "forward n1 c2 o2 i1x1 k3x3 p1 float32 cpu",
    "forward n3 c5 o7 i4x3 k1x1 bias relu float32 cpu",
    "forward n1 c2 o3 i6x5 k3x2 s2 p0+1x2+0 float32 cpu",
    "forward n1 c2 o2 i5x4 k3x3 s4 p2+5x3+1 float32 cpu",
    "forward n1 c1 o1 i2x9 k5x3 p2x1 float32 cpu",
    # depthwise, with a channel multiplier, large kernels, dilated, few channels a group
    "forward n2 c6 o6 i9x8 k3x3 p1 g6 bias float32 cpu",
    "forward n1 c3 o6 i8x7 k5x5 s2 p2 g3 float32 cpu",
    "forward n1 c2 o2 i7x7 k13x13 p6 g2 float32 cpu",
    "forward n1 c2 o2 i10x9 k7x7 p9 d3 g2 gelu float32 cpu",
    "forward n1 c8 o12 i6x7 k3x3 p1 g4 float32 cpu",
    "forward n2 c4 o26 i3x21 k3x3 p1+0x2 d1x2 g2 bias float32 cpu",
    "forward n1 c6 o4 i6x23 k3x3 s1x3 p1 g2 float32 cpu",
    "forward n1 c3 o5 i9x37 k4x4 s4 float32 cpu",
    # 3-D
    "forward n1 c2 o3 i5x4x6 k3x2x3 s2x1x2 p1x0x1 bias float32 cpu",
    "forward n1 c4 o4 i4x5x4 k3x3x3 p1 g4 float32 cpu",
    "forward n1 c4 o6 i3x4x9 k2x3x3 s1x1x2 p1 g2 bias float32 cpu",
    "forward n1 c2 o2 i3x5x4 k2x2x2 p0+1x1+0x0 d2x1x1 float32 cpu",
    # padding modes
    "forward n1 c2 o2 i6x5 k3x3 p2 reflect float32 cpu",
    "forward n1 c2 o2 i6x5 k3x3 s2 p1+3x2+0 replicate float32 cpu",
    "forward n1 c2 o2 i6x5 k3x5 p1x2 g2 circular bias float32 cpu",
    "forward n1 c1 o1 i4 k3 p9 circular float32 cpu",
    # an empty batch, and outputs that stop before the formula's end
    "forward n0 c2 o3 i5x5 k3x3 p1 float32 cpu",
    "forward n1 c2 o3 i8x7 k3x3 y3x2 d2 float32 cpu",
    # memory layouts
    "forward n2 c4 o6 i6x5 k3x3 p1 g2 channels_last float32 cpu",
    "forward n2 c8 o6 i7x5 k3x3 p1 g2 bias channels_last float32 cpu",
    "forward n1 c4 o2 i3x5x4 k2x2x2 channels_last float32 cpu",
    "forward n1 c3 o2 i9 k3 strided float32 cpu",
    "forward n2 c3 o2 i6x5 k3x3 p1 strided float32 cpu",
    "forward n2 c6 o6 i9x8 k3x3 p1 g6 channels_last float32 cpu",
    "forward n1 c21 o21 i7x9 k5x3 s2x3 p2x0+1 d1x2 g21 bias channels_last float32 cpu",
    "forward n1 c5 o5 i4x5x6 k3x3x3 p1 g5 bias channels_last float64 cpu",
    "forward n1 c3 o3 i5x70 k3x7 p1x3 g3 relu channels_last float32 cpu",
    "forward n1 c33 o33 i4x5 k2x2 p1+0 g33 channels_last bfloat16 cpu",
    # a residual, that lies as the result does or not
    "forward n2 c3 o4 i5x6 k3x3 p1 bias residual relu float32 cpu",
    "forward n1 c8 o33 i7x8 k3x3 s2 p1 residual channels_last float32 cpu",
    "forward n1 c6 o6 i5x7 k3x2 p1+0x1 g6 bias residual residual_apart gelu float32 cpu",
    "forward n2 c9 o5 i4x6 k1x1 residual residual_apart relu channels_last float32 cpu",
    "forward n1 c4 o6 i9 k3 p1 g2 residual float64 cpu",
    "forward n1 c4 o6 i9x9 k3x3 p1 bias residual silu bfloat16 cpu",
    "forward n1 c3 o2 i3x5x4 k2x2x2 p1+0 residual relu6 strided float32 cpu",
    # other dtypes
    "forward n2 c2 o4 i5x6 k3x3 s2 p1 g2 bias float64 cpu",
    "forward n1 c4 o4 i9x8 k3x3 p1 g4 bias bfloat16 cpu",
    "forward n1 c4 o4 i9x8 k3x3 p1 g4 bias float16 cpu",
    "forward n1 c2 o3 i6x5 k3x3 p1+0 bias bfloat16 cpu",
    "forward n1 c4 o4 i9x8 k3x3 p1 g4 bias gelu_tanh float64 cpu",
    "forward n1 c4 o4 i9x8 k3x3 p1 g4 bias silu bfloat16 cpu",
    "forward n1 c4 o4 i9x8 k3x3 p1 g4 hardswish float16 cpu",
    "forward n1 c4 o6 i6x7 k3x3 p1 g2 bias leaky_relu bfloat16 cpu",
    "forward n1 c5 o5 i6x7 k3x3 p1 g5 sigmoid channels_last float64 cpu",
    "forward n1 c5 o5 i6x7 k3x3 p1 g5 bias gelu channels_last bfloat16 cpu",
    "forward n1 c5 o5 i6x7 k3x3 p1 g5 bias relu6 channels_last float16 cpu",
    "forward n1 c2 o3 i6x5 k3x3 s2 p1 complex64 cpu",
    "forward n1 c2 o3 i6x5 k3x3 s2 p0+1 int64 cpu",
)
