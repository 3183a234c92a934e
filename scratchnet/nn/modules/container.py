"""Modules one after the other, and those that meet as one op.

Between two ops of these nobody sees how images lie in memory. Where the second makes tiles of them, in which channels
lie last, the first makes them so.
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


# By the kinds of modules that follow each other; the first is the convolution.
MEETINGS: dict[tuple[type[nn.Module], ...], Callable[..., Tensor]] = {
    (Conv2d, ReLU, MaxPool2d): _conv2d_relu_max_pool2d,
    (Conv2d, ReLU): _conv2d_relu,
}


class Sequential(nn.Sequential):
    """``torch.nn.Sequential``, in which some modules that follow each other run as one op.

    They are a `Conv2d` and a `ReLU`, with a `MaxPool2d` behind them or without. What comes out is what they make one by
    one, to the rounding, and what is seen from outside as well: a module with a hook, of a subclass, or with a
    ``forward`` of its own runs by itself.
    """

    def forward(self, input: Any) -> Any:
        """Runs the modules in order."""
        if not isinstance(input, Tensor) or hooks._has_any_global_hook():
            return super().forward(input)
        left, hidden = list(self), False  # whether channels lie last for the next op alone
        while left:
            run, count = _met(left) if isinstance(input, Tensor) else (None, 1)
            modules, left = left[:count], left[count:]
            if run is None:
                input = modules[0](input)
                continue
            conv = cast(Conv2d, modules[0])
            last = is_channels_last(conv.weight) or (is_channels_last(input) and not hidden)
            if not last and conv.groups == 1 and _tiles_follow(left, input):
                input, hidden = run(input, torch.channels_last, *modules), True
            elif hidden:
                memory_format = torch.channels_last if last else torch.contiguous_format
                input, hidden = run(input, memory_format, *modules), False
            else:
                input = run(input, torch.preserve_format, *modules)
        return input


def _met(modules: list[nn.Module]) -> tuple[Callable[..., Tensor] | None, int]:
    """What runs the first of the modules as one op, or None, and how many."""
    for kinds, run in MEETINGS.items():
        met = modules[: len(kinds)]
        if tuple(map(type, met)) == kinds and not any(map(_runs_by_itself, met)):
            return run, len(met)
    return None, 1


def _tiles_follow(modules: list[nn.Module], images: Tensor) -> bool:
    """Whether the first modules are one op that would make tiles of such images, whose channels lie last there."""
    if images.dim() != 4 or _met(modules)[0] is None:
        return False
    conv = cast(Conv2d, modules[0])
    geometry = window_geometry("conv2d", conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    return filtering.worthwhile(images, conv.in_channels, conv.out_channels, geometry, conv.groups)


def _runs_by_itself(module: nn.Module) -> bool:
    """Whether calling the module does something else than its op."""
    watched = (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
    special = getattr(module, "padding_mode", "zeros") != "zeros" or getattr(module, "return_indices", False)
    return bool(watched) or special or "forward" in vars(module)
