"""Modules one after the other, and those that meet as one op.

Between two ops of these nobody sees how images lie in memory. Where the second reads them quicker with their channels
last, the first makes them so, as it does for kernels that are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple, cast

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from scratchnet.activations.relu import ReLU
from scratchnet.convolution.modules import Conv2d
from scratchnet.convolution.products import winograd
from scratchnet.convolution.shapes import windows
from scratchnet.fused.pooled_convolution import conv2d_relu_max_pool2d
from scratchnet.fused.rectified_convolution import conv2d_relu
from scratchnet.layers.pooling.max_pooling import MaxPool2d
from scratchnet.windows import channels_last, with_channels_last

__all__ = ["Sequential"]


Op = Callable[[Tensor, Tensor], Tensor]  # of images and kernels


def _conv2d_relu(conv: Conv2d, relu: ReLU) -> Op:
    return partial(
        conv2d_relu, bias=conv.bias, stride=conv.stride, padding=conv.padding, dilation=conv.dilation,
        groups=conv.groups,
    )  # fmt: skip


def _conv2d_relu_max_pool2d(conv: Conv2d, relu: ReLU, pool: MaxPool2d) -> Op:
    return partial(
        conv2d_relu_max_pool2d, bias=conv.bias, stride=conv.stride, padding=conv.padding, dilation=conv.dilation,
        groups=conv.groups, pool_kernel_size=pool.kernel_size, pool_stride=pool.stride, pool_padding=pool.padding,
        pool_dilation=pool.dilation, ceil_mode=pool.ceil_mode,
    )  # fmt: skip


MEETINGS: dict[tuple[type[nn.Module], ...], Callable[..., Op]] = {
    (Conv2d, ReLU, MaxPool2d): _conv2d_relu_max_pool2d,
    (Conv2d, ReLU): _conv2d_relu,
}


class Met(NamedTuple):
    """A convolution and what follows it, as one op."""

    conv: Conv2d
    op: Op


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
        steps = list(_together(list(self)))
        hidden = False  # whether channels lie last for the next op alone
        for step, following in zip(steps, [*steps[1:], None], strict=True):
            if not isinstance(step, Met):
                input = step(input)
                continue
            weight = step.conv.weight
            last = channels_last(weight) or (channels_last(input) and not hidden)
            if not last and isinstance(following, Met) and _reads_last(following.conv, input):
                input, hidden = step.op(input, with_channels_last(weight)), True
            else:
                input = step.op(input, weight)
                input, hidden = input.contiguous() if hidden and not last else input, False
        return input


def _reads_last(conv: Conv2d, images: Tensor) -> bool:
    """Whether a convolution of images of about that size is quicker where their channels lie last."""
    geometry = windows("conv2d", conv.kernel_size, conv.stride, conv.padding, conv.dilation, conv.groups)
    return images.dim() == 4 and winograd.pays(images, conv.in_channels, conv.out_channels, geometry, conv.groups)


def _together(modules: list[nn.Module]) -> Iterator[Met | nn.Module]:
    """The modules, those that meet as one."""
    at = 0
    while at < len(modules):
        step, count = _met(modules[at : at + 3])
        yield step
        at += count


def _met(modules: list[nn.Module]) -> tuple[Met | nn.Module, int]:
    """As many of the first modules as run as one op, or the first alone; and how many those are."""
    for kinds, op_of in MEETINGS.items():
        met = modules[: len(kinds)]
        if tuple(map(type, met)) == kinds and not any(map(_runs_by_itself, met)):
            return Met(cast(Conv2d, met[0]), op_of(*met)), len(met)
    return modules[0], 1


def _runs_by_itself(module: nn.Module) -> bool:
    """Whether calling the module does something else than its op."""
    watched = (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
    special = getattr(module, "padding_mode", "zeros") != "zeros" or getattr(module, "return_indices", False)
    return bool(watched) or special or "forward" in vars(module)
