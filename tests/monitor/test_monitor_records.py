"""What stands in the folder of a run: losses, accuracies, hyperparameters."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from tensorboard.backend.event_processing import plugin_event_accumulator
from tensorboard.plugins.hparams import plugin_data_pb2
from watched import line, network, train

from scratchnet.monitor import Monitor


def test_an_evaluation_stands_at_the_step_it_was_made_after(folder, read):
    counts = torch.tensor([[3, 1], [0, 4]])
    with Monitor(line(), None, folder, every=50) as monitor:
        monitor.step(loss=2, accuracy=torch.tensor([0.25]), perplexity=7.0)
        monitor.evaluate(loss=torch.tensor(1.5), accuracy=0.5, confusion=counts, error=0.5)
        while_open = read()
        monitor.evaluate(20, loss=1.0)
    assert while_open.curve("loss/test") == {1: 1.5}
    assert read().curve("loss/test") == {1: 1.5, 20: 1.0}
    assert read().curve("accuracy/test") == {1: 0.5}
    assert read().curve("metrics/error/test") == {1: 0.5}
    assert read().curve("metrics/perplexity/train") == {1: 7.0}
    assert (read().curve("loss/train"), read().curve("accuracy/train")) == ({1: 2.0}, {1: 0.25})
    assert read().image("pictures/confusion/row_true_column_predicted").shape == (3, 132, 132)


def test_accuracy_and_loss_come_first(folder, read):
    model, optimizer = network()
    with Monitor(model, optimizer, folder, every=1) as monitor:
        train(model, optimizer, 2, monitor)
        monitor.step(loss=float("nan"), accuracy=0.0, anything=1.0)
        monitor.evaluate(loss=1.0, accuracy=0.0, confusion=torch.ones(2, 2), other=1.0)
        monitor.hparams({"lr": 0.1}, {"accuracy": 0.0, "another": 1.0})
    events = read()
    groups = sorted({tag.split("/")[0] for tag in events.scalars + events.histograms + events.images})
    assert groups[:2] == ["accuracy", "loss"]
    assert len(groups) == 12


def test_a_loss_is_kept_as_it_was(folder, read):
    loss = torch.tensor(1.0, requires_grad=True)
    with Monitor(line(), None, folder) as monitor:
        monitor.step()
        monitor.step(loss=loss)
        with torch.no_grad():
            loss += 5
    assert read().curve("loss/train") == {2: 1.0}


def test_scalars_are_written_at_the_latest_after_a_hundred_steps(folder, read):
    with Monitor(line(), None, folder, every=10**6) as monitor:
        for _ in range(150):
            monitor.step(loss=1.0)
        monitor.writer.flush()
        while_open = list(read().curve("loss/train"))
    assert while_open == list(range(1, 102))
    assert list(read().curve("loss/train")) == list(range(1, 151))


def test_a_resumed_run_goes_on_in_the_same_folder(folder, read):
    model, optimizer = network()
    with Monitor(model, optimizer, folder, every=2) as monitor:
        train(model, optimizer, 7, monitor)  # the checkpoint is of step 4
    with Monitor(model, optimizer, folder, every=2, start_step=4) as monitor:
        train(model, optimizer, 2, monitor)
        assert monitor.global_step == 6
    assert list(read().curve("loss/train")) == [1, 2, 3, 4, 5, 6]
    assert list(read().curve("optimizer/gradient_norm")) == [1, 3, 5]
    # The reader behind TensorBoard without its data server.
    other = plugin_event_accumulator.EventAccumulator(str(folder), size_guidance={"tensors": 0}).Reload()
    assert [point.step for point in other.Tensors("loss/train")] == [1, 2, 3, 4, 5, 6]


def test_results_of_the_last_evaluation_are_written_once(folder, read):
    with Monitor(line(), None, folder) as monitor:
        monitor.step()
        monitor.evaluate(loss=1.0, accuracy=0.5)
        monitor.step()
        monitor.evaluate(loss=0.5, accuracy=0.75)
        monitor.hparams({"lr": 0.1}, {"loss": 0.5, "accuracy": 0.75, "error": 0.25})
    events = read()  # which fails at a step with two points
    assert events.curve("loss/test") == {1: 1.0, 2: 0.5}
    assert events.curve("accuracy/test") == {1: 0.5, 2: 0.75}
    assert events.curve("metrics/error/test") == {2: 0.25}
    assert len(list(folder.iterdir())) == 1


def test_extremes_over_the_layers_have_the_same_tags_in_networks_of_any_depth(folder, read):
    model, optimizer = network()
    with Monitor(model, optimizer, folder, every=1) as monitor:
        train(model, optimizer, 1, monitor)
    events = read()
    for group, name in (("per_layer_gradient_norm", "gradient_norm"), ("outputs_std", "outputs_std")):
        figures = [events.curve(tag)[1] for tag in events.scalars if tag.startswith(f"{group}/")]
        assert len(figures) > 1
        assert events.curve(f"over_layers/{name}/largest") == {1: max(figures)}
        assert events.curve(f"over_layers/{name}/smallest") == {1: min(figures)}


@dataclass(frozen=True)
class Schedule:
    warmup: int = 3
    decay: dict[str, float] = field(default_factory=lambda: {"factor": 0.25})


@dataclass(frozen=True)
class Config:
    lr: float = 0.5
    nesterov: bool = True
    name: str = "first"
    sizes: tuple[int, ...] = (8, 4)
    out: Path = Path("runs/x")
    schedule: Schedule = field(default_factory=Schedule)
    device: torch.device = torch.device("cpu")
    seed: int | None = None


@pytest.mark.parametrize("kind", ["dataclass", "mapping"])
def test_hparams_lie_in_the_folder_of_the_run(kind, folder, read):
    config = Config() if kind == "dataclass" else {**vars(Config()), "schedule": vars(Schedule())}
    with Monitor(line(), None, folder) as monitor:
        monitor.step()
        monitor.hparams(config, {"accuracy": torch.tensor(0.75), "loss": 2, "error": 0.25})
    assert all(path.parent == folder for path in folder.rglob("*") if path.is_file())
    events = read()
    assert events.curve("accuracy/test") == {1: 0.75}
    assert (events.curve("loss/test"), events.curve("metrics/error/test")) == ({1: 2.0}, {1: 0.25})
    content = events.accumulator.summary_metadata["_hparams_/session_start_info"].plugin_data.content
    session = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
    kept = {name: getattr(value, value.WhichOneof("kind")) for name, value in session.hparams.items()}
    assert kept == {
        "lr": 0.5,
        "nesterov": 1.0,
        "name": "first",
        "sizes": "(8, 4)",
        "out": "runs/x",
        "schedule.warmup": 3,
        "schedule.decay.factor": 0.25,
    }


def test_hyperparameters_of_a_class_are_refused(folder):
    with Monitor(line(), None, folder) as monitor, pytest.raises(TypeError, match="a dataclass or a mapping"):
        monitor.hparams(Config, {})
