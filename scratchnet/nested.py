"""Jagged nested tensors: batches of sequences of different lengths, one after the other in one tensor of values."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nested._internal.nested_tensor import NestedTensor

__all__ = ["is_jagged", "on_values"]

# What treats each element of the values alike, or each vector along a dimension that is not ragged.
ROWWISE = frozenset(
    """
    alpha_dropout bilinear binary_cross_entropy binary_cross_entropy_with_logits celu cosine_similarity dropout elu
    embedding gelu glu hardshrink hardsigmoid hardswish hardtanh huber_loss kl_div l1_loss layer_norm leaky_relu linear
    log_softmax logsigmoid mish mse_loss normalize one_hot pairwise_distance poisson_nll_loss relu relu6 rms_norm rrelu
    selu sigmoid silu smooth_l1_loss soft_margin_loss softmax softmin softplus softshrink softsign tanh tanhshrink
    threshold
    """.split()
)


def is_jagged(value: Any) -> bool:
    """Whether the argument is a nested tensor of the jagged layout."""
    return isinstance(value, NestedTensor)  # reading an attribute would call modes


def on_values(form: Callable[..., Any], args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Calls a functional form on the values of its nested tensors, and nests the result as they are.

    Attention, and what reduces along the sequences, is computed sequence by sequence.

    Raises:
        RuntimeError: if the sequences differ in length among the arguments, or the form reduces along the batch.
        NotImplementedError: if the form works neither row by row nor sequence by sequence.
    """
    op = form.__name__
    call = inspect.signature(form).bind(*args, **kwargs)
    call.apply_defaults()
    given = {name: x for name, x in call.arguments.items() if is_jagged(x)}
    first = next(iter(given.values()))
    ragged, dim = first._ragged_idx, call.arguments.get("dim")
    attention = op == "scaled_dot_product_attention" and set(given) == {"query", "key", "value"}
    if op not in ROWWISE and not attention:
        raise NotImplementedError(
            f"{op}: expected no nested tensor for {', '.join(given)}; use .unbind() or .to_padded_tensor(...)"
        )
    if not attention and any(x.shape[: ragged + 1] != first.shape[: ragged + 1] for x in given.values()):
        shapes = ", ".join(f"{name} of shape {tuple(x.shape)}" for name, x in given.items())
        raise RuntimeError(f"{op}: expected nested tensors of the same sequence lengths, got {shapes}")
    if isinstance(dim, int):
        dim %= first.dim()
        if dim == 0:
            raise RuntimeError(f"{op}: expected dim other than that of a nested tensor's batch, got 0")
        call.arguments["dim"] = dim - 1
    if attention or dim == ragged:
        sequences = zip(*(x.unbind() for x in given.values()), strict=True)
        each = [form(**{**call.arguments, **dict(zip(given, one, strict=True))}) for one in sequences]
        return _nested(torch.cat(each, ragged - 1), first)
    values = {name: x.values() for name, x in given.items()}
    y = form(**{**call.arguments, **values})
    return first if any(y is v for v in values.values()) else _nested(y, first) if y.dim() else y


def _nested(values: Tensor, like: Any) -> Tensor:
    return torch.nested.nested_tensor_from_jagged(
        values,
        like.offsets(),
        like.lengths(),
        jagged_dim=like._ragged_idx,
        min_seqlen=like._maybe_min_seqlen,
        max_seqlen=like._maybe_max_seqlen,
    )
