"""The option ``--models`` of both command lines: compares two models layer by layer."""

from __future__ import annotations

import argparse
import copy
from typing import Any

import torch
from torch import nn

from scratchnet.testing.commandline_values import Misuse, argument, find_device, renamed, resolve, tensor, try_call
from scratchnet.testing.models import ModelComparison, compare_models

__all__ = ["examine_models"]


def examine_models(options: argparse.Namespace) -> ModelComparison:
    """Compares the two models that ``--models`` names, each made after the same seed.

    Raises:
        Misuse: if a name, shape or argument is none, or a model cannot be made or does not take these inputs.
    """
    refused = {
        "a name": getattr(options, "name", None) or getattr(options, "names", None),
        "--custom": options.custom,
        "--builtin": options.builtin,
        "--require": options.require,
        "--thorough": options.thorough,
        "--dtype": options.dtype,
    }
    for what, given in refused.items():
        if given:
            raise Misuse(f"--models: expected --shape, --arg, --map and --device alone beside it, got {what} too")
    if not options.shape:
        raise Misuse("expected a --shape for each input, such as --shape 8,16")
    arguments, device = dict(argument(text) for text in options.arg), find_device(options.device)
    generator = torch.Generator().manual_seed(0)
    inputs = [tensor(text, torch.float64, generator).to(device) for text in options.shape]
    models = [_model(name, arguments).to(device) for name in options.models]
    for name, model in zip(options.models, models, strict=True):
        try_call(name, copy.deepcopy(model).double(), inputs, {})
    return compare_models(*models, *inputs, map=dict(renamed(text) for text in options.map))


def _model(name: str, arguments: dict[str, Any]) -> nn.Module:
    found = resolve(name)
    torch.manual_seed(0)
    try:
        model = found if isinstance(found, nn.Module) else found(**arguments)
    except Exception as error:  # whatever a function of someone else's raises
        raise Misuse(f"making {name} raises {type(error).__name__}: {error}; see --arg") from error
    if not isinstance(model, nn.Module):
        raise Misuse(f"expected {name} to make a torch.nn.Module, got {type(model).__name__}")
    return model
