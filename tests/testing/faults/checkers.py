"""The checkers that are compared: each says of a function whether it is wrong, or None where it does not apply."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.autograd import forward_ad

from scratchnet.testing import check, compare
from scratchnet.testing.subject import continuous, mapped

__all__ = ["CHECKERS", "Checker"]

# A function, what it should equal, its inputs and further keywords of `compare`; whether it is said to be wrong.
Checker = Callable[..., bool | None]
EVERYTHING = {
    "check_undefined_grad": True,
    "check_batched_grad": True,
    "check_forward_ad": True,
    "check_backward_ad": True,
    "check_batched_forward_grad": True,
    "fast_mode": False,
}
STEP, TOLERANCE = 1e-6, 1e-5


def raises(attempt: Callable[[], Any]) -> bool:
    """Whether a checker that raises what it finds finds something."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            attempt()
        except Exception:  # it raises what it finds
            return True
    return False


def leaves(inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    """The inputs, differentiable where they are numbers and nothing among them is so already."""
    asked = any(torch.is_tensor(x) and x.requires_grad for x in inputs)
    return mapped(
        lambda x: x.detach().clone().requires_grad_(x.requires_grad or not asked) if continuous(x) else x, inputs
    )


def gradcheck(function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], **_: Any) -> bool:
    """`torch.autograd.gradcheck` with its defaults."""
    return raises(lambda: torch.autograd.gradcheck(function, leaves(inputs)))


def gradcheck_of_everything(function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], **_: Any) -> bool:
    """`torch.autograd.gradcheck` with every option, and `torch.autograd.gradgradcheck`."""

    def attempt() -> None:
        torch.autograd.gradcheck(function, leaves(inputs), **EVERYTHING)
        torch.autograd.gradgradcheck(function, leaves(inputs))

    return raises(attempt)


def opcheck(function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], **_: Any) -> bool | None:
    """`torch.library.opcheck`, of custom operators alone."""
    code = getattr(function, "__code__", None)
    named = [function.__globals__.get(name) for name in code.co_names] if code else [function]
    operator = next((x for x in named if isinstance(x, torch._library.custom_ops.CustomOpDef)), None)
    return None if operator is None else raises(lambda: torch.library.opcheck(operator, leaves(inputs)))


def check_grads(
    function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], forward: bool = True, **_: Any
) -> bool:
    """As ``jax.test_util.check_grads(f, args, order=2, modes=("fwd", "rev"))``, after its documentation.

    Along one random tangent a difference of the values must equal the tangent of the outputs (fwd), and its product
    with a random cotangent that of the gradient with the tangent (rev); then the same of the gradient itself.
    """
    at, generator = leaves(inputs), torch.Generator().manual_seed(0)
    places = [i for i, x in enumerate(at) if torch.is_tensor(x) and x.requires_grad]

    def run(*moved: Tensor) -> list[Tensor]:
        given = list(at)
        for i, x in zip(places, moved, strict=True):
            given[i] = x
        found = function(*given)
        return [y for y in (found if isinstance(found, tuple | list) else [found]) if continuous(y)]

    def attempt(f: Callable[..., list[Tensor]], at: list[Tensor], order: int) -> None:
        ways = [torch.randn(x.shape, dtype=x.dtype, generator=generator) for x in at]
        ends = [f(*(x.detach() + s * w for x, w in zip(at, ways, strict=True))) for s in (STEP / 2, -STEP / 2)]
        slopes = [(a - b).detach() / STEP for a, b in zip(*ends, strict=True)]
        if forward:
            with forward_ad.dual_level():
                pairs = zip(at, ways, strict=True)
                duals = f(*(forward_ad.make_dual(x.detach().clone().requires_grad_(), w) for x, w in pairs))
                found = [forward_ad.unpack_dual(y).tangent for y in duals]
                tangents = [torch.zeros_like(y) if t is None else t for t, y in zip(found, slopes, strict=True)]
            torch.testing.assert_close(tangents, slopes, rtol=TOLERANCE, atol=TOLERANCE)

        def pulled(*moved: Tensor) -> list[Tensor]:
            x = [m if m.requires_grad else m.detach().requires_grad_() for m in moved]
            curved = [(y, c) for y, c in zip(f(*x), cotangents, strict=True) if y.requires_grad]
            if not curved:
                return [torch.zeros_like(t) for t in x]
            ys, cs = zip(*curved, strict=True)
            found = torch.autograd.grad(ys, x, cs, create_graph=True, allow_unused=True)
            return [torch.zeros_like(t) if g is None else g for g, t in zip(found, x, strict=True)]

        cotangents = [torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in slopes]
        products = [
            sum((a * b.conj()).real.sum() for a, b in zip(*pair, strict=True))
            for pair in ((pulled(*at), ways), (slopes, cotangents))
        ]
        torch.testing.assert_close(*products, rtol=TOLERANCE, atol=TOLERANCE)
        if order > 1:
            attempt(pulled, at, order - 1)

    return raises(lambda: attempt(run, [at[i] for i in places], 2))


def compare_says(function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], **options: Any) -> bool:
    """`compare` with its defaults."""
    return not compare(function, builtin, *inputs, gradient_of=options.get("gradient_of")).ok


def compare_says_thoroughly(
    function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], **options: Any
) -> bool:
    """`compare` with everything."""
    return not compare(function, builtin, *inputs, thorough=True, **options).ok


def compare_says_of_conventions(
    function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], **options: Any
) -> bool:
    """The same, and asked for the built-in's conventions."""
    return not compare(function, builtin, *inputs, thorough=True, special_values=True, empty=True, **options).ok


def check_says(function: Callable[..., Any], builtin: Any, inputs: tuple[Any, ...], **options: Any) -> bool | None:
    """`check`, which needs no built-in, but a gradient that is the derivative of the values."""
    return None if options.get("gradient_of") else not check(function, *inputs, thorough=False).ok


CHECKERS: dict[str, Checker] = {
    "`gradcheck`": gradcheck,
    "`gradcheck` with every option, and `gradgradcheck`": gradcheck_of_everything,
    "`torch.library.opcheck`, of custom operators": opcheck,
    "JAX's `check_grads`, order 2": check_grads,
    "the same, reverse mode alone": partial(check_grads, forward=False),
    "`compare`": compare_says,
    "`check(thorough=False)`, without the built-in": check_says,
    "`compare(thorough=True)`": compare_says_thoroughly,
    "the same with `special_values=True, empty=True`": compare_says_of_conventions,
}
