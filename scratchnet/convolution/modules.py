"""Convolution and its transpose as modules, with kernels and bias as parameters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from scratchnet.convolution.convolution import conv1d, conv2d, conv3d
from scratchnet.convolution.padding import pad
from scratchnet.convolution.shapes import Size, windows
from scratchnet.convolution.transposed import conv_transpose1d, conv_transpose2d, conv_transpose3d, smallest_size
from scratchnet.windows import sizes

__all__ = ["Conv1d", "Conv2d", "Conv3d", "ConvTranspose1d", "ConvTranspose2d", "ConvTranspose3d"]

PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _Kernels(nn.Module):
    """What convolution and its transpose share: the options, the parameters and how they start."""

    __constants__ = [
        "dilation",
        "groups",
        "in_channels",
        "kernel_size",
        "out_channels",
        "output_padding",
        "padding",
        "padding_mode",
        "stride",
    ]
    dims: ClassVar[int]
    transposed: ClassVar[bool]

    def _set_up(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size,
        padding: str | Size,
        dilation: Size,
        output_padding: Size,
        groups: int,
        bias: bool,
        padding_mode: str,
        device: torch.device | str | None,
        dtype: torch.dtype | None,
    ) -> None:
        op, dims = type(self).__name__, self.dims
        if groups < 1:
            raise ValueError(f"{op}: expected a positive number of groups, got {groups}")
        for name, channels in (("in_channels", in_channels), ("out_channels", out_channels)):
            if channels % groups:
                raise ValueError(f"{op}: expected {name} to be a multiple of groups={groups}, got {channels}")
        if isinstance(padding, str) and padding not in ("valid", "same"):
            raise ValueError(f"{op}: expected padding to be 'valid', 'same' or numbers, got {padding!r}")
        allowed = PADDING_MODES[:1] if self.transposed else PADDING_MODES
        if padding_mode not in allowed:
            raise ValueError(f"{op}: expected padding_mode to be one of {allowed}, got {padding_mode!r}")
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = sizes(op, "kernel_size", kernel_size, dims, least=1)
        self.stride = sizes(op, "stride", stride, dims, least=1)
        if padding == "same" and self.stride != (1,) * dims:
            raise ValueError(f"{op}: expected a stride of 1 with padding='same', got {self.stride}")
        self.padding: str | tuple[int, ...] = (
            padding if isinstance(padding, str) else sizes(op, "padding", padding, dims, least=0)
        )
        self.dilation = sizes(op, "dilation", dilation, dims, least=1)
        self.output_padding = sizes(op, "output_padding", output_padding, dims, least=0)
        self.groups = groups
        self.padding_mode = padding_mode
        first, second = (in_channels, out_channels) if self.transposed else (out_channels, in_channels)
        shape = (first, second // groups, *self.kernel_size)
        self.weight = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels, device=device, dtype=dtype))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws weight and bias uniformly within one over the root of the kernel's fan-in."""
        nn.init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        fan_in = math.prod(self.weight.shape[1:])
        if self.bias is not None and fan_in:
            bound = 1 / math.sqrt(fan_in)
            nn.init.uniform_(self.bias, -bound, bound)

    def extra_repr(self) -> str:
        """The options, those that have their default left out."""
        zeros, ones = (0,) * self.dims, (1,) * self.dims
        text = f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, stride={self.stride}"
        for name, default in (("padding", zeros), ("dilation", ones), ("output_padding", zeros), ("groups", 1)):
            if getattr(self, name) != default:
                text += f", {name}={getattr(self, name)}"
        if self.bias is None:
            text += ", bias=False"
        return text if self.padding_mode == "zeros" else f"{text}, padding_mode={self.padding_mode}"


class _Convolution(_Kernels):
    """The functional form of its dimension with kernels and bias as parameters.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the windows.
        stride: elements from one window to the next.
        padding: elements on each side, ``"valid"`` or ``"same"``.
        dilation: elements from one element of the kernel to the next.
        groups: channels are split into so many groups, which do not mix.
        bias: whether to add a learned bias to each output channel.
        padding_mode: ``"zeros"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: if ``groups``, ``padding`` or ``padding_mode`` is not one of these.
    """

    transposed = False
    convolve: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: str | Size = 0,
        dilation: Size = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._set_up(
            in_channels, out_channels, kernel_size, stride, padding, dilation, 0, groups, bias, padding_mode,
            device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor) -> Tensor:
        """Applies the functional form; what is no padding of zeros comes before it."""
        if self.padding_mode == "zeros":
            margins: str | Size = self.padding
        else:
            name = type(self).__name__
            each = windows(name, self.kernel_size, self.stride, self.padding, self.dilation, self.groups).padding
            input = pad(input, [n for pair in reversed(each) for n in pair], self.padding_mode)
            margins = 0
        return self.convolve(input, self.weight, self.bias, self.stride, margins, self.dilation, self.groups)


class Conv1d(_Convolution):
    """`conv1d` as a module."""

    dims = 1
    convolve = staticmethod(conv1d)


class Conv2d(_Convolution):
    """`conv2d` as a module."""

    dims = 2
    convolve = staticmethod(conv2d)


class Conv3d(_Convolution):
    """`conv3d` as a module."""

    dims = 3
    convolve = staticmethod(conv3d)


class _TransposedConvolution(_Kernels):
    """The functional form of its dimension with kernels and bias as parameters.

    Args:
        in_channels: C.
        out_channels: O.
        kernel_size: of the kernels that are spread over the output.
        stride: elements of output from one element of input to the next.
        padding: elements cut off from each side of the output.
        output_padding: elements added behind the output.
        groups: channels are split into so many groups, which do not mix.
        bias: whether to add a learned bias to each output channel.
        dilation: elements of output from one element of the kernel to the next.
        padding_mode: ``"zeros"``.
        device: of the parameters.
        dtype: of the parameters.

    Raises:
        ValueError: if ``groups`` or ``padding_mode`` is not one of these.
    """

    transposed = True
    spread: ClassVar[Callable[..., Tensor]]

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Size,
        stride: Size = 1,
        padding: Size = 0,
        output_padding: Size = 0,
        groups: int = 1,
        bias: bool = True,
        dilation: Size = 1,
        padding_mode: str = "zeros",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self._set_up(
            in_channels, out_channels, kernel_size, stride, padding, dilation, output_padding, groups, bias,
            padding_mode, device, dtype,
        )  # fmt: skip

    def forward(self, input: Tensor, output_size: Sequence[int] | None = None) -> Tensor:
        """Applies the functional form.

        Args:
            input: of shape ``(B, C, …)`` or ``(C, …)``.
            output_size: the size of the output, with or without batch and channels, in place of
                ``output_padding``; strides leave open which of ``stride`` sizes is meant.

        Raises:
            ValueError: if the output cannot have this size.
        """
        extra = self.output_padding if output_size is None else self._missing(input, output_size)
        return self.spread(
            input, self.weight, self.bias, self.stride, self.padding, extra, self.groups, self.dilation
        )

    def _missing(self, input: Tensor, output_size: Sequence[int]) -> tuple[int, ...]:
        """How much larger the output is to be than the smallest."""
        op, others = type(self).__name__, input.dim() - self.dims
        if len(output_size) not in (self.dims, input.dim()):
            raise ValueError(
                f"{op}: expected output_size to have {self.dims} or {input.dim()} elements for an input of shape "
                f"{tuple(input.shape)}, got {list(output_size)}"
            )
        wanted = tuple(output_size)[-self.dims :]
        geometry = windows(op, self.kernel_size, self.stride, self.padding, self.dilation, self.groups)
        least = smallest_size(geometry, input.shape[others:])
        extra = tuple(n - m for n, m in zip(wanted, least, strict=True))
        if any(not 0 <= e < s for e, s in zip(extra, self.stride, strict=True)):
            most = tuple(m + s - 1 for m, s in zip(least, self.stride, strict=True))
            raise ValueError(f"{op}: expected an output_size from {least} to {most}, got {wanted}")
        return extra


class ConvTranspose1d(_TransposedConvolution):
    """`conv_transpose1d` as a module."""

    dims = 1
    spread = staticmethod(conv_transpose1d)


class ConvTranspose2d(_TransposedConvolution):
    """`conv_transpose2d` as a module."""

    dims = 2
    spread = staticmethod(conv_transpose2d)


class ConvTranspose3d(_TransposedConvolution):
    """`conv_transpose3d` as a module."""

    dims = 3
    spread = staticmethod(conv_transpose3d)
