"""PyTorch's own im2col and col2im: `F.unfold` and `F.fold`.

One loop over the columns with a test for the padding at every number. Two calls' overhead at most,
so it is the one for small images; 2-D, zeros as padding, both ends alike.
"""

from torch import Tensor
from torch.nn import functional as F

from ....machine import Machine
from ....planning import Algorithm, Run
from ..spec import UnfoldSpec

_DTYPES = ("float16", "bfloat16", "float32", "float64", "complex64", "complex128")
_CALL = 8e-6  # seconds of one call on any size
_OVERHEAD = 4.0  # index arithmetic and padding test per number, against a plain copy


class Native(Algorithm):
    """`F.unfold` and `F.fold`."""

    tasks = frozenset({"unfold", "fold"})

    def unsupported(self, spec: UnfoldSpec) -> list[str]:
        """What PyTorch's 2-D functions refuse."""
        reasons = []
        if spec.dims != 2:
            reasons.append(f"is for 2-D images only, not {spec.dims}-D")
        if spec.padding_mode != "zeros":
            reasons.append(f"pads with zeros only, not {spec.padding_mode}")
        if any(low != high for low, high in spec.padding):
            reasons.append(f"pads both ends of an axis alike, not {spec.padding}")
        if spec.dtype not in _DTYPES:
            reasons.append(f"is for {', '.join(_DTYPES)}, not {spec.dtype}")
        if 0 in spec.image_shape[1:]:
            reasons.append(f"needs channels and image sizes of at least 1, not {spec.image_shape}")
        return reasons

    def seconds(self, spec: UnfoldSpec, machine: Machine) -> float:
        """Operand and result once each, at a fraction of the bandwidth."""
        return _CALL + _OVERHEAD * spec.bytes / machine.bandwidth

    def build(self, spec: UnfoldSpec) -> Run:
        """The call with the spec's arguments."""
        kernel, dilation, stride = spec.kernel_size, spec.dilation, spec.stride
        padding = tuple(low for low, _ in spec.padding)

        def unfold(image: Tensor) -> Tensor:
            return F.unfold(image, kernel, dilation, padding, stride)

        def fold(columns: Tensor) -> Tensor:
            return F.fold(columns, spec.input_size, kernel, dilation, padding, stride)

        return unfold if spec.task == "unfold" else fold


ALGORITHM = Native()
