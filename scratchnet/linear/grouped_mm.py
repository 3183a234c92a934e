r"""Products of matrices group by group, as a mixture of experts needs them, and of matrices in float8.

.. math:: Y_g = A_g B_g \qquad \bar A_g = \bar Y_g B_g^\top \qquad \bar B_g = A_g^\top \bar Y_g

An operand with three dimensions holds its groups along the first. One with two is cut into groups by offsets, which say
where each ends: A along its rows and B along its columns if the other has three dimensions, and both along the
dimension that is summed over if neither has. So each gradient is again a grouped product.

Shapes: G groups; M × K and K × N matrices.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import ScalingType, SwizzleType

from scratchnet.arguments import describe, floating, overridable, tensor, truth
from scratchnet.function import Function, dispatch, readable

__all__ = ["GroupedMMFunction", "grouped_mm", "scaled_mm"]


class GroupedMMFunction(Function):
    """Multiplies each group; rows and columns beyond the last one are 0. Saves operands and offsets."""

    native_low_precision = True

    @staticmethod
    def forward(a: Tensor, b: Tensor, offsets: Tensor | None) -> tuple[Tensor, tuple[Tensor | None, ...]]:
        return _product(a, b, offsets), (a, b, offsets)

    @staticmethod
    def backward(grad: Tensor, saved: Sequence[Tensor], needs: Sequence[bool]) -> tuple[Tensor | None, ...]:
        a, b, offsets = saved
        grad_a = _product(grad, b.mT, offsets) if needs[0] else None
        return grad_a, _product(a.mT, grad, offsets) if needs[1] else None, None

    @staticmethod
    def jvp(tangents: Sequence[Tensor], saved: Sequence[Tensor]) -> Tensor:
        a, b, offsets = saved
        return _product(tangents[0], b, offsets) + _product(a, tangents[1], offsets)


def _product_by_group(a: Tensor, b: Tensor, offsets: Tensor | None) -> Tensor:
    if offsets is None:
        return NotImplemented
    ends = offsets.tolist()
    spans = [(s, max(e - s, 0)) for s, e in zip([0, *ends], ends, strict=False)]
    cut_a, cut_b = -2 if b.dim() == 3 else -1, -1 if a.dim() == 3 else -2
    of_a = a if a.dim() == 3 else [a.narrow(cut_a, *span) for span in spans]
    of_b = b if b.dim() == 3 else [b.narrow(cut_b, *span) for span in spans]
    products = [x @ y for x, y in zip(of_a, of_b, strict=True)]
    if a.dim() == b.dim():
        return torch.stack(products)
    y = a.new_zeros(a.shape[-2], b.shape[-1])
    for product, span in zip(products, spans, strict=True):
        y.narrow(cut_a if a.dim() == 2 else cut_b, *span).copy_(product)
    return y


@dispatch(_product_by_group)
def _product(a: Tensor, b: Tensor, offsets: Tensor | None) -> Tensor:
    """Multiplies each group among zeros: a graph of the operations has no sizes that are values."""
    if offsets is None:
        return torch.bmm(a, b)
    cut_a, cut_b = -2 if b.dim() == 3 else -1, -1 if a.dim() == 3 else -2
    stops = offsets.unsqueeze(-1)
    starts = torch.cat([torch.zeros_like(stops[:1]), stops[:-1]])
    a, b = (_apart(x, starts, stops, cut) if x.dim() == 2 else x for x, cut in ((a, cut_a), (b, cut_b)))
    y = torch.bmm(a, b)
    return y if cut_a == -1 and cut_b == -2 else y.sum(0)


def _apart(x: Tensor, starts: Tensor, ends: Tensor, dim: int) -> Tensor:
    """Copies the matrix for each group, with zeros for the other groups: (G, *x.shape)."""
    place = torch.arange(x.shape[dim], device=x.device)
    beyond = (place < starts) | (place >= ends)
    return x.unsqueeze(0).masked_fill(beyond.unsqueeze(2 if dim == -2 else 1), 0)


@overridable
def grouped_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    bias: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
) -> Tensor:
    """Multiplies two matrices group by group.

    Args:
        mat_a: floating-point tensor of shape ``(G, M, K)``, or ``(M, K)`` with offsets.
        mat_b: tensor of shape ``(G, K, N)``, or ``(K, N)`` with offsets.
        offs: where each group ends, of shape ``(G,)``, increasing; needed unless both operands have three dimensions.
        bias: must be None, as in PyTorch.
        out_dtype: the output's dtype, if it is to be another one.

    Returns:
        A tensor of shape ``(G, M, N)`` if both operands have as many dimensions, else ``(M, N)``.

    Raises:
        TypeError: if an argument is no tensor.
        NotImplementedError: if an operand is not floating point.
        RuntimeError: if shapes or dtypes do not fit, or there is a bias.
    """
    op = "grouped_mm"
    floating(op, mat_a, "mat_a"), floating(op, mat_b, "mat_b")
    given = f"{describe(mat_a)} and {describe(mat_b)}"
    if bias is not None:
        raise RuntimeError(f"{op}: expected no bias, got {describe(bias)}; add it to the output")
    if mat_a.dim() not in (2, 3) or mat_b.dim() not in (2, 3) or mat_a.dtype is not mat_b.dtype:
        raise RuntimeError(f"{op}: expected operands of two or three dimensions and one dtype, got {given}")
    if mat_a.shape[-1] != mat_b.shape[-2]:
        raise RuntimeError(f"{op}: expected as many columns of mat_a as rows of mat_b, got {given}")
    if (offs is None) != (mat_a.dim() == mat_b.dim() == 3):
        raise RuntimeError(
            f"{op}: expected offs where an operand has two dimensions, and there alone, got {given}"
        )
    groups = [x.shape[0] for x in (mat_a, mat_b) if x.dim() == 3]
    if offs is not None:
        if tensor(op, offs, "offs").dim() != 1 or offs.is_floating_point():
            raise RuntimeError(f"{op}: expected offs to be integers of shape (G,), got {describe(offs)}")
        groups.append(offs.shape[0])
        rows = mat_a.shape[-1 if mat_b.dim() == 2 else 0] if mat_a.dim() == 2 else mat_b.shape[-1]
        if readable(offs) and (ends := [0, *offs.tolist(), rows]) != sorted(ends):
            raise RuntimeError(f"{op}: expected increasing offs up to {rows} for {given}, got {ends[1:-1]}")
    if any(count != groups[0] for count in groups):
        raise RuntimeError(f"{op}: expected one number of groups, got {groups} for {given}")
    y = GroupedMMFunction.apply(mat_a, mat_b, offs)
    return y if out_dtype is None else y.to(out_dtype)


def scaled_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    scale_a: Tensor | list[Tensor],
    scale_recipe_a: ScalingType | list[ScalingType],
    scale_b: Tensor | list[Tensor],
    scale_recipe_b: ScalingType | list[ScalingType],
    swizzle_a: SwizzleType | list[SwizzleType] | None = None,
    swizzle_b: SwizzleType | list[SwizzleType] | None = None,
    bias: Tensor | None = None,
    output_dtype: torch.dtype | None = torch.bfloat16,
    contraction_dim: Sequence[int] = (),
    use_fast_accum: bool = False,
) -> Tensor:
    """Multiplies matrices in float8, each with a scale for all of it or for each row; it has no derivative.

    Args:
        mat_a: float8 tensor of shape ``(M, K)``.
        mat_b: float8 tensor of shape ``(K, N)``.
        scale_a: factor of ``mat_a``: one float32 number, or a tensor of shape ``(M, 1)``.
        scale_recipe_a: ``ScalingType.TensorWise`` or ``ScalingType.RowWise``, the recipes that PyTorch has on a CPU.
        scale_b: the same for ``mat_b``: one number, or a tensor of shape ``(1, N)``.
        scale_recipe_b: the same for ``scale_b``.
        swizzle_a: must be None or ``SwizzleType.NO_SWIZZLE``, the only one of these recipes.
        swizzle_b: the same.
        bias: tensor of shape ``(N,)``, added to each row.
        output_dtype: the output's dtype; with None that of ``mat_a``.
        contraction_dim: two dimensions of one size, if any; the inner ones are summed over, whatever it names.
        use_fast_accum: has no effect; sums are in float32.

    Returns:
        A tensor of shape ``(M, N)``.

    Raises:
        TypeError: if an operand is no tensor.
        ValueError: if dtypes, shapes, scales or recipes do not fit.
    """
    truth("scaled_mm", use_fast_accum, "use_fast_accum")
    # As in PyTorch, `__torch_function__` is asked for the op with integers: fx's nodes hold no pybind enumerations.
    recipes, swizzles = _numbers(scale_recipe_a, scale_recipe_b), _numbers(swizzle_a, swizzle_b)
    return _scaled_mm(mat_a, mat_b, scale_a, scale_b, recipes, swizzles, bias, output_dtype, contraction_dim)


def _numbers(*choices: Any) -> list[list[int]]:
    """The numbers of the enumerations' members."""
    lists = [choice if isinstance(choice, list | tuple) else [choice] for choice in choices]
    for member in itertools.chain(*lists):
        if not isinstance(member, ScalingType | SwizzleType | None):
            raise AttributeError(
                f"scaled_mm: expected recipes to be members of ScalingType and swizzles of SwizzleType, "
                f"got {describe(member)}"
            )
    return [[member.value for member in members if member is not None] for members in lists]


@overridable
def _scaled_mm(
    mat_a: Tensor,
    mat_b: Tensor,
    scale_a: Tensor | list[Tensor],
    scale_b: Tensor | list[Tensor],
    recipes: list[list[int]],
    swizzles: list[list[int]],
    bias: Tensor | None,
    output_dtype: torch.dtype | None,
    contraction_dim: Sequence[int],
) -> Tensor:
    op = "scaled_mm"
    a, b = tensor(op, mat_a, "mat_a"), tensor(op, mat_b, "mat_b")
    short = (torch.float8_e4m3fn, torch.float8_e5m2)
    if a.dtype not in short or b.dtype not in short or a.dim() != 2 or b.dim() != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"{op}: expected float8 (M, K) and (K, N), got {describe(a)} and {describe(b)}")
    if bias is not None and bias.shape != b.shape[1:]:
        raise ValueError(f"{op}: expected bias of shape {tuple(b.shape[1:])}, got {describe(bias)}")
    if contraction_dim and (
        len(contraction_dim) != 2 or a.shape[contraction_dim[0]] != b.shape[contraction_dim[1]]
    ):
        raise ValueError(
            f"{op}: expected contraction_dim to name two dimensions of one size, got {contraction_dim}"
        )
    if recipes[0] != recipes[1]:
        raise ValueError(f"{op}: expected one recipe for both scales, got {recipes}")
    if any(any(swizzle) for swizzle in swizzles):
        raise ValueError(f"{op}: expected no swizzle, got {swizzles}")
    scales = (_scale(op, a, scale_a, recipes[0], 0), _scale(op, b, scale_b, recipes[1], 1))
    y = a.float() @ b.float()
    if a.shape[1]:  # a sum of no terms is 0, also with infinite scales
        y = y * scales[0] * scales[1]
    y = y if bias is None else y + bias.float()
    return y.to(a.dtype if output_dtype is None else output_dtype)


def _scale(op: str, x: Tensor, scale: Any, recipe: list[int], kept: int) -> Tensor:
    only = scale[0] if isinstance(scale, list | tuple) and len(scale) == 1 else scale
    shape = tuple(n if d == kept else 1 for d, n in enumerate(x.shape))
    if isinstance(only, Tensor) and only.dtype is torch.float32:
        if recipe == [ScalingType.TensorWise.value] and only.numel() == 1:
            return only.reshape(())
        if recipe == [ScalingType.RowWise.value] and only.shape == shape:
            return only
    raise ValueError(
        f"{op}: expected one float32 scale with ScalingType.TensorWise, or {shape} with ScalingType.RowWise, got "
        f"{describe(only)} with {[ScalingType(number).name for number in recipe]}"
    )
