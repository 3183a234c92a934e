"""Linear layers, attention, embeddings, dropout, distances and kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
import torch.nn.functional as F

from reference.catalog import Make, Sample
from reference.speed.workload import op_workload
from reference.speed.workloads.sized import ELEMENTS, sized

__all__ = ["WORKLOADS"]

IMAGE = (128, 64, 12, 12)


def layer(rows: int, features: int, out: int, make: Make) -> Sample:
    weight = make.normal(out, features, scale=features**-0.5)
    return Sample((make.normal(rows, features), weight, make.normal(out)))


def pairs(rows: int, features: int, out: int, make: Make) -> Sample:
    x, y = make.normal(rows, features), make.normal(rows, features)
    return Sample((x, y, make.normal(out, features, features, scale=1 / features), make.normal(out)))


def heads(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape), make.normal(*shape)


def places(make: Make) -> Sample:
    return Sample((make.normal(*IMAGE), make.uniform(IMAGE[0], *IMAGE[2:], 2, low=-1.0)), {"align_corners": False})


def maps(make: Make) -> Sample:
    return Sample((make.normal(IMAGE[0], 2, 3), IMAGE), {"align_corners": False})


def experts(tokens: int, width: int, count: int, make: Make) -> Sample:
    """Makes tokens, split evenly between experts, and the experts' weights."""
    ends = torch.arange(1, count + 1, dtype=torch.int32) * (tokens // count)
    weights = make.normal(count, width, width, scale=width**-0.5)
    return Sample((make.normal(tokens, width), weights), {"offs": ends})


def in_float8(width: int, make: Make) -> Sample:
    one = torch.tensor(1.0)
    a, b = (make.normal(width, width, grad=False).to(torch.float8_e4m3fn) for _ in range(2))
    recipe = F.ScalingType.TensorWise
    return Sample((a, b.t(), one, recipe, one, recipe), {"output_dtype": torch.float32})


def lookups(count: int, rows: int, width: int, make: Make) -> Sample:
    return Sample((make.labels(count, classes=rows), make.normal(rows, width)))


def bags(count: int, rows: int, width: int, make: Make) -> Sample:
    return Sample((make.labels(count // 8, 8, classes=rows), make.normal(rows, width)))


def packed_heads(times: int, batch: int, width: int, count: int, make: Make) -> Sample:
    x = make.normal(times, batch, width)
    weight = make.normal(3 * width, width, scale=width**-0.5)
    out = make.normal(width, width, scale=width**-0.5)
    packed = (weight, make.normal(3 * width), None, None, False, 0.0, out, make.normal(width))
    return Sample((x, x, x, width, count, *packed), {"need_weights": False})


def two_sets(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape)


def drop(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 0.5, True


def numbers(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.labels(*shape, classes=100), 100


VECTORS = ((2, 4), (128, 64), (8192, 512))

WORKLOADS = (
    *(
        op_workload("linear", f"({rows},{features})·{out}", partial(layer, rows, features, out))
        for rows, features, out in ((1, 4, 4), (128, 784, 512), (128, 256, 10), (4096, 1024, 1024))
    ),
    op_workload("grouped_mm", "(1024,256)·256 by 8", partial(experts, 1024, 256, 8)),
    op_workload("scaled_mm", "(256,256)·256", partial(in_float8, 256), compiles=False),
    op_workload("grid_sample", f"{IMAGE}", places),
    op_workload("affine_grid", f"{IMAGE}", maps),
    op_workload("bilinear", "(128,64)·(128,64)·32", partial(pairs, 128, 64, 32)),
    *sized("scaled_dot_product_attention", ((1, 1, 4, 4), (8, 8, 128, 64), (2, 8, 1024, 64)), heads),
    *sized("scaled_dot_product_attention", ((2, 8, 1024, 64),), heads, is_causal=True),
    op_workload("multi_head_attention_forward", "T128 B16 E256 H8", partial(packed_heads, 128, 16, 256, 8)),
    *(
        op_workload("embedding", f"{n} of ({rows},{width})", partial(lookups, n, rows, width))
        for n, rows, width in ((4, 10, 4), (4096, 1000, 128), (4096, 32_000, 256))
    ),
    op_workload("embedding_bag", "4096 of (1000,128) in eights", partial(bags, 4096, 1000, 128), compiles=False),
    *sized("one_hot", ((4,), (65_536,)), numbers),
    *sized("dropout", ELEMENTS, drop),
    *sized("dropout1d", ((128, 64, 256),), drop),
    *sized("dropout2d", (IMAGE,), drop),
    *sized("dropout3d", ((8, 16, 8, 8, 8),), drop),
    *sized("alpha_dropout", ELEMENTS[1:], drop),
    *sized("feature_alpha_dropout", (IMAGE,), drop),
    *sized("cosine_similarity", VECTORS, two_sets),
    *sized("pairwise_distance", VECTORS, two_sets),
    *sized("pdist", ((4, 4), (128, 64), (512, 64))),
    *(w for p in (1.0, float("inf")) for w in sized("pdist", ((512, 64),), p=p)),
    *sized("cdist", VECTORS[:2], two_sets),
    *(w for op in ("linear_kernel", "polynomial_kernel", "rbf_kernel") for w in sized(op, VECTORS[:2], two_sets)),
)
