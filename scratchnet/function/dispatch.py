"""Chooses between the plain form of an algorithm and a faster one."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from scratchnet.function.recording import recorded

__all__ = ["FORMS", "Forms", "dispatch"]

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Forms:
    """Two functions of the same arguments with equal results."""

    plain: Callable[..., Any]
    fast: Callable[..., Any]


FORMS: list[Forms] = []  # all that `dispatch` chooses between; a test holds one to the other


def dispatch(fast: Callable[..., Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorates the plain form of an algorithm: ``fast`` replaces it where nothing records the operations.

    The plain form is ordinary, differentiable tensor mathematics, for autograd, transforms, tracers and the compiler.
    ``fast`` takes the same arguments, and may write in place, with ``out=`` and tile by tile, but never to its
    arguments. It returns ``NotImplemented`` for arguments that the plain form serves as well::

        @dispatch(tiled.distances)
        def distances(x, y):
            return (x.unsqueeze(1) - y).square().sum(-1).sqrt()
    """

    def decorate(plain: Callable[P, R]) -> Callable[P, R]:
        forms = Forms(plain, fast)
        FORMS.append(forms)

        @functools.wraps(plain)
        def choose(*args: P.args, **kwargs: P.kwargs) -> R:
            if not recorded():
                result = forms.fast(*args, **kwargs)
                if result is not NotImplemented:
                    return result
            return plain(*args, **kwargs)

        return choose

    return decorate
