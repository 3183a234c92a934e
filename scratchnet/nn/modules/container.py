"""Sequential, which runs sequences of modules as fused ops.

The memory layout between two fused ops is not observable. If the second one uses Winograd's tiles, which store channels
last, the first one returns channels last.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from scratchnet.convolution.algorithms.winograd import filtering
from scratchnet.convolution.shapes import window_geometry
from scratchnet.fused.pooled_convolution import conv2d_relu_max_pool2d
from scratchnet.fused.rectified_convolution import conv2d_relu
from scratchnet.layout import is_channels_last
from scratchnet.nn.modules.activation import ReLU
from scratchnet.nn.modules.conv import Conv2d
from scratchnet.nn.modules.pooling import MaxPool2d

__all__ = ["Sequential"]


def _conv2d_relu(x: Tensor, memory_format: torch.memory_format, conv: Conv2d, relu: ReLU) -> Tensor:
    return conv2d_relu(
        x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups, memory_format=memory_format
    )  # fmt: skip


def _conv2d_relu_max_pool2d(
    x: Tensor, memory_format: torch.memory_format, conv: Conv2d, relu: ReLU, pool: MaxPool2d
) -> Tensor:
    return conv2d_relu_max_pool2d(
        x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups,
        pool_kernel_size=pool.kernel_size, pool_stride=pool.stride, pool_padding=pool.padding,
        pool_dilation=pool.dilation, ceil_mode=pool.ceil_mode, memory_format=memory_format,
    )  # fmt: skip


# The first module of each sequence is the convolution; longer sequences come first.
FUSIBLE: dict[tuple[type[nn.Module], ...], Callable[..., Tensor]] = {
    (Conv2d, ReLU, MaxPool2d): _conv2d_relu_max_pool2d,
    (Conv2d, ReLU): _conv2d_relu,
}


class Sequential(nn.Sequential):
    """Runs modules in order as ``torch.nn.Sequential`` does, and fuses some sequences of them.

    A `Conv2d` followed by a `ReLU`, and optionally a `MaxPool2d`, run as one op. Results equal those of the modules up
    to rounding. A module with hooks, of a subclass, or with its own ``forward`` is not fused.
    """

    def forward(self, input: Any) -> Any:
        if not isinstance(input, Tensor) or hooks._has_any_global_hook():
            return super().forward(input)
        left, internal = list(self), False  # whether `input` is channels last only because of its successor
        while left:
            run, count = _match(left) if isinstance(input, Tensor) else (None, 1)
            modules, left = left[:count], left[count:]
            if run is None:
                input = modules[0](input)
                continue
            conv = cast(Conv2d, modules[0])
            channels_last = is_channels_last(conv.weight) or (is_channels_last(input) and not internal)
            if not channels_last and conv.groups == 1 and _winograd_follows(left, input):
                input, internal = run(input, torch.channels_last, *modules), True
            elif internal:
                memory_format = torch.channels_last if channels_last else torch.contiguous_format
                input, internal = run(input, memory_format, *modules), False
            else:
                input = run(input, torch.preserve_format, *modules)
        return input


def _match(modules: list[nn.Module]) -> tuple[Callable[..., Tensor] | None, int]:
    """Returns the fused op for the first modules, or None, and how many modules it replaces."""
    for types, run in FUSIBLE.items():
        first = modules[: len(types)]
        if tuple(map(type, first)) == types and not any(map(_is_customized, first)):
            return run, len(first)
    return None, 1


def _winograd_follows(modules: list[nn.Module], images: Tensor) -> bool:
    """Returns whether the first modules are one fused op that uses Winograd's tiles for images of this size."""
    if images.dim() != 4 or _match(modules)[0] is None:
        return False
    conv = cast(Conv2d, modules[0])
    geometry = window_geometry("conv2d", conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    return filtering.worthwhile(images, conv.in_channels, conv.out_channels, geometry, conv.groups)


def _is_customized(module: nn.Module) -> bool:
    """Returns whether calling the module does anything but the fusible op."""
    hooked = (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
    special = getattr(module, "padding_mode", "zeros") != "zeros" or getattr(module, "return_indices", False)
    return bool(hooked) or special or "forward" in vars(module)
