"""The smooth activations, and those that act along a dimension."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.elementwise import FINITE, elementwise, layouts, no_integers, wrong_type
from reference.catalog.record import BadInput, Beyond, Make, Record, Sample
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


def along_dim(make: Make) -> Iterator[Sample]:
    """Samples of an op that normalises along a dimension."""
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


def grouped(make: Make) -> Iterator[Sample]:
    """Samples of maxout, ties included."""
    for x in layouts(make, (3, 4)):
        yield Sample((x, 2))
    yield Sample((make.normal(6, 2), 3, 0))
    yield Sample((make.normal(2, 4), 1))
    yield Sample((make.values(1.0, 1.0, 0.0, 0.0, -1.0, 2.0), 3), smooth=False)
    yield Sample((make.values(float("nan"), 1.0, -float("inf"), -float("inf")), 2), smooth=False)


def halved(make: Make) -> Iterator[Sample]:
    """Samples of GLU, along each dimension."""
    for x in layouts(make, (2, 4)):
        yield Sample((x,))
        yield Sample((x,), {"dim": 0})
    yield Sample((make.normal(2, 4, 2), 1))
    yield Sample((make.normal(2, 4, 2, 2).detach().to(memory_format=torch.channels_last).requires_grad_(), 1))
    yield Sample((make.values(1000.0, -1000.0, 2.0, 1.0, 1.0, -1000.0, 1000.0, float("nan")),), smooth=False)


def summed(make: Make) -> Iterator[Sample]:
    """One dimension and several, kept and not; large offsets, infinities, nothing to sum."""
    for x in layouts(make, (3, 4)):
        yield Sample((x, 1))
    for dim in (-1, (0, 2), [1]):
        for keepdim in (False, True):
            yield Sample((make.normal(2, 3, 4), dim, keepdim))
    yield Sample((make.normal(), 0))
    yield Sample((make.normal(3, 0), 1))
    yield Sample((make.values(1000.0, 999.0, -1000.0), 0), smooth=False)
    yield Sample((make.values(float("inf"), 1.0), 0), smooth=False)
    yield Sample((make.values(-float("inf"), 1.0, float("-inf")), 0), smooth=False)


def drawn(make: Make) -> Iterator[Sample]:
    """Samples of the Gumbel softmax, soft and hard."""
    for x in layouts(make):
        yield Sample((x,))
    yield Sample((make.normal(3, 2),), {"tau": 0.5, "dim": 0})
    yield Sample((make.normal(3, 2),), {"tau": 2.0, "hard": True}, smooth=False)


def maxout_composed(input: Tensor, pieces: int, dim: int = -1) -> Tensor:
    """Maxout, composed of tensor operations."""
    return input.unflatten(dim, (-1, pieces)).max(dim % input.dim() + 1).values


BAD_DIM = BadInput(lambda: ((torch.zeros(2, 3),), {"dim": 2}), IndexError, "expected dim between -2 and 1, got 2")
INTEGER_ROW = BadInput(lambda: ((torch.tensor([1, 2]),), {"dim": 0}), NotImplementedError, "floating point")
ODD = BadInput(lambda: ((torch.zeros(2, 3),), {}), RuntimeError, "expected an even number of elements")
NO_DIMENSION = BadInput(lambda: ((torch.zeros(()),), {}), RuntimeError, "expected at least one dimension")
INF = float("inf")


def at_infinity(left: float, right: float, slopes: Sequence[float], **options: Any) -> Beyond:
    """What an activation is at -∞ and ∞, where a gate of 0 meets ∞ in the built-in."""
    return Beyond(
        "at ±∞: the limits", lambda make: Sample((make.values(-INF, INF),), options), [left, right], [slopes]
    )


APPROXIMATE = BadInput(lambda: ((torch.zeros(2),), {"approximate": "erf"}), RuntimeError, "'none' or 'tanh'")

RECORDS = (
    Record(
        "sigmoid",
        sigmoid,
        torch.sigmoid,
        elementwise(),
        [SigmoidFunction],
        errors=[wrong_type()],
        modules=[(Sigmoid, nn.Sigmoid)],
    ),
    Record(
        "tanh",
        tanh,
        torch.tanh,
        elementwise(),
        [TanhFunction],
        errors=[wrong_type()],
        modules=[(Tanh, nn.Tanh)],
    ),
    Record(
        "logsigmoid",
        logsigmoid,
        F.logsigmoid,
        elementwise(),
        [LogSigmoidFunction],
        errors=[wrong_type(), no_integers()],
        modules=[(LogSigmoid, nn.LogSigmoid)],
    ),
    Record(
        "softplus",
        softplus,
        F.softplus,
        elementwise({}, {"beta": 2.0, "threshold": 1.0}, {"beta": -0.5}, {"threshold": -1.0}),
        [SoftplusFunction],
        errors=[wrong_type(), no_integers()],
        beyond=[
            Beyond(
                "beta=0, which divides by 0: refused",
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
        errors=[wrong_type(), no_integers(), APPROXIMATE],
        modules=[(GELU, nn.GELU), (partial(GELU, "tanh"), partial(nn.GELU, "tanh"))],
    ),
    Record(
        "silu",
        silu,
        F.silu,
        elementwise(extremes=FINITE),
        [SiLUFunction],
        beyond=[at_infinity(0.0, INF, [0.0, 1.0])],
        errors=[wrong_type(), no_integers()],
        modules=[(SiLU, nn.SiLU), (partial(SiLU, True), partial(nn.SiLU, True))],
    ),
    Record(
        "mish",
        mish,
        F.mish,
        elementwise(extremes=FINITE),
        [MishFunction],
        beyond=[at_infinity(0.0, INF, [0.0, 1.0])],
        errors=[wrong_type(), no_integers()],
        double_backward=False,  # the built-in's is NaN from 710 on, where its exponential overflows
        modules=[(Mish, nn.Mish), (partial(Mish, True), partial(nn.Mish, True))],
    ),
    Record(
        "glu",
        glu,
        F.glu,
        halved,
        [GLUFunction],
        errors=[ODD, NO_DIMENSION, BAD_DIM],
        modules=[(GLU, nn.GLU), (partial(GLU, 1), partial(nn.GLU, 1))],
    ),
    Record(
        "softmax",
        softmax,
        F.softmax,
        along_dim,
        [SoftmaxFunction],
        errors=[BAD_DIM, INTEGER_ROW],
        modules=[(partial(Softmax, 1), partial(nn.Softmax, 1)), (Softmax2d, nn.Softmax2d)],
    ),
    Record(
        "log_softmax",
        log_softmax,
        F.log_softmax,
        along_dim,
        [LogSoftmaxFunction],
        errors=[BAD_DIM, INTEGER_ROW],
        modules=[(partial(LogSoftmax, 1), partial(nn.LogSoftmax, 1))],
    ),
    Record(
        "logsumexp",
        logsumexp,
        torch.logsumexp,
        summed,
        [LogSumExpFunction],
        errors=[
            BadInput(lambda: (([1.0], 0), {}), TypeError, "expected input to be a tensor"),
            BadInput(lambda: ((torch.zeros(2, 3), 2), {}), IndexError, "expected dim between -2 and 1, got 2"),
            BadInput(lambda: ((torch.zeros(2, 3), (0, 0)), {}), RuntimeError, "expected each dimension once"),
        ],
    ),
    Record(
        "softmin",
        softmin,
        F.softmin,
        along_dim,
        [SoftmaxFunction],
        errors=[BAD_DIM, INTEGER_ROW],
        modules=[(partial(Softmin, 1), partial(nn.Softmin, 1))],
    ),
    Record(
        "gumbel_softmax",
        gumbel_softmax,
        F.gumbel_softmax,
        drawn,
        [SoftmaxFunction],
        errors=[BAD_DIM],
        builtin_lacks=frozenset({"vmap"}),
    ),
    Record(
        "swiglu",
        swiglu,
        lambda input, gate: input * F.silu(gate),
        lambda make: (Sample((x, x.detach().flip(-1).requires_grad_())) for x in layouts(make)),
        [SwiGLUFunction],
        errors=[BadInput(lambda: ((torch.zeros(2), torch.zeros(3)), {}), RuntimeError, "size")],
    ),
    Record("maxout", maxout, maxout_composed, grouped, [MaxoutFunction]),
)
