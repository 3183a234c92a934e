"""Transformers, compared as functions of their inputs and all their parameters."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from reference.catalog.record import BadInput, Make, Record, Sample, bad, module_pairs
from scratchnet import nn as transformer
from scratchnet.nn import LayerNorm

__all__ = ["RECORDS"]

# Normalizing nearly equal features magnifies errors without bound; four features may be nearly equal, eight seldom are.
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
    """Returns two layers followed by a normalization."""
    return stacked(layer(**options), 2, norm(WIDTH, device="meta"))


def applied(build: Build) -> Callable[..., Tensor]:
    """Returns a module as a function of its inputs and parameters, with a set of options chosen by ``kind``.

    The modules are built on the meta device, without memory and random numbers.
    """
    built = {kind: build(**options, device="meta") for kind, options in OPTIONS.items()}

    def call(*tensors: Tensor, kind: str, inputs: int, **options: Any) -> Tensor:
        module = built[kind]
        names = [name for name, _ in module.named_parameters()]
        state = dict(zip(names, tensors[inputs:], strict=True))
        return torch.func.functional_call(module, state, tensors[:inputs], options)

    return call


def samples(build: Build, names: tuple[str, ...], make: Make) -> Iterator[Sample]:
    """Yields each set of options, with and without a batch and masks.

    The biases keep a rectifier's inputs away from its kink, where a rounding could switch the gradient.
    """
    parts = {kind: build(**options, device="meta") for kind, options in OPTIONS.items()}

    def call(kind: str, *inputs: Tensor, **options: Any) -> Sample:
        parameters = [
            make.values(*(4.0 * (-1) ** i for i in range(len(p))))
            if name.endswith("linear1.bias")
            else make.normal(*p.shape, scale=WIDTH**-0.5)
            for name, p in parts[kind].named_parameters()
        ]
        # The parts are compared with finite differences; here there would be too many.
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
    """Returns a record. With dropout vmap draws other numbers; the built-in's attention has only a backward."""
    return Record(
        name,
        applied(ours),
        applied(theirs),
        partial(samples, theirs, names),
        (),
        errors=errors,
        builtin_lacks=frozenset({"double backward", "forward mode", "vmap"}),
        # Both sides round between a dozen ops. Over twenty draws of all samples in the short dtypes, our error exceeds
        # twice the built-in's plus one rounding in 159 of 40,080 quantities, and the built-in's exceeds twice ours plus
        # one rounding in 417; with four roundings ours exceeds it in 8.
        roundings=4,
        modules=modules,
    )


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
    """Returns PyTorch's transformer without its warning about nested tensors."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.Transformer(num_encoder_layers=1, num_decoder_layers=1, **options)


TRANSFORMERS: tuple[Build, Build] = (
    partial(transformer.Transformer, num_encoder_layers=1, num_decoder_layers=1),
    built_in_transformer,
)
SMALL = OPTIONS["batch first"] | {"norm_first": True}


def bad_sizes(says: str, *shapes: tuple[int, ...]) -> BadInput:
    """Returns a call of a transformer whose source and target have these shapes."""
    parameters = [torch.zeros(p.shape) for p in built_in_transformer(**SIZES, device="meta").parameters()]
    return bad(RuntimeError, says, *map(torch.zeros, shapes), *parameters, kind="plain", inputs=2)


RECORDS = (
    record(
        "TransformerEncoderLayer",
        transformer.TransformerEncoderLayer,
        nn.TransformerEncoderLayer,
        ("src",),
        module_pairs(transformer.TransformerEncoderLayer, nn.TransformerEncoderLayer, SIZES, SMALL),
    ),
    record(
        "TransformerDecoderLayer",
        transformer.TransformerDecoderLayer,
        nn.TransformerDecoderLayer,
        ("tgt", "memory"),
        module_pairs(transformer.TransformerDecoderLayer, nn.TransformerDecoderLayer, SIZES, SMALL),
    ),
    record("TransformerEncoder", *ENCODERS, ("mask",), module_pairs(*ENCODERS, SMALL)),
    record("TransformerDecoder", *DECODERS, ("tgt", "memory"), module_pairs(*DECODERS, SMALL)),
    record(
        "Transformer",
        *TRANSFORMERS,
        ("src", "tgt"),
        module_pairs(*TRANSFORMERS, SIZES),
        errors=(
            bad_sizes(f"of one batch and {WIDTH} features", (3, 2, WIDTH), (3, 1, WIDTH)),
            bad_sizes(f"of one batch and {WIDTH} features", (3, 2, 5), (3, 2, 5)),
        ),
    ),
)
