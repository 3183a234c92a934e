"""The cells: one step of a recurrence, which is a sequence of length 1.

A cell applies the same Function as the whole network, with all rows of the batch at one time; see `elman`, `lstm`
and `gru` for the mathematics. Use a cell where the next input depends on the last output; where the inputs are
known beforehand, the whole network takes a fraction of the time, since it multiplies all of them at once.

Shapes: B sequences, I features in, H hidden units; the parameters are of shape ``(G · H, I)``, ``(G · H, H)`` and
``(G · H,)`` with G = 1 for the plain cell, 4 for the LSTM and 3 for the GRU.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from scratchnet.arguments import autocasts, describe, tensor
from scratchnet.recurrent.elman import ElmanFunction
from scratchnet.recurrent.gru import GRUFunction
from scratchnet.recurrent.lstm import LSTMFunction
from scratchnet.recurrent.steps import Steps

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(nn.Module):
    r"""What all cells share: the parameters, which start uniform between :math:`\pm 1 / \sqrt{H}`, and the checks.

    Args:
        input_size: features of the input, I.
        hidden_size: hidden units, H.
        bias: whether to add the two biases.
        num_chunks: the number of gates, G.
        device: where the parameters live.
        dtype: their dtype.
    """

    __constants__ = ["bias", "hidden_size", "input_size"]

    states: ClassVar[int] = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = nn.Parameter(torch.empty(rows, input_size, device=device, dtype=dtype))
        self.weight_hh = nn.Parameter(torch.empty(rows, hidden_size, device=device, dtype=dtype))
        if bias:
            self.bias_ih = nn.Parameter(torch.empty(rows, device=device, dtype=dtype))
            self.bias_hh = nn.Parameter(torch.empty(rows, device=device, dtype=dtype))
        else:
            self.register_parameter("bias_ih", None)
            self.register_parameter("bias_hh", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new parameters."""
        bound = 1 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        """The sizes, and the options that differ from the default."""
        shown = f"{self.input_size}, {self.hidden_size}"
        return shown if self.bias is True else f"{shown}, bias={self.bias}"

    def _rows(self, input: Tensor, hx: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor], Steps]:
        """Input and states in rows, checked; the states are zero where none are given."""
        name = type(self).__name__
        if tensor(name, input).dim() not in (1, 2):
            raise ValueError(f"{name}: expected an input of shape (B, I) or (I,), got {describe(input)}")
        for state in hx or ():
            if tensor(name, state, "hx").dim() not in (1, 2):
                raise ValueError(f"{name}: expected hx of shape (B, H) or (H,), got {describe(state)}")
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{name}: expected an input of {self.input_size} features in its last dimension, the cell's "
                f"input_size, got {describe(input)}"
            )
        x = input if input.dim() == 2 else input.unsqueeze(0)
        if hx is None:
            states = [x.new_zeros(x.shape[0], self.hidden_size)] * self.states
        else:
            states = [state if input.dim() == 2 else state.unsqueeze(0) for state in hx]
        for given, state in zip(hx or (), states, strict=False):
            if state.shape != (x.shape[0], self.hidden_size):
                wanted = (*input.shape[:-1], self.hidden_size)
                raise RuntimeError(
                    f"{name}: expected hx of shape {wanted} for an input of shape {tuple(input.shape)}, got "
                    f"{describe(given)}"
                )
        dtypes = {x.dtype, self.weight_ih.dtype, *(state.dtype for state in states)}
        if len(dtypes) > 1 and not autocasts(x):
            raise RuntimeError(
                f"{name}: expected input, hx and parameters of one dtype, got {describe(input)} for parameters in "
                f"{self.weight_ih.dtype}; convert the input with .to({self.weight_ih.dtype})"
            )
        return x, states, Steps((x.shape[0],))


class RNNCell(RNNCellBase):
    r"""One step of an Elman network: :math:`h' = \phi(W_{ih} x + b_{ih} + W_{hh} h + b_{hh})`.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        bias: whether to add the two biases.
        nonlinearity: ``"tanh"`` or ``"relu"``.
        device: where the parameters live.
        dtype: their dtype.
    """

    __constants__ = ["bias", "hidden_size", "input_size", "nonlinearity"]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=1, device=device, dtype=dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state.

        Args:
            input: tensor of shape ``(B, I)`` or ``(I,)``.
            hx: the state, of shape ``(B, H)`` or ``(H,)``; zero by default.

        Returns:
            A tensor of the state's shape.

        Raises:
            ValueError: if a tensor has neither one dimension nor two.
            RuntimeError: if sizes or dtypes do not fit, or ``nonlinearity`` is unknown.
        """
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"RNNCell: expected nonlinearity to be 'tanh' or 'relu', got {self.nonlinearity!r}")
        x, (h,), steps = self._rows(input, None if hx is None else (hx,))
        parameters = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        y, _ = ElmanFunction.apply(x, h, *parameters, steps, self.nonlinearity == "relu")
        return y if input.dim() == 2 else y.squeeze(0)

    def extra_repr(self) -> str:
        """The sizes, and the options that differ from the default."""
        shown = super().extra_repr()
        return shown if self.nonlinearity == "tanh" else f"{shown}, nonlinearity={self.nonlinearity}"


class LSTMCell(RNNCellBase):
    """One step of a long short-term memory.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        bias: whether to add the two biases.
        device: where the parameters live.
        dtype: their dtype.
    """

    states: ClassVar[int] = 2

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=4, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next hidden state and the next cell.

        Args:
            input: tensor of shape ``(B, I)`` or ``(I,)``.
            hx: the hidden state and the cell, each of shape ``(B, H)`` or ``(H,)``; zero by default.

        Returns:
            Two tensors of the states' shape.

        Raises:
            ValueError: if a tensor has neither one dimension nor two.
            RuntimeError: if sizes or dtypes do not fit.
        """
        x, (h, c), steps = self._rows(input, hx)
        parameters = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        y, _, cell = LSTMFunction.apply(x.to(c.dtype), h, c, *parameters, None, steps)
        return (y, cell) if input.dim() == 2 else (y.squeeze(0), cell.squeeze(0))


class GRUCell(RNNCellBase):
    """One step of a gated recurrent unit.

    Args:
        input_size: features of the input.
        hidden_size: hidden units.
        bias: whether to add the two biases.
        device: where the parameters live.
        dtype: their dtype.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, num_chunks=3, device=device, dtype=dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        """The next state.

        Args:
            input: tensor of shape ``(B, I)`` or ``(I,)``.
            hx: the state, of shape ``(B, H)`` or ``(H,)``; zero by default.

        Returns:
            A tensor of the state's shape.

        Raises:
            ValueError: if a tensor has neither one dimension nor two.
            RuntimeError: if sizes or dtypes do not fit.
        """
        x, (h,), steps = self._rows(input, None if hx is None else (hx,))
        y, _ = GRUFunction.apply(
            x.to(h.dtype), h, self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh, steps
        )
        return y if input.dim() == 2 else y.squeeze(0)
