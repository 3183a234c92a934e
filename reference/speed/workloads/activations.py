"""Activations, elementwise and along a dimension."""

from __future__ import annotations

from typing import Any

from reference.catalog import Make
from reference.speed.workloads.sized import ELEMENTS, TINY, sized

__all__ = ["ALONG_A_DIMENSION", "BY_ELEMENT", "WORKLOADS"]

BY_ELEMENT: dict[str, dict[str, Any]] = {
    "sigmoid": {},
    "tanh": {},
    "logsigmoid": {},
    "softplus": {},
    "softsign": {},
    "tanhshrink": {},
    "gelu": {},
    "silu": {},
    "mish": {},
    "relu": {},
    "leaky_relu": {},
    "rrelu": {"training": True},
    "elu": {},
    "celu": {},
    "selu": {},
    "threshold": {"threshold": 0.1, "value": 20.0},
    "hardtanh": {},
    "relu6": {},
    "hardsigmoid": {},
    "hardswish": {},
    "hardshrink": {},
    "softshrink": {},
}
IN_PLACE: dict[str, dict[str, Any]] = {
    "relu_": {},
    "leaky_relu_": {},
    "rrelu_": {"training": True},
    "elu_": {},
    "celu_": {},
    "selu_": {},
    "threshold_": {"threshold": 0.1, "value": 20.0},
    "hardtanh_": {},
}
ALONG_A_DIMENSION = (TINY, (128, 10), (8192, 1000))


def with_slope(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.uniform(1)


def gated(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape)


def in_groups(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 2


WORKLOADS = (
    *(w for op, options in BY_ELEMENT.items() for w in sized(op, ELEMENTS, **options)),
    *sized("gelu", ELEMENTS[1:], approximate="tanh"),
    *(w for op, options in IN_PLACE.items() for w in sized(op, ELEMENTS, **options)),
    *sized("prelu", ELEMENTS, with_slope),
    *sized("learned_elu", ELEMENTS, with_slope),
    *sized("glu", ELEMENTS),
    *sized("swiglu", ELEMENTS, gated),
    *sized("maxout", ELEMENTS, in_groups),
    *(
        w
        for op in ("softmax", "log_softmax", "softmin", "gumbel_softmax", "logsumexp")
        for w in sized(op, ALONG_A_DIMENSION, dim=-1)
    ),
)
