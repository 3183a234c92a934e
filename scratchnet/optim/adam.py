"""Adam and AdamW: steps of about one length, whatever the scale of a parameter's gradients."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from scratchnet.optim.adam_update import Rule, in_reals, update_batch, update_one
from scratchnet.optim.base import ListOptimizer, Row, batches, fits_a_list

__all__ = ["Adam", "AdamW"]


class Adam(ListOptimizer):
    r"""Adaptive moment estimation; takes the place of :class:`torch.optim.Adam`.

    With learning rate :math:`\gamma`, decays :math:`\beta_1, \beta_2` and weight decay :math:`\lambda`, step :math:`t`
    moves every parameter :math:`\theta` that has a gradient by

    .. math::
        g_t &= \nabla_\theta f_t(\theta_{t-1}) + \lambda \theta_{t-1} \\
        m_t &= \beta_1 m_{t-1} + (1 - \beta_1) g_t, \qquad m_0 = 0 \\
        v_t &= \beta_2 v_{t-1} + (1 - \beta_2) g_t^2, \qquad v_0 = 0 \\
        \theta_t &= \theta_{t-1}
            - \gamma \frac{m_t / (1 - \beta_1^t)}{\sqrt{v_t / (1 - \beta_2^t)} + \epsilon}

    Both averages start at zero; since the weights in :math:`m_t` sum to :math:`1 - \beta_1^t`, the division makes it a
    weighted mean of the gradients so far. A gradient that keeps its sign then moves a parameter by :math:`\gamma` a
    step, whatever its size. ``amsgrad`` puts the largest :math:`v` so far for :math:`v_t`, ``maximize`` puts
    :math:`-\nabla f` for :math:`\nabla f`. Real and imaginary parts of complex parameters are parameters of their own.

    Arguments, defaults, hooks, schedulers and ``state_dict`` are those of :class:`torch.optim.Adam`, and so are
    the numbers, bit for bit. Five things differ. ``p.grad`` is never written to. Compiled steps are as exact as
    others. Several differentiable steps with ``amsgrad`` have a gradient. ``capturable`` works on every device,
    one tensor at a time. ``fused=True``, which names a ready-made kernel, is refused; a loaded ``state_dict`` that
    holds it counts as ``None``.

    Args:
        params: Parameters, named parameters, or dictionaries that define parameter groups.
        lr: Learning rate :math:`\gamma`; a tensor must hold one element.
        betas: Decays :math:`\beta_1` and :math:`\beta_2` of the averages, two numbers or two tensors of one element.
        eps: Summand :math:`\epsilon` of the denominator.
        weight_decay: Weight decay :math:`\lambda`.
        amsgrad: Divide by the root of the largest average so far, as in Reddi et al.
        foreach: Update lists of tensors at once (``None`` and ``True``) or tensors one by one (``False``).
            Tensor subclasses, tensor options, capturable and differentiable steps always go one by one.
        maximize: Ascend the objective instead of descending it.
        capturable: Keep the number of steps on the parameter's device and never read it, for CUDA graphs.
        differentiable: Record the step itself for autograd, instead of running it without gradients.
        fused: Accepted for its place in the signature; ``True`` is refused.
        decoupled_weight_decay: Decay weights as `AdamW` does.

    Raises:
        ValueError: If ``lr``, ``eps`` or ``weight_decay`` is negative, a decay is not in [0, 1), one of ``betas`` alone
            is a tensor, a tensor has not one element, or tensors come with ``foreach`` but without ``capturable``.
        RuntimeError: If ``fused`` is true, or at ``step()`` if a gradient is sparse.

    Example:
        The first step is one of length ``lr`` against the sign of each gradient:

        >>> import torch
        >>> from scratchnet.optim import Adam
        >>> w = torch.tensor([1.0, -200.0], requires_grad=True)
        >>> optimizer = Adam([w], lr=0.1)
        >>> w.square().sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([   0.9000, -199.9000])
        >>> optimizer.state[w]["exp_avg"]
        tensor([  0.2000, -40.0000])

    References:
        D. P. Kingma, J. L. Ba, "Adam: a method for stochastic optimization", ICLR 2015.
        S. J. Reddi, S. Kale, S. Kumar, "On the convergence of Adam and beyond", ICLR 2018.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
        decoupled_weight_decay: bool = False,
    ) -> None:
        for option, value in (("lr", lr), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
            if not isinstance(value, Tensor):
                continue
            if foreach and not capturable:
                raise ValueError(
                    f"{option} as a Tensor is not supported for capturable=False and foreach=True; leave foreach out"
                )
            if value.numel() != 1:
                raise ValueError(f"Tensor {option} must be 1-element, got shape {tuple(value.shape)}")
        if not lr >= 0.0:
            raise ValueError(
                f"Invalid learning rate: {lr}, expected lr >= 0; to ascend the objective, set maximize=True"
            )
        if not eps >= 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}, expected eps >= 0")
        for index, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {index}: {beta}, expected 0 <= beta < 1")
        if not weight_decay >= 0.0:
            raise ValueError(f"Invalid weight_decay value: {weight_decay}, expected weight_decay >= 0")
        if not any(all(isinstance(beta, kind) for beta in betas) for kind in (float, Tensor)):
            raise ValueError(
                f"betas must be either both floats or both Tensors, got {type(betas[0]).__name__} "
                f"and {type(betas[1]).__name__}"
            )
        defaults = {
            "lr": lr,
            "betas": tuple(_scalar(beta) for beta in betas),
            "eps": eps,
            "weight_decay": weight_decay,
            "amsgrad": amsgrad,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
            "fused": fused,
            "decoupled_weight_decay": decoupled_weight_decay,
        }
        super().__init__(params, defaults)

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled or loaded state, filling in the options that it is too old to have."""
        super().__setstate__(state)
        for group in self.param_groups:
            for option in ("amsgrad", "capturable", "decoupled_weight_decay"):
                group.setdefault(option, False)
            for param in group["params"]:
                values = self.state.get(param)
                if values and not isinstance(values["step"], Tensor):
                    values["step"] = _count(param, group, values["step"])

    def _step_group(self, group: dict[str, Any]) -> None:
        self._accelerator_graph_capture_health_check()
        params = [param for param in group["params"] if param.grad is not None]
        if sparse := {param.grad.layout for param in params} - {torch.strided}:
            raise RuntimeError(
                f"{type(self).__name__} does not support sparse gradients, got {sparse.pop()}; "
                "use torch.optim.SparseAdam, or build the embedding with sparse=False"
            )
        beta1, beta2 = group["betas"]
        rule = Rule(
            _scalar(group["lr"]),
            _scalar(beta1),
            _scalar(beta2),
            group["eps"],
            _scalar(group["weight_decay"]),
            group["decoupled_weight_decay"],
            group["maximize"],
            group["capturable"] or torch.is_grad_enabled(),
        )
        foreach = group["foreach"]
        if rule.counts_in_tensors or any(isinstance(option, Tensor) for option in rule):
            foreach = False
        averages = ("exp_avg", "exp_avg_sq", "max_exp_avg_sq")[: 3 if group["amsgrad"] else 2]
        alike: defaultdict[float, list[Row]] = defaultdict(list)
        for param in params:
            state = self.state[param]
            if "step" not in state:
                state["step"] = _count(param, group, 0.0)
            for average in averages:
                if average not in state:
                    state[average] = torch.zeros_like(param)
            state["step"] += 1
            row: Row = (param, param.grad, *(state[average] for average in averages))
            if not fits_a_list(param, param.grad, foreach):
                update_one(rule, state["step"], row)
            else:
                alike[state["step"].item()].append(tuple(map(in_reals, row)))
        for step, rows in alike.items():
            for batch in batches(rows):
                update_batch(rule, step, batch)


class AdamW(Adam):
    r"""Adam with decoupled weight decay; takes the place of :class:`torch.optim.AdamW`.

    Weight decay :math:`\lambda` leaves the gradient alone and shrinks the parameter before the step of `Adam`,

    .. math:: \theta \leftarrow (1 - \gamma \lambda) \, \theta

    so that weights with large gradients decay as fast as others; in `Adam` their decay is divided by
    :math:`\sqrt{v_t}` too. All else is as in `Adam`.

    Args:
        params: Parameters, named parameters, or dictionaries that define parameter groups.
        lr: Learning rate :math:`\gamma`.
        betas: Decays of the averages.
        eps: Summand of the denominator.
        weight_decay: Weight decay :math:`\lambda`.
        amsgrad: Divide by the root of the largest average so far.
        maximize: Ascend the objective instead of descending it.
        foreach: Update lists of tensors at once (``None`` and ``True``) or tensors one by one (``False``).
        capturable: Keep the number of steps on the parameter's device and never read it.
        differentiable: Record the step itself for autograd.
        fused: Accepted for its place in the signature; ``True`` is refused.

    Example:
        >>> import torch
        >>> from scratchnet.optim import AdamW
        >>> w = torch.tensor([1.0, -200.0], requires_grad=True)
        >>> optimizer = AdamW([w], lr=0.1, weight_decay=0.1)
        >>> w.square().sum().backward()
        >>> optimizer.step()
        >>> w.detach()
        tensor([   0.8900, -197.9000])

    References:
        I. Loshchilov, F. Hutter, "Decoupled weight decay regularization", ICLR 2019.
    """

    def __init__(
        self,
        params: ParamsT,
        lr: float | Tensor = 1e-3,
        betas: tuple[float | Tensor, float | Tensor] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        foreach: bool | None = None,
        capturable: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        super().__init__(
            params,
            lr,
            betas,
            eps,
            weight_decay,
            amsgrad,
            foreach=foreach,
            maximize=maximize,
            capturable=capturable,
            differentiable=differentiable,
            fused=fused,
            decoupled_weight_decay=True,
        )

    def __setstate__(self, state: dict[str, Any]) -> None:
        """Restore a pickled or loaded state; one of `Adam` goes on with decoupled weight decay."""
        super().__setstate__(state)
        for group in self.param_groups:
            group["decoupled_weight_decay"] = True


def _scalar(option: Any) -> Any:
    return option.squeeze() if isinstance(option, Tensor) else option


def _count(param: Tensor, group: dict[str, Any], start: float) -> Tensor:
    """Returns a number of steps: on the CPU, where reading it is cheap, unless it is never read."""
    dtype = torch.float64 if torch.get_default_dtype() == torch.float64 else torch.float32
    return torch.tensor(start, dtype=dtype, device=param.device if group["capturable"] else "cpu")
