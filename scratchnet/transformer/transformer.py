"""Stacks of transformer layers, and the encoder and decoder that make a transformer.

Shapes: S positions of the source, T of the target, B samples, E features.

Source: A. Vaswani et al., "Attention is all you need", 2017.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from scratchnet.activations import relu
from scratchnet.arguments import describe
from scratchnet.layers import LayerNorm
from scratchnet.transformer.layers import Activation, TransformerDecoderLayer, TransformerEncoderLayer

__all__ = ["Transformer", "TransformerDecoder", "TransformerEncoder"]

Maybe = Tensor | None


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


class _Stack(nn.Module):
    """Copies of one layer, and a normalization after the last."""

    __constants__ = ["norm"]

    def __init__(self, layer: nn.Module, num_layers: int, norm: nn.Module | None) -> None:
        super().__init__()
        self.layers = nn.ModuleList([copy.deepcopy(layer) for _ in range(num_layers)])
        self.num_layers = num_layers
        self.norm = norm

    def _normalized(self, x: Tensor) -> Tensor:
        return x if self.norm is None else self.norm(x)


class TransformerEncoder(_Stack):
    """A stack of encoder layers.

    Args:
        encoder_layer: the layer, of which each place gets a copy.
        num_layers: how many there are.
        norm: applied to the last one's output.
        enable_nested_tensor: taken for PyTorch's sake; nothing here is nested.
        mask_check: likewise.
    """

    def __init__(
        self,
        encoder_layer: nn.Module,
        num_layers: int,
        norm: nn.Module | None = None,
        enable_nested_tensor: bool = True,
        mask_check: bool = True,
    ) -> None:
        super().__init__(encoder_layer, num_layers, norm)
        self.enable_nested_tensor = enable_nested_tensor
        self.mask_check = mask_check

    def forward(
        self,
        src: Tensor,
        mask: Maybe = None,
        src_key_padding_mask: Maybe = None,
        is_causal: bool | None = None,
    ) -> Tensor:
        """Applies the layers one after the other.

        Args:
            src: tensor of shape ``(S, B, E)``, ``(B, S, E)`` with ``batch_first``, or ``(S, E)``.
            mask: positions that a position may not look at, ``(S, S)``.
            src_key_padding_mask: positions that none may look at, ``(B, S)``.
            is_causal: whether ``mask`` is the causal one; found out if None.
        """
        causal = _is_causal(mask, is_causal)
        for layer in self.layers:
            src = layer(src, src_mask=mask, src_key_padding_mask=src_key_padding_mask, is_causal=causal)
        return self._normalized(src)


class TransformerDecoder(_Stack):
    """A stack of decoder layers.

    Args:
        decoder_layer: the layer, of which each place gets a copy.
        num_layers: how many there are.
        norm: applied to the last one's output.
    """

    def __init__(self, decoder_layer: nn.Module, num_layers: int, norm: nn.Module | None = None) -> None:
        super().__init__(decoder_layer, num_layers, norm)

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
        """Applies the layers one after the other; arguments as `TransformerDecoderLayer.forward`."""
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
        return self._normalized(tgt)


class Transformer(nn.Module):
    """An encoder of the source, and a decoder of the target that attends to what the encoder made.

    Args:
        d_model: E.
        nhead: the heads of each attention, which divide E.
        num_encoder_layers: the layers of the encoder.
        num_decoder_layers: the layers of the decoder.
        dim_feedforward: the hidden features of the feed-forward networks.
        dropout: probability of an element to be dropped.
        activation: of the feed-forward networks: ``"relu"``, ``"gelu"`` or a function of a tensor.
        custom_encoder: takes the encoder's place.
        custom_decoder: takes the decoder's place.
        layer_norm_eps: added to the variances of the normalizations.
        batch_first: whether the batch is the first dimension, not the second.
        norm_first: whether a block's input is normalized, not its output.
        bias: whether linear layers and normalizations have biases.
        device: where the parameters live.
        dtype: their dtype.
    """

    def __init__(
        self,
        d_model: int = 512,
        nhead: int = 8,
        num_encoder_layers: int = 6,
        num_decoder_layers: int = 6,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: Activation = relu,
        custom_encoder: Any | None = None,
        custom_decoder: Any | None = None,
        layer_norm_eps: float = 1e-5,
        batch_first: bool = False,
        norm_first: bool = False,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        options = (d_model, nhead, dim_feedforward, dropout, activation, layer_norm_eps, batch_first, norm_first)
        place: dict[str, Any] = {"bias": bias, "device": device, "dtype": dtype}

        def norm() -> LayerNorm:
            return LayerNorm(d_model, eps=layer_norm_eps, **place)

        if custom_encoder is None:
            custom_encoder = TransformerEncoder(
                TransformerEncoderLayer(*options, **place), num_encoder_layers, norm()
            )
        if custom_decoder is None:
            custom_decoder = TransformerDecoder(
                TransformerDecoderLayer(*options, **place), num_decoder_layers, norm()
            )
        self.encoder = custom_encoder
        self.decoder = custom_decoder
        self._reset_parameters()
        self.d_model = d_model
        self.nhead = nhead
        self.batch_first = batch_first

    def _reset_parameters(self) -> None:
        for parameter in self.parameters():
            if parameter.dim() > 1:
                nn.init.xavier_uniform_(parameter)

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
        """Encodes the source and decodes the target; a tensor of the target's shape.

        Raises:
            RuntimeError: if source and target differ in their batch, or have not E features.
        """
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

    @staticmethod
    def generate_square_subsequent_mask(
        sz: int, device: torch.device | None = None, dtype: torch.dtype | None = None
    ) -> Tensor:
        """The causal mask of ``sz`` positions: -∞ where a key comes after its query, 0 elsewhere."""
        return _causal_mask(sz, device, dtype)
