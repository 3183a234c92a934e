"""Weights, biases and running statistics: which shapes and dtypes fit an input."""

from __future__ import annotations

import torch
from torch import Tensor

from scratchnet.arguments import describe, floating
from scratchnet.function import LOW_PRECISION

__all__ = ["check_dtypes", "check_parameters"]


def check_parameters(op: str, input: Tensor, **tensors: Tensor | None) -> None:
    """Expects of parameters and running statistics one number for each channel, and a dtype that fits the input's.

    Raises:
        TypeError: if one of them is no tensor.
        NotImplementedError: if one is not floating point.
        RuntimeError: if a shape or dtype does not fit, or a running statistic requires grad.
    """
    for name, t in tensors.items():
        if t is None:
            continue
        if t.requires_grad and name.startswith("running"):
            raise RuntimeError(f"{op}: expected {name} without gradient; pass {name}.detach()")
        if floating(op, t, name).shape != input.shape[1:2]:
            raise RuntimeError(
                f"{op}: expected {name} of shape ({input.shape[1]},), one number for each channel of the "
                f"input (dimension 1), got {describe(t)} for {describe(input)}"
            )
    check_dtypes(op, input, **tensors)


def check_dtypes(op: str, input: Tensor, **tensors: Tensor | None) -> None:
    """Expects the input's dtype, or float32 beside a short one.

    Raises:
        RuntimeError: if a dtype does not fit.
    """
    dtypes = {t.dtype for t in tensors.values() if t is not None}
    if dtypes <= {input.dtype} or (dtypes == {torch.float32} and input.dtype in LOW_PRECISION):
        return
    given = {name: t for name, t in tensors.items() if t is not None}
    listed = ", ".join(f"{name} {describe(t)}" for name, t in given.items())
    raise RuntimeError(
        f"{op}: expected {', '.join(given)} in the dtype of the input (or float32 for a float16 or bfloat16 input), "
        f"got input {describe(input)}, {listed}; convert the input or the layer with .to()"
    )
