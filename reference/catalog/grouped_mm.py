"""Grouped matrix products, and matrix products in float8."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor

from reference.catalog.record import Make, Record, Sample, bad, leaf
from scratchnet.linear.grouped_mm import GroupedMMFunction, grouped_mm, scaled_mm

__all__ = ["RECORDS"]

PER_TENSOR, PER_ROW = F.ScalingType.TensorWise, F.ScalingType.RowWise


def by_groups(
    mat_a: Tensor,
    mat_b: Tensor,
    *,
    offs: Tensor | None = None,
    out_dtype: torch.dtype | None = None,
    bias: None = None,
) -> Tensor:
    """Computes the products one by one: PyTorch's has no float64 and leaves rows beyond the last group unset."""
    if bias is not None or {mat_a.dtype, mat_b.dtype} - {
        torch.float64,
        torch.float32,
        torch.bfloat16,
        torch.float16,
    }:
        return F.grouped_mm(mat_a, mat_b, offs=offs, bias=bias)
    spans = [] if offs is None else [slice(s, e) for s, e in pairwise([0, *offs.tolist()])]
    if offs is None or mat_a.shape[-1] != mat_b.shape[-2]:
        y = torch.bmm(mat_a, mat_b)
    elif mat_a.dim() == mat_b.dim():
        y = torch.stack([mat_a[:, span] @ mat_b[span] for span in spans])
    elif mat_b.dim() == 3:
        parts = [mat_a[span] @ b for span, b in zip(spans, mat_b, strict=True)]
        y = torch.cat([*parts, mat_a.new_zeros(mat_a.shape[0] - spans[-1].stop, mat_b.shape[-1])])
    else:
        parts = [a @ mat_b[:, span] for span, a in zip(spans, mat_a, strict=True)]
        y = torch.cat([*parts, mat_a.new_zeros(mat_a.shape[1], mat_b.shape[1] - spans[-1].stop)], 1)
    return y if out_dtype is None else y.to(out_dtype)


def grouped_samples(make: Make) -> Iterator[Sample]:
    """Yields groups along rows, columns and the inner dimension, an empty group, and rows beyond the last."""
    ends = {"offs": torch.tensor([2, 2, 5], dtype=torch.int32)}
    yield Sample((make.normal(5, 3), make.normal(3, 3, 2)), ends)
    yield Sample((make.normal(7, 3), make.normal(3, 3, 2)), ends)
    yield Sample((make.normal(2, 5), make.normal(5, 3)), ends)
    yield Sample((make.normal(3, 2, 4), make.normal(4, 6)), ends)
    yield Sample((make.normal(3, 2, 4), make.normal(3, 4, 2)))
    yield Sample((leaf(make.normal(3, 5).t()), leaf(make.normal(3, 2, 3).mT)), ends)
    # Finite differences need more digits than float32 has.
    yield Sample((make.normal(5, 3), make.normal(3, 3, 2)), {**ends, "out_dtype": torch.float32}, smooth=False)


def scaled_samples(make: Make) -> Iterator[Sample]:
    """Yields one scale for each matrix and one for each row or column."""
    a = make.normal(16, 32, grad=False).to(torch.float8_e4m3fn)
    b = make.normal(16, 32, grad=False).to(torch.float8_e4m3fn).t()
    scale = torch.tensor(0.5)
    rows, columns = torch.linspace(0.5, 2, 16).view(16, 1), torch.linspace(2, 1, 16).view(1, 16)
    dtype = {"output_dtype": torch.float32 if make.dtype is torch.float64 else make.dtype}
    yield Sample((a, b, scale, PER_TENSOR, 4 * scale, PER_TENSOR), dtype)
    yield Sample((a, b, rows, PER_ROW, columns, PER_ROW), dtype)
    yield Sample((a, b, [rows], [PER_ROW], [columns], [PER_ROW]), {"swizzle_a": F.SwizzleType.NO_SWIZZLE, **dtype})


A, B, ENDS = torch.zeros(4, 16), torch.zeros(2, 16, 8), torch.tensor([2, 4], dtype=torch.int32)
EIGHT, WIDE = (torch.zeros(16, n).to(torch.float8_e4m3fn) for n in (16, 32))
ONE, ONE_ROW = torch.tensor(1.0), torch.ones(1, 1)
ONES = (ONE, PER_TENSOR, ONE, PER_TENSOR)

RECORDS = (
    Record(
        "grouped_mm",
        grouped_mm,
        by_groups,
        grouped_samples,
        [GroupedMMFunction],
        errors=[
            bad(RuntimeError, "expected no bias", A, B, offs=ENDS, bias=torch.zeros(8)),
            bad(RuntimeError, "as many columns", A[:, :8], B, offs=ENDS),
        ],
    ),
    Record(
        "scaled_mm",
        scaled_mm,
        F.scaled_mm,
        scaled_samples,
        [],
        builtin_lacks=frozenset({"gradient", "double backward", "forward mode", "vmap", "compiled"}),
        errors=[
            bad(ValueError, "expected float8", EIGHT.float(), EIGHT.t().float(), *ONES),
            bad(ValueError, "expected one recipe", EIGHT, EIGHT.t(), ONE, PER_ROW, ONE, PER_TENSOR),
            bad(ValueError, "expected one float32 scale", EIGHT, EIGHT.t(), ONE_ROW, PER_ROW, ONE_ROW, PER_ROW),
            bad(
                ValueError,
                "expected one float32 scale",
                EIGHT,
                EIGHT.t(),
                ONE.double(),
                PER_TENSOR,
                ONE,
                PER_TENSOR,
            ),
            bad(ValueError, "expected bias of shape (16,)", EIGHT, EIGHT.t(), *ONES, bias=torch.zeros(3)),
            bad(ValueError, "two dimensions of one size", WIDE, WIDE.t(), *ONES, contraction_dim=[0, 0]),
        ],
    ),
)
