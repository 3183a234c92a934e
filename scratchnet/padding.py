r"""Padding of the last dimensions, with a constant or with elements of the input.

Constant padding copies the input into a constant tensor; negative widths crop. Its adjoint is padding by the negative
widths:

.. math::
    y = \operatorname{pad}_{a, b}(x) \qquad \bar x = \operatorname{pad}_{-a, -b}(\bar y)

The other modes gather elements of the input, along one dimension after the other:

.. math::
    y_i = x_{\sigma(i - a)} \qquad \bar x_j = \sum_{i \,:\, \sigma(i - a) = j} \bar y_i

Inside the input σ is the identity; outside it reflects at the edge (``reflect``), returns the edge (``replicate``) or
continues from the other side (``circular``). The adjoint adds the gradient of the margins to the elements that they
copy. All modes are linear: nothing is saved, and forward mode pads the tangent.

A negative width of circular padding crops the input before it is continued.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from scratchnet.arguments import describe, overridable, tensor
from scratchnet.function import Function, dispatch
from scratchnet.layout import in_layout_of, is_channels_last, laid_out
from scratchnet.windows import padded

__all__ = ["ConstantPadFunction", "ExtendFunction", "ExtendInFloat32Function", "pad"]

MODES = ("constant", "reflect", "replicate", "circular")


class Side(NamedTuple):
    """The padding of one dimension: its size, and the widths before and after."""

    dim: int
    size: int
    before: int
    after: int

    @property
    def negative(self) -> Side:
        """The padding that undoes this one."""
        return Side(self.dim, self.size + self.before + self.after, -self.before, -self.after)

    @property
    def interior(self) -> tuple[int, int]:
        """The start and length of the elements that are not cropped."""
        start = min(max(0, -self.before), self.size)
        return start, max(0, self.size - max(0, -self.after) - start)


Sides = tuple[Side, ...]


class ConstantPadFunction(Function):
    """Pads with a constant. Saves nothing."""

    native_low_precision = True

    @staticmethod
    def forward(x: Tensor, *, sides: Sides, value: float) -> tuple[Tensor, tuple[()]]:
        return _pad_constant(x, sides, value), ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, sides: Sides, **_: Any
    ) -> Tensor:
        return _pad_constant(grad, tuple(side.negative for side in sides), 0)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], *, sides: Sides, **_: Any) -> Tensor:
        return _pad_constant(tangents[0], sides, 0)


def _pad_constant(x: Tensor, sides: Sides, value: float) -> Tensor:
    for side in sides:
        x = x.narrow(side.dim, *side.interior)
    widths = [(max(0, side.before), max(0, side.after)) for side in sides]
    return padded(x, widths, value) if any(map(any, widths)) else x.clone()


class ExtendFunction(Function):
    """Pads with elements of the input. Saves nothing."""

    @staticmethod
    def forward(x: Tensor, *, sides: Sides, mode: str) -> tuple[Tensor, tuple[()]]:
        for side in sides:
            before, after = _margins(side, mode, x.device)
            first, last = x.index_select(side.dim, before), x.index_select(side.dim, after)
            x = torch.cat([first, x.narrow(side.dim, *side.interior), last], side.dim)
        return x, ()

    @staticmethod
    def backward(
        grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool], *, sides: Sides, mode: str
    ) -> Tensor:
        folded = grad
        for side in reversed(sides):
            folded = _fold(folded, side, *_margins(side, mode, grad.device))
        return folded if mode == "circular" else in_layout_of(grad, folded)

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor], **options: Any) -> Tensor:
        return ExtendFunction.forward(tangents[0], **options)[0]


class ExtendInFloat32Function(ExtendFunction):
    """For the modes and dimensions that `torch.autocast` runs in float32."""

    autocast = "float32"


def _fold_in_place(grad: Tensor, side: Side, before: Tensor, after: Tensor) -> Tensor:
    start, length = side.interior
    first, center, last = grad.split([len(before), length, len(after)], side.dim)
    total = grad.new_zeros((*grad.shape[: side.dim], side.size, *grad.shape[side.dim + 1 :]))
    total.narrow(side.dim, start, length).copy_(center)
    return total.index_add_(side.dim, before, first).index_add_(side.dim, after, last)


@dispatch(_fold_in_place)
def _fold(grad: Tensor, side: Side, before: Tensor, after: Tensor) -> Tensor:
    """Adds the gradient of the margins of one dimension to the elements that they copy."""
    start, length = side.interior
    source = torch.cat([before, torch.arange(start, start + length, device=grad.device), after])
    total = grad.new_zeros((*grad.shape[: side.dim], side.size, *grad.shape[side.dim + 1 :]))
    return total.index_add(side.dim, source, grad)


def _margins(side: Side, mode: str, device: torch.device) -> tuple[Tensor, Tensor]:
    """Returns the indices of the elements that the two margins copy."""
    _, n, before, after = side
    start, length = side.interior
    # Sizes may be symbols, and the widths are numbers. Where all is cropped, a margin begins beyond the other end.
    head = torch.arange(-max(0, before), min(0, n + after) if before > 0 else 0, device=device)
    tail = n + torch.arange(max(0, -before - n) if before < 0 else 0, max(0, after), device=device)
    if mode == "reflect":
        return -head, 2 * (n - 1) - tail
    if mode == "replicate":
        return head * 0, tail * 0 + (n - 1)
    return ((head - start) % length + start, (tail - start) % length + start) if length else (head, tail)


@overridable
def pad(input: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Tensor:
    """Pads the last dimensions.

    Args:
        input: tensor of any shape for constant padding; of shape ``(B, C, …)`` or ``(C, …)`` for the other modes,
            which pad all of the 1 to 3 dimensions after the channels.
        pad: widths before and after the last dimension, then the one before it, and so on. Negative widths crop.
        mode: ``"constant"``, ``"reflect"``, ``"replicate"`` or ``"circular"``.
        value: the constant, 0 by default.

    Returns:
        A new tensor, never a view of the input.

    Raises:
        TypeError: if an argument has the wrong type.
        NotImplementedError: if ``mode`` is not supported, or not for this input.
        RuntimeError: if widths and input do not match.
    """
    op = "pad"
    x = tensor(op, input)
    sides = _sides(op, x, pad)
    if mode not in MODES:
        raise NotImplementedError(f"{op}: expected mode to be one of {MODES}, got {mode!r}")
    if mode == "constant":
        constant = 0 if value is None else value
        for dim, n, before, after in sides:
            if n + min(before, 0) + min(after, 0) < 0:
                raise RuntimeError(
                    f"{op}: expected widths that crop at most the {n} elements of dimension {dim}, got "
                    f"{(before, after)}"
                )
        y = ConstantPadFunction.apply(x, sides, constant)
        return laid_out(y, True) if is_channels_last(x) else y
    if value:
        raise RuntimeError(f"{op}: expected no value for mode={mode!r}, got {value}")
    _check_extension(op, x, sides, mode)
    narrow = mode == "circular" or (mode == "reflect" and len(sides) == 3)
    y = (ExtendFunction if narrow else ExtendInFloat32Function).apply(x, sides, mode)
    return y if mode == "circular" else in_layout_of(x, y)


def _sides(op: str, x: Tensor, widths: Any) -> Sides:
    """Returns the widths by dimension, from first to last."""
    if len(widths) % 2 or len(widths) > 2 * x.dim():
        raise RuntimeError(
            f"{op}: expected pad to have two widths for each of at most {x.dim()} dimensions, got {widths}"
        )
    sides = []
    for i in range(len(widths) // 2):
        dim = x.dim() - 1 - i
        before, after = widths[2 * i], widths[2 * i + 1]
        if x.shape[dim] + before + after < 0:
            raise RuntimeError(
                f"{op}: expected widths that crop at most the {x.shape[dim]} elements of dimension {dim}, got "
                f"{(before, after)}"
            )
        sides.append(Side(dim, x.shape[dim], before, after))
    return tuple(reversed(sides))


def _check_extension(op: str, x: Tensor, sides: Sides, mode: str) -> None:
    if x.dim() - len(sides) not in (1, 2) or not 1 <= len(sides) <= 3:
        raise NotImplementedError(
            f"{op}: expected an input of shape (B, C, …) or (C, …) with the 1 to 3 dimensions that mode={mode!r} "
            f"pads, got {describe(x)} and {2 * len(sides)} widths"
        )
    if x.dtype is torch.bool and mode != "circular":
        raise NotImplementedError(f"{op}: expected numbers for mode={mode!r}, got {describe(x)}")
    for dim, n, before, after in sides:
        most = {"reflect": n - 1, "circular": n}.get(mode)
        if most is not None and max(before, after) > most:
            raise RuntimeError(
                f"{op}: expected widths of at most {most} for mode={mode!r} and the {n} elements of dimension "
                f"{dim}, got {(before, after)}"
            )
        if mode == "circular" and max(before, after) > 0 and n + min(before, 0) + min(after, 0) <= 0:
            raise RuntimeError(
                f"{op}: expected widths that leave elements of dimension {dim} to continue in mode={mode!r}, got "
                f"{n} elements and widths {(before, after)}"
            )
        if mode != "circular" and (n == 0 or n + before + after == 0):
            raise RuntimeError(
                f"{op}: expected at least one element of dimension {dim} before and after padding with mode={mode!r}, "
                f"got {n} elements and widths {(before, after)}"
            )
    if mode != "circular" and 0 in x.shape[x.dim() - len(sides) - 1 :]:
        raise RuntimeError(f"{op}: expected an input in which only the batch may be empty, got {describe(x)}")
