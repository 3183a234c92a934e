"""One training loop for every chapter: call `train` once for each network.

A chapter's whole story, for three networks side by side::

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

**Several networks** are parts of one run: one command makes one folder, ``runs/activations-scratch-001``, with a
subfolder for each network, so that TensorBoard lays their curves over each other under the networks' names, and
``--resume`` on the folder loads the parts that had ended and continues with the one that had not. Parts may have
settings of their own, ``train(run.part("batch 16"), build, task, replace(config, batch_size=16))``; what else sets
one apart, ``run.part("narrow", width=8)``, joins these in the table of hyperparameters and in reports. A chapter of
one network passes the run itself.

**Flags** are the fields of ``Config``, `Settings` and its own. A field's value comes from its flag, failing that
from ``PRESETS[config.preset]`` (without ``--preset`` that is quick), failing that from its default; ``config.json``
holds the outcome, and ``config.device`` is spelled out. A chapter that trains nothing builds on `CommonSettings`.
``check`` refuses what cannot be. ``main(config, run)`` gets a run only when it is to be continued.

**Tasks** are pairs of tensors, inputs and targets, of any shape and dtype. The criterion is named by the backend's
layers, ``criterion=lambda nn: nn.MSELoss()``; without right answers pass ``right=None``. ``augment`` changes training
inputs at random. With ``picture`` TensorBoard shows the mistakes. See `Task`.

**Own measurements**: ``at_step`` sees each watched step and ``at_evaluation`` each evaluation, as a `Moment`: the
network, TensorBoard's writer for figures, images and text, the run's folder. The figures that they return become
curves and join ``metrics.jsonl``::

    def look(moment: Moment) -> dict[str, float]:
        moment.writer.add_figure("pictures/boundary", boundary(moment.learner.model), moment.step)
        return {"weight_norm": norm(moment.learner.model)}

``optimizer``, ``penalty``, ``constrain`` and ``learner`` of `train` change what a step is.

A run can be killed at any moment and continued from its last checkpoint: on a CPU all that it writes then becomes
what it would have been, to the last bit. ``torchrun --nproc-per-node 2 -m experiments NAME`` trains in several
processes: `experiments.training.batches` says what then stays the same. Of them only the writer writes files and
prints; `Run`'s methods and the looks see to that.
"""

from __future__ import annotations

from experiments.training.evaluation import Evaluation
from experiments.training.learner import Learner, sgd
from experiments.training.loop import Training
from experiments.training.moment import Moment
from experiments.training.start import summary, train
from experiments.training.task import Task, is_right

__all__ = ["Evaluation", "Learner", "Moment", "Task", "Training", "is_right", "sgd", "summary", "train"]
