"""Modules one after the other, and those that meet as one op."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.modules import module as hooks

from scratchnet.activations.relu import ReLU
from scratchnet.convolution.modules import Conv2d
from scratchnet.fused.pooled_convolution import conv2d_relu_max_pool2d
from scratchnet.fused.rectified_convolution import conv2d_relu
from scratchnet.layers.pooling.max_pooling import MaxPool2d

__all__ = ["Sequential"]


def _conv2d_relu(x: Tensor, conv: Conv2d, relu: ReLU) -> Tensor:
    return conv2d_relu(x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups)


def _conv2d_relu_max_pool2d(x: Tensor, conv: Conv2d, relu: ReLU, pool: MaxPool2d) -> Tensor:
    return conv2d_relu_max_pool2d(
        x, conv.weight, conv.bias, conv.stride, conv.padding, conv.dilation, conv.groups,
        pool_kernel_size=pool.kernel_size, pool_stride=pool.stride, pool_padding=pool.padding,
        pool_dilation=pool.dilation, ceil_mode=pool.ceil_mode,
    )  # fmt: skip


MEETINGS: dict[tuple[type[nn.Module], ...], Callable[..., Tensor]] = {
    (Conv2d, ReLU, MaxPool2d): _conv2d_relu_max_pool2d,
    (Conv2d, ReLU): _conv2d_relu,
}


class Sequential(nn.Sequential):
    """``torch.nn.Sequential``, in which some modules that follow each other run as one op.

    They are a `Conv2d` and a `ReLU`, with a `MaxPool2d` behind them or without. What comes out is what they make one by
    one, and what is seen from outside as well: a module with a hook, of a subclass, or with a ``forward`` of its own
    runs by itself.
    """

    def forward(self, input: Any) -> Any:
        """Runs the modules in order."""
        if not isinstance(input, Tensor) or hooks._has_any_global_hook():
            return super().forward(input)
        for run, modules in _together(list(self)):
            input = modules[0](input) if run is None else run(input, *modules)
        return input


def _together(modules: list[nn.Module]) -> Iterator[tuple[Callable[..., Tensor] | None, list[nn.Module]]]:
    """The modules, with what runs them where several meet."""
    at = 0
    while at < len(modules):
        run, met = _met(modules[at : at + 3])
        yield run, met
        at += len(met)


def _met(modules: list[nn.Module]) -> tuple[Callable[..., Tensor] | None, list[nn.Module]]:
    """As many of the first modules as run as one op, and what runs them; the first alone where none do."""
    for kinds, run in MEETINGS.items():
        met = modules[: len(kinds)]
        if tuple(map(type, met)) == kinds and not any(map(_runs_by_itself, met)):
            return run, met
    return None, modules[:1]


def _runs_by_itself(module: nn.Module) -> bool:
    """Whether calling the module does something else than its op."""
    watched = (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks or module._backward_pre_hooks
    )
    special = getattr(module, "padding_mode", "zeros") != "zeros" or getattr(module, "return_indices", False)
    return bool(watched) or special or "forward" in vars(module)
