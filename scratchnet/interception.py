"""Sends calls of PyTorch's neural-network functions to ours, in code that names ``torch`` itself.

`intercept` replaces the functions under their names in ``torch.nn.functional``, ``torch``, ``torch.special`` and
`torch.Tensor`, and in every module that has imported them, for as long as the block runs. A mode that intercepts each
call instead would miss what autograd runs: the engine calls the backward of a Function, and what
`torch.utils.checkpoint` computes again, with no mode in force.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from functools import cache
from types import ModuleType, TracebackType
from typing import Any

import torch
from torch import Tensor

from scratchnet import functional as F
from scratchnet.activations.sigmoid import SigmoidFunction
from scratchnet.activations.tanh import TanhFunction
from scratchnet.function import overwrite

__all__ = ["intercept", "replacements"]

# The functions of ``torch`` that take the arguments of those in ``torch.nn.functional``.
ALIKE = """
    adaptive_avg_pool1d avg_pool1d bilinear cdist celu celu_ channel_shuffle conv1d conv2d conv3d conv_tbc
    conv_transpose1d conv_transpose2d conv_transpose3d cosine_similarity hardshrink logsumexp max_pool1d
    max_pool1d_with_indices max_pool2d max_pool3d native_channel_shuffle pairwise_distance pdist pixel_shuffle
    pixel_unshuffle prelu relu relu_ rms_norm rrelu rrelu_ selu selu_ sigmoid tanh threshold threshold_
""".split()
# The arguments of losses of ``torch``, whose reduction is an integer.
LOSSES = {
    "binary_cross_entropy_with_logits": "input target weight pos_weight reduction",
    "cosine_embedding_loss": "input1 input2 target margin reduction",
    "ctc_loss": "log_probs targets input_lengths target_lengths blank reduction zero_infinity",
    "hinge_embedding_loss": "input target margin reduction",
    "kl_div": "input target reduction",
    "margin_ranking_loss": "input1 input2 target margin reduction",
    "poisson_nll_loss": "input target log_input full eps reduction",
    "triplet_margin_loss": "anchor positive negative margin p eps swap reduction",
}
METHODS = "hardshrink logsumexp prelu relu relu_ sigmoid tanh".split()
REDUCTIONS = ("none", "mean", "sum")
ABSENT = object()


def _with_out(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """The function with PyTorch's keyword ``out``."""

    def call(*arguments: Any, out: Tensor | None = None, **options: Any) -> Tensor:
        result = function(*arguments, **options)
        return result if out is None else out.resize_(result.shape).copy_(result)

    return call


def _by_number(function: Callable[..., Tensor], names: str) -> Callable[..., Tensor]:
    """The loss with these arguments, whose reduction is an integer."""

    def call(*arguments: Any, reduction: int = 1, **options: Any) -> Tensor:
        given = {"reduction": reduction, **dict(zip(names.split(), arguments, strict=False)), **options}
        return function(**given | {"reduction": REDUCTIONS[given["reduction"]]})

    return call


def _softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    return F.softmax(input, dim, dtype=dtype)


def _log_softmax(input: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    return F.log_softmax(input, dim, dtype=dtype)


def _dropout(function: Callable[..., Tensor], inplace: bool) -> Callable[..., Tensor]:
    def call(input: Tensor, p: float, train: bool) -> Tensor:
        return function(input, p, train, inplace)

    return call


def _batch_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    training: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    return F.batch_norm(input, running_mean, running_var, weight, bias, training, momentum, eps)


def _instance_norm(
    input: Tensor,
    weight: Tensor | None,
    bias: Tensor | None,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    use_input_stats: bool,
    momentum: float,
    eps: float,
    cudnn_enabled: bool = True,
) -> Tensor:
    return F.instance_norm(input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


def _layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enable: bool = True,
) -> Tensor:
    return F.layer_norm(input, normalized_shape, weight, bias, eps)


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    cudnn_enabled: bool = True,
) -> Tensor:
    return F.group_norm(input, num_groups, weight, bias, eps)


def _embedding(
    weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False
) -> Tensor:
    # In torch.embedding -1 is none, and not the last row.
    padding = None if padding_idx == -1 else padding_idx
    return F.embedding(indices, weight, padding, None, 2.0, scale_grad_by_freq, sparse)


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return F.weight_norm(v, g, dim)


def _sigmoid_(input: Tensor) -> Tensor:
    return overwrite(SigmoidFunction, input)


def _tanh_(input: Tensor) -> Tensor:
    return overwrite(TanhFunction, input)


@cache
def replacements() -> list[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Returns pairs of a module-level function of PyTorch and the function that replaces it."""
    return [(getattr(owner, name), ours) for owner, name, ours in _table() if isinstance(owner, ModuleType)]


@cache
def _table() -> list[tuple[Any, str, Callable[..., Any]]]:
    """Lists the owner and the name of each function of PyTorch that is replaced, and ours."""
    named = [(name, getattr(F, name)) for name in F.__all__]
    found = [(torch.nn.functional, name, ours) for name, ours in named if hasattr(torch.nn.functional, name)]
    own: dict[str, Callable[..., Any]] = {name: _with_out(getattr(F, name)) for name in ALIKE}
    own |= {name: _by_number(getattr(F, name), names) for name, names in LOSSES.items()}
    own |= {
        "softmax": _with_out(_softmax),
        "log_softmax": _with_out(_log_softmax),
        "batch_norm": _batch_norm,
        "instance_norm": _instance_norm,
        "layer_norm": _layer_norm,
        "group_norm": _group_norm,
        "embedding": _embedding,
        "adaptive_max_pool1d": F.adaptive_max_pool1d_with_indices,
        "sigmoid_": _sigmoid_,
        "tanh_": _tanh_,
        "_weight_norm": _weight_norm,
    }
    for name, function in (
        ("dropout", F.dropout),
        ("feature_dropout", F.dropout2d),
        ("alpha_dropout", F.alpha_dropout),
        ("feature_alpha_dropout", F.feature_alpha_dropout),
    ):
        own |= {name: _dropout(function, False), f"{name}_": _dropout(function, True)}
    found += [(torch, name, ours) for name, ours in own.items()]
    special = {"expit": own["sigmoid"], "softmax": own["softmax"], "log_softmax": own["log_softmax"]}
    found += [(torch.special, name, ours) for name, ours in (special | {"logsumexp": own["logsumexp"]}).items()]
    methods = {name: getattr(F, name) for name in METHODS}
    methods |= {"softmax": _softmax, "log_softmax": _log_softmax, "sigmoid_": _sigmoid_, "tanh_": _tanh_}
    return found + [(Tensor, name, ours) for name, ours in methods.items()]


class intercept(ContextDecorator):  # noqa: N801  # a context manager, named as torch.no_grad is
    """Sends calls of PyTorch's neural-network functions to ours, in the block or in the decorated function.

    Reached are ``torch.nn.functional.*``, ``torch.*``, ``torch.special.*`` and the methods of tensors, wherever they
    are looked up by name: in other threads, in the backward of somebody's Function, in what activation checkpointing
    computes again, and while `torch.compile` traces; and names that modules took by ``from … import``. Blocks may be
    nested. Outside the block nothing is replaced, and nothing is slower.

    Not reached are:

    - functions that an object holds, such as ``self.act = torch.relu``; of a model's modules, `scratchnet.convert`
      exchanges these;
    - the methods of ``torch.nn``'s own modules that call kernels by other names, such as ``torch.nn.LSTM``: convert
      the model as well;
    - C++ and what is scripted or exported already, ``torch.ops.aten.*``, and ``torch.lstm``, ``gru``, ``rnn_*`` and
      ``embedding_bag`` in their low-level forms;
    - graphs that were compiled before the block; and one compiled inside keeps our functions when it is called
      outside.

    Example:
        >>> import torch, scratchnet
        >>> x = torch.ones(2, requires_grad=True)
        >>> with scratchnet.intercept():
        ...     y = torch.nn.functional.gelu(x)
        >>> type(y.grad_fn).__name__
        'GELUFunctionBackward'
    """

    _lock = threading.RLock()
    _depth = 0
    _undo: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> intercept:
        cls = type(self)
        with cls._lock:
            cls._depth += 1
            if cls._depth == 1:
                cls._replace()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        cls = type(self)
        with cls._lock:
            cls._depth -= 1
            if cls._depth == 0:
                while cls._undo:
                    _put(*cls._undo.pop())

    @classmethod
    def _replace(cls) -> None:
        by_original = {
            id(theirs): ours for theirs, ours in reversed(replacements())
        }  # found before they are replaced
        for owner, name, ours in _table():
            cls._undo.append((owner, name, vars(owner).get(name, ABSENT)))
            setattr(owner, name, ours)
        for module in list(sys.modules.values()):
            if not isinstance(module, ModuleType) or module.__name__.partition(".")[0] in ("torch", "scratchnet"):
                continue
            for name, value in list(vars(module).items()):
                found = by_original.get(id(value))
                if found is not None:
                    cls._undo.append((module, name, value))
                    setattr(module, name, found)


def _put(owner: Any, name: str, value: Any) -> None:
    if value is ABSENT:
        delattr(owner, name)
    else:
        setattr(owner, name, value)
