"""Rectifiers: ReLU and its leaky, random, learned, exponential and thresholded variants."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.elementwise import (
    BOOLEANS,
    EXTREMES,
    HALVES,
    INTEGERS,
    KINKS,
    NOT_A_TENSOR,
    elementwise,
    few,
    layouts,
    on_a_copy,
)
from reference.catalog.record import Beyond, Make, Record, Sample, bad, rounded_once
from scratchnet.activations.elu import ELUFromOutputFunction, ELUFunction, celu, celu_, elu, elu_, selu, selu_
from scratchnet.activations.learned import LearnedELUFunction, PReLUFunction, learned_elu, prelu
from scratchnet.activations.relu import (
    LeakyReLUFromOutputFunction,
    LeakyReLUFunction,
    ReLUFunction,
    leaky_relu,
    leaky_relu_,
    relu,
    relu_,
)
from scratchnet.activations.rrelu import RReLUFunction, rrelu, rrelu_
from scratchnet.activations.threshold import ThresholdFunction, threshold, threshold_
from scratchnet.nn import CELU, ELU, SELU, LeakyReLU, PReLU, ReLU, RReLU, Threshold

__all__ = ["RECORDS"]


def channelwise(make: Make) -> Iterator[Sample]:
    for x in layouts(make, (3, 4)):
        yield Sample((x, make.uniform(1, low=0.1)))
    yield Sample((make.normal(2, 3, 2), make.uniform(3, low=0.1)))
    yield Sample((make.normal(3, 3), make.uniform(3, low=-1.0)))
    yield Sample((make.normal(5), make.uniform(1, low=0.1)))
    # Not at the kink: there the built-in's PReLU has the left slope in reverse mode and the right one in forward mode.
    # Ours has the left one in both, which tests/activations/test_kinks.py checks.
    yield Sample((make.values(*(k for k in KINKS if k)), make.values(0.25)))


def learned_elu_composed(input: Tensor, alpha: Tensor) -> Tensor:
    per_channel = alpha.view(-1, *(1,) * (input.dim() - 2)) if alpha.numel() != 1 else alpha
    return torch.where(input > 0, input, per_channel * torch.expm1(torch.where(input > 0, 0.0, input)))


CHANNELS = bad(RuntimeError, "one for each of the input's 3 channel", torch.zeros(2, 3), torch.zeros(2))
MIXED = bad(RuntimeError, "one dtype", torch.zeros(2, 3), torch.zeros(3, dtype=torch.float64))


RECORDS = (
    Record(
        "relu",
        relu,
        F.relu,
        elementwise(),
        [ReLUFunction],
        errors=[
            NOT_A_TENSOR,
            BOOLEANS,
        ],
        modules=[(ReLU, nn.ReLU), (partial(ReLU, inplace=True), partial(nn.ReLU, inplace=True))],
    ),
    Record("relu_", on_a_copy(relu_), on_a_copy(F.relu_), few({}), [ReLUFunction], errors=[NOT_A_TENSOR]),
    Record(
        "leaky_relu",
        leaky_relu,
        F.leaky_relu,
        elementwise(
            {},
            {"negative_slope": 0.2},
            {"negative_slope": -0.5},
            {"negative_slope": 0.0},
            extremes=EXTREMES[1:],
        ),
        [LeakyReLUFunction],
        beyond=[
            Beyond(
                "negative_slope=0 at -∞: 0 · ∞ counts as 0",
                lambda make: Sample((make.values(-float("inf")),), {"negative_slope": 0.0}),
                [0.0],
                [[0.0]],
            )
        ],
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[
            (LeakyReLU, nn.LeakyReLU),
            (partial(LeakyReLU, 0.2, True), partial(nn.LeakyReLU, 0.2, True)),
        ],
    ),
    Record(
        "leaky_relu_",
        on_a_copy(leaky_relu_),
        on_a_copy(F.leaky_relu_),
        few({}, {"negative_slope": 0.2}),
        [LeakyReLUFunction, LeakyReLUFromOutputFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
    ),
    Record(
        "rrelu",
        rrelu,
        rounded_once(F.rrelu),
        elementwise(
            {}, {"training": True}, {"lower": 0.1, "upper": 0.1, "training": True}, {"lower": -0.5, "upper": 1.5}
        ),
        [LeakyReLUFunction, RReLUFunction],
        errors=[
            NOT_A_TENSOR,
            INTEGERS,
            bad(RuntimeError, "expected lower of at most upper=0.1", torch.zeros(2), 0.5, 0.1),
            bad(RuntimeError, "expected finite bounds", torch.zeros(2), 0.5, float("inf"), True),
        ],
        builtin_lacks=frozenset({"vmap"}),
        modules=[(RReLU, nn.RReLU), (partial(RReLU, 0.1, 0.2, True), partial(nn.RReLU, 0.1, 0.2, True))],
    ),
    Record(
        "rrelu_",
        on_a_copy(rrelu_),
        rounded_once(on_a_copy(F.rrelu_)),
        few({}, {"training": True}),
        [LeakyReLUFunction, RReLUFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
        builtin_lacks=frozenset({"forward mode", "vmap"}),
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
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[(ELU, nn.ELU), (partial(ELU, 0.5, True), partial(nn.ELU, 0.5, True))],
    ),
    Record(
        "elu_",
        on_a_copy(elu_),
        on_a_copy(F.elu_),
        few({}, {"alpha": 0.5}),
        [ELUFunction, ELUFromOutputFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
    ),
    Record(
        "celu",
        celu,
        F.celu,
        elementwise({}, {"alpha": 0.5}, {"alpha": 2.0}, {"alpha": -1.5}),
        [ELUFunction],
        errors=[
            NOT_A_TENSOR,
            INTEGERS,
            bad(RuntimeError, "expected alpha other than 0", torch.zeros(2), 0.0),
        ],
        modules=[(CELU, nn.CELU), (partial(CELU, 0.5, True), partial(nn.CELU, 0.5, True))],
    ),
    Record(
        "celu_",
        on_a_copy(celu_),
        on_a_copy(F.celu_),
        few({}, {"alpha": 0.5}),
        [ELUFunction, ELUFromOutputFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
    ),
    Record(
        "selu",
        selu,
        F.selu,
        elementwise(),
        [ELUFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
        modules=[(SELU, nn.SELU), (partial(SELU, True), partial(nn.SELU, True))],
    ),
    Record(
        "selu_",
        on_a_copy(selu_),
        on_a_copy(F.selu_),
        few({}),
        [ELUFunction, ELUFromOutputFunction],
        errors=[NOT_A_TENSOR, INTEGERS],
    ),
    Record("learned_elu", learned_elu, learned_elu_composed, channelwise, [LearnedELUFunction]),
    Record(
        "threshold",
        threshold,
        F.threshold,
        elementwise({"threshold": 0.5, "value": 2.0}, {"threshold": -1.0, "value": -1.0}, kinks=HALVES),
        [ThresholdFunction],
        errors=[
            bad(TypeError, "expected input to be a tensor, got list", [1.0], 0.0, 0.0),
            bad(TypeError, "expected threshold to be a number", torch.zeros(2), "0", 0.0),
            bad(NotImplementedError, "expected numbers", torch.tensor([True]), 0.0, 0.0),
            bad(NotImplementedError, "expected numbers", torch.tensor([1j]), 0.0, 0.0),
        ],
        modules=[
            (partial(Threshold, 0.5, 2.0), partial(nn.Threshold, 0.5, 2.0)),
            (partial(Threshold, 1, 2, True), partial(nn.Threshold, 1, 2, True)),
        ],
    ),
    Record(
        "threshold_",
        on_a_copy(threshold_),
        on_a_copy(torch.threshold_),
        few({"threshold": 0.5, "value": 2.0}),
        [ThresholdFunction],
    ),
)
