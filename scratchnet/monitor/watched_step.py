"""One watched training step: hooks before it, measurements in it, TensorBoard records after it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from scratchnet.monitor.outputs import Call, OutputProbe, is_watched, summarize
from scratchnet.monitor.pictures import filter_picture

__all__ = ["WatchedStep", "Writer"]

HISTOGRAM_BINS = 64


class Writer(Protocol):
    """What is used of `torch.utils.tensorboard.SummaryWriter`."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, walltime: float | None = None) -> None:
        """Writes a point of a curve."""

    def add_histogram(self, tag: str, values: Tensor, global_step: int, bins: int) -> None:
        """Writes a histogram of finite values, of which there is at least one."""

    def add_image(self, tag: str, img_tensor: Tensor, global_step: int) -> None:
        """Writes an image of shape `(3, height, width)` with values in [0, 1]."""

    def add_hparams(
        self, hparam_dict: dict[str, Any], metric_dict: dict[str, float], *, run_name: str, global_step: int
    ) -> None:
        """Writes a row of the table of hyperparameters, in the folder ``run_name`` below the writer's own."""

    def flush(self) -> None:
        """Puts everything on the disk."""


class WatchedStep:
    """Watches a module and its optimizer from construction until `finish`, which writes, or `cancel`."""

    def __init__(self, module: nn.Module, optimizer: Optimizer | None, writer: Writer, step: int) -> None:
        self.module, self.writer, self.step = module, writer, step
        self.before: dict[str, Tensor] = {}
        self.gradients_written = False
        self.calls: dict[str, list[Call]] = {}
        modules = dict(module.named_modules())
        channels_first = any("Conv1d" in type(m).__name__ for m in modules.values())
        self.handles: list[Any] = []
        for name, part in modules.items():
            if is_watched(part):
                calls = self.calls.setdefault(name or _root_name(module), [])
                probe = OutputProbe(calls, module, channels_first)
                self.handles.append(part.register_forward_hook(probe))
        if optimizer is not None:
            self.handles.append(optimizer.register_step_pre_hook(self._before_update))
            self.handles.append(optimizer.register_step_post_hook(self._after_update))

    def cancel(self) -> None:
        """Takes all hooks off."""
        for handle in self.handles:
            handle.remove()

    @torch.no_grad()
    def finish(self) -> None:
        """Takes all hooks off, and writes what they saw, the weights and what the step did to them."""
        self.cancel()
        for name, calls in self.calls.items():
            if calls:
                for group, figure in summarize(calls).items():
                    self.writer.add_scalar(f"{group}/{name}", figure, self.step)
        self._write_gradients()  # where no optimizer did: there is none, or a gradient scaler skipped it
        self._write_updates()
        for name, parameter in _trainable(self.module):
            self._write_histogram("weights", name, parameter.detach())
        if (first := _first_convolution(self.module)) is not None:
            name, weight = first
            self.writer.add_image(f"pictures/filters/{name}", filter_picture(weight), self.step)

    def _before_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Keeps the weights, and writes the learning rate, which a scheduler may move before `finish`."""
        if self.before:
            return
        self.before = {name: parameter.detach().clone() for name, parameter in _trainable(self.module)}
        rates = [group["lr"] for group in optimizer.param_groups if "lr" in group]
        for i, rate in enumerate(rates):
            tag = "optimizer/learning_rate" + (f"/group_{i}" if len(rates) > 1 else "")
            self.writer.add_scalar(tag, float(rate.detach() if isinstance(rate, Tensor) else rate), self.step)

    def _after_update(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Reads the gradients while they are there, after a closure or an unscaling inside the optimizer."""
        self._write_gradients()

    @torch.no_grad()
    def _write_gradients(self) -> None:
        if self.gradients_written:
            return
        gradients = {name: _values(p.grad) for name, p in _trainable(self.module) if p.grad is not None}
        if not gradients:
            return
        self.gradients_written = True
        norms = _layer_norms(self.module, gradients)
        self.writer.add_scalar("optimizer/gradient_norm", math.hypot(*norms.values()), self.step)
        for layer, norm in norms.items():
            self.writer.add_scalar(f"per_layer_gradient_norm/{layer}", norm, self.step)
        for name, gradient in gradients.items():
            self._write_histogram("weights_gradient", name, gradient)

    def _write_updates(self) -> None:
        trainable = dict(_trainable(self.module))
        changes = {name: _values(trainable[name] - old) for name, old in self.before.items() if name in trainable}
        change_norms = _layer_norms(self.module, changes)
        weight_norms = _layer_norms(self.module, {name: _values(self.before[name]) for name in changes})
        for layer, weight in weight_norms.items():
            if weight == 0:
                continue  # all zeros at the start: there is nothing to measure the change by
            ratio = change_norms[layer] / weight
            logarithm = math.log10(ratio) if ratio != 0 else -math.inf
            self.writer.add_scalar(f"per_layer_update_ratio_log10/{layer}", logarithm, self.step)

    def _write_histogram(self, group: str, name: str, tensor: Tensor) -> None:
        """Writes the finite values, and the share of the others where there are any."""
        values = _values(tensor)
        if not values.sum().isfinite():  # one pass tells that there is nothing to filter, which is the rule
            finite = values[values.isfinite()]
            if lost := values.numel() - finite.numel():
                self.writer.add_scalar(f"nonfinite/{group}/{name}", lost / values.numel(), self.step)
            values = finite
        if values.dtype is torch.float64:
            # NumPy refuses to cut bins between neighbouring float64 numbers, or a range beyond the largest one.
            values = values.float().nan_to_num()
        if values.numel():
            self.writer.add_histogram(f"{group}/{name}", values, self.step, bins=HISTOGRAM_BINS)


def _trainable(module: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """The parameters that training changes; a shared one counts once, under its first name."""
    for name, parameter in module.named_parameters():
        if parameter.requires_grad and not is_lazy(parameter) and parameter.numel():
            yield name, parameter


def _values(tensor: Tensor) -> Tensor:
    """The numbers of a dense, sparse or complex tensor, in one dimension and at least in float32."""
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce().values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)).flatten()


def _layer_norms(module: nn.Module, values: Mapping[str, Tensor]) -> dict[str, float]:
    """The Euclidean norm over all of a layer's own parameters, by the layer's name."""
    norms: dict[str, float] = {}
    for name, tensor in values.items():
        layer = name.rpartition(".")[0] or _root_name(module)
        norms[layer] = math.hypot(norms.get(layer, 0.0), float(torch.linalg.vector_norm(tensor)))
    return norms


def _root_name(module: nn.Module) -> str:
    return type(module).__name__


def _first_convolution(module: nn.Module) -> tuple[str, Tensor] | None:
    for name, part in module.named_modules():
        weight = getattr(part, "weight", None)
        is_convolution = any("Conv" in kind.__name__ for kind in type(part).__mro__)
        if is_convolution and isinstance(weight, Tensor) and not is_lazy(weight) and weight.ndim in (3, 4):
            return name or _root_name(module), weight
    return None
