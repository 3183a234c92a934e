"""Finds which neural-network kernels of PyTorch a model still runs, and in which module."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Kernel", "Purity", "purity", "tensors"]

# What the names of aten's neural-network kernels hold; everything else is arithmetic.
NETWORK = re.compile(
    r"conv(olution|_tbc|_depthwise|_transpose|_dilated|\dd)|(batch|layer|group|instance|rms|weight)_norm|renorm"
    r"|dropout|pool|softmax|logsumexp|sigmoid|(?<![ac])tanh|elu|silu|mish|glu|hard(shrink|swish)|soft(shrink|plus)"
    r"|threshold|lstm|gru|rnn|embedding|_loss|attention|grid_sampler|upsample|(reflection|replication)_pad|shuffle"
    r"|cdist|pdist|pairwise_distance|cosine_similarity|col2im|im2col|cross_entropy|trilinear|affine_grid|(grouped|scaled)_mm"
)


@dataclass(frozen=True)
class Kernel:
    """A neural-network kernel of PyTorch that ran.

    Attributes:
        name: the aten operator, such as ``convolution_backward``.
        module: the innermost module that ran it, or whose forward made the node that ran it backward; the model's own
            name is "".
        phase: ``"forward"`` or ``"backward"``.
        calls: how often.
    """

    name: str
    module: str
    phase: str
    calls: int


@dataclass(frozen=True)
class Purity:
    """The result of `purity`; ``str()`` of it is a summary to read.

    Attributes:
        kernels: the neural-network kernels that ran; none if the model is pure.
        operators: how many operators ran in all.
    """

    kernels: tuple[Kernel, ...]
    operators: int

    @property
    def pure(self) -> bool:
        """Whether no neural-network kernel ran."""
        return not self.kernels

    def __str__(self) -> str:
        if self.pure:
            return f"pure: {self.operators} operators, no neural-network kernel among them"
        count = sum(kernel.calls for kernel in self.kernels)
        lines = [f"{count} of {self.operators} operators are neural-network kernels"]
        lines += [f"{k.calls} {k.name}, {k.phase}, in {k.module or 'the model itself'}" for k in self.kernels]
        return "\n".join(lines)


def purity(model: nn.Module, *inputs: Any, **options: Any) -> Purity:
    """Runs a model forward and backward, and reports the neural-network kernels of PyTorch among its operators.

    The backward pass starts from random gradients of all outputs that have one, and goes to the parameters and to the
    inputs that require one. Parameters' ``grad``, buffers and the random state are left as they were.

    Args:
        model: the module, eager.
        *inputs: its positional arguments.
        **options: its keyword arguments.

    Returns:
        The kernels, by module and phase; ``.pure`` if there are none.

    Raises:
        TypeError: if ``model`` is no module.

    Example:
        >>> import torch
        >>> from scratchnet import convert, purity
        >>> model, x = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()), torch.randn(2, 4)
        >>> print(purity(model, x))
        2 of 12 operators are neural-network kernels
        1 relu, forward, in 1
        1 threshold_backward, backward, in 1
        >>> _ = convert(model)
        >>> purity(model, x).pure
        True
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"purity: expected a torch.nn.Module, got {type(model).__name__}")
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())), _Recorder(model) as recorder:
        with torch.enable_grad():
            outputs = [y for y in tensors(model(*inputs, **options)) if y.requires_grad]
        recorder.phase = "backward"
        leaves = [x for x in (*model.parameters(), *tensors((inputs, options))) if x.requires_grad]
        upstream = [torch.randn_like(y) for y in outputs]
        recorder.operators -= len(upstream)
        if outputs and leaves:
            torch.autograd.grad(outputs, leaves, upstream, allow_unused=True)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    kernels = [Kernel(*key, calls) for key, calls in recorder.seen.items()]
    return Purity(tuple(kernels), recorder.operators)


class _Recorder(TorchDispatchMode):
    """Counts operators, and remembers which module is running and which made each node of the graph."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.phase, self.operators = "forward", 0
        self.seen: Counter[tuple[str, str, str]] = Counter()
        self.running: list[str] = [""]
        # From which number on the nodes of autograd belong to which module.
        self.since: list[int] = [0]
        self.owner: list[str] = [""]
        self.model = model

    def __enter__(self) -> _Recorder:
        self.hooks = [hook for name, module in self.model.named_modules() for hook in self._hooks(name, module)]
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        for hook in self.hooks:
            hook.remove()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name = func._schema.name.partition("::")[2]
        self.operators += 1
        if NETWORK.search(name):
            self.seen[name.rstrip("_"), self._module(), self.phase] += 1
        return func(*args, **(kwargs or {}))

    def _module(self) -> str:
        node = torch._C._current_autograd_node()
        if node is None or len(self.running) > 1:  # a module runs in the backward too where it is computed again
            return self.running[-1]
        return self.owner[bisect_right(self.since, node._sequence_nr()) - 1]

    def _hooks(self, name: str, module: nn.Module) -> Iterator[Any]:
        if isinstance(module, torch.jit.ScriptModule):
            return

        def enter(*_: Any) -> None:
            self.running.append(name)
            self._mark()

        def leave(*_: Any) -> None:
            self.running.pop()
            self._mark()

        yield module.register_forward_pre_hook(enter)
        yield module.register_forward_hook(leave, always_call=True)

    def _mark(self) -> None:
        self.since.append(torch.autograd._get_sequence_nr())
        self.owner.append(self.running[-1])


def tensors(value: Any) -> Iterator[Tensor]:
    """Yields the tensors in tuples, lists, mappings and objects of the kind that models return."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from tensors(part)
    elif isinstance(value, tuple | list):
        for part in value:
            yield from tensors(part)
