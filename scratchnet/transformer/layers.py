r"""One layer of a transformer: attention and a feed-forward network, each added to what it was given.

.. math::
    x \leftarrow \operatorname{norm}(x + \operatorname{block}(x)) \qquad \text{or, with norm\_first,} \qquad
    x \leftarrow x + \operatorname{block}(\operatorname{norm}(x))

An encoder's layer has the blocks self-attention and :math:`W_2\, \phi(W_1 x + b_1) + b_2`; a decoder's attends to the
encoder's output, the memory, between the two. All gradients are those of the layers it is made of.

In evaluation, PyTorch may run a fused kernel instead, which gives the same numbers up to rounding, and zeros where
``src_key_padding_mask`` hides a position in all layers; here such positions keep the values that the equations give.

Shapes: S positions of the source, T of the target, B samples, E features.

Sources: A. Vaswani et al., "Attention is all you need", 2017; for ``norm_first``, R. Xiong et al., "On layer
normalization in the transformer architecture", 2020.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.activations import relu
from scratchnet.activations.gelu import gelu
from scratchnet.arguments import describe
from scratchnet.layers import Dropout, LayerNorm, Linear, MultiheadAttention

__all__ = ["Activation", "TransformerDecoderLayer", "TransformerEncoderLayer"]

Activation = str | Callable[[Tensor], Tensor]
Maybe = Tensor | None


def _activation(name: Activation) -> Callable[[Tensor], Tensor]:
    """The function of that name, or the one given."""
    if not isinstance(name, str):
        return name
    known: dict[str, Callable[[Tensor], Tensor]] = {"relu": relu, "gelu": gelu}
    if name not in known:
        raise RuntimeError(
            f"transformer: expected activation to be 'relu', 'gelu' or a function, got {describe(name)}"
        )
    return known[name]


class _Layer(nn.Module):
    """What both kinds of layer share; they are built in the order in which PyTorch draws its parameters."""

    __constants__ = ["norm_first"]
    _attentions: tuple[str, ...]

    self_attn: MultiheadAttention
    multihead_attn: MultiheadAttention

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = relu,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        place: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}
        for name in self._attentions:
            attention = MultiheadAttention(d_model, nhead, dropout=dropout, batch_first=batch_first, **place)
            self.add_module(name, attention)
        self.linear1 = Linear(d_model, dim_feedforward, **place)
        self.dropout = Dropout(dropout)
        self.linear2 = Linear(dim_feedforward, d_model, **place)
        self.norm_first = norm_first
        blocks = range(1, len(self._attentions) + 2)
        for i in blocks:
            self.add_module(f"norm{i}", LayerNorm(d_model, eps=layer_norm_eps, **place))
        for i in blocks:
            self.add_module(f"dropout{i}", Dropout(dropout))
        self.activation = _activation(activation)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fills in the activation, which layers pickled by early PyTorch lack."""
        super().__setstate__({"activation": relu, **state})

    def _add(self, x: Tensor, block: Callable[[Tensor], Tensor], i: int) -> Tensor:
        """The input and what a block makes of it, normalized before or after."""
        norm, dropout = getattr(self, f"norm{i}"), getattr(self, f"dropout{i}")
        return x + dropout(block(norm(x))) if self.norm_first else norm(x + dropout(block(x)))

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.linear2(self.dropout(self.activation(self.linear1(x))))


def _attend(attention: nn.Module, x: Tensor, memory: Tensor, mask: Maybe, padding: Maybe, causal: bool) -> Tensor:
    y, _ = attention(
        x, memory, memory, attn_mask=mask, key_padding_mask=padding, need_weights=False, is_causal=causal
    )
    return y


class TransformerEncoderLayer(_Layer):
    """Self-attention and a feed-forward network.

    Args:
        d_model: E.
        nhead: the heads of the attention, which divide E.
        dim_feedforward: the hidden features of the feed-forward network.
        dropout: probability of an element to be dropped, in attention weights and after each block.
        activation: of the feed-forward network: ``"relu"``, ``"gelu"`` or a function of a tensor.
        layer_norm_eps: added to the variances of the normalizations.
        batch_first: whether the batch is the first dimension, not the second.
        norm_first: whether a block's input is normalized, not its output.
        bias: whether linear layers and normalizations have biases.
        device: where the parameters live.
        dtype: their dtype.

    Raises:
        RuntimeError: if the activation has an unknown name.
    """

    _attentions = ("self_attn",)

    def forward(
        self, src: Tensor, src_mask: Maybe = None, src_key_padding_mask: Maybe = None, is_causal: bool = False
    ) -> Tensor:
        """Applies the layer.

        Args:
            src: tensor of shape ``(S, B, E)``, ``(B, S, E)`` with ``batch_first``, or ``(S, E)``.
            src_mask: positions that a position may not look at, ``(S, S)`` or ``(B · heads, S, S)``.
            src_key_padding_mask: positions that none may look at, ``(B, S)``.
            is_causal: a hint that ``src_mask`` is the causal one.
        """
        masks = src_mask, src_key_padding_mask, is_causal
        x = self._add(src, lambda x: _attend(self.self_attn, x, x, *masks), 1)
        return self._add(x, self._feed_forward, 2)


class TransformerDecoderLayer(_Layer):
    """Self-attention, attention to the memory, and a feed-forward network; arguments as `TransformerEncoderLayer`."""

    _attentions = ("self_attn", "multihead_attn")

    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Maybe = None,
        memory_mask: Maybe = None,
        tgt_key_padding_mask: Maybe = None,
        memory_key_padding_mask: Maybe = None,
        tgt_is_causal: bool = False,
        memory_is_causal: bool = False,
    ) -> Tensor:
        """Applies the layer.

        Args:
            tgt: tensor of shape ``(T, B, E)``, ``(B, T, E)`` with ``batch_first``, or ``(T, E)``.
            memory: what the encoder returned, with S in place of T.
            tgt_mask: positions of the target that a position may not look at, ``(T, T)``.
            memory_mask: positions of the memory that a position may not look at, ``(T, S)``.
            tgt_key_padding_mask: positions of the target that none may look at, ``(B, T)``.
            memory_key_padding_mask: positions of the memory that none may look at, ``(B, S)``.
            tgt_is_causal: a hint that ``tgt_mask`` is the causal one.
            memory_is_causal: a hint that ``memory_mask`` is the causal one.
        """
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        across = memory_mask, memory_key_padding_mask, memory_is_causal
        x = self._add(tgt, lambda x: _attend(self.self_attn, x, x, *own), 1)
        x = self._add(x, lambda x: _attend(self.multihead_attn, x, memory, *across), 2)
        return self._add(x, self._feed_forward, 3)
