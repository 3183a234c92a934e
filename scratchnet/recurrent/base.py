r"""What RNN, LSTM and GRU share: layers on layers, in one direction or two, over plain or packed batches.

Layer 0 reads the input, every further layer the output of the one below, through dropout where it is asked for.
With two directions each layer is walked forward and in reverse by parameters of their own, and the two outputs
stand side by side. What a layer is, the subclass says.

Shapes: T times, B sequences, I features in, H hidden units, P features out of a direction (H, unless projected),
D directions, L layers.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from scratchnet.arguments import autocasts, describe, tensor
from scratchnet.layers.dropout import dropout
from scratchnet.recurrent.steps import Steps

__all__ = ["RNNBase"]

States = tuple[Tensor, ...]
GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


class RNNBase(nn.Module):
    r"""Parameters, checks and the walk through layers and directions.

    All parameters start uniform between :math:`\pm 1 / \sqrt{H}`, drawn as PyTorch draws them.

    Args:
        mode: ``"LSTM"``, ``"GRU"``, ``"RNN_TANH"`` or ``"RNN_RELU"``.
        input_size: features of the input, I.
        hidden_size: hidden units, H.
        num_layers: layers, L.
        bias: whether to add the two biases of each layer and direction.
        batch_first: whether plain batches are ``(B, T, I)``, not ``(T, B, I)``. States are not concerned.
        dropout: probability with which an output of each layer but the last is zeroed in training.
        bidirectional: whether each layer is also walked in reverse.
        proj_size: features P to which the hidden state of an LSTM is projected; 0 for no projection.
        device: where the parameters live.
        dtype: their dtype.

    Raises:
        TypeError: if ``bias`` or ``batch_first`` is no boolean, or ``input_size`` no integer.
        ValueError: if a size or ``dropout`` is out of range.
    """

    __constants__ = [
        "batch_first",
        "bias",
        "bidirectional",
        "dropout",
        "hidden_size",
        "input_size",
        "mode",
        "num_layers",
        "proj_size",
    ]

    _states: ClassVar[int] = 1

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        _check_dropout(dropout, num_layers)
        for name, flag in (("bias", bias), ("batch_first", batch_first)):
            if not isinstance(flag, bool):
                raise TypeError(f"{type(self).__name__}: expected {name} to be True or False, got {flag!r}")
        if not isinstance(input_size, int):
            raise TypeError(f"{type(self).__name__}: expected input_size to be an integer, got {input_size!r}")
        for name, size in (("input_size", input_size), ("hidden_size", hidden_size), ("num_layers", num_layers)):
            if size <= 0:
                raise ValueError(f"{type(self).__name__}: expected {name} to be at least 1, got {size}")
        if not 0 <= proj_size < hidden_size:
            raise ValueError(
                f"{type(self).__name__}: expected proj_size to be 0, for none, or smaller than "
                f"hidden_size={hidden_size}, got {proj_size}"
            )
        if mode not in GATES:
            raise ValueError(f"RNNBase: expected mode to be one of {', '.join(GATES)}, got {mode!r}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._all_weights: list[list[str]] = []
        for layer in range(num_layers):
            for direction in range(self._directions):
                shapes = self._shapes(input_size if layer == 0 else self._directions * self._features)
                suffix = f"_l{layer}{'_reverse' if direction else ''}"
                for name, shape in shapes.items():
                    setattr(self, name + suffix, nn.Parameter(torch.empty(shape, device=device, dtype=dtype)))
                self._all_weights.append([name + suffix for name in shapes])
        self.reset_parameters()

    @property
    def _directions(self) -> int:
        return 2 if self.bidirectional else 1

    @property
    def _features(self) -> int:
        return self.proj_size or self.hidden_size

    @property
    def all_weights(self) -> list[list[nn.Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def _shapes(self, features: int) -> dict[str, tuple[int, ...]]:
        """The parameters of one layer and direction."""
        rows = GATES[self.mode] * self.hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, features), "weight_hh": (rows, self._features)}
        if self.bias:
            shapes |= {"bias_ih": (rows,), "bias_hh": (rows,)}
        if self.proj_size:
            shapes["weight_hr"] = (self.proj_size, self.hidden_size)
        return shapes

    def reset_parameters(self) -> None:
        """Draws new parameters."""
        bound = 1 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Does nothing: there is no memory layout that these networks prefer."""

    def extra_repr(self) -> str:
        """The sizes, and the options that differ from the default."""
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False, "dropout": 0.0}
        defaults["bidirectional"] = False
        changed = [f"{k}={getattr(self, k)}" for k, default in defaults.items() if getattr(self, k) != default]
        return ", ".join([str(self.input_size), str(self.hidden_size), *changed])

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
        states = self._initial(input.data, hx, sizes[0], batched=True)
        if input.sorted_indices is not None and hx is not None:
            states = tuple(state.index_select(1, input.sorted_indices) for state in states)
        rows, states = self._stack(input.data, states, sizes, packed=True)
        if input.unsorted_indices is not None:
            states = tuple(state.index_select(1, input.unsorted_indices) for state in states)
        return input._replace(data=rows), states

    def _stack(
        self, x: Tensor, states: States, sizes: tuple[int, ...], packed: bool = False
    ) -> tuple[Tensor, States]:
        """All layers on rows: what the last one puts out, and the final states of all."""
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
                x = dropout(x, self.dropout, self.training)
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
        """Dtype, dimensions, features and length of an input."""
        name, weight = type(self).__name__, self.all_weights[0][0]
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
        if x.shape[1 if leading == 2 and self.batch_first else 0] == 0:
            raise RuntimeError(f"{name}: expected at least one time, got {describe(x)}")


def _check_dropout(dropout: float, num_layers: int) -> None:
    if isinstance(dropout, bool) or not isinstance(dropout, numbers.Number) or not 0 <= dropout <= 1:
        raise ValueError(f"dropout: expected a probability between 0 and 1, got {dropout!r}")
    if dropout > 0 and num_layers == 1:
        warnings.warn(
            f"dropout={dropout} has no effect on a single layer: it acts between layers; give num_layers of at "
            "least 2, or dropout=0",
            stacklevel=4,
        )
