"""Losses of numbers, classes, vectors and sequences."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from reference.catalog import Make, Sample
from reference.speed.workload import op_workload
from reference.speed.workloads.sized import ELEMENTS, TINY, sized
from scratchnet.losses.linear_cross_entropy import linear_cross_entropy

__all__ = ["SCORES", "TOKENS", "WORKLOADS", "unfused_in_words"]

SCORES = ((128, 10), (8192, 1000))
VECTORS = ((128, 64), (8192, 512))
TOKENS = ((512, 128, 1000), (4096, 512, 32_000))


def targets(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape, grad=False)


def distributions(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.uniform(*shape, low=0.1, grad=False)


def probabilities(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.uniform(*shape, low=0.1, high=0.9), make.uniform(*shape, grad=False)


def variances(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape, grad=False), make.uniform(*shape, low=0.1)


def signs(make: Make, *shape: int) -> Tensor:
    return 2.0 * make.labels(*shape, classes=2) - 1.0


def signed(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), signs(make, *shape)


def ranked(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape), signs(make, *shape)


def classes(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.labels(*shape[:-1], classes=shape[-1])


def log_probabilities(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape).detach().log_softmax(-1).requires_grad_(), make.labels(shape[0], classes=shape[-1])


def label_sets(make: Make, *shape: int) -> tuple[Any, ...]:
    """Makes scores, and up to three classes for each row, followed by -1."""
    labels = torch.full(shape, -1)
    labels[:, :3] = torch.rand(shape, generator=make.generator).argsort(-1)[:, :3]
    return make.normal(*shape), labels


def binary_labels(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), 1.0 * make.labels(*shape, classes=2)


def two_vectors(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape), signs(make, shape[0])


def three_vectors(make: Make, *shape: int) -> tuple[Any, ...]:
    return make.normal(*shape), make.normal(*shape), make.normal(*shape)


def transcripts(times: int, batch: int, labels: int, length: int, make: Make) -> Sample:
    """Makes logits of a batch of sequences, and the labels to spell."""
    spelled = 1 + make.labels(batch, length, classes=labels - 1)
    lengths = torch.full((batch,), times), torch.full((batch,), length)
    return Sample((make.normal(times, batch, labels), spelled, *lengths))


def tokens(count: int, width: int, vocabulary: int, make: Make) -> Sample:
    """Makes hidden states, the weight of the vocabulary, and the next token."""
    weight = make.normal(vocabulary, width, scale=width**-0.5)
    return Sample((make.normal(count, width), weight, make.labels(count, classes=vocabulary)))


def tokens_in_words(count: int, width: int, vocabulary: int) -> str:
    return f"{count} tokens, {width} wide, {vocabulary} classes"


def unfused_in_words(count: int, width: int, vocabulary: int) -> str:
    return f"{tokens_in_words(count, width, vocabulary)}, against linear then cross entropy"


def linear_then_cross_entropy(x: Tensor, weight: Tensor, target: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(x, weight), target)


def fused() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns both fused losses; the built-in with its own chunks, as its module calls it."""
    options = torch.nn.LinearCrossEntropyOptions()
    return linear_cross_entropy, partial(F.linear_cross_entropy, options=options)


def against_two_steps() -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Returns our fused loss and the built-in's linear layer followed by cross entropy."""
    return linear_cross_entropy, linear_then_cross_entropy


WORKLOADS = (
    *(w for op in ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss") for w in sized(op, ELEMENTS, targets)),
    *sized("kl_div", ELEMENTS, distributions, reduction="batchmean"),
    *sized("poisson_nll_loss", ELEMENTS, distributions),
    *sized("gaussian_nll_loss", ELEMENTS, variances),
    *sized("binary_cross_entropy", ELEMENTS, probabilities),
    *sized("binary_cross_entropy_with_logits", ELEMENTS, binary_labels),
    *(w for op in ("soft_margin_loss", "hinge_embedding_loss") for w in sized(op, ELEMENTS, signed)),
    *sized("margin_ranking_loss", ELEMENTS, ranked),
    *sized("nll_loss", SCORES, log_probabilities),
    *sized("cross_entropy", (TINY, *SCORES), classes),
    *sized("multi_margin_loss", SCORES, classes),
    *sized("multilabel_margin_loss", ((128, 10), (128, 100)), label_sets),
    *sized("multilabel_soft_margin_loss", SCORES, binary_labels),
    *sized("cosine_embedding_loss", VECTORS, two_vectors),
    *sized("triplet_margin_loss", VECTORS, three_vectors),
    *sized("triplet_margin_with_distance_loss", VECTORS, three_vectors),
    *(
        op_workload("ctc_loss", f"T{t} B{b} C{c} L{n}", partial(transcripts, t, b, c, n), compiles=False)
        for t, b, c, n in ((20, 4, 10, 5), (100, 32, 40, 20))
    ),
    *(
        op_workload("linear_cross_entropy", words(*sizes), partial(tokens, *sizes), sides=sides)
        for sizes in TOKENS
        for words, sides in ((unfused_in_words, against_two_steps), (tokens_in_words, fused))
    ),
)
