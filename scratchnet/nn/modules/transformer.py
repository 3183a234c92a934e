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

import torch
from torch import Tensor

from scratchnet.arguments import describe
from scratchnet.nn.modules.activation import MultiheadAttention
from scratchnet.nn.modules.adoption import adopting
from scratchnet.nn.modules.dropout import Dropout
from scratchnet.nn.modules.linear import Linear, NonDynamicallyQuantizableLinear
from scratchnet.nn.modules.normalization import LayerNorm

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]

Maybe = Tensor | None
PARTS = (MultiheadAttention, Linear, NonDynamicallyQuantizableLinear, Dropout, LayerNorm)


def _causal_mask(size: int, device: torch.device | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """-∞ above the diagonal, 0 elsewhere."""
    blocked = torch.full((size, size), float("-inf"), device=device, dtype=dtype)
    places = torch.arange(size, device=device)
    return blocked.masked_fill(places <= places.unsqueeze(1), 0)


def _is_causal(mask: Maybe, hint: bool | None) -> bool:
    """The hint, or where there is none whether the mask is the causal one."""
    if hint is not None or mask is None:
        return hint is True
    if mask.dim() != 2 or mask.shape[0] != mask.shape[1] or not mask.is_floating_point():
        return False
    return bool((mask == _causal_mask(mask.shape[0], mask.device, mask.dtype)).all())


class TransformerEncoderLayer(torch.nn.TransformerEncoderLayer):
    __init__ = adopting(torch.nn.TransformerEncoderLayer.__init__, *PARTS)

    def forward(
        self, src: Tensor, src_mask: Maybe = None, src_key_padding_mask: Maybe = None, is_causal: bool = False
    ) -> Tensor:
        masks = src_mask, src_key_padding_mask, is_causal
        if self.norm_first:
            x = src + self._sa_block(self.norm1(src), *masks)
            return x + self._ff_block(self.norm2(x))
        x = self.norm1(src + self._sa_block(src, *masks))
        return self.norm2(x + self._ff_block(x))


class TransformerDecoderLayer(torch.nn.TransformerDecoderLayer):
    __init__ = adopting(torch.nn.TransformerDecoderLayer.__init__, *PARTS)

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
        own = tgt_mask, tgt_key_padding_mask, tgt_is_causal
        across = memory_mask, memory_key_padding_mask, memory_is_causal
        if self.norm_first:
            x = tgt + self._sa_block(self.norm1(tgt), *own)
            x = x + self._mha_block(self.norm2(x), memory, *across)
            return x + self._ff_block(self.norm3(x))
        x = self.norm1(tgt + self._sa_block(tgt, *own))
        x = self.norm2(x + self._mha_block(x, memory, *across))
        return self.norm3(x + self._ff_block(x))


class TransformerEncoder(torch.nn.TransformerEncoder):
    __init__ = adopting(torch.nn.TransformerEncoder.__init__)

    def forward(
        self,
        src: Tensor,
        mask: Maybe = None,
        src_key_padding_mask: Maybe = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        causal = _is_causal(mask, is_causal)
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=causal)
        return src if self.norm is None else self.norm(src)


class TransformerDecoder(torch.nn.TransformerDecoder):
    def forward(
        self,
        tgt: Tensor,
        memory: Tensor,
        tgt_mask: Maybe = None,
        memory_mask: Maybe = None,
        tgt_key_padding_mask: Maybe = None,
        memory_key_padding_mask: Maybe = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        causal = _is_causal(tgt_mask, tgt_is_causal)
        for layer in self.layers:
            tgt = layer(
                tgt,
                memory,
                tgt_mask=tgt_mask,
                memory_mask=memory_mask,
                tgt_key_padding_mask=tgt_key_padding_mask,
                memory_key_padding_mask=memory_key_padding_mask,
                tgt_is_causal=causal,
                memory_is_causal=memory_is_causal,
            )
        return tgt if self.norm is None else self.norm(tgt)


class Transformer(torch.nn.Transformer):
    __init__ = adopting(
        torch.nn.Transformer.__init__,
        *PARTS,
        TransformerEncoderLayer,
        TransformerDecoderLayer,
        TransformerEncoder,
        TransformerDecoder,
    )

    def forward(
        self,
        src: Tensor,
        tgt: Tensor,
        src_mask: Maybe = None,
        tgt_mask: Maybe = None,
        memory_mask: Maybe = None,
        src_key_padding_mask: Maybe = None,
        tgt_key_padding_mask: Maybe = None,
        memory_key_padding_mask: Maybe = None,
        src_is_causal: bool | None = None,
        tgt_is_causal: bool | None = None,
        memory_is_causal: bool = False,
    ) -> Tensor:
        batch = 0 if self.batch_first else 1
        if (src.dim() == 3 and src.shape[batch] != tgt.shape[batch]) or not (
            src.shape[-1] == tgt.shape[-1] == self.d_model
        ):
            raise RuntimeError(
                f"Transformer: expected src and tgt of one batch and {self.d_model} features, got {describe(src)} "
                f"and {describe(tgt)}"
            )
        memory = self.encoder(
            src, mask=src_mask, src_key_padding_mask=src_key_padding_mask, is_causal=src_is_causal
        )
        return self.decoder(
            tgt,
            memory,
            tgt_mask=tgt_mask,
            memory_mask=memory_mask,
            tgt_key_padding_mask=tgt_key_padding_mask,
            memory_key_padding_mask=memory_key_padding_mask,
            tgt_is_causal=tgt_is_causal,
            memory_is_causal=memory_is_causal,
        )
