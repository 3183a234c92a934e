r"""Samples from a categorical distribution that a gradient can pass.

.. math::
    y = \operatorname{softmax} \frac{x + g}{\tau}, \qquad
    g_i = -\log e_i, \quad e_i \sim \operatorname{Exponential}(1)

The noise g is Gumbel's: the largest :math:`x_i + g_i` is i with probability softmax(x). A small temperature τ
makes y nearly one-hot, a large one nearly uniform. The hard form returns the one-hot vector itself and lets the
gradient pass as if it had returned y (straight through). The noise is the one that PyTorch draws from the same
generator state.

Sources: Jang, Gu and Poole, "Categorical Reparameterization with Gumbel-Softmax", ICLR 2017; Maddison, Mnih and Teh,
"The Concrete Distribution", ICLR 2017.
"""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from scratchnet.activations.dimension import along_dimension
from scratchnet.activations.softmax import SoftmaxFunction
from scratchnet.arguments import describe, floating, overridable

__all__ = ["gumbel_softmax"]


@overridable
def gumbel_softmax(
    logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1
) -> Tensor:
    """Draws from the distribution softmax(logits), softly or as a one-hot vector.

    Args:
        logits: floating-point tensor of shape ``(…, classes, …)``.
        tau: temperature.
        hard: return one-hot vectors, with the gradient of the soft ones.
        eps: has no effect; giving it is deprecated, as in PyTorch.
        dim: the dimension of the classes.

    Returns:
        A tensor of the same shape, which sums to one along ``dim``.

    Raises:
        TypeError: if ``logits`` is no tensor, ``tau`` no number or ``dim`` no integer.
        NotImplementedError: if ``logits`` is not floating point.
        IndexError: if ``dim`` is out of range.
    """
    x = floating("gumbel_softmax", logits, "logits")
    if eps != 1e-10:
        warnings.warn("gumbel_softmax: eps has no effect, leave it out", stacklevel=3)
    noise = -torch.empty_like(x, memory_format=torch.legacy_contiguous_format).exponential_().log()
    noisy, dim = along_dimension("gumbel_softmax", (x + noise) / tau, dim, 2, None)
    soft = SoftmaxFunction.apply(noisy, dim)
    if not hard:
        return soft
    if not soft.shape[dim]:
        raise IndexError(f"gumbel_softmax: expected classes to draw from, got {describe(x)}")
    argmax = soft.argmax(dim, keepdim=True)
    one_hot = torch.zeros_like(soft, memory_format=torch.legacy_contiguous_format).scatter(dim, argmax, 1.0)
    return one_hot - soft.detach() + soft
