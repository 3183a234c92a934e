"""One network in training: its loss, optimizer and learning rate schedule, and the callbacks on it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.tensorboard import SummaryWriter

from experiments import processes
from experiments.backend import Backend
from experiments.run import Run
from experiments.settings import Settings
from experiments.training.evaluation import Evaluation
from experiments.training.schedule import SCHEDULES
from experiments.training.task import Task

__all__ = ["Callback", "CallbackState", "Learner", "sgd"]

EVALUATION_BATCH = 250


def sgd(backend: Backend, model: nn.Module, settings: Settings) -> Optimizer:
    return backend.optim.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)


class Learner:
    """Trains a network of one backend.

    A chapter with a different training step, such as a GAN's, overrides `step`, which does its work inside
    `clocked`, and also `state_dict` and `load_state_dict` if it has more state.

    Args:
        backend: Backend of the layers.
        build: Builds the network.
        task: The task to learn.
        settings: Settings of the training.
        steps: Number of steps that the learning rate schedule spans.
        optimizer: Makes the optimizer.
        penalty: Term to add to the loss, such as a norm of the weights; reported losses exclude it.
        constrain: Called after each step, without gradients, to project the weights onto a constraint.

    Attributes:
        name: Name of the backend.
        model: The network, without the wrappers used in training.
        seconds: Time spent in `step` so far.
    """

    def __init__(
        self,
        backend: Backend,
        build: Callable[[Backend], nn.Module],
        task: Task,
        settings: Settings,
        steps: int,
        *,
        optimizer: Callable[[Backend, nn.Module, Settings], Optimizer] = sgd,
        penalty: Callable[[nn.Module], Tensor] | None = None,
        constrain: Callable[[nn.Module], None] | None = None,
    ) -> None:
        self.backend, self.name, self.task, self.settings = backend, backend.name, task, settings
        self.model = build(backend).to(settings.device, settings.torch_dtype)
        self.criterion = task.criterion(backend.nn)
        self.penalty, self.constrain = penalty, constrain
        self.optimizer = optimizer(backend, self.model, settings)
        rate = SCHEDULES[settings.schedule]
        self.schedule = LambdaLR(self.optimizer, lambda step: rate((step + 1) / (steps + 1)))
        self.seconds = 0.0
        self.monitored = False
        self._runner = Runner(self.model, settings.compile)
        self._network: nn.Module = DistributedDataParallel(self._runner) if processes.size() > 1 else self._runner

    def step(self, inputs: Tensor, targets: Tensor, weight: float = 1.0) -> dict[str, float]:
        """Trains on one batch, in ``settings.accumulate`` parts.

        Args:
            inputs: Prepared and augmented inputs.
            targets: Their targets.
            weight: Weight of the loss in the gradient: with several processes, the size of this one's share
                relative to the mean.

        Returns:
            ``loss``, ``accuracy`` if the task has right answers, and ``gradient_norm`` before clipping if it
            clips.
        """
        loss: Tensor | float = 0.0
        answers = []
        norm = None
        count = self.settings.accumulate
        with self.clocked():
            self.optimizer.zero_grad()
            parts = list(zip(inputs.chunk(count), targets.chunk(count), strict=True))
            for i, (part, truth) in enumerate(parts):
                last, share = i == len(parts) - 1, len(truth) / len(targets)
                with self._exchange(last):
                    with self._precision():
                        outputs = self._network(part, self.monitored)
                        part_loss = self.criterion(outputs, truth)
                    whole = part_loss if share * weight == 1 else part_loss * (share * weight)
                    if last and self.penalty is not None:
                        whole = whole + self.penalty(self.model)
                    whole.backward()
                loss = loss + share * part_loss.detach()
                answers.append((outputs.detach(), truth, share))
            if self.settings.clip is not None:
                norm = nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.clip)
            self.optimizer.step()
            if self.constrain is not None:
                with torch.no_grad():
                    self.constrain(self.model)
            metrics = {"loss": float(loss)}
        right = self.task.right
        if right is not None:
            metrics["accuracy"] = float(sum(share * right(*pair).double().mean() for *pair, share in answers))
        if norm is not None:
            metrics["gradient_norm"] = norm.item()
        return metrics

    @contextmanager
    def clocked(self) -> Iterator[None]:
        """Adds the time of a step to `seconds`, then advances the schedule.

        On a GPU the loss must be read inside, which waits for the step to finish.
        """
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started
        self.schedule.step()

    @torch.no_grad()
    def evaluate(
        self, inputs: Tensor, targets: Tensor, before_batch: Callable[[], None] = lambda: None
    ) -> Evaluation:
        """Evaluates the network on a set as it is stored; ``before_batch`` can raise to stop."""
        found = Evaluation()
        self.model.eval()
        try:
            for batch, truth in zip(inputs.split(EVALUATION_BATCH), targets.split(EVALUATION_BATCH), strict=True):
                before_batch()
                with self._precision():
                    outputs = self.model(self.task.prepare(batch))
                    loss = self.criterion(outputs, truth)
                right = None if self.task.right is None else self.task.right(outputs, truth)
                found.add(loss.item(), right, outputs, truth)
        finally:
            self.model.train()
        return found

    def state_dict(self) -> dict[str, Any]:
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        # A prolonged run has another schedule.
        rates = zip(self.schedule.base_lrs, self.schedule.lr_lambdas, strict=True)
        for group, (base, rate) in zip(self.optimizer.param_groups, rates, strict=True):
            group["lr"] = base * rate(self.schedule.last_epoch)
        self.seconds = state["seconds"]

    def _precision(self) -> AbstractContextManager[Any]:
        if self.settings.amp == "none":
            return nullcontext()
        return torch.autocast(torch.device(self.settings.device).type, dtype=torch.bfloat16)

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Lets only the last part of a batch exchange gradients between processes."""
        if isinstance(self._network, DistributedDataParallel) and not last:
            return self._network.no_sync()
        return nullcontext()


class Runner(nn.Module):
    """Calls a network, by ``torch.compile`` if requested.

    Monitored steps run eagerly, because compiled code ignores the monitor's hooks.
    """

    def __init__(self, model: nn.Module, compiled: bool) -> None:
        super().__init__()
        self.model = model
        self.fast = torch.compile(model.forward) if compiled else None

    def forward(self, inputs: Tensor, monitored: bool) -> Tensor:
        return self.model(inputs) if self.fast is None or monitored else self.fast(inputs)


@dataclass(frozen=True)
class CallbackState:
    """The state that a callback sees after a monitored step or an evaluation.

    Attributes:
        learner: The network; after a step its gradients are available and may be overwritten.
        step: Training steps done.
        writer: TensorBoard's writer of this network: ``writer.add_figure(tag, figure, step)``.
        run: The run, for files such as ``run.write_text("samples.txt", text)``.
        evaluation: The evaluation on the test set; ``None`` after a step.
    """

    learner: Learner
    step: int
    writer: SummaryWriter
    run: Run
    evaluation: Evaluation | None = None


# A callback can use the network, its gradients and random numbers freely without affecting the training. The metrics
# that it returns become curves, ``metrics/NAME/train`` or ``metrics/NAME/test``, and are written to metrics.jsonl.
Callback = Callable[[CallbackState], Mapping[str, Any] | None]
