"""RNN, LSTM and GRU as modules: what a layer is, and how states come and go.

Shapes: T times, B sequences, I features in, H hidden units, P features out of a direction (H, unless projected),
D directions, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from scratchnet.arguments import autocasts
from scratchnet.recurrent.base import RNNBase, States
from scratchnet.recurrent.elman import ElmanFunction
from scratchnet.recurrent.gru import GRUFunction
from scratchnet.recurrent.lstm import LSTMFunction
from scratchnet.recurrent.steps import Steps

__all__ = ["GRU", "LSTM", "RNN"]

Device = torch.device | str | None


class _OfOneState(RNNBase):
    """What networks with one state share: how it comes and goes."""

    def forward(
        self, input: Tensor | PackedSequence, hx: Tensor | None = None
    ) -> tuple[Tensor | PackedSequence, Tensor]:
        """Runs the sequences through the network.

        Args:
            input: tensor of shape ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, or ``(T, I)``; or a packed
                sequence.
            hx: the initial states, of shape ``(D · L, B, H)``, or ``(D · L, H)`` for one sequence; zero by
                default.

        Returns:
            The states of the last layer at all times, D · H features in the layout of the input, and the final
            states of all layers, in the shape of ``hx``.

        Raises:
            ValueError: if the input has neither two dimensions nor three, or another dtype than the parameters.
            RuntimeError: if sizes do not fit, or there is no time at all.
        """
        output, (final,) = self._run(input, None if hx is None else (hx,))
        return output, final


class RNN(_OfOneState):
    """An Elman network of one or more layers; see `elman` for the mathematics.

    Args:
        input_size: features of the input, I.
        hidden_size: hidden units, H.
        num_layers: layers, L.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        bias: whether to add the two biases of each layer and direction.
        batch_first: whether plain batches are ``(B, T, I)``, not ``(T, B, I)``. States are not concerned.
        dropout: probability with which an output of each layer but the last is zeroed in training.
        bidirectional: whether each layer is also walked in reverse.
        proj_size: not for this network.
        device: where the parameters live.
        dtype: their dtype.

    Raises:
        TypeError: if ``bias`` or ``batch_first`` is no boolean, or ``input_size`` no integer.
        ValueError: if a size or ``dropout`` is out of range, ``nonlinearity`` unknown, or ``proj_size`` given.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: int | None = None,
    ) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"RNN: expected nonlinearity to be 'tanh' or 'relu', got {nonlinearity!r}")
        _refuse_projection("RNN", proj_size)
        sizes = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__(f"RNN_{nonlinearity.upper()}", *sizes, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def _layer(self, x: Tensor, states: States, parameters: Sequence[Tensor], steps: Steps) -> States:
        weights = parameters if self.bias else (*parameters, None, None)
        return ElmanFunction.apply(x, *states, *weights, steps, self.nonlinearity == "relu")


class LSTM(RNNBase):
    """A long short-term memory of one or more layers; see `lstm` for the mathematics.

    Args:
        input_size: features of the input, I.
        hidden_size: units of the cell, H.
        num_layers: layers, L.
        bias: whether to add the two biases of each layer and direction.
        batch_first: whether plain batches are ``(B, T, I)``, not ``(T, B, I)``. States are not concerned.
        dropout: probability with which an output of each layer but the last is zeroed in training.
        bidirectional: whether each layer is also walked in reverse.
        proj_size: features P to which the hidden state is projected; 0 for no projection.
        device: where the parameters live.
        dtype: their dtype.

    Raises:
        TypeError: if ``bias`` or ``batch_first`` is no boolean, or ``input_size`` no integer.
        ValueError: if a size or ``dropout`` is out of range.
    """

    _states: ClassVar[int] = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Device = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        sizes = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional, proj_size
        super().__init__("LSTM", *sizes, device=device, dtype=dtype)

    def forward(
        self, input: Tensor | PackedSequence, hx: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Tensor | PackedSequence, tuple[Tensor, Tensor]]:
        """Runs the sequences through the network.

        Args:
            input: tensor of shape ``(T, B, I)``, ``(B, T, I)`` with ``batch_first``, or ``(T, I)``; or a packed
                sequence.
            hx: the initial hidden states, of shape ``(D · L, B, P)``, and cells, ``(D · L, B, H)``, both without
                B for one sequence; zero by default.

        Returns:
            The hidden states of the last layer at all times, D · P features in the layout of the input, and the
            final hidden states and cells of all layers, in the shapes of ``hx``.

        Raises:
            ValueError: if the input has neither two dimensions nor three, or another dtype than the parameters.
            RuntimeError: if sizes do not fit, ``hx`` is no pair, or there is no time at all.
        """
        if hx is not None and (isinstance(hx, Tensor) or len(hx) != 2):
            raise RuntimeError(f"LSTM: expected hx to be a pair of states, (h_0, c_0), got {type(hx).__name__}")
        output, (hidden, cell) = self._run(input, hx)
        return output, (hidden, cell)

    def _layer(self, x: Tensor, states: States, parameters: Sequence[Tensor], steps: Steps) -> States:
        *weights, projection = parameters if self.proj_size else (*parameters, None)
        biases = () if self.bias else (None, None)
        short = None
        if autocasts(x) and x.dtype is not torch.float64:
            # The built-in has one kernel for plain sequences without projection, all in the short dtype. Otherwise it
            # steps, and the cell, with the states that are not projected, keeps the longer dtype of the two.
            short = torch.get_autocast_dtype(x.device.type)
            stepped = steps.packed or self.proj_size
            x = x.to(torch.promote_types(short, states[1].dtype) if stepped else short)
        y, h, c = LSTMFunction.apply(x, *states, *weights, *biases, projection, steps)
        return (y.to(short), h.to(short), c) if short is not None and self.proj_size else (y, h, c)


class GRU(_OfOneState):
    """A network of gated recurrent units of one or more layers; see `gru` for the mathematics.

    Args:
        input_size: features of the input, I.
        hidden_size: hidden units, H.
        num_layers: layers, L.
        bias: whether to add the two biases of each layer and direction.
        batch_first: whether plain batches are ``(B, T, I)``, not ``(T, B, I)``. States are not concerned.
        dropout: probability with which an output of each layer but the last is zeroed in training.
        bidirectional: whether each layer is also walked in reverse.
        proj_size: not for this network.
        device: where the parameters live.
        dtype: their dtype.

    Raises:
        TypeError: if ``bias`` or ``batch_first`` is no boolean, or ``input_size`` no integer.
        ValueError: if a size or ``dropout`` is out of range, or ``proj_size`` is given.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Device = None,
        dtype: torch.dtype | None = None,
        *,
        proj_size: int | None = None,
    ) -> None:
        _refuse_projection("GRU", proj_size)
        sizes = input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional
        super().__init__("GRU", *sizes, device=device, dtype=dtype)

    def _layer(self, x: Tensor, states: States, parameters: Sequence[Tensor], steps: Steps) -> States:
        weights = parameters if self.bias else (*parameters, None, None)
        return GRUFunction.apply(x.to(states[0].dtype), *states, *weights, steps)


def _refuse_projection(name: str, proj_size: int | None) -> None:
    if proj_size is not None:
        raise ValueError(f"{name}: expected no proj_size, got {proj_size}; only LSTM has a projection")
