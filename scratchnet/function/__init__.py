"""The base of every op, and the only package that knows autograd's plumbing.

The author of an op writes mathematics: three static methods on tensors, with no ``ctx``::

    class Scale(Function):
        @staticmethod
        def forward(x, weight, *, power):                   # the output, and what the backward needs
            scale = weight**power
            return x * scale, (x, weight, scale)

        @staticmethod
        def backward(grad, saved, needs, *, power):         # one gradient per tensor, None where not needed
            x, weight, scale = saved
            grad_x = grad * scale
            grad_weight = (grad * x * power * weight ** (power - 1)).sum_to_size(weight.shape)
            return grad_x, grad_weight

        @staticmethod
        def jvp(tangents, saved, *, power):                 # one tangent per differentiable output
            x, weight, scale = saved
            return tangents[0] * scale + x * power * weight ** (power - 1) * tangents[1]

    y = Scale.apply(x, weight, 2.0)

Positional parameters of ``forward`` are tensors (or ``None``), keyword-only ones are options; ``apply`` takes
all of them by position, as ``torch.autograd.Function.apply`` does. The contract:

- ``saved`` may hold inputs, outputs and intermediates. Inputs and outputs are told apart by identity, and
  stored as they came. When the backward is itself differentiated, the intermediates are computed again from
  the saved inputs with autograd watching, so a saved mean or log-sum-exp never turns into a constant.
  ``forward`` must then run with ``None`` for each input that it does not save. Indices and masks have no
  derivative: an op whose intermediates are all integers or booleans is never computed again.
- ``forward`` is deterministic: random numbers come in as tensors.
- Complex gradients are conjugated by the base: a backward is written as for real numbers. An op that is not
  ``holomorphic``, since it takes ``abs``, conjugates by itself.
- float16 and bfloat16 are computed in float32 and rounded once at the end, unless the op is a matrix product
  (``native_low_precision``), whose kernel already accumulates in float32.
- A whole algorithm that is slower compiled than eager becomes one node of compiled graphs by `opaque`.
- In-place and ``out=`` writes are allowed only by `reuse` and in the fast forms of `dispatch`, and never on ``grad``
  or ``saved``. `Elementwise` and `Rowwise` ops need none: their formulas run in shared memory, tile by tile.

``Scale.forward``, ``backward`` and ``jvp`` stay what the author wrote, for other ops to call. ``Scale.apply`` calls one
of two classes that speak autograd's protocol over this mathematics, because no single one can do all of it:

================  =========================================  ==============================================
class             used                                       why
================  =========================================  ==============================================
``Scale.eager``   eagerly and under `torch.compile`          ``forward(ctx, …)`` skips ``inspect.signature``,
                                                             and a ``jvp`` would break ``fullgraph=True``
``Scale.traced``  under `torch.func` and in forward mode     ``setup_context``, ``jvp`` and vmap rule
================  =========================================  ==============================================
"""

from __future__ import annotations

from scratchnet.function.base import Function, overwrite
from scratchnet.function.chunked import Product, chunked, rows_in_cache, sharing_threads
from scratchnet.function.dispatch import dispatch
from scratchnet.function.opaque import opaque
from scratchnet.function.pointwise import Elementwise, clipped, elementwise, in_elementwise_strides
from scratchnet.function.precision import LOW_PRECISION, Autocast
from scratchnet.function.recording import batched, readable, recorded, replayed, reuse, transformed
from scratchnet.function.rowwise import Rowwise, rowwise

__all__ = [
    "LOW_PRECISION",
    "Autocast",
    "Elementwise",
    "Function",
    "Product",
    "Rowwise",
    "batched",
    "chunked",
    "clipped",
    "dispatch",
    "elementwise",
    "in_elementwise_strides",
    "opaque",
    "overwrite",
    "readable",
    "recorded",
    "replayed",
    "reuse",
    "rows_in_cache",
    "rowwise",
    "sharing_threads",
    "transformed",
]
