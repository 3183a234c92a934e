"""Transformers, which are composed of attention, linear layers, normalization, dropout and an activation."""

from scratchnet.transformer.layers import TransformerDecoderLayer, TransformerEncoderLayer
from scratchnet.transformer.transformer import Transformer, TransformerDecoder, TransformerEncoder

__all__ = [
    "Transformer",
    "TransformerDecoder",
    "TransformerDecoderLayer",
    "TransformerEncoder",
    "TransformerEncoderLayer",
]
