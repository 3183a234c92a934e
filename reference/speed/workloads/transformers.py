"""Transformers and their layers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import nn

import scratchnet.nn as ours
from reference.catalog import Make, Sample
from reference.speed.workload import op_workload

__all__ = ["WORKLOADS"]

BATCH, TIMES, WIDTH = 16, 64, 128
SIZES: dict[str, Any] = {"d_model": WIDTH, "nhead": 4, "dim_feedforward": 256, "dropout": 0.0, "batch_first": True}


def layer(namespace: Any, name: str) -> nn.Module:
    module: nn.Module = getattr(namespace, name)(**SIZES)
    return module


def stack(namespace: Any, name: str) -> nn.Module:
    module: nn.Module = getattr(namespace, name)(layer(namespace, f"{name}Layer"), 2)
    return module


def whole(namespace: Any, name: str) -> nn.Module:
    """Returns a transformer with one encoder and one decoder layer."""
    module: nn.Module = getattr(namespace, name)(num_encoder_layers=1, num_decoder_layers=1, **SIZES)
    return module


def both(build: Callable[[Any, str], nn.Module], name: str) -> tuple[nn.Module, nn.Module]:
    """Returns ours and PyTorch's with the same parameters."""
    with warnings.catch_warnings(), torch.random.fork_rng(devices=()):
        warnings.simplefilter("ignore")  # PyTorch's warns about nested tensors
        torch.manual_seed(0)
        custom, builtin = build(ours, name), build(torch.nn, name)
    custom.load_state_dict(builtin.state_dict())
    return custom, builtin


def sequences(count: int, make: Make) -> Sample:
    return Sample(tuple(make.normal(BATCH, TIMES, WIDTH) for _ in range(count)))


WORKLOADS = tuple(
    op_workload(name, f"B{BATCH} T{TIMES} E{WIDTH}", partial(sequences, count), sides=partial(both, build, name))
    for name, build, count in (
        ("TransformerEncoderLayer", layer, 1),
        ("TransformerDecoderLayer", layer, 2),
        ("TransformerEncoder", stack, 1),
        ("TransformerDecoder", stack, 2),
        ("Transformer", whole, 2),
    )
)
