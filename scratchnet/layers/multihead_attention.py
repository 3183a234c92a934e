"""Multi-head attention as a layer: its projections, and what it may do besides."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.layers.linear import Linear
from scratchnet.layers.multi_head_attention import multi_head_attention_forward

__all__ = ["MultiheadAttention", "NonDynamicallyQuantizableLinear"]

Maybe = Tensor | None


class NonDynamicallyQuantizableLinear(Linear):
    """`Linear` under the name that PyTorch gives the output projection, so that both layers print alike."""


class MultiheadAttention(nn.Module):
    """`multi_head_attention_forward` with its projections as parameters, which start as PyTorch draws them.

    Args:
        embed_dim: E, the features of queries and of the output.
        num_heads: H, which divides E.
        dropout: probability of an attention weight to be dropped in training.
        bias: whether the projections have biases.
        add_bias_kv: whether to learn a key and a value that are appended to all others.
        add_zero_attn: whether to append a key and a value of zeros.
        kdim: the features of the keys, E by default.
        vdim: the features of the values, E by default.
        batch_first: whether the batch is the first dimension of inputs and output, not the second.
        device: where the parameters live.
        dtype: their dtype.
    """

    __constants__ = ["batch_first"]

    in_proj_weight: nn.Parameter | None
    in_proj_bias: nn.Parameter | None
    q_proj_weight: nn.Parameter | None
    k_proj_weight: nn.Parameter | None
    v_proj_weight: nn.Parameter | None
    bias_k: nn.Parameter | None
    bias_v: nn.Parameter | None

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        dropout: float = 0.0,
        bias: bool = True,
        add_bias_kv: bool = False,
        add_zero_attn: bool = False,
        kdim: int | None = None,
        vdim: int | None = None,
        batch_first: bool = False,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"MultiheadAttention: expected embed_dim and num_heads of at least 1, got {embed_dim} and {num_heads}"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError(
                f"MultiheadAttention: expected an embed_dim that {num_heads} heads divide, got {embed_dim}"
            )

        def parameter(name: str, *shape: int, wanted: bool = True) -> None:
            values = nn.Parameter(torch.empty(shape, device=device, dtype=dtype)) if wanted else None
            self.register_parameter(name, values)

        same = self._qkv_same_embed_dim
        if same:
            parameter("in_proj_weight", 3 * embed_dim, embed_dim)
        for name, inputs in (("q", embed_dim), ("k", self.kdim), ("v", self.vdim)):
            parameter(f"{name}_proj_weight", embed_dim, inputs, wanted=not same)
        if not same:
            parameter("in_proj_weight", wanted=False)
        parameter("in_proj_bias", 3 * embed_dim, wanted=bias)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias, device, dtype)
        parameter("bias_k", 1, 1, embed_dim, wanted=add_bias_kv)
        parameter("bias_v", 1, 1, embed_dim, wanted=add_bias_kv)
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self) -> None:
        for weight in (self.in_proj_weight, self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
            if weight is not None:
                nn.init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            nn.init.zeros_(self.in_proj_bias)
            nn.init.zeros_(self.out_proj.bias)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                nn.init.xavier_normal_(bias)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Fills in what layers pickled by PyTorch 1.1 lack."""
        super().__setstate__({"_qkv_same_embed_dim": True, **state})

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Maybe = None,
        need_weights: bool = True,
        attn_mask: Maybe = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Maybe]:
        """Applies `multi_head_attention_forward`, whose arguments these are."""
        swap = self.batch_first and query.dim() == 3
        if swap:
            together = query is key and key is value
            query = query.transpose(0, 1)
            key, value = (query, query) if together else (key.transpose(0, 1), value.transpose(0, 1))
        y, weights = multi_head_attention_forward(
            query,
            key,
            value,
            self.embed_dim,
            self.num_heads,
            self.in_proj_weight,
            self.in_proj_bias,
            self.bias_k,
            self.bias_v,
            self.add_zero_attn,
            self.dropout,
            self.out_proj.weight,
            self.out_proj.bias,
            training=self.training,
            key_padding_mask=key_padding_mask,
            need_weights=need_weights,
            attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight,
            k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight,
            average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )
        return (y.transpose(0, 1) if swap else y), weights
