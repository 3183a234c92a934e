"""Derivatives by differences: what is left to hold a function against where no built-in equals it.

Central differences with steps h, h/4, h/16 … are extrapolated to h = 0 (Richardson), and of all extrapolations each
element takes the one that changed least (Ridders), so that a kink a little way off spoils only the long steps.
Where the function takes complex numbers and is analytic, the complex step gives the slope to the last digit:
f(x + ih) = f(x) + ih·f'(x) + O(h²), whose imaginary part involves no subtraction.

A function that takes float32 alone is given float32 inputs; its values are subtracted in float64.

Source: Ridders, Accurate computation of F'(x) and F'(x)F''(x), Adv. Eng. Software 4 (1982); Squire and Trapp,
Using complex variables to estimate derivatives of real functions, SIAM Review 40 (1998).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

__all__ = ["NotSmooth", "complex_step", "jacobian", "slope_along"]

Function = Callable[[Sequence[Tensor]], Tensor]

LONGEST = 2.0**-5
STEPS = 5
# The step to either side is about the root of the values' precision; slopes that differ by more than KINK bend.
ONE_SIDED = {torch.float64: 2.0**-23, torch.float32: 2.0**-10}
KINK = {torch.float64: 1e-3, torch.float32: 5e-2}
COMPLEX = 1e-30
ANALYTIC = 1e-6


class NotSmooth(ValueError):
    """The function has no derivative at the point: two slopes, to the left and to the right, or no finite value."""


def slope_along(
    f: Function, at: Sequence[Tensor], direction: Sequence[Tensor], here: Tensor | None = None
) -> Tensor:
    """The derivative of a function's flat output along a direction in its inputs; ``here`` is the output itself.

    Raises:
        NotSmooth: if the slopes to the left and to the right differ, or the output is not finite.
    """
    dtype = at[0].dtype

    def moved(step: float) -> Tensor:
        return f([(x.double() + step * d).to(dtype) for x, d in zip(at, direction, strict=True)]).double()

    here = f(at).double() if here is None else here
    if not bool(here.isfinite().all()):
        raise NotSmooth("its value there is not finite")
    aside = ONE_SIDED[dtype]
    left, right = (here - moved(-aside)) / aside, (moved(aside) - here) / aside
    gap = (left - right).abs() - KINK[dtype] * (1 + torch.minimum(left.abs(), right.abs()))
    if bool((gap > 0).any()):
        worst = int(gap.argmax())
        raise NotSmooth(f"it bends there, from a slope of {left[worst]:.3g} to one of {right[worst]:.3g}")
    best, error = (left + right) / 2, torch.full_like(left, float("inf"))
    above: list[Tensor] = []
    for i in range(STEPS):
        step = LONGEST / 4**i
        row = [(moved(step) - moved(-step)) / (2 * step)]
        for k, coarse in enumerate(above, 1):
            row.append(row[-1] + (row[-1] - coarse) / (16**k - 1))
            change = torch.maximum((row[k] - row[k - 1]).abs(), (row[k] - coarse).abs())
            better = change < error
            best, error = torch.where(better, row[k], best), torch.where(better, change, error)
        above = row
    return best.to(dtype)


def jacobian(f: Function, at: Sequence[Tensor]) -> list[Tensor]:
    """The derivatives of a function's flat output: for each input a matrix of (output elements, input elements).

    Raises:
        NotSmooth: naming the element at which the function bends.
    """
    found = []
    here = f(at).double()
    for i, x in enumerate(at):
        columns = []
        for place in range(x.numel()):
            direction = [
                torch.zeros_like(each, dtype=torch.float64, memory_format=torch.contiguous_format) for each in at
            ]
            direction[i].view(-1)[place] = 1
            try:
                columns.append(slope_along(f, at, direction, here))
            except NotSmooth as bend:
                index = [int(k) for k in torch.unravel_index(torch.tensor(place), x.shape)]
                raise NotSmooth(f"no derivative at input {i}{index}: {bend}; move it away from there") from None
        found.append(torch.stack(columns, 1) if columns else here.new_zeros(here.numel(), 0, dtype=x.dtype))
    return found


def complex_step(f: Function, at: Sequence[Tensor], differences: Sequence[Tensor]) -> list[Tensor] | None:
    """The same by the complex step; None where the function takes no complex numbers or is not analytic."""
    found = []
    for i, (x, rough) in enumerate(zip(at, differences, strict=True)):
        columns = []
        for place in range(x.numel()):
            moved = [each.contiguous().to(torch.complex128) for each in at]
            moved[i].view(-1)[place] += 1j * COMPLEX
            try:
                result = f(moved)
            except Exception:  # whatever it raises says that complex numbers are beyond it
                return None
            if not result.is_complex():
                return None
            columns.append(result.imag / COMPLEX)
        matrix = torch.stack(columns, 1) if columns else rough
        if not torch.allclose(matrix, rough, rtol=ANALYTIC, atol=ANALYTIC):
            return None
        found.append(matrix)
    return found
