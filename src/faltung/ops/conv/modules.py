"""The convolution modules: PyTorch's own classes with our arithmetic.

Each is a subclass of its PyTorch namesake: the same constructor, parameters, initialisation and
`state_dict`, and `isinstance` holds. What the functional form allows beyond PyTorch (unequal
padding, `"same"` with a stride, padding modes when transposed) the module allows too, and two
keyword-only arguments come on top: `activation` and `algorithm`. A call may give a `residual`,
which is added to the result before the activation.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ...errors import ArgumentError
from ..arguments import integers, padding_pairs
from ..arguments import padding_mode as known_mode
from .arguments import conv_transpose_spec
from .dispatch import convolve

_EXTRAS = ("activation", "algorithm")


class _Beyond(torch.nn.Module):
    """What our modules hold beyond PyTorch's, in which they are mixed."""

    kernel_size: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    output_padding: tuple[int, ...]
    groups: int
    padding: Any
    padding_mode: Any
    weight: Any
    bias: Any
    activation: str | None
    algorithm: str | None

    _call: ClassVar[str]  # the function that does the same
    _replaced: ClassVar[bool] = False  # whether a subclass has a weight or bias of its own making

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._replaced = hasattr(cls, "weight") or hasattr(cls, "bias")

    def _learned(self) -> tuple[Any, Any]:
        """The weight and the bias as they are now."""
        # `self.weight` takes half a microsecond to find a parameter where all parameters are; what
        # parametrises, prunes or shards one takes it away from there
        own = self._parameters
        if self._replaced or "weight" not in own or "bias" not in own:
            return self.weight, self.bias
        return own["weight"], own["bias"]

    def _set_beyond(
        self, padding: Any, mode: str, activation: str | None, algorithm: str | None
    ) -> None:
        """Set what PyTorch's constructor was not told, since it refuses some of it."""
        self.padding = _as_stored(padding, len(self.kernel_size), type(self).__name__)
        self.padding_mode = known_mode(mode)
        self.activation, self.algorithm = activation, algorithm

    def extra_repr(self) -> str:
        """PyTorch's text, with the extras that are set."""
        said = [f"{name}={getattr(self, name)!r}" for name in _EXTRAS if getattr(self, name)]
        return ", ".join([super().extra_repr(), *said])

    def __setstate__(self, state: dict[str, Any]) -> None:
        # a module that was pickled by PyTorch's own class has no extras
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        for name in _EXTRAS:
            self.__dict__.setdefault(name, None)


class _Convolves(_Beyond):
    """The arithmetic of `Conv{n}d`."""

    def forward(self, input: Tensor, residual: Tensor | None = None) -> Tensor:
        """The convolution of `input`, plus a tensor of the result's shape if one is given.

        The same as `activation(conv(input) + residual)`.

        >>> import faltung
        >>> second = faltung.nn.Conv2d(4, 4, 3, padding=1, activation="relu")
        >>> x = torch.randn(1, 4, 8, 8)
        >>> bool((second(x, residual=x) >= 0).all())
        True
        """
        if residual is None:
            return self._conv_forward(input, *self._learned())
        return self._conv_forward(input, *self._learned(), residual)

    def _conv_forward(
        self,
        input: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        residual: Tensor | None = None,
    ) -> Tensor:
        return convolve(
            self._call, input, weight, bias, self.stride, self.padding, 0, self.dilation,
            self.groups, self.padding_mode, self.activation, self.algorithm, residual,
        )  # fmt: skip


class _ConvolvesTransposed(_Beyond):
    """The arithmetic of `ConvTranspose{n}d`."""

    def forward(
        self,
        input: Tensor,
        output_size: Sequence[int] | None = None,
        residual: Tensor | None = None,
    ) -> Tensor:
        """The transposed convolution of `input`, with the output size asked for if one is.

        A tensor of the result's shape, if one is given, is added before the activation.
        """
        extra = self.output_padding
        if output_size is not None:
            extra = self._output_padding_for(input, tuple(output_size))
        return convolve(
            self._call, input, *self._learned(), self.stride, self.padding, extra, self.dilation,
            self.groups, self.padding_mode, self.activation, self.algorithm, residual,
        )  # fmt: skip

    def _output_padding_for(self, input: Tensor, output_size: tuple[int, ...]) -> tuple[int, ...]:
        """The output_padding that gives `output_size`, with or without its N and C."""
        dims = len(self.kernel_size)
        if len(output_size) not in (dims, input.dim()):
            raise ArgumentError(
                f"{type(self).__name__}: output_size must have {dims} elements, or {input.dim()} "
                f"like the input, got {len(output_size)}: {output_size}"
            )
        most = tuple(max(s, d) - 1 for s, d in zip(self.stride, self.dilation, strict=True))
        largest = conv_transpose_spec(
            input.shape, self.weight.shape, None, self.stride, self.padding, most, self.groups,
            self.dilation, dims=dims,
        ).input_size  # fmt: skip
        smallest = tuple(size - m for size, m in zip(largest, most, strict=True))
        wanted = integers(output_size[-dims:], dims, "output_size", minimum=1)
        extra = tuple(size - small for size, small in zip(wanted, smallest, strict=True))
        if any(not 0 <= e <= m for e, m in zip(extra, most, strict=True)):
            raise ArgumentError(
                f"{type(self).__name__}: output_size {wanted} cannot be had from the input size "
                f"{tuple(input.shape[-dims:])}: it must lie between {smallest} and {largest}"
            )
        return extra


class _Conv(_Convolves):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0, dilation, groups, bias, "zeros",
            device, dtype,
        )  # fmt: skip
        self._set_beyond(padding, padding_mode, activation, algorithm)


class _ConvTranspose(_ConvolvesTransposed):
    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, 0, output_padding, groups, bias,
            dilation, "zeros", device, dtype,
        )  # fmt: skip
        self._set_beyond(padding, padding_mode, activation, algorithm)


class _LazyConv(_Convolves):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        super().__init__(
            out_channels, kernel_size, stride, 0, dilation, groups, bias, "zeros", device, dtype
        )
        self._set_beyond(padding, padding_mode, activation, algorithm)


class _LazyConvTranspose(_ConvolvesTransposed):
    def __init__(
        self,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Any = 1,
        padding_mode: str = "zeros",
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        super().__init__(
            out_channels, kernel_size, stride, 0, output_padding, groups, bias, dilation, "zeros",
            device, dtype,
        )  # fmt: skip
        self._set_beyond(padding, padding_mode, activation, algorithm)


class Conv1d(_Conv, torch.nn.Conv1d):
    """`torch.nn.Conv1d` with our arithmetic: [N, C, L] or [C, L] -> [N, O, out] or [O, out].

    >>> Conv1d(4, 8, 3, stride=2, padding="same")(torch.ones(1, 4, 9)).shape
    torch.Size([1, 8, 5])
    """

    _call = "conv1d"


class Conv2d(_Conv, torch.nn.Conv2d):
    """`torch.nn.Conv2d` with our arithmetic: [N, C, H, W] or unbatched -> [N, O, …].

    >>> Conv2d(3, 8, 3, padding=((0, 1), (0, 1)), stride=2, activation="relu")
    Conv2d(3, 8, kernel_size=(3, 3), stride=(2, 2), padding=((0, 1), (0, 1)), activation='relu')
    """

    _call = "conv2d"


class Conv3d(_Conv, torch.nn.Conv3d):
    """`torch.nn.Conv3d` with our arithmetic: [N, C, D, H, W] or unbatched -> [N, O, …].

    >>> Conv3d(2, 4, 3, padding=1, padding_mode="circular")(torch.ones(2, 5, 5, 5)).shape
    torch.Size([4, 5, 5, 5])
    """

    _call = "conv3d"


class ConvTranspose1d(_ConvTranspose, torch.nn.ConvTranspose1d):
    """`torch.nn.ConvTranspose1d` with our arithmetic; the adjoint of `Conv1d`.

    >>> ConvTranspose1d(4, 2, 4, stride=2, padding="same")(torch.ones(1, 4, 9)).shape
    torch.Size([1, 2, 18])
    """

    _call = "conv_transpose1d"


class ConvTranspose2d(_ConvTranspose, torch.nn.ConvTranspose2d):
    """`torch.nn.ConvTranspose2d` with our arithmetic; the adjoint of `Conv2d`.

    >>> up = ConvTranspose2d(8, 4, 3, stride=2, padding=1)
    >>> up(torch.ones(8, 5, 5), output_size=(10, 9)).shape
    torch.Size([4, 10, 9])
    """

    _call = "conv_transpose2d"


class ConvTranspose3d(_ConvTranspose, torch.nn.ConvTranspose3d):
    """`torch.nn.ConvTranspose3d` with our arithmetic; the adjoint of `Conv3d`.

    >>> ConvTranspose3d(2, 1, 2, stride=2)(torch.ones(1, 2, 3, 4, 5)).shape
    torch.Size([1, 1, 6, 8, 10])
    """

    _call = "conv_transpose3d"


class LazyConv1d(_LazyConv, torch.nn.LazyConv1d):
    """`torch.nn.LazyConv1d` that becomes our `Conv1d` at its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, torch.nn.LazyConv2d):
    """`torch.nn.LazyConv2d` that becomes our `Conv2d` at its first input.

    >>> layer = LazyConv2d(8, 3)
    >>> _ = layer(torch.ones(1, 5, 9, 9))
    >>> layer
    Conv2d(5, 8, kernel_size=(3, 3), stride=(1, 1))
    """

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, torch.nn.LazyConv3d):
    """`torch.nn.LazyConv3d` that becomes our `Conv3d` at its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, torch.nn.LazyConvTranspose1d):
    """`torch.nn.LazyConvTranspose1d` that becomes our `ConvTranspose1d` at its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, torch.nn.LazyConvTranspose2d):
    """`torch.nn.LazyConvTranspose2d` that becomes our `ConvTranspose2d` at its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, torch.nn.LazyConvTranspose3d):
    """`torch.nn.LazyConvTranspose3d` that becomes our `ConvTranspose3d` at its first input."""

    cls_to_become = ConvTranspose3d


class CausalConv1d(Conv1d):
    """A `Conv1d` whose output q sees no input after q·stride: [N, C, L] -> [N, O, ⌈L/stride⌉].

    Same as `torch.nn.Conv1d` on an input padded with dilation·(K − 1) zeros on the left; the
    parameters and the `state_dict` are `Conv1d`'s.

    >>> CausalConv1d(4, 8, 3, dilation=2)(torch.ones(1, 4, 9)).shape
    torch.Size([1, 8, 9])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        device: Any = None,
        dtype: Any = None,
        *,
        activation: str | None = None,
        algorithm: str | None = None,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, "causal", dilation, groups, bias,
            device=device, dtype=dtype, activation=activation, algorithm=algorithm,
        )  # fmt: skip


def _as_stored(padding: Any, dims: int, module: str) -> Any:
    """Padding as PyTorch stores it where PyTorch can: a word, or an integer per axis."""
    pairs = padding_pairs(padding, dims, f"{module}: padding")
    if isinstance(pairs, str) or any(low != high for low, high in pairs):
        return pairs
    return tuple(low for low, _ in pairs)
