"""Smooth activations, and activations along a dimension."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.elementwise import FINITE, INTEGERS, NOT_A_TENSOR, elementwise, layouts
from reference.catalog.record import Beyond, Make, Record, Sample, bad
from scratchnet.activations.gated import (
    GLUFunction,
    MishFunction,
    SiLUFunction,
    SwiGLUFunction,
    glu,
    mish,
    silu,
    swiglu,
)
from scratchnet.activations.gelu import GELUFunction, TanhGELUFunction, gelu
from scratchnet.activations.gumbel import gumbel_softmax
from scratchnet.activations.logsumexp import LogSumExpFunction, logsumexp
from scratchnet.activations.maxout import MaxoutFunction, maxout
from scratchnet.activations.shrink import TanhshrinkFunction, tanhshrink
from scratchnet.activations.sigmoid import SigmoidFunction, sigmoid
from scratchnet.activations.softmax import LogSoftmaxFunction, SoftmaxFunction, log_softmax, softmax
from scratchnet.activations.softmin import softmin
from scratchnet.activations.softplus import LogSigmoidFunction, SoftplusFunction, logsigmoid, softplus
from scratchnet.activations.softsign import SoftsignFunction, softsign
from scratchnet.activations.tanh import TanhFunction, tanh
from scratchnet.nn import (
    GELU,
    GLU,
    LogSigmoid,
    LogSoftmax,
    Mish,
    Sigmoid,
    SiLU,
    Softmax,
    Softmax2d,
    Softmin,
    Softplus,
    Softsign,
    Tanh,
    Tanhshrink,
)

__all__ = ["RECORDS"]


def softmax_samples(make: Make) -> Iterator[Sample]:
    for x in layouts(make):
        yield Sample((x,), {"dim": 1})
        yield Sample((x,), {"dim": -2})
    yield Sample((make.normal(2, 3, 2),), {"dim": 1})
    yield Sample((make.normal(),), {"dim": 0})
    yield Sample((make.values(5.0, 5.0, 5.0),), {"dim": 0})
    yield Sample((make.values(-1000.0, 0.0, 1000.0),), {"dim": 0}, smooth=False)
    yield Sample((make.values(-float("inf"), 0.0, 1.0),), {"dim": 0}, smooth=False)
    yield Sample((make.values(-float("inf"), -float("inf")),), {"dim": 0}, smooth=False)
    yield Sample((make.values(float("nan"), 0.0),), {"dim": 0}, smooth=False)


def maxout_samples(make: Make) -> Iterator[Sample]:
    for x in layouts(make, (3, 4)):
        yield Sample((x, 2))
    yield Sample((make.normal(6, 2), 3, 0))
    yield Sample((make.normal(2, 4), 1))
    yield Sample((make.values(1.0, 1.0, 0.0, 0.0, -1.0, 2.0), 3), smooth=False)
    yield Sample((make.values(float("nan"), 1.0, -float("inf"), -float("inf")), 2), smooth=False)


def glu_samples(make: Make) -> Iterator[Sample]:
    for x in layouts(make, (2, 4)):
        yield Sample((x,))
        yield Sample((x,), {"dim": 0})
    yield Sample((make.normal(2, 4, 2), 1))
    yield Sample((make.normal(2, 4, 2, 2).detach().to(memory_format=torch.channels_last).requires_grad_(), 1))
    yield Sample((make.values(1000.0, -1000.0, 2.0, 1.0, 1.0, -1000.0, 1000.0, float("nan")),), smooth=False)


def logsumexp_samples(make: Make) -> Iterator[Sample]:
    for x in layouts(make, (3, 4)):
        yield Sample((x, 1))
    for dim in (-1, (0, 2), [1]):
        for keepdim in (False, True):
            yield Sample((make.normal(2, 3, 4), dim, keepdim))
    yield Sample((make.normal(), 0))
    yield Sample((make.normal(3, 0), 1))
    yield Sample((make.values(1000.0, 999.0, -1000.0), 0), smooth=False)
    yield Sample((make.values(float("inf"), 1000.0, -1000.0), 0), smooth=False)
    yield Sample((make.values(float("inf"), 1.0), 0), smooth=False)
    yield Sample((make.values(-float("inf"), 1.0, float("-inf")), 0), smooth=False)


def gumbel_samples(make: Make) -> Iterator[Sample]:
    for x in layouts(make):
        yield Sample((x,))
    yield Sample((make.normal(3, 2),), {"tau": 0.5, "dim": 0})
    yield Sample((make.normal(3, 2),), {"tau": 2.0, "hard": True}, smooth=False)


def maxout_composed(input: Tensor, pieces: int, dim: int = -1) -> Tensor:
    return input.unflatten(dim, (-1, pieces)).max(dim % input.dim() + 1).values


BAD_DIM = bad(IndexError, "expected dim between -2 and 1, got 2", torch.zeros(2, 3), dim=2)
INTEGER_ROW = bad(NotImplementedError, "floating point", torch.tensor([1, 2]), dim=0)
ODD = bad(RuntimeError, "expected an even number of elements", torch.zeros(2, 3))
NO_DIMENSION = bad(RuntimeError, "expected at least one dimension", torch.zeros(()))
INF = float("inf")


def at_infinity(left: float, right: float, slopes: Sequence[float], **options: Any) -> Beyond:
    """Returns a record of the limits at -∞ and ∞, where the built-in computes 0 · ∞."""
    return Beyond(
        "inputs ±∞: the limits", lambda make: Sample((make.values(-INF, INF),), options), [left, right], [slopes]
    )


APPROXIMATE = bad(RuntimeError, "'none' or 'tanh'", torch.zeros(2), approximate="erf")

RECORDS = (
    Record(
        "sigmoid",
        sigmoid,
        torch.sigmoid,
        elementwise(),
        [SigmoidFunction],
        errors=[NOT_A_TENSOR],
        modules=[(Sigmoid, nn.Sigmoid)],
    ),
    Record(
        "tanh",
        tanh,
        torch.tanh,
        elementwise(),
        [TanhFunction],
        errors=[NOT_A_TENSOR],
        modules=[(Tanh, nn.Tanh)],
    ),
    Record(
        "logsigmoid",
        logsigmoid,
        F.logsigmoid,
        elementwise(),
        [LogSigmoidFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[(LogSigmoid, nn.LogSigmoid)],
    ),
    Record(
        "softplus",
        softplus,
        F.softplus,
        elementwise({}, {"beta": 2.0, "threshold": 1.0}, {"beta": -0.5}, {"threshold": -1.0}),
        [SoftplusFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
        beyond=[
            Beyond(
                "beta=0, which would divide by 0: an error",
                lambda make: Sample((make.values(1.0),), {"beta": 0}),
                says="softplus: expected beta other than 0",
            )
        ],
        modules=[(Softplus, nn.Softplus), (partial(Softplus, 2, 10), partial(nn.Softplus, 2, 10))],
    ),
    Record(
        "softsign",
        softsign,
        F.softsign,
        elementwise(extremes=FINITE),
        [SoftsignFunction],
        beyond=[at_infinity(-1.0, 1.0, [0.0, 0.0])],
        modules=[(Softsign, nn.Softsign)],
    ),
    Record(
        "tanhshrink",
        tanhshrink,
        F.tanhshrink,
        elementwise(),
        [TanhshrinkFunction],
        modules=[(Tanhshrink, nn.Tanhshrink)],
    ),
    Record(
        "gelu",
        gelu,
        F.gelu,
        elementwise({}, {"approximate": "tanh"}, extremes=FINITE),
        [GELUFunction, TanhGELUFunction],
        beyond=[
            at_infinity(0.0, INF, [0.0, 1.0]),
            at_infinity(0.0, INF, [0.0, 1.0], approximate="tanh"),
            Beyond(
                "an input whose cube overflows",
                lambda make: Sample((make.values(-torch.finfo(make.dtype).max),), {"approximate": "tanh"}),
                [0.0],
                [[0.0]],
            ),
        ],
        errors=[NOT_A_TENSOR, INTEGERS, APPROXIMATE],
        modules=[(GELU, nn.GELU), (partial(GELU, "tanh"), partial(nn.GELU, "tanh"))],
    ),
    Record(
        "silu",
        silu,
        F.silu,
        elementwise(extremes=FINITE),
        [SiLUFunction],
        beyond=[at_infinity(0.0, INF, [0.0, 1.0])],
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[(SiLU, nn.SiLU), (partial(SiLU, True), partial(nn.SiLU, True))],
    ),
    Record(
        "mish",
        mish,
        F.mish,
        elementwise(extremes=FINITE),
        [MishFunction],
        beyond=[at_infinity(0.0, INF, [0.0, 1.0])],
        errors=[NOT_A_TENSOR, INTEGERS],
        double_backward=False,  # the built-in's is NaN for inputs above 710, whose exponential overflows
        modules=[(Mish, nn.Mish), (partial(Mish, True), partial(nn.Mish, True))],
    ),
    Record(
        "glu",
        glu,
        F.glu,
        glu_samples,
        [GLUFunction],
        errors=[ODD, NO_DIMENSION, BAD_DIM],
        modules=[(GLU, nn.GLU), (partial(GLU, 1), partial(nn.GLU, 1))],
    ),
    Record(
        "softmax",
        softmax,
        F.softmax,
        softmax_samples,
        [SoftmaxFunction],
        errors=[BAD_DIM, INTEGER_ROW],
        modules=[(partial(Softmax, 1), partial(nn.Softmax, 1)), (Softmax2d, nn.Softmax2d)],
    ),
    Record(
        "log_softmax",
        log_softmax,
        F.log_softmax,
        softmax_samples,
        [LogSoftmaxFunction],
        errors=[BAD_DIM, INTEGER_ROW],
        modules=[(partial(LogSoftmax, 1), partial(nn.LogSoftmax, 1))],
    ),
    Record(
        "logsumexp",
        logsumexp,
        torch.logsumexp,
        logsumexp_samples,
        [LogSumExpFunction],
        errors=[
            bad(TypeError, "expected input to be a tensor", [1.0], 0),
            bad(IndexError, "expected dim between -2 and 1, got 2", torch.zeros(2, 3), 2),
            bad(RuntimeError, "expected each dimension once", torch.zeros(2, 3), (0, 0)),
        ],
    ),
    Record(
        "softmin",
        softmin,
        F.softmin,
        softmax_samples,
        [SoftmaxFunction],
        errors=[BAD_DIM, INTEGER_ROW],
        modules=[(partial(Softmin, 1), partial(nn.Softmin, 1))],
    ),
    Record(
        "gumbel_softmax",
        gumbel_softmax,
        F.gumbel_softmax,
        gumbel_samples,
        [SoftmaxFunction],
        errors=[BAD_DIM, bad(IndexError, "expected classes to draw from", torch.zeros(2, 0), hard=True)],
        builtin_lacks=frozenset({"vmap"}),
    ),
    Record(
        "swiglu",
        swiglu,
        lambda input, gate: input * F.silu(gate),
        lambda make: (Sample((x, x.detach().flip(-1).requires_grad_())) for x in layouts(make)),
        [SwiGLUFunction],
        errors=[bad(RuntimeError, "size", torch.zeros(2), torch.zeros(3))],
    ),
    Record("maxout", maxout, maxout_composed, maxout_samples, [MaxoutFunction]),
)
