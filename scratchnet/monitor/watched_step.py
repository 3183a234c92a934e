"""One watched training step: hooks before it, measurements in it, TensorBoard records after it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.nn.utils.parametrize import is_parametrized
from torch.optim import Optimizer

from scratchnet.monitor.histogram import histogram
from scratchnet.monitor.optimizer_hooks import OptimizerHooks
from scratchnet.monitor.outputs import Call, OutputProbe, is_watched, summarize
from scratchnet.monitor.pictures import filter_picture
from scratchnet.monitor.processes import Unreadable, is_sharded, plain
from scratchnet.monitor.wrappers import class_names, layer_of, parts, trainable

__all__ = ["WatchedStep", "Writer"]


class Writer(Protocol):
    """The methods of `torch.utils.tensorboard.SummaryWriter` that are used."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int, walltime: float | None = None) -> None:
        """Writes a point of a curve."""

    def add_histogram_raw(
        self,
        tag: str,
        min: float,
        max: float,
        num: int,
        sum: float,
        sum_squares: float,
        bucket_limits: list[float],
        bucket_counts: list[float],
        global_step: int,
    ) -> None:
        """Writes a histogram by the right edges of its buckets."""

    def add_text(self, tag: str, text_string: str, global_step: int) -> None:
        """Writes a text in Markdown."""

    def add_image(self, tag: str, img_tensor: Tensor, global_step: int) -> None:
        """Writes an image of shape `(3, height, width)` with values in [0, 1]."""

    def add_hparams(
        self, hparam_dict: dict[str, Any], metric_dict: dict[str, float], *, run_name: str, global_step: int
    ) -> None:
        """Writes a row of the table of hyperparameters, in the folder ``run_name`` below the writer's own."""

    def flush(self) -> None:
        """Puts everything on the disk."""


class WatchedStep:
    """Watches a module and its optimizers from construction until `finish`, which writes, or `cancel`.

    Attributes:
        unseen: Why something cannot be seen, and its names. What fails here must not stop a training.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizers: Sequence[Optimizer],
        hooks: OptimizerHooks,
        writer: Writer,
        step: int,
        whole: bool,
    ) -> None:
        self.parts, self.optimizers, self.hooks = parts(module), optimizers, hooks
        self.writer, self.step, self.whole = writer, step, whole
        self.before: dict[str, Tensor] = {}
        self.gradient_norms: dict[str, float] = {}
        self.stepped: list[Optimizer] = []
        self.calls: dict[str, list[Call]] = {}
        self.unseen: dict[str, dict[str, None]] = {}
        channels_first = any("Conv1d" in kind for part in self.parts for kind in class_names(part.module))
        self.handles: list[Any] = []
        for part in filter(is_watched, self.parts):
            name = f"outputs of {part.name}"
            if part.closed:
                self._add_unseen(name, part.closed)
                continue
            calls = self.calls.setdefault(part.name, [])
            unread = partial(self._add_unseen, name)
            probe = OutputProbe(calls, self.parts[0].module, part.module, channels_first, whole, unread)
            self.handles.append(part.called.register_forward_hook(probe))
        for name, parameter in trainable(self.parts):
            if is_sharded(parameter) and not whole:
                reason = "sharded, and not every process has a monitor: figures are of this process's part"
                self._add_unseen(f"the whole of {name}", reason)
        for error in hooks.failures:
            self._add_unseen("updates of the weights", error)
        hooks.attach(self._before_update, self._after_update)

    def cancel(self) -> None:
        """Takes all hooks off."""
        self.hooks.detach()
        for handle in self.handles:
            handle.remove()

    @torch.no_grad()
    def finish(self) -> None:
        """Takes all hooks off, and writes what they saw, the weights and what the step did to them."""
        self.cancel()
        groups: dict[str, dict[str, float]] = {}
        for name, calls in self.calls.items():
            for group, figure in summarize(calls).items() if calls else ():
                groups.setdefault(group, {})[name] = figure
        for group, figures in groups.items():
            self._write_by_layer(group, figures)
        if not self.optimizers or len(self.stepped) < len(self.optimizers):
            self._read_gradients(self.stepped)  # there is no optimizer, or a gradient scaler skipped its step
        self._write_gradient_norms()
        self._write_weights()
        self._write_filters()
        if self.gradient_norms and not self.unseen and not any(self.calls.values()):
            for name in self.calls:
                self._add_unseen(f"outputs of {name}", "no call in training mode, or inside a compiled function")
        if self.gradient_norms and self.optimizers and not self.stepped:
            self._add_unseen("updates of the weights", "the optimizer did no step, or inside a compiled function")

    def _before_update(self, optimizer: Optimizer) -> None:
        """Keeps the weights, and writes the learning rate, which a scheduler may move before `finish`."""
        if self.before:
            return
        for name, parameter in trainable(self.parts):
            with self._noting(f"updates of {name}"):
                self.before[name] = parameter.detach().clone()
        rates = [group["lr"] for o in self.optimizers for group in o.param_groups if "lr" in group]
        for i, rate in enumerate(rates):
            tag = "optimizer/learning_rate" + (f"/group_{i}" if len(rates) > 1 else "")
            self.writer.add_scalar(tag, float(rate.detach() if isinstance(rate, Tensor) else rate), self.step)

    def _after_update(self, optimizer: Optimizer) -> None:
        """Reads the gradients while they are there, after a closure or an unscaling inside the optimizer."""
        if optimizer not in self.stepped:
            self.stepped.append(optimizer)
            self._read_gradients([other for other in self.optimizers if other is not optimizer])

    @torch.no_grad()
    def _read_gradients(self, others: Sequence[Optimizer]) -> None:
        """Reads the gradients of all parameters but those that belong to other optimizers."""
        left_out = {id(p) for other in others for group in other.param_groups for p in group["params"]}
        for name, parameter in trainable(self.parts):
            if parameter.grad is None or name in self.gradient_norms or id(parameter) in left_out:
                continue
            with self._noting(f"gradient of {name}"):
                gradient = _values(parameter.grad, self.whole)
                self.gradient_norms[name] = norm = _norm(gradient)
                self._write_histogram("weights_gradient", name, gradient, norm)

    def _write_gradient_norms(self) -> None:
        norms = self._by_layer(self.gradient_norms)
        if norms:
            self.writer.add_scalar("optimizer/gradient_norm", math.hypot(*norms.values()), self.step)
        self._write_by_layer("per_layer_gradient_norm", norms)

    def _write_weights(self) -> None:
        """Writes histograms of the weights, and how much the step changed them."""
        changes: dict[str, float] = {}
        weights: dict[str, float] = {}
        for name, parameter in trainable(self.parts):
            with self._noting(f"weights of {name}"):
                values = _values(parameter, self.whole)
                self._write_histogram("weights", name, values, _norm(values))
                if (old := self.before.get(name)) is not None:
                    weights[name] = _norm(_values(old, self.whole))
                    changes[name] = _norm(_values(old.sub_(parameter), self.whole))
        layer_changes = self._by_layer(changes)
        logarithms = {}
        for layer, weight in self._by_layer(weights).items():
            if weight == 0:
                continue  # all zeros at the start: there is nothing to measure the change by
            ratio = layer_changes[layer] / weight
            logarithms[layer] = math.log10(ratio) if ratio != 0 else -math.inf
        self._write_by_layer("per_layer_update_ratio_log10", logarithms)

    def _write_filters(self) -> None:
        """Writes the weights of the first convolution as a picture."""
        for part in self.parts:
            if not any("Conv" in kind for kind in class_names(part.module)):
                continue
            if is_parametrized(part.module, "weight"):
                # To compute it may change the network, as a power iteration for a spectral norm does.
                self._add_unseen(f"filters of {part.name}", "the weight is parametrized")
                return
            with self._noting(f"filters of {part.name}"):
                weight = getattr(part.module, "weight", None)
                if isinstance(weight, Tensor) and not is_lazy(weight) and weight.ndim in (3, 4):
                    picture = filter_picture(plain(weight, self.whole))
                    self.writer.add_image(f"pictures/filters/{part.name}", picture, self.step)
                    return

    def _write_by_layer(self, group: str, figures: Mapping[str, float]) -> None:
        """Writes a figure of each layer, and the extremes: networks of any depth have these under the same tags."""
        for name, figure in figures.items():
            self.writer.add_scalar(f"{group}/{name}", figure, self.step)
        if figures:
            for which, extreme in (("largest", max), ("smallest", min)):
                tag = f"over_layers/{group.removeprefix('per_layer_')}/{which}"
                self.writer.add_scalar(tag, extreme(figures.values()), self.step)

    def _by_layer(self, norms: Mapping[str, float]) -> dict[str, float]:
        """The Euclidean norm over all of a layer's own parameters, by the layer's name."""
        layers: dict[str, float] = {}
        for name, norm in norms.items():
            layer = layer_of(name, self.parts)
            layers[layer] = math.hypot(layers.get(layer, 0.0), norm)
        return layers

    def _write_histogram(self, group: str, name: str, values: Tensor, norm: float) -> None:
        """Writes the finite values, and the share of the others where there are any."""
        if not math.isfinite(norm):
            finite = values[values.isfinite()]
            if lost := values.numel() - finite.numel():
                self.writer.add_scalar(f"nonfinite/{group}/{name}", lost / values.numel(), self.step)
            values = finite
        if values.numel():
            self.writer.add_histogram_raw(f"{group}/{name}", **histogram(values)._asdict(), global_step=self.step)

    @contextmanager
    def _noting(self, name: str) -> Iterator[None]:
        """Turns an error into a note, so that the training goes on."""
        try:
            yield
        except Exception as error:
            self._add_unseen(name, error)

    def _add_unseen(self, name: str, reason: str | Exception) -> None:
        if isinstance(reason, Exception) and not isinstance(reason, Unreadable):
            reason = f"{type(reason).__name__}: {reason}"
        self.unseen.setdefault(str(reason), {})[name] = None


def _values(tensor: Tensor, whole: bool) -> Tensor:
    """The numbers of a dense, sparse or complex tensor, in one dimension and at least in float32."""
    tensor = plain(tensor, whole)
    if tensor.layout is torch.sparse_coo:
        tensor = tensor.coalesce()
    if tensor.layout is not torch.strided:
        tensor = tensor.values()
    if tensor.is_complex():
        tensor = torch.view_as_real(tensor.resolve_conj())
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32)).flatten()


def _norm(values: Tensor) -> float:
    return float(torch.linalg.vector_norm(values))
