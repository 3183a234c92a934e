"""RNN, LSTM and GRU over sequences, and their cells, which are one step.

Shapes: T times, B sequences, I features in, H hidden units, P features out of a direction (H, unless projected),
D directions, L layers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence

from scratchnet import functional as F
from scratchnet.arguments import autocasts, describe, integer, tensor, truth
from scratchnet.recurrent.elman import ElmanFunction
from scratchnet.recurrent.gru import GRUFunction
from scratchnet.recurrent.lstm import LSTMFunction
from scratchnet.recurrent.steps import Steps

__all__ = ["GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase"]

States = tuple[Tensor, ...]


class RNNBase(torch.nn.RNNBase):
    """Checks inputs and walks through layers and directions; a subclass says what a layer is."""

    _states: ClassVar[int] = 1

    def __new__(cls, *arguments: Any, **options: Any) -> RNNBase:
        # Dynamo refuses whatever derives from torch's recurrent networks, whose kernels it cannot trace; ours it can.
        from torch._dynamo import config  # slow to import, and needed by no other module

        config.allow_rnn = True
        return super().__new__(cls)

    def __setstate__(self, state: dict[str, Any]) -> None:
        if "_flat_weights_names" not in state:  # pickled before the networks derived from torch's
            names = [name for layer in state["_all_weights"] for name in layer]
            weights = [state["_parameters"][name] for name in names]
            state = {**state, "_flat_weights_names": names, "_flat_weights": weights}
        super().__setstate__(state)

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _features(self) -> int:
        return self.proj_size or self.hidden_size

    def _layer(self, x: Tensor, states: States, parameters: Sequence[Tensor], steps: Steps) -> States:
        """One layer in one direction: the outputs of all rows, and the final states."""
        raise NotImplementedError

    def _run(self, input: Tensor | PackedSequence, hx: States | None) -> tuple[Tensor | PackedSequence, States]:
        """The network on a plain or a packed batch: outputs, and final states."""
        if isinstance(input, PackedSequence):
            # How many sequences have each time is data, which the compiler does not know.
            packed = torch.compiler.disable(self._packed) if torch.compiler.is_compiling() else self._packed
            return packed(input, hx)
        if tensor(type(self).__name__, input).dim() not in (2, 3):
            raise ValueError(
                f"{type(self).__name__}: expected an input of shape {self._wanted()} or, for one sequence, "
                f"(T, I), got {describe(input)}"
            )
        batched = input.dim() == 3
        self._check_input(input, 2 if batched else 1)
        turned = batched and self.batch_first
        times = input.transpose(0, 1) if turned else input if batched else input.unsqueeze(1)
        length, batch, features = times.shape
        states = self._initial(input, hx, batch, batched)
        rows, states = self._stack(times.reshape(length * batch, features), states, (batch,) * length)
        if not batched:
            return rows, tuple(state.squeeze(1) for state in states)
        output = rows.view(length, batch, rows.shape[1])
        return output.transpose(0, 1) if turned else output, states

    def _packed(self, input: PackedSequence, hx: States | None) -> tuple[PackedSequence, States]:
        self._check_input(input.data, 1)
        sizes = tuple(input.batch_sizes.tolist())
        batch = sizes[0] if sizes else 0 if hx is None else hx[0].shape[1]
        states = self._initial(input.data, hx, batch, batched=True)
        if input.sorted_indices is not None and hx is not None:
            states = tuple(state.index_select(1, input.sorted_indices) for state in states)
        rows, states = self._stack(input.data, states, sizes, packed=True)
        if input.unsorted_indices is not None:
            states = tuple(state.index_select(1, input.unsorted_indices) for state in states)
        return input._replace(data=rows), states

    def _stack(
        self, x: Tensor, states: States, sizes: tuple[int, ...], packed: bool = False
    ) -> tuple[Tensor, States]:
        """All layers on rows: what the last one puts out, and the final states of all; no times leave the states."""
        if not sizes:
            return x.new_zeros(0, self._directions * self._features), tuple(state.clone() for state in states)
        initial = list(zip(*[state.unbind(0) for state in states], strict=True))
        finals = []
        for layer in range(self.num_layers):
            outputs = []
            for direction in range(self._directions):
                at = layer * self._directions + direction
                weights = [getattr(self, name) for name in self._all_weights[at]]
                y, *final = self._layer(x, initial[at], weights, Steps(sizes, direction == 1, packed))
                outputs.append(y)
                finals.append(final)
            x = outputs[0] if len(outputs) == 1 else torch.cat(outputs, 1)
            if layer < self.num_layers - 1:
                x = F.dropout(x, self.dropout, self.training)
        return x, tuple(torch.stack(state) for state in zip(*finals, strict=True))

    def _initial(self, input: Tensor, hx: States | None, batch: int, batched: bool) -> States:
        """The initial states of all layers and directions, checked; zero where none are given."""
        count = self.num_layers * self._directions
        wanted = [(count, batch, self._features), (count, batch, self.hidden_size)]
        if hx is None:
            return tuple(input.new_zeros(shape) for shape in wanted[: self._states])
        for state, shape in zip(hx, wanted, strict=False):
            expected = shape if batched else (shape[0], shape[2])
            if tensor(type(self).__name__, state, "hx").shape != expected:
                raise RuntimeError(
                    f"{type(self).__name__}: expected a state of shape {expected} for an input of shape "
                    f"{tuple(input.shape)}, got {describe(state)}"
                )
            if state.dtype is not input.dtype and not autocasts(input):
                raise RuntimeError(
                    f"{type(self).__name__}: expected input and states of one dtype, got {describe(input)} and "
                    f"{describe(state)}"
                )
        return hx if batched else tuple(state.unsqueeze(1) for state in hx)

    def _wanted(self) -> str:
        return "(B, T, I)" if self.batch_first else "(T, B, I)"

    def _check_input(self, x: Tensor, leading: int) -> None:
        """Dtype, dimensions and features of an input."""
        name, weight = type(self).__name__, self.all_weights[0][0]
        for option in ("bias", "batch_first", "bidirectional"):
            truth(name, getattr(self, option), option)
        if x.dtype is not weight.dtype and not autocasts(x):
            raise ValueError(
                f"{name}: expected an input in the parameters' dtype, {weight.dtype}, got {describe(x)}; convert "
                f"the input with .to({weight.dtype}), or the network with .to({x.dtype})"
            )
        if x.dim() != leading + 1:
            raise RuntimeError(f"{name}: expected packed data of shape (N, I), got {describe(x)}")
        if x.shape[-1] != self.input_size:
            raise RuntimeError(
                f"{name}: expected an input of {self.input_size} features in its last dimension, the network's "
                f"input_size, got {describe(x)}"
            )


class _OfOneState(RNNBase):
    """Takes and returns one state, where an LSTM has two."""

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
            RuntimeError: if sizes do not fit.
        """
        output, (final,) = self._run(input, None if hx is None else (hx,))
        return output, final


class RNN(_OfOneState, torch.nn.RNN):  # type: ignore[misc]  # one forward for both
    def _layer(self, x: Tensor, states: States, parameters: Sequence[Tensor], steps: Steps) -> States:
        weights = parameters if self.bias else (*parameters, None, None)
        return ElmanFunction.apply(x, *states, *weights, steps, self.nonlinearity == "relu")


class LSTM(RNNBase, torch.nn.LSTM):
    _states: ClassVar[int] = 2

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
            RuntimeError: if sizes do not fit, or ``hx`` is no pair.
        """
        if hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise RuntimeError(f"LSTM: expected hx to be a pair of states, (h_0, c_0), got {type(hx).__name__}")
        output, (hidden, cell) = self._run(input, hx)
        return output, (hidden, cell)

    def _layer(self, x: Tensor, states: States, parameters: Sequence[Tensor], steps: Steps) -> States:
        short = None
        if autocasts(x) and x.dtype is not torch.float64:
            # The built-in has one kernel for plain sequences without projection, all in the short dtype. Otherwise it
            # steps, and the cell, with the states that are not projected, keeps the longer dtype of the two.
            short = torch.get_autocast_dtype(x.device.type)
            stepped = steps.packed or self.proj_size
            x = x.to(torch.promote_types(short, states[1].dtype) if stepped else short)
        *weights, projection = parameters if self.proj_size else (*parameters, None)
        biases = () if self.bias else (None, None)
        y, h, c = LSTMFunction.apply(x, *states, *weights, *biases, projection, steps)
        return (y.to(short), h.to(short), c) if short is not None and self.proj_size else (y, h, c)


class GRU(_OfOneState, torch.nn.GRU):  # type: ignore[misc]  # one forward for both
    def _layer(self, x: Tensor, states: States, parameters: Sequence[Tensor], steps: Steps) -> States:
        weights = parameters if self.bias else (*parameters, None, None)
        return GRUFunction.apply(x.to(states[0].dtype), *states, *weights, steps)


class RNNCellBase(torch.nn.RNNCellBase):
    states: ClassVar[int] = 1

    def _rows(self, input: Tensor, hx: Sequence[Tensor] | None) -> tuple[Tensor, list[Tensor], Steps]:
        """Input and states in rows, checked; the states are zero where none are given."""
        name = type(self).__name__
        if tensor(name, input).dim() not in (1, 2):
            raise ValueError(f"{name}: expected an input of shape (B, I) or (I,), got {describe(input)}")
        for state in hx or ():
            if tensor(name, state, "hx").dim() not in (1, 2):
                raise ValueError(f"{name}: expected hx of shape (B, H) or (H,), got {describe(state)}")
        if input.shape[-1] != integer(name, self.input_size, "input_size"):
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


class RNNCell(RNNCellBase, torch.nn.RNNCell):
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


class LSTMCell(RNNCellBase, torch.nn.LSTMCell):
    states: ClassVar[int] = 2

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        """The next hidden state and the next cell.

        Args:
            input: tensor of shape ``(B, I)`` or ``(I,)``.
            hx: the hidden state and the cell, each of shape ``(B, H)`` or ``(H,)``; zero by default.

        Returns:
            Two tensors of the states' shape.

        Raises:
            TypeError: if ``hx`` is no pair.
            ValueError: if a tensor has neither one dimension nor two.
            RuntimeError: if sizes or dtypes do not fit.
        """
        if hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise TypeError(f"LSTMCell: expected hx to be a pair of states, (h_0, c_0), got {type(hx).__name__}")
        x, (h, c), steps = self._rows(input, hx)
        parameters = self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        y, _, cell = LSTMFunction.apply(x.to(c.dtype), h, c, *parameters, None, steps)
        return (y, cell) if input.dim() == 2 else (y.squeeze(0), cell.squeeze(0))


class GRUCell(RNNCellBase, torch.nn.GRUCell):
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
