"""Transformers: modules without a functional form, compared as functions of their inputs and all their parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reference.catalog.record import BadInput, Make, Record, Sample
from scratchnet import nn as transformer
from scratchnet.nn import LayerNorm

__all__ = ["RECORDS"]

# Normalizing four features, which may all be nearly alike, magnifies without bound what came before; eight seldom are.
WIDTH = 8
SIZES: dict[str, Any] = {"d_model": WIDTH, "nhead": 2, "dim_feedforward": 6, "dropout": 0.0}
OPTIONS: dict[str, dict[str, Any]] = {
    "plain": SIZES,
    "norm first": SIZES | {"norm_first": True, "activation": "gelu", "layer_norm_eps": 0.1},
    "batch first": SIZES | {"batch_first": True, "bias": False, "activation": "gelu"},
    "dropout": SIZES | {"dropout": 0.3},
}
Build = Callable[..., nn.Module]


def stack(stacked: Callable[..., nn.Module], layer: Build, norm: Build, **options: Any) -> nn.Module:
    """Two layers, and a normalization after them."""
    return stacked(layer(**options), 2, norm(WIDTH, device="meta"))


def applied(build: Build) -> Callable[..., Tensor]:
    """The modules that a call builds from each set of options, as a function of inputs, parameters and options.

    They are built without memory, and draw no random numbers.
    """
    built = {kind: build(**options, device="meta") for kind, options in OPTIONS.items()}

    def call(*tensors: Tensor, kind: str, inputs: int, **options: Any) -> Tensor:
        module = built[kind]
        names = [name for name, _ in module.named_parameters()]
        state = dict(zip(names, tensors[inputs:], strict=True))
        return torch.func.functional_call(module, state, tensors[:inputs], options)

    return call


def samples(build: Build, names: tuple[str, ...], make: Make) -> Iterator[Sample]:
    """Each set of options, with and without a batch, masks of both kinds.

    The biases hold a rectifier's inputs away from its kink, on either side: a rounding that takes one across sends
    back another gradient altogether.
    """
    parts = {kind: build(**options, device="meta") for kind, options in OPTIONS.items()}

    def call(kind: str, *inputs: Tensor, **options: Any) -> Sample:
        parameters = [
            make.values(*(4.0 * (-1) ** i for i in range(len(p))))
            if name.endswith("linear1.bias")
            else make.normal(*p.shape, scale=WIDTH**-0.5)
            for name, p in parts[kind].named_parameters()
        ]
        # The derivatives of the parts are held against finite differences; here there are too many of them.
        return Sample((*inputs, *parameters), {"kind": kind, "inputs": len(inputs), **options}, smooth=False)

    def sequences(*shape: int) -> list[Tensor]:
        return [make.normal(*shape) for _ in names]

    causal = nn.Transformer.generate_square_subsequent_mask(3).to(make.dtype)
    masks = {f"{names[-1]}_mask" if names[-1] != "mask" else "mask": causal}
    yield call("plain", *sequences(3, 2, WIDTH))
    yield call("norm first", *sequences(3, 2, WIDTH), **masks)
    yield call("batch first", *sequences(2, 3, WIDTH), **masks)
    yield call("plain", *sequences(3, WIDTH))
    yield call("dropout", *sequences(3, 2, WIDTH))


def record(
    name: str,
    ours: Build,
    theirs: Build,
    names: tuple[str, ...],
    modules: list[tuple[Build, Build]],
    errors: tuple[BadInput, ...] = (),
) -> Record:
    """One module. Under vmap dropout draws other random numbers; the built-in's attention has a backward alone."""
    return Record(
        name,
        applied(ours),
        applied(theirs),
        partial(samples, theirs, names),
        (),
        errors=errors,
        builtin_lacks=frozenset({"double backward", "forward mode", "vmap"}),
        # A dozen ops round between each other, on either side. In twenty draws of all samples in the short dtypes ours
        # is off by more than twice the built-in and one rounding in 159 of 40 080 quantities, and the built-in by more
        # than twice ours and one rounding in 417; with four roundings it is 8 of ours.
        roundings=4,
        modules=modules,
    )


def both(ours: Build, theirs: Build, *options: dict[str, Any]) -> list[tuple[Build, Build]]:
    """Both modules with each set of options."""
    return [(partial(ours, **each), partial(theirs, **each)) for each in options]


ENCODERS: tuple[Build, Build] = (
    partial(stack, transformer.TransformerEncoder, transformer.TransformerEncoderLayer, LayerNorm),
    partial(
        stack, partial(nn.TransformerEncoder, enable_nested_tensor=False), nn.TransformerEncoderLayer, nn.LayerNorm
    ),
)
DECODERS: tuple[Build, Build] = (
    partial(stack, transformer.TransformerDecoder, transformer.TransformerDecoderLayer, LayerNorm),
    partial(stack, nn.TransformerDecoder, nn.TransformerDecoderLayer, nn.LayerNorm),
)


def built_in_transformer(**options: Any) -> nn.Module:
    """PyTorch's, without its word about nested tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Transformer(num_encoder_layers=1, num_decoder_layers=1, **options)


TRANSFORMERS: tuple[Build, Build] = (
    partial(transformer.Transformer, num_encoder_layers=1, num_decoder_layers=1),
    built_in_transformer,
)
SMALL = OPTIONS["batch first"] | {"norm_first": True}


def bad(says: str, *shapes: tuple[int, ...]) -> BadInput:
    """A transformer's source and target that do not fit."""

    def call() -> tuple[tuple[Any, ...], dict[str, Any]]:
        parameters = [torch.zeros(p.shape) for p in TRANSFORMERS[1](**SIZES).parameters()]
        return (*map(torch.zeros, shapes), *parameters), {"kind": "plain", "inputs": 2}

    return BadInput(call, RuntimeError, says)


RECORDS = (
    record(
        "TransformerEncoderLayer",
        transformer.TransformerEncoderLayer,
        nn.TransformerEncoderLayer,
        ("src",),
        both(transformer.TransformerEncoderLayer, nn.TransformerEncoderLayer, SIZES, SMALL),
    ),
    record(
        "TransformerDecoderLayer",
        transformer.TransformerDecoderLayer,
        nn.TransformerDecoderLayer,
        ("tgt", "memory"),
        both(transformer.TransformerDecoderLayer, nn.TransformerDecoderLayer, SIZES, SMALL),
    ),
    record("TransformerEncoder", *ENCODERS, ("mask",), both(*ENCODERS, SMALL)),
    record("TransformerDecoder", *DECODERS, ("tgt", "memory"), both(*DECODERS, SMALL)),
    record(
        "Transformer",
        *TRANSFORMERS,
        ("src", "tgt"),
        both(*TRANSFORMERS, SIZES),
        errors=(
            bad(f"of one batch and {WIDTH} features", (3, 2, WIDTH), (3, 1, WIDTH)),
            bad(f"of one batch and {WIDTH} features", (3, 2, 5), (3, 2, 5)),
        ),
    ),
)
