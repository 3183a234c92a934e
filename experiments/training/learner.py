"""One network in training: the model, its loss, its optimizer and the schedule of its learning rate."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from experiments import processes
from experiments.backend import Backend
from experiments.settings import Settings
from experiments.training.evaluation import Evaluation
from experiments.training.schedule import SCHEDULES
from experiments.training.task import Task

__all__ = ["Learner", "sgd"]

EVALUATION_BATCH = 250


def sgd(backend: Backend, model: nn.Module, settings: Settings) -> Optimizer:
    """The optimizer that the settings ask for."""
    return backend.SGD(model.parameters(), lr=settings.lr, momentum=settings.momentum)


class Learner:
    """A network of one backend and what it takes to train it, for ``steps`` steps.

    A chapter with another idea of a step, such as two networks against each other, overrides `step`, whose work it
    does within `clocked`, and `state_dict` and `load_state_dict` with it if it has more state.

    Args:
        backend: Whose layers to build of.
        build: Builds the network.
        task: What it learns.
        settings: How.
        steps: Over which the schedule extends.
        optimizer: Makes the optimizer.
        penalty: A term that is added to the loss of a batch, such as a norm of the weights; the loss that is
            reported is without it.
        constrain: Called after each step, without gradients, to put weights back to where they may be.

    Attributes:
        name: That of the backend.
        model: The network itself, whatever is wrapped around it in training.
        seconds: Spent in `step` so far.
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
        self.watched = False
        self._runner = Runner(self.model, settings.compile)
        self._network: nn.Module = DistributedDataParallel(self._runner) if processes.size() > 1 else self._runner

    def step(self, inputs: Tensor, targets: Tensor, weight: float = 1.0) -> dict[str, float]:
        """Learns from one batch, in as many parts as the settings say.

        Args:
            inputs: As `Task.prepare` and `Task.augment` made them.
            targets: What should come out.
            weight: Of the loss in the gradient; beside other processes, by how much more examples are here than in
                the mean process.

        Returns:
            ``loss``, ``accuracy`` where there are right answers, and ``gradient_norm`` before a clipping.
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
                        outputs = self._network(part, self.watched)
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
            figures = {"loss": float(loss)}
        right = self.task.right
        if right is not None:
            figures["accuracy"] = float(sum(share * right(*pair).double().mean() for *pair, share in answers))
        if norm is not None:
            figures["gradient_norm"] = norm.item()
        return figures

    @contextmanager
    def clocked(self) -> Iterator[None]:
        """Counts the time of a step into `seconds`, and moves the schedule on when it is over.

        On a GPU the loss must be read within it, which waits for the step to end.
        """
        started = time.perf_counter()
        yield
        self.seconds += time.perf_counter() - started
        self.schedule.step()

    @torch.no_grad()
    def evaluate(
        self, inputs: Tensor, targets: Tensor, before_batch: Callable[[], None] = lambda: None
    ) -> Evaluation:
        """Judges the network by a set as it is stored; ``before_batch`` may raise to break it off."""
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
        """Everything that training changes, as plain values."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
            "seconds": self.seconds,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Takes the network back to a state that `state_dict` gave."""
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.seconds = state["seconds"]

    def _precision(self) -> AbstractContextManager[Any]:
        """Autocast, where it is asked for."""
        if self.settings.amp == "none":
            return nullcontext()
        return torch.autocast(torch.device(self.settings.device).type, dtype=torch.bfloat16)

    def _exchange(self, last: bool) -> AbstractContextManager[Any]:
        """Of several processes, only the last part of a batch brings the gradients together."""
        if isinstance(self._network, DistributedDataParallel) and not last:
            return self._network.no_sync()
        return nullcontext()


class Runner(nn.Module):
    """Calls a network, through ``torch.compile`` where that is asked for and the step is not watched.

    Compiled code knows nothing of the hooks that watch a step.
    """

    def __init__(self, model: nn.Module, compiled: bool) -> None:
        super().__init__()
        self.model = model
        self.fast = torch.compile(model.forward) if compiled else None

    def forward(self, inputs: Tensor, watched: bool) -> Tensor:
        """The outputs of the network."""
        return self.model(inputs) if self.fast is None or watched else self.fast(inputs)
