"""Linear and bilinear layers."""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import nn

from reference.catalog.record import Make, Record, Sample, bad, leaf, module_pairs
from scratchnet.linear.bilinear import BilinearFunction, bilinear
from scratchnet.linear.linear import LinearFunction, linear
from scratchnet.nn import Bilinear, Linear

__all__ = ["RECORDS"]

INFINITY, NAN = float("inf"), float("nan")


def bilinear_samples(make: Make) -> Iterator[Sample]:
    weight, bias = make.normal(2, 3, 4), make.normal(2)
    yield Sample((make.normal(5, 3), make.normal(5, 4), weight, bias))
    yield Sample((make.normal(5, 3), make.normal(5, 4), weight))
    yield Sample((make.normal(3), make.normal(4), weight, bias))
    yield Sample((make.normal(2, 2, 3), make.normal(2, 2, 4), weight, bias))
    yield Sample((leaf(make.normal(3, 5).t()), leaf(make.normal(1, 4).expand(5, 4)), weight, bias))
    yield Sample((make.normal(5, 3), make.normal(5, 4), leaf(make.normal(4, 3, 2).permute(2, 1, 0)), bias))
    yield Sample((make.normal(5, 3, grad=False), make.normal(5, 4), weight, bias))
    yield Sample((make.normal(0, 3), make.normal(0, 4), weight, bias))


def linear_samples(make: Make) -> Iterator[Sample]:
    weight, bias = make.normal(2, 3), make.normal(2)
    yield Sample((make.normal(4, 3), weight, bias))
    yield Sample((make.normal(4, 3), weight))
    for shape in ((3,), (2, 2, 3), (2, 1, 2, 3)):
        yield Sample((make.normal(*shape), weight, bias))
        yield Sample((make.normal(*shape), weight))
    yield Sample((leaf(make.normal(3, 4).t()), leaf(make.normal(3, 2).t()), bias))
    yield Sample((leaf(make.normal(2, 3, 2).transpose(1, 2)), weight, bias))
    yield Sample((leaf(make.normal(4, 6)[:, ::2]), weight, leaf(make.normal(4)[::2])))
    yield Sample((leaf(make.normal(1, 3).expand(4, 3)), weight, leaf(make.normal(1).expand(2))))
    yield Sample((make.normal(4, 3), make.normal(1, 3), make.normal(1)))
    yield Sample((make.normal(4, 3), weight, make.normal(1)))
    yield Sample((make.normal(4, 3), weight, make.normal()))
    yield Sample((make.normal(4, 3), make.normal(3)))
    yield Sample((make.normal(3), make.normal(3)))
    yield Sample((make.normal(4, 3), make.normal(2, 3, grad=False), bias))
    yield Sample((make.normal(4, 3, grad=False), weight, bias))
    for rows in ((0, 3), (2, 0, 3)):
        yield Sample((make.normal(*rows), weight, bias))
    yield Sample((make.normal(4, 0), make.normal(2, 0), bias))
    yield Sample((make.normal(4, 3), make.normal(0, 3), make.normal(0)))
    yield Sample((make.values(INFINITY, 0.0, NAN), weight, bias), smooth=False)


X1, X2, W3 = torch.zeros(5, 3), torch.zeros(5, 4), torch.zeros(2, 3, 4)
X, W, B = torch.zeros(4, 3), torch.zeros(2, 3), torch.zeros(2)
LINEAR_ERRORS = (
    bad(TypeError, "expected input to be a tensor, got list", [1.0, 2.0, 3.0], W),
    bad(TypeError, "expected weight to be a tensor, got None", X, None),
    bad(TypeError, "expected bias to be a tensor", X, W, [1.0]),
    bad(RuntimeError, "expected input of shape (*, 3)", torch.zeros(4, 2), W, B),
    bad(RuntimeError, "expected input of shape (*, 3)", torch.zeros(3, 4), torch.zeros(3)),
    bad(RuntimeError, "expected input of shape (*, 3)", torch.zeros(()), W),
    bad(RuntimeError, "(out_features, in_features)", X, torch.zeros(2, 2, 3)),
    bad(RuntimeError, "(out_features, in_features)", X, torch.zeros(())),
    bad(RuntimeError, "expected bias of shape (2,)", X, W, torch.zeros(3)),
    bad(RuntimeError, "of one dtype", X, W.double()),
    bad(RuntimeError, "of one dtype", X, W, B.double()),
    bad(RuntimeError, "of one dtype", X.bfloat16(), W, B),
    bad(RuntimeError, "of one dtype", X.long(), W),
)


RECORDS = (
    Record(
        name="linear",
        custom=linear,
        builtin=F.linear,
        samples=linear_samples,
        functions=(LinearFunction,),
        errors=LINEAR_ERRORS,
        modules=[
            *module_pairs(Linear, nn.Linear, {}, sizes=(1, 1)),
            *module_pairs(Linear, nn.Linear, {}, {"bias": False}, {"dtype": torch.float64}, sizes=(5, 3)),
        ],
    ),
    Record(
        "bilinear",
        bilinear,
        F.bilinear,
        bilinear_samples,
        [BilinearFunction],
        errors=[
            bad(TypeError, "expected input1 to be a tensor", [1.0], X2, W3),
            bad(RuntimeError, "same leading dimensions", X1[:4], X2, W3),
            bad(RuntimeError, "inputs of 3 and 4 features", X1, X1, W3),
            bad(RuntimeError, "expected bias of shape (2,)", X1, X2, W3, torch.zeros(3)),
            bad(RuntimeError, "of one dtype", X1.double(), X2, W3),
        ],
        modules=module_pairs(
            Bilinear, nn.Bilinear, {}, {"bias": False}, {"dtype": torch.float64}, sizes=(3, 4, 2)
        ),
    ),
)
