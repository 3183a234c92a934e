"""What a chapter's own measurements see of a training run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from experiments.run import Run
from experiments.training.evaluation import Evaluation
from experiments.training.learner import Learner

__all__ = ["Look", "Moment"]


@dataclass(frozen=True)
class Moment:
    """A network after a watched step or an evaluation.

    Attributes:
        learner: The network; after a step its gradients are still there, and may be overwritten.
        step: Training steps done.
        writer: Of TensorBoard's records of this network: ``writer.add_figure(tag, figure, step)``.
        run: The folder, for files such as ``run.write_text("samples.txt", text)``.
        evaluation: What the network answered to the test set; ``None`` after a step.
    """

    learner: Learner
    step: int
    writer: SummaryWriter
    run: Run
    evaluation: Evaluation | None = None


# A look may use the network, its gradients and random numbers freely: training goes on as if it had not been.
# The figures that it returns become curves, ``metrics/NAME/train`` or ``metrics/NAME/test``, and join metrics.jsonl.
Look = Callable[[Moment], Mapping[str, Any] | None]
