"""Activations: every record checks the kink, both tails, infinities and NaN beside ordinary values."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import BadInput, Make, Record, Sample
from scratchnet.activations.elu import ELU, ELUFunction, LearnedELUFunction, elu, learned_elu
from scratchnet.activations.maxout import MaxoutFunction, maxout
from scratchnet.activations.relu import (
    LeakyReLU,
    LeakyReLUFunction,
    PReLU,
    PReLUFunction,
    ReLU,
    ReLUFunction,
    leaky_relu,
    prelu,
    relu,
)
from scratchnet.activations.sigmoid import Sigmoid, SigmoidFunction, sigmoid
from scratchnet.activations.softmax import (
    LogSoftmax,
    LogSoftmaxFunction,
    Softmax,
    SoftmaxFunction,
    log_softmax,
    softmax,
)
from scratchnet.activations.tanh import Tanh, TanhFunction, tanh

__all__ = ["RECORDS"]

KINKS = (-2.0, -1.0, -0.0, 0.0, 1.0, 2.0)
EXTREMES = (-float("inf"), -1000.0, -20.0, -1e-30, 1e-30, 20.0, 1000.0, float("inf"), float("nan"))


def layouts(make: Make, shape: tuple[int, ...] = (3, 4)) -> Iterator[Tensor]:
    """One shape in every layout: dense, transposed, sliced, expanded, scalar and empty."""
    yield make.normal(*shape, scale=2.0)
    yield make.normal(*shape[::-1], scale=2.0).detach().permute(*reversed(range(len(shape)))).requires_grad_()
    yield make.normal(2 * shape[0], *shape[1:]).detach()[::2].requires_grad_()
    yield make.normal(1, *shape[1:]).detach().expand(*shape).requires_grad_()
    yield make.normal(0, *shape[1:])


def elementwise(*options: dict[str, float]) -> Callable[[Make], Iterator[Sample]]:
    """Samples of an op of one tensor, with each set of options on the values where it bends."""

    def samples(make: Make) -> Iterator[Sample]:
        for x in layouts(make):
            yield Sample((x,))
        yield Sample((make.normal(),))
        yield Sample((make.normal(2, 3, 2, 2).detach().to(memory_format=torch.channels_last).requires_grad_(),))
        for option in options or ({},):
            yield Sample((make.values(*KINKS),), option, smooth=False)
            yield Sample((make.values(*EXTREMES),), option, smooth=False)

    return samples


def channelwise(make: Make) -> Iterator[Sample]:
    """Samples of an op of an input and one parameter, for all channels or for each."""
    for x in layouts(make, (3, 4)):
        yield Sample((x, make.uniform(1, low=0.1)))
    yield Sample((make.normal(2, 3, 2), make.uniform(3, low=0.1)))
    yield Sample((make.normal(3, 3), make.uniform(3, low=-1.0)))
    yield Sample((make.normal(5), make.uniform(1, low=0.1)))
    # Not at the kink itself: the built-in's PReLU has the left slope there in reverse and the right one in forward
    # mode. Ours has the left one in both; tests/activations/test_relu.py holds it to that.
    yield Sample((make.values(*(k for k in KINKS if k)), make.values(0.25)))


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


def learned_elu_composed(input: Tensor, alpha: Tensor) -> Tensor:
    """ELU with a learned α, composed of tensor operations."""
    per_channel = alpha.view(-1, *(1,) * (input.dim() - 2)) if alpha.numel() > 1 else alpha
    return torch.where(input > 0, input, per_channel * torch.expm1(torch.where(input < 0, input, 0.0)))


def maxout_composed(input: Tensor, pieces: int, dim: int = -1) -> Tensor:
    """Maxout, composed of tensor operations."""
    return input.unflatten(dim, (-1, pieces)).max(dim % input.dim() + 1).values


def wrong_type(error: type[Exception] = TypeError) -> BadInput:
    """Something that is no tensor."""
    return BadInput(lambda: (([1.0, 2.0],), {}), error, "expected input to be a tensor, got list")


def no_integers() -> BadInput:
    """Integers, which only some activations promote."""
    return BadInput(lambda: ((torch.tensor([1, 2]),), {}), NotImplementedError, "floating point")


BAD_DIM = BadInput(lambda: ((torch.zeros(2, 3),), {"dim": 2}), IndexError, "expected dim between -2 and 1, got 2")
INTEGER_ROW = BadInput(lambda: ((torch.tensor([1, 2]),), {"dim": 0}), NotImplementedError, "floating point")
CHANNELS = BadInput(
    lambda: ((torch.zeros(2, 3), torch.zeros(2)), {}), RuntimeError, "one for each of the input's 3 channel"
)
MIXED = BadInput(lambda: ((torch.zeros(2, 3), torch.zeros(3, dtype=torch.float64)), {}), RuntimeError, "one dtype")

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
        "relu",
        relu,
        F.relu,
        elementwise(),
        [ReLUFunction],
        errors=[
            wrong_type(),
            BadInput(lambda: ((torch.tensor([True]),), {}), RuntimeError, "expected numbers"),
        ],
        modules=[(ReLU, nn.ReLU), (partial(ReLU, inplace=True), partial(nn.ReLU, inplace=True))],
    ),
    Record(
        "leaky_relu",
        leaky_relu,
        F.leaky_relu,
        elementwise({}, {"negative_slope": 0.2}, {"negative_slope": -0.5}, {"negative_slope": 0.0}),
        [LeakyReLUFunction],
        errors=[wrong_type(), no_integers()],
        modules=[
            (LeakyReLU, nn.LeakyReLU),
            (partial(LeakyReLU, 0.2, True), partial(nn.LeakyReLU, 0.2, True)),
        ],
    ),
    Record(
        "prelu",
        prelu,
        F.prelu,
        channelwise,
        [PReLUFunction],
        errors=[CHANNELS, MIXED],
        modules=[(PReLU, nn.PReLU), (partial(PReLU, 3, 0.1), partial(nn.PReLU, 3, 0.1))],
    ),
    Record(
        "elu",
        elu,
        F.elu,
        elementwise({}, {"alpha": 0.5}, {"alpha": 2.0}),
        [ELUFunction],
        errors=[wrong_type(), no_integers()],
        modules=[(ELU, nn.ELU), (partial(ELU, 0.5, True), partial(nn.ELU, 0.5, True))],
    ),
    Record("learned_elu", learned_elu, learned_elu_composed, channelwise, [LearnedELUFunction]),
    Record(
        "softmax",
        softmax,
        F.softmax,
        along_dim,
        [SoftmaxFunction],
        errors=[BAD_DIM, INTEGER_ROW],
        modules=[(partial(Softmax, 1), partial(nn.Softmax, 1))],
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
    Record("maxout", maxout, maxout_composed, grouped, [MaxoutFunction]),
)
