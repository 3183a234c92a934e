r"""Stochastic gradient descent with momentum, Nesterov momentum and weight decay.

The update itself is a few lines and stands here twice: :func:`_update_one` writes it for a single tensor,
:func:`_update_batch` for a list of tensors at once, which costs less. Both run the same operations in the same order,
so they agree to the last bit.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from scratchnet.optim.base import ListOptimizer, Row, batches, fits_a_list


class SGD(ListOptimizer):
    r"""Stochastic gradient descent, optionally with momentum; takes the place of :class:`torch.optim.SGD`.

    With learning rate :math:`\gamma`, momentum :math:`\mu`, dampening :math:`\tau` and weight decay
    :math:`\lambda`, step :math:`t` moves every parameter :math:`\theta` that has a gradient by

    .. math::
        g_t &= \nabla_\theta f_t(\theta_{t-1}) + \lambda \theta_{t-1} \\
        b_t &= \mu b_{t-1} + (1 - \tau) g_t, \qquad b_1 = g_1 \\
        d_t &= \begin{cases} g_t + \mu b_t & \text{Nesterov} \\ b_t & \text{otherwise} \end{cases} \\
        \theta_t &= \theta_{t-1} - \gamma d_t

    and with :math:`\mu = 0` by :math:`d_t = g_t`; ``maximize`` puts :math:`-\nabla f` for :math:`\nabla f`.
    The learning rate stands outside the buffer :math:`b`, unlike in Sutskever et al., so that a schedule acts
    at once on all of the accumulated velocity. The first buffer is the first gradient, undampened.

    Arguments, defaults, hooks, schedulers and ``state_dict`` are those of :class:`torch.optim.SGD`, and so
    are the numbers, bit for bit. Three things differ. ``p.grad`` is never written to. A differentiable step
    keeps the gradient through the first momentum buffer, and a ``lr`` that requires grad serves many steps.
    ``fused=True``, which names a ready-made kernel, is refused; a loaded ``state_dict`` that holds it counts
    as ``None``.

    Args:
        params: Parameters, named parameters, or dictionaries that define parameter groups.
        lr: Learning rate :math:`\gamma`; a tensor must hold one element.
        momentum: Momentum factor :math:`\mu`.
        dampening: Dampening :math:`\tau` of the gradient in the buffer.
        weight_decay: Weight decay :math:`\lambda`, the slope of :math:`\tfrac{\lambda}{2} \|\theta\|^2`.
        nesterov: Use Nesterov momentum; needs ``momentum > 0`` and ``dampening = 0``.
        maximize: Ascend the objective instead of descending it.
        foreach: Update lists of tensors at once (``None`` and ``True``) or tensors one by one (``False``).
            Sparse gradients, tensor subclasses and differentiable steps always go one by one.
        differentiable: Record the step itself for autograd, instead of running it without gradients.
        fused: Accepted for its place in the signature; ``True`` is refused.

    Raises:
        ValueError: If ``lr``, ``momentum`` or ``weight_decay`` is negative, a tensor ``lr`` has not one
            element, or ``nesterov`` lacks momentum or comes with dampening.
        RuntimeError: If ``fused`` is true, or at ``step()`` if weight decay meets a sparse gradient.

    Example:
        For :math:`f = w_1^2 + w_2^2` from :math:`(1, -2)`: the first step has :math:`b = (2, -4)`, the
        second :math:`b = 0.9 \cdot (2, -4) + (1.6, -3.2) = (3.4, -6.8)`.

        >>> import torch
        >>> from scratchnet.optim import SGD
        >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
        >>> optimizer = SGD([w], lr=0.1, momentum=0.9)
        >>> for _ in range(2):
        ...     optimizer.zero_grad()
        ...     w.square().sum().backward()
        ...     optimizer.step()
        ...     print(w.detach())
        tensor([ 0.8000, -1.6000])
        tensor([ 0.4600, -0.9200])
        >>> optimizer.state[w]["momentum_buffer"]
        tensor([ 3.4000, -6.8000])

    References:
        B. T. Polyak, "Some methods of speeding up the convergence of iteration methods", 1964.
        I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in
        deep learning", ICML 2013.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float | Tensor = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        if isinstance(lr, Tensor) and lr.numel() != 1:
            raise ValueError(
                f"Tensor lr must be 1-element, got shape {tuple(lr.shape)}; "
                "for one rate per parameter, give each its own parameter group"
            )
        if lr < 0.0:
            raise ValueError(
                f"Invalid learning rate: {lr}, expected lr >= 0; to ascend the objective, set maximize=True"
            )
        if momentum < 0.0:
            raise ValueError(f"Invalid momentum value: {momentum}, expected momentum >= 0, usually below 1")
        if weight_decay < 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}, expected weight_decay >= 0")
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError(
                "Nesterov momentum requires a momentum and zero dampening, "
                f"got momentum={momentum} and dampening={dampening}; set momentum=0.9, say, and dampening=0"
            )
        defaults = {
            "lr": lr,
            "momentum": momentum,
            "dampening": dampening,
            "weight_decay": weight_decay,
            "nesterov": nesterov,
            "maximize": maximize,
            "foreach": foreach,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled or loaded state, filling in the options that it is too old to have."""
        super().__setstate__(state)
        for group in self.param_groups:
            group.setdefault("nesterov", False)

    def _step_group(self, group: dict[str, Any]) -> None:
        rule = _Rule(
            _scalar(group["lr"]),
            group["momentum"],
            group["dampening"],
            _scalar(group["weight_decay"]),
            group["nesterov"],
            group["maximize"],
        )
        foreach = group["foreach"]
        if torch.is_grad_enabled() or isinstance(rule.lr, Tensor) or isinstance(rule.weight_decay, Tensor):
            foreach = False
        rows: list[Row] = []
        for param in group["params"]:
            grad = param.grad
            if grad is None:
                continue
            buffer = self.state[param].get("momentum_buffer") if rule.momentum != 0 else None
            first = buffer is None and rule.momentum != 0
            if first or not fits_a_list(param, grad, foreach):
                buffer = _update_one(rule, param, grad, buffer)
                if buffer is not None:
                    self.state[param]["momentum_buffer"] = buffer
            else:
                rows.append((param, grad) if buffer is None else (param, grad, buffer))
        one_operation = rule.momentum == 0 and rule.weight_decay == 0 and not rule.maximize
        for batch in batches(rows, cut=not one_operation):
            _update_batch(rule, batch)


class _Rule(NamedTuple):
    """Options of a parameter group that enter the update."""

    lr: float | Tensor
    momentum: float
    dampening: float
    weight_decay: float | Tensor
    nesterov: bool
    maximize: bool


def _scalar(option: Any) -> Any:
    """Read a tensor out once a step, unless its gradient or a traced graph needs it as a tensor."""
    if not isinstance(option, Tensor):
        return option
    return option.squeeze() if option.requires_grad or torch.compiler.is_compiling() else option.item()


def _update_one(rule: _Rule, param: Tensor, grad: Tensor, buffer: Tensor | None) -> Tensor | None:
    """Update one tensor in place and return its momentum buffer."""
    lr, momentum, dampening, weight_decay, nesterov, maximize = rule
    if maximize:
        grad = -grad
    if weight_decay != 0:
        if grad.is_sparse:
            raise RuntimeError(
                f"SGD cannot decay weights with a sparse gradient, got weight_decay={weight_decay}; put that "
                "parameter in a group with weight_decay=0, or build its embedding with sparse=False"
            )
        if isinstance(weight_decay, Tensor):
            grad = grad.addcmul(param.clone(), weight_decay)  # autograd keeps the factor, which changes below
        else:
            grad = grad.add(param, alpha=weight_decay)
    if momentum != 0:
        if buffer is None:
            buffer = grad.clone()
        elif torch.is_grad_enabled():
            buffer = buffer.mul(momentum).add(grad, alpha=1 - dampening)
        else:
            buffer.mul_(momentum).add_(grad, alpha=1 - dampening)
        grad = grad.add(buffer, alpha=momentum) if nesterov else buffer
    if isinstance(lr, Tensor):
        param.addcmul_(grad, lr, value=-1)
    else:
        param.add_(grad, alpha=-lr)
    return buffer


def _update_batch(rule: _Rule, batch: list[Row]) -> None:
    """Update many tensors in place, along with the momentum buffers that they all have already."""
    lr, momentum, dampening, weight_decay, nesterov, maximize = rule
    assert not isinstance(lr, Tensor)
    assert not isinstance(weight_decay, Tensor)
    params, grads, *buffers = zip(*batch, strict=True)
    owned = False  # p.grad belongs to the user: the first change copies it, later ones reuse the copy
    if maximize:
        grads, owned = torch._foreach_neg(grads), True
    if weight_decay != 0:
        if owned:
            torch._foreach_add_(grads, params, alpha=weight_decay)
        else:
            grads, owned = torch._foreach_add(grads, params, alpha=weight_decay), True
    if momentum != 0:
        (velocity,) = buffers
        torch._foreach_mul_(velocity, momentum)
        torch._foreach_add_(velocity, grads, alpha=1 - dampening)
        if not nesterov:
            grads = velocity
        elif owned:
            torch._foreach_add_(grads, velocity, alpha=momentum)
        else:
            grads = torch._foreach_add(grads, velocity, alpha=momentum)
    torch._foreach_add_(params, grads, alpha=-lr)
