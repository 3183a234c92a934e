"""The training loop of all chapters: call `train` once for each network.

A chapter that trains three networks::

    @dataclass(frozen=True)
    class Config(Settings):
        '''Trains the same deep network with each activation.'''
        depth: int = 8
        PRESETS = {"quick": {"epochs": 1, "lr": 0.05}, "full": {"epochs": 10, "lr": 0.05}}

    def main(config: Config, run: Run | None = None) -> None:
        digits = load(config)
        run = run or Run.create(config, "activations")
        task = Task(train=(digits.train_images, digits.train_labels), test=…, prepare=normalize)
        summaries = {}
        for name in ("ReLU", "Tanh", "Sigmoid"):
            training = train(run.part(name), lambda backend: deep(backend, name, config.depth), task, config)
            summaries[name] = summary(training)
        run.finish(summaries)

**Several networks** are parts of one run. The run has one folder, ``runs/activations/activations-scratch-001``,
with a subfolder for each network, so that TensorBoard overlays their curves under the networks' names.
``--resume`` on the folder loads the finished parts and continues the unfinished one. Parts can have their own
settings, ``train(run.part("batch 16"), build, task, replace(config, batch_size=16))``; other properties of a part,
``run.part("narrow", width=8)``, are added to its settings in the table of hyperparameters and in reports. A
chapter with one network passes the run itself.

**Flags** are the fields of ``Config``, which include those of `Settings`. The value of a field comes from its
flag, or else from ``PRESETS[config.preset]`` (quick by default), or else from the field's default. ``config.json``
stores the result, with an explicit ``device``. A chapter that trains nothing derives from `CommonSettings`.
``check`` rejects invalid values. ``main(config, run)`` receives a run only to continue it.

**Tasks** are pairs of tensors, inputs and targets, of any shape and dtype. The criterion is made from the
backend's layers, ``criterion=lambda nn: nn.MSELoss()``; tasks without right answers pass ``right=None``.
``augment`` changes training inputs at random. With ``picture`` TensorBoard shows the mistakes. See `Task`.

**Callbacks**: ``at_step`` is called after each monitored step and ``at_evaluation`` after each evaluation, with a
`CallbackState`: the network, TensorBoard's writer and the run's folder. The metrics that they return become curves
and are written to ``metrics.jsonl``::

    def callback(state: CallbackState) -> dict[str, float]:
        state.writer.add_figure("pictures/boundary", boundary(state.learner.model), state.step)
        return {"weight_norm": norm(state.learner.model)}

``optimizer``, ``penalty``, ``constrain`` and ``learner`` of `train` change the training step.

A run can be killed at any time and continued from its last checkpoint: on a CPU its weights and metrics are
then those of an uninterrupted run, bit for bit. ``torchrun --nproc-per-node 2 -m experiments NAME`` trains
in several processes; `experiments.training.task` describes how they share batches. Only the writer process writes
files, prints and calls callbacks.
"""

from __future__ import annotations

from experiments.training.evaluation import Evaluation
from experiments.training.learner import CallbackState, Learner, sgd
from experiments.training.loop import Training
from experiments.training.start import summary, train
from experiments.training.task import Task, is_right

__all__ = ["CallbackState", "Evaluation", "Learner", "Task", "Training", "is_right", "sgd", "summary", "train"]
