"""Interpolation traced at one size holds at others."""

from __future__ import annotations

import pytest
import torch
from torch.export import Dim

from scratchnet.functional import interpolate

# torch.jit.trace is deprecated, and warns of Python values, which the sizes of samples are.
pytestmark = pytest.mark.filterwarnings("ignore")

CASES = [
    *[{"mode": m, **o} for m in ("nearest", "nearest-exact", "area", "bilinear", "bicubic") for o in (
        {"size": (7, 4)}, {"scale_factor": 1.7}, {"scale_factor": 0.6, "recompute_scale_factor": True})],
    *[{"mode": m, "align_corners": True, "size": (7, 4)} for m in ("bilinear", "bicubic")],
]  # fmt: skip


@pytest.mark.parametrize("options", CASES, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_traced_interpolation_takes_other_sizes(options, dtype):
    def call(x):
        return interpolate(x, **options)

    traced = torch.jit.trace(call, torch.rand(2, 3, 5, 6, dtype=dtype), check_trace=False)
    others = torch.rand(3, 3, 9, 8, dtype=dtype)
    torch.testing.assert_close(traced(others), call(others))


@pytest.mark.parametrize("options", CASES[::3], ids=str)
def test_exported_interpolation_takes_other_sizes(options):
    class Call(torch.nn.Module):
        def forward(self, x):
            return interpolate(x, **options)

    sizes = ({0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC},)
    program = torch.export.export(Call(), (torch.rand(2, 3, 5, 6),), dynamic_shapes=sizes)
    others = torch.rand(3, 3, 9, 8)
    torch.testing.assert_close(program.module()(others), interpolate(others, **options))
