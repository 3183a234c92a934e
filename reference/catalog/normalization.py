"""Layer, group, RMS, local response and weight normalization, and `normalize`."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from reference.catalog.record import BadInput, Beyond, Make, Record, Sample, bad, leaf, module_pairs, rounded_once
from scratchnet.nn import CrossMapLRN2d, GroupNorm, LayerNorm, LocalResponseNorm, RMSNorm
from scratchnet.normalization.group_norm import GroupNormFunction, group_norm
from scratchnet.normalization.layer_norm import LayerNormFunction, layer_norm
from scratchnet.normalization.lp_normalize import NormalizeFunction, normalize
from scratchnet.normalization.response_norm import LocalResponseNormFunction, local_response_norm
from scratchnet.normalization.rms_norm import RMSNormFunction, rms_norm
from scratchnet.normalization.weight_norm import WeightNormFunction, weight_norm

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def row_norm_samples(make: Make, parameters: int) -> Iterator[Sample]:

    def given(*shape: int) -> list[Any]:
        return [make.normal(*shape) for _ in range(parameters)]

    yield Sample((make.normal(3, 4), (4,), *given(4)))
    yield Sample((make.normal(2, 3, 4), (4,)))
    yield Sample((make.normal(2, 3, 2), (3, 2), *given(3, 2)))
    yield Sample((make.normal(4), [4], *given(4)))
    yield Sample((make.normal(3, 4), (4,), *given(4)), {"eps": 0.1})
    yield Sample((make.normal(3, 4), (4,), *given(4)[:1]))
    yield Sample((make.normal(3, 4, grad=False), (4,), *given(4)))
    yield Sample((make.normal(3, 4), (4,), *(p.detach() for p in given(4))))
    yield Sample((leaf(make.normal(4, 3).t()), (4,), *given(4)))
    yield Sample((leaf(make.normal(3, 8)[:, ::2]), (4,), *(leaf(p[::2]) for p in given(8))))
    yield Sample((leaf(make.normal(1, 4).expand(3, 4)), (4,), *given(4)))
    yield Sample((make.normal(0, 4), (4,), *given(4)))
    yield Sample((make.normal(3, 0), (0,), *given(0)))
    yield Sample((make.normal(3, 1), (1,), *given(1)), {"eps": 0.5})
    yield Sample((make.values(2.0, 2.0, 2.0), (3,), *given(3)), {"eps": 0.01})
    yield Sample((make.values(INFINITY, 0.0, 1.0), (3,), *given(3)), smooth=False)
    yield Sample((make.values(NAN, 0.0, 1.0), (3,)), smooth=False)


def layer_norm_samples(make: Make) -> Iterator[Sample]:
    yield from row_norm_samples(make, parameters=2)
    yield Sample((make.normal(3, 4), (4,), None, make.normal(4)))


def weight_norm_samples(make: Make) -> Iterator[Sample]:
    for dim, shape in enumerate(((3, 1, 1), (1, 2, 1), (1, 1, 4))):
        yield Sample((make.normal(3, 2, 4), make.normal(*shape), dim))
    yield Sample((make.normal(3, 4), make.normal(4)), {"dim": 1})
    yield Sample((make.normal(3), make.normal(3)))
    for g in (make.normal(), make.normal(1), make.normal(3, 1)):
        yield Sample((make.normal(3, 4), g, -1))
    yield Sample((leaf(make.normal(4, 3).t()), make.normal(3, 1)))
    yield Sample((make.normal(3, 4, grad=False), make.normal(3, 1)))
    yield Sample(
        (leaf(make.normal(3, 4) * make.values(1.0, 0.0, 1.0).unsqueeze(1)), make.normal(3, 1)), smooth=False
    )


def checked_weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    """Calls PyTorch's op only if ``g`` broadcasts; otherwise it reads beyond the end of ``g``."""
    torch.broadcast_tensors(v, g)
    return torch._weight_norm(v, g, dim)


def group_norm_samples(make: Make) -> Iterator[Sample]:
    yield Sample((make.normal(3, 4), 1, make.normal(4), make.normal(4)))
    for shape in ((2, 4, 3), (2, 4, 2, 2), (1, 4, 1, 2, 2)):
        yield Sample((make.normal(*shape), 2, make.normal(4), make.normal(4)))
    for groups in (1, 4):
        yield Sample((make.normal(2, 4, 3), groups, make.normal(4), make.normal(4)))
    x, weight, bias = make.normal(2, 4, 2), make.normal(4), make.normal(4)
    yield Sample((x, 2))
    yield Sample((x, 2, weight))
    yield Sample((x, 2, None, bias))
    yield Sample((x, 2, weight, bias), {"eps": 0.1})
    yield Sample((x.detach(), 2, weight, bias))
    yield Sample((x, 2, weight.detach(), bias.detach()))
    image = make.normal(2, 4, 2, 3).detach().to(memory_format=torch.channels_last)
    yield Sample((leaf(image), 2, weight, bias))
    yield Sample((leaf(make.normal(3, 4, 2).transpose(0, 2)), 2, weight, bias))
    yield Sample((leaf(make.normal(1, 4, 2).expand(2, 4, 2)), 2, leaf(make.normal(8)[::2]), bias))
    yield Sample((make.normal(0, 4, 2), 2, weight, bias))
    odd = make.values(INFINITY, 0.0, 1.0, 2.0, NAN, 1.0, 0.0, 1.0).detach().view(1, 4, 2)
    yield Sample((leaf(odd), 2, weight, bias), smooth=False)


def response_norm_samples(make: Make) -> Iterator[Sample]:
    for size in (1, 2, 3, 9):
        yield Sample((make.normal(2, 4, 3), size), {"alpha": 0.5})
    yield Sample((make.normal(2, 3, 2), 2))
    yield Sample((make.normal(2, 5, 2, 2), 3, 0.3, 0.5, 2.0))
    yield Sample((make.normal(1, 3, 1, 2, 2), 3), {"alpha": 1.0, "beta": 2.0, "k": 0.5})
    yield Sample((leaf(make.normal(2, 3, 4).transpose(1, 2)), 3), {"alpha": 0.5})
    yield Sample((leaf(make.normal(1, 3, 4).expand(2, 3, 4)), 2), {"alpha": 0.5})
    yield Sample((make.normal(0, 3, 2), 2))
    yield Sample((leaf(make.values(INFINITY, 0.0, NAN, 1.0).detach().view(1, 4, 1)), 2), smooth=False)


def normalize_samples(make: Make) -> Iterator[Sample]:
    """Yields norms along one and several dimensions; no two components are equal."""
    for p in (2.0, 1.0, 3.0, 1.5, INFINITY, -INFINITY, 0.0):
        yield Sample((make.distinct(3, 4),), {"p": p})
    yield Sample((make.normal(2, 3, 2),), {"dim": 0})
    yield Sample((make.normal(2, 3, 2),), {"dim": (0, -1)})
    yield Sample((make.normal(2, 3, 2),), {"p": 3.0, "dim": -2, "eps": 5.0})
    yield Sample((make.normal(2, 2),), {"dim": None})
    yield Sample((make.normal(4), 2.0, 0))
    yield Sample((leaf(make.normal(4, 3).t()),))
    yield Sample((leaf(make.normal(1, 3).expand(2, 3)),))
    for empty in ((0, 3), (3, 0)):
        yield Sample((make.normal(*empty),))
    kinks = make.values(1.0, -1.0, 0.0, 0.0, 0.0, 0.0, 3.0, 3.0, -3.0).detach().view(3, 3)
    for p in (1.0, 3.0, INFINITY, 0.0):
        yield Sample((leaf(kinks),), {"p": p, "eps": 0.5}, smooth=False)
    yield Sample((leaf(make.values(INFINITY, 1.0, NAN, 1.0).detach().view(2, 2)),), smooth=False)


def ones(*shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.ones(shape, dtype=dtype)


def row_norm_errors() -> tuple[BadInput, ...]:
    return (
        bad(TypeError, "expected input to be a tensor, got list", [1.0], (1,)),
        bad(NotImplementedError, "floating point", torch.ones(2, 3).long(), (3,)),
        bad(TypeError, "one dimension is written (n,)", ones(2, 3), 3),
        bad(RuntimeError, "at least one dimension", ones(2, 3), ()),
        bad(RuntimeError, "expected input of shape (*, 4)", ones(2, 3), (4,)),
        bad(RuntimeError, "expected weight of shape (3,)", ones(2, 3), (3,), ones(4)),
        bad(TypeError, "expected eps to be a number", ones(2, 3), (3,), eps="small"),
    )


ROW = torch.zeros(3)
LAYER_NORM_ERRORS = (
    *row_norm_errors(),
    bad(RuntimeError, "expected input of shape (*, 2, 3)", ones(3), (2, 3)),
    bad(RuntimeError, "expected bias of shape (3,)", ones(2, 3), (3,), ones(3), ones(2)),
    bad(RuntimeError, "dtype of the input", ones(2, 3), (3,), ones(3, dtype=torch.float64)),
    bad(RuntimeError, "dtype of the input", ones(2, 3), (3,), ones(3, dtype=torch.bfloat16)),
)
GROUP_NORM_ERRORS = (
    bad(NotImplementedError, "floating point", torch.ones(2, 4).long(), 2),
    bad(RuntimeError, "shape (N, C, ...)", ones(2), 1),
    bad(RuntimeError, "divides the input's 3 channels", ones(2, 3, 2), 2),
    bad(RuntimeError, "expected a positive num_groups", ones(2, 3, 2), -1),
    bad(ZeroDivisionError, "at least 1, got 0", ones(2, 3, 2), 0),
    bad(ValueError, "more than 1 value per group", ones(1, 2), 2),
    bad(RuntimeError, "expected weight of shape (4,)", ones(2, 4, 2), 2, ones(3)),
    bad(RuntimeError, "expected bias of shape (4,)", ones(2, 4, 2), 2, None, ones(3)),
    bad(RuntimeError, "dtype of the input", ones(2, 4, 2), 2, ones(4, dtype=torch.float64)),
    bad(TypeError, "expected eps to be a number", ones(2, 4), 2, eps="small"),
)
RESPONSE_NORM_ERRORS = (
    bad(ValueError, "at least 3 dimensions", ones(2, 3), 2),
    bad(RuntimeError, "at least 1 channel, got 0", ones(2, 3, 2), 0),
    bad(TypeError, "expected size to be an integer", ones(2, 3, 2), 2.0),
    bad(TypeError, "expected alpha to be a number", ones(2, 3, 2), 2, alpha="a"),
)
NORMALIZE_ERRORS = (
    bad(RuntimeError, "floating point", torch.ones(2, 3).long()),
    bad(IndexError, "expected dim between -2 and 1, got 2", ones(2, 3), dim=2),
    bad(RuntimeError, "not empty for p=inf", ones(2, 0), p=INFINITY),
    bad(RuntimeError, "no gradient to be needed", ones(2, 3).requires_grad_(), out=torch.zeros(2, 3)),
)


def one_channel_samples(make: Make) -> Iterator[Sample]:
    """Yields images of one channel; with more the built-in's gradients are wrong."""
    yield Sample((make.normal(2, 1, 2, 2),), arguments={"size": 5, "alpha": 0.7, "beta": 0.75, "k": 1.5})
    yield Sample((leaf(make.normal(3, 1, 1, 2).transpose(2, 3)),), arguments={"size": 3})


RECORDS = (
    Record(
        "layer_norm",
        layer_norm,
        F.layer_norm,
        layer_norm_samples,
        [LayerNormFunction],
        errors=LAYER_NORM_ERRORS,
        builtin_lacks=frozenset({"double backward"}),  # with a bias but no weight
        modules=module_pairs(
            LayerNorm,
            nn.LayerNorm,
            {"normalized_shape": 4},
            {"normalized_shape": (2, 3), "eps": 0.1},
            {"normalized_shape": [4], "elementwise_affine": False},
            {"normalized_shape": 4, "bias": False, "dtype": torch.float64},
        ),
    ),
    Record(
        "group_norm",
        group_norm,
        F.group_norm,
        group_norm_samples,
        [GroupNormFunction],
        errors=GROUP_NORM_ERRORS,
        # With a bias but no weight; forward mode in channels-last format.
        builtin_lacks=frozenset({"gradient", "double backward", "vmap", "forward mode"}),
        modules=module_pairs(
            GroupNorm,
            nn.GroupNorm,
            {"num_channels": 4, "num_groups": 2},
            {"num_channels": 4, "num_groups": 2, "eps": 0.1, "bias": False},
            {"num_channels": 4, "num_groups": 1, "affine": False},
            {"num_channels": 4, "num_groups": 4, "dtype": torch.float64},
        ),
    ),
    Record(
        "rms_norm",
        rms_norm,
        F.rms_norm,
        partial(row_norm_samples, parameters=1),
        [RMSNormFunction],
        errors=(*row_norm_errors(), bad(ValueError, "expected input of shape (*, 2, 3)", ones(3), (2, 3))),
        modules=module_pairs(
            RMSNorm,
            nn.RMSNorm,
            {"normalized_shape": 4},
            {"normalized_shape": (2, 3), "eps": 0.1},
            {"normalized_shape": 4, "elementwise_affine": False, "dtype": torch.float64},
        ),
    ),
    Record(
        "local_response_norm",
        local_response_norm,
        rounded_once(F.local_response_norm),
        response_norm_samples,
        [LocalResponseNormFunction],
        errors=RESPONSE_NORM_ERRORS,
        modules=module_pairs(
            LocalResponseNorm, nn.LocalResponseNorm, {"size": 3}, {"size": 2, "alpha": 1e-3, "beta": 0.5, "k": 2.0}
        ),
    ),
    Record(
        "weight_norm",
        weight_norm,
        checked_weight_norm,
        weight_norm_samples,
        [WeightNormFunction],
        errors=[
            bad(TypeError, "expected v to be a tensor", [1.0], ROW),
            bad(NotImplementedError, "floating point or complex", ROW.long(), ROW.long()),
            bad(IndexError, "expected dim between -1 and 0, got 1", ROW, ROW, 1),
            bad(RuntimeError, "expected g to broadcast against v", ROW, torch.zeros(2)),
        ],
        builtin_lacks=frozenset({"forward mode"}),
        double_backward=False,  # the built-in's fails gradgradcheck for the first and the last dimension
        empty=False,  # the built-in divides by the number of rows, which ends the process
    ),
    Record(
        "CrossMapLRN2d",
        CrossMapLRN2d,
        nn.CrossMapLRN2d,
        one_channel_samples,
        [LocalResponseNormFunction],
        builtin_lacks=frozenset({"double backward", "forward mode", "vmap"}),
        modules=module_pairs(CrossMapLRN2d, nn.CrossMapLRN2d, {"size": 5}),
        beyond=[
            Beyond(
                "more channels than (size + 1) / 2: channels outside the window do not count",
                lambda make: Sample(
                    (leaf(make.values(1.0, 1.0, 1.0, 1.0).view(1, 4, 1, 1)),),
                    arguments={"size": 3, "alpha": 3.0, "beta": 1.0, "k": -1.0},
                ),
                [[[[1.0]], [[0.5]], [[0.5]], [[1.0]]]],
                [[[[[-1.5]], [[-2.5]], [[-2.5]], [[-1.5]]]]],
            )
        ],
    ),
    Record(
        "normalize",
        normalize,
        F.normalize,
        normalize_samples,
        [NormalizeFunction],
        errors=NORMALIZE_ERRORS,
        beyond=[
            Beyond(
                "a vector whose squares overflow",
                lambda make: Sample(
                    (make.values(*[torch.finfo(make.dtype).max / 8] * 4, grad=False),), {"dim": 0}
                ),
                [0.5] * 4,
            )
        ],
    ),
)
