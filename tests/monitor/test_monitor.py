from __future__ import annotations

import copy
import math
import pickle
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
from tensorboard.plugins.hparams import plugin_data_pb2
from torch import nn
from torch.utils.tensorboard import SummaryWriter

from scratchnet.monitor import Monitor


class Network(nn.Module):
    """A frozen layer, an unused one, a shared parameter, a module called twice, and random numbers."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()
        self.hidden = nn.Linear(64, 8)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.out = nn.Linear(8, 8)
        self.out.weight = self.hidden_square = nn.Parameter(torch.randn(8, 8) / 3)

    def forward(self, x):
        x = self.drop(self.relu(self.norm(self.convolution(x)))).flatten(1)
        return self.out(torch.tanh(self.frozen(self.relu(self.hidden(x)))) @ self.hidden_square)


def train(model, optimizer, steps, monitor=None, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(5, 1, 6, 6, generator=generator)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step(loss=loss)


def network(lr=0.1):
    torch.manual_seed(0)
    model = Network()
    return model, torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def line(value=0.0):
    """y = w x with one weight, so that every figure is known."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def hooks(model, optimizer):
    found = [hook for part in model.modules() for hook in part._forward_hooks.values()]
    found += [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]
    return len(found)


def test_training_is_the_same_to_the_last_bit(folder):
    plain, plain_optimizer = network()
    train(plain, plain_optimizer, 5)
    expected_random = torch.rand(3)
    watched, optimizer = network()
    with Monitor(watched, optimizer, folder, every=2) as monitor:
        train(watched, optimizer, 5, monitor)
    assert torch.equal(torch.rand(3), expected_random)
    for (name, value), other in zip(plain.state_dict().items(), watched.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    for parameter, other in zip(plain.parameters(), watched.parameters(), strict=True):
        assert (parameter.grad is None) == (other.grad is None)
        assert parameter.grad is None or torch.equal(parameter.grad, other.grad)


def test_gradient_norms_and_update_ratios(folder, read):
    model, optimizer = network()
    before = copy.deepcopy(dict(model.named_parameters()))
    with Monitor(model, optimizer, folder) as monitor:
        train(model, optimizer, 1, monitor)
    layers = {
        "Network": ["hidden_square"],
        "convolution": ["convolution.weight", "convolution.bias"],
        "norm": ["norm.weight", "norm.bias"],
        "hidden": ["hidden.weight", "hidden.bias"],
        "out": ["out.bias"],  # its weight is the root's, which comes first
    }
    parameters, events = dict(model.named_parameters()), read()

    def norm(tensors):
        return torch.cat([t.detach().double().flatten() for t in tensors]).norm().item()

    for layer, names in layers.items():
        gradient = norm([parameters[n].grad for n in names])
        ratio = norm([parameters[n] - before[n] for n in names]) / norm([before[n] for n in names])
        assert events.curve(f"per_layer_gradient_norm/{layer}") == {1: pytest.approx(gradient, rel=1e-5)}
        shown = events.curve(f"per_layer_update_ratio_log10/{layer}")
        assert shown == {1: pytest.approx(math.log10(ratio), abs=1e-5)}
    total = norm([p.grad for p in parameters.values() if p.grad is not None])
    assert events.curve("optimizer/gradient_norm") == {1: pytest.approx(total, rel=1e-5)}
    shown = [tag.partition("/")[2] for tag in events.scalars if tag.startswith("per_layer_gradient_norm/")]
    assert sorted(shown) == sorted(layers)
    assert not any("frozen" in tag for tag in events.histograms)
    # The unused layer did not move: its ratio is log10(0).
    assert events.curve("per_layer_update_ratio_log10/unused") == {1: -math.inf}


def test_the_gradient_is_the_one_the_optimizer_sees(folder, read):
    model = line()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, folder) as monitor:
        model(torch.tensor([[30.0]])).sum().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 2.0)
        optimizer.step()
        optimizer.zero_grad()
        monitor.step()
    assert read().curve("optimizer/gradient_norm") == {1: pytest.approx(2.0, rel=1e-5)}


def test_without_a_step_of_the_optimizer_gradients_are_read_at_the_end(folder, read):
    model = line(1.0)
    with Monitor(model, None, folder) as monitor:
        model(torch.tensor([[3.0]])).sum().backward()
        monitor.step()
    events = read()
    assert events.curve("optimizer/gradient_norm") == {1: 3.0}
    assert not any("update_ratio" in tag or "learning_rate" in tag for tag in events.scalars)


def test_a_closure_runs_inside_the_step(folder, read):
    model = line(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.weight.grad = torch.tensor([[70.0]])  # stale

    def closure():
        optimizer.zero_grad()
        loss = model(torch.tensor([[3.0]])).sum()
        loss.backward()
        return loss

    with Monitor(model, optimizer, folder) as monitor:
        monitor.step(loss=optimizer.step(closure))
    assert read().curve("optimizer/gradient_norm") == {1: 3.0}
    assert read().curve("per_layer_update_ratio_log10/Linear") == {1: pytest.approx(math.log10(0.3), abs=1e-6)}


def test_two_updates_in_one_step_count_together(folder, read):
    model = line(1.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.weight.grad = torch.ones(1, 1)
    with Monitor(model, optimizer, folder) as monitor:
        optimizer.step()
        optimizer.step()
        monitor.step()
    assert read().curve("per_layer_update_ratio_log10/Linear") == {1: pytest.approx(math.log10(0.2), abs=1e-6)}
    assert read().curve("optimizer/gradient_norm") == {1: 1.0}


def test_learning_rate_is_the_one_used(folder, read):
    model = line()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.5)
    with Monitor(model, optimizer, folder, every=2) as monitor:
        for _ in range(5):
            optimizer.step()
            schedule.step()
            monitor.step()
    assert read().curve("optimizer/learning_rate") == {1: 1.0, 3: 0.25, 5: 0.0625}


def test_learning_rates_of_groups(folder, read):
    model, other = line(), line()
    optimizer = torch.optim.SGD([{"params": model.parameters()}, {"params": other.parameters()}], lr=0.25)
    optimizer.param_groups[0]["lr"] = torch.tensor(0.5, requires_grad=True)
    with Monitor(model, optimizer, folder) as monitor:
        optimizer.step()
        monitor.step()
    assert read().curve("optimizer/learning_rate/group_0") == {1: 0.5}
    assert read().curve("optimizer/learning_rate/group_1") == {1: 0.25}


def test_only_each_nth_step_is_watched_and_carries_hooks(folder, read):
    model, optimizer = network()
    with Monitor(model, optimizer, folder, every=3) as monitor:
        hooked = []
        for seed in range(5):
            hooked.append(hooks(model, optimizer) > 0)
            train(model, optimizer, 1, monitor, seed)
    assert hooked == [True, False, False, True, False]
    assert list(read().curve("optimizer/gradient_norm")) == [1, 4]
    assert list(read().curve("outputs_mean/hidden")) == [1, 4]
    assert list(read().curve("loss/train")) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_close_takes_all_hooks_off(steps, folder):
    model, optimizer = network()
    monitor = Monitor(model, optimizer, folder, every=2)
    train(model, optimizer, steps, monitor)
    monitor.close()
    monitor.close()
    assert monitor.writer.file_writer is None
    assert hooks(model, optimizer) == 0
    x = torch.randn(2, 1, 6, 6)
    clone = pickle.loads(pickle.dumps(copy.deepcopy(model))).eval()
    assert torch.equal(clone(x), model.eval()(x))


def test_ctrl_c_takes_all_hooks_off_and_keeps_the_records(folder, read):
    model, optimizer = network()

    def interrupted():
        with Monitor(model, optimizer, folder, every=2) as monitor:
            train(model, optimizer, 3, monitor)
            model(torch.ones(1, 1, 6, 6))
            raise KeyboardInterrupt

    pytest.raises(KeyboardInterrupt, interrupted)
    assert hooks(model, optimizer) == 0
    assert list(read().curve("loss/train")) == [1, 2, 3]


def test_a_copy_made_on_a_watched_step_is_not_watched(folder, read):
    model = nn.Sequential(nn.ReLU())
    with Monitor(model, None, folder) as monitor:
        clones = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
        model(torch.ones(2, 2))
        for clone in clones:
            assert torch.equal(clone(9 * torch.ones(2, 2)), 9 * torch.ones(2, 2))
            assert [probe.calls for probe in clone[0]._forward_hooks.values()] == [None]
        monitor.step()
    assert read().curve("outputs_mean/0") == {1: 1.0}


@pytest.mark.parametrize(
    ("gradient", "share", "histogram"),
    [
        ([1.0, float("nan"), float("inf"), 2.0], 0.5, True),
        ([float("nan")] * 4, 1.0, False),
        ([-math.inf] * 4, 1.0, False),
        ([3e38, -3e38, 1e-45, 0.0], 0.0, True),
        ([1.0, 1.0 + 2**-52, 1.0, 1.0], 0.0, True),
        ([1e300, -1e300, 0.0, 0.0], 0.0, True),
        ([0.0] * 4, 0.0, True),
    ],
)
def test_histograms_of_any_values(gradient, share, histogram, folder, read):
    model = nn.Linear(4, 1, bias=False, dtype=torch.float64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    with Monitor(model, optimizer, folder) as monitor:
        model.weight.grad = torch.tensor([gradient], dtype=torch.float64)
        optimizer.step()
        monitor.step()
    events, tag = read(), "nonfinite/weights_gradient/weight"
    assert (events.curve(tag)[1] if tag in events.scalars else 0.0) == share
    assert ("weights_gradient/weight" in events.histograms) == histogram
    if histogram:
        (event,) = events.accumulator.Histograms("weights_gradient/weight")
        assert event.histogram_value.num == 4 * (1 - share)


def test_exploded_weights_do_not_stop_the_training(folder, read):
    model, optimizer = network(lr=1e30)
    with Monitor(model, optimizer, folder, every=1) as monitor:
        train(model, optimizer, 4, monitor)
    assert 0 < read().curve("nonfinite/weights/hidden.weight")[4] <= 1
    assert math.isnan(read().curve("per_layer_update_ratio_log10/hidden")[4])


def test_histogram_counts(folder, read):
    model = nn.Linear(100, 3, bias=False)
    with Monitor(model, None, folder) as monitor:
        monitor.step()
    value = read().accumulator.Histograms("weights/weight")[0].histogram_value
    weight = model.weight.detach().double()
    assert (value.min, value.max, value.num) == (weight.min().item(), weight.max().item(), 300)
    assert (value.sum, sum(value.bucket)) == (pytest.approx(weight.sum().item()), 300)


def test_parameters_of_every_kind(folder, read):
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.empty = nn.Parameter(torch.empty(0, 3))
            self.rotation = nn.Parameter(torch.tensor([3 + 4j]))
            self.short = nn.Parameter(torch.full((4,), 6e4, dtype=torch.float16))  # its norm overflows
            self.integers = nn.Parameter(torch.arange(3), requires_grad=False)
            self.embedding = nn.Embedding(5, 2, sparse=True)
            self.lazy = nn.LazyLinear(3)

    model = Odd()
    with Monitor(model, None, folder) as monitor:
        model.embedding(torch.tensor([1, 1])).sum().backward()  # row 1 twice: the gradient is 2 2
        model.rotation.grad = torch.tensor([6 + 8j])
        model.short.grad = model.short.detach().clone()
        monitor.step()
    events = read()
    assert events.curve("per_layer_gradient_norm/embedding") == {1: pytest.approx(8**0.5)}
    assert events.curve("per_layer_gradient_norm/Odd") == {1: pytest.approx(math.hypot(10, 120_000))}
    assert sorted(events.histograms) == sorted(
        ["weights/rotation", "weights/short", "weights/embedding.weight"]
        + ["weights_gradient/rotation", "weights_gradient/short", "weights_gradient/embedding.weight"]
    )


def test_a_layer_of_zeros_has_no_ratio(folder, read):
    model = line(0.0)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with Monitor(model, optimizer, folder) as monitor:
        model.weight.grad = torch.ones(1, 1)
        optimizer.step()
        monitor.step()
    assert "per_layer_update_ratio_log10/Linear" not in read().scalars


def test_evaluation(folder, read):
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


def test_a_given_writer_stays_open(folder, read):
    writer = SummaryWriter(str(folder))
    with Monitor(line(), None, writer) as monitor:
        monitor.step(loss=1.0)
    assert read().curve("loss/train") == {1: 1.0}
    writer.add_scalar("loss/train", 2.0, 2)
    writer.close()
    assert read().curve("loss/train") == {1: 1.0, 2: 2.0}
    assert len(list(folder.iterdir())) == 1


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        ((None, None, "x"), {}, TypeError, r"module to be a torch\.nn\.Module, got None"),
        (
            (line(), "sgd", "x"),
            {},
            TypeError,
            r"optimizer to be a torch\.optim\.Optimizer or None, got str 'sgd'",
        ),
        (
            (line(), None, None),
            {},
            TypeError,
            "writer to be a SummaryWriter or the folder to write to, got None",
        ),
        ((line(), None, "x"), {"every": 0}, ValueError, "every to be at least 1, got 0"),
        ((line(), None, "x"), {"start_step": -1}, ValueError, "start_step to be 0 or more, got -1"),
    ],
)
def test_refused_arguments(arguments, options, error, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=message):
        Monitor(*arguments, **options)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("value", "error", "message"),
    [
        (torch.ones(3), ValueError, r"loss/train: expected one number, got a float32 tensor of shape \(3,\)"),
        ([1.0], TypeError, r"loss/train: expected a number, got list"),
    ],
)
def test_refused_figures(value, error, message, folder):
    with Monitor(line(), None, folder) as monitor:
        with pytest.raises(error, match=message):
            monitor.step(loss=value)
        assert monitor.global_step == 0


def test_refused_config(folder):
    with Monitor(line(), None, folder) as monitor, pytest.raises(TypeError, match="a dataclass or a mapping"):
        monitor.hparams(Config, {})


@pytest.mark.parametrize("call", ["step", "evaluate", "hparams"])
def test_a_closed_monitor_says_so(call, folder):
    monitor = Monitor(line(), None, folder)
    monitor.close()
    with pytest.raises(RuntimeError, match=f"Monitor.{call}: the monitor is closed"):
        getattr(monitor, call)(*(({}, {}) if call == "hparams" else ()))


def test_tensorboard_is_imported_only_for_a_folder(folder, monkeypatch):
    source = "import sys, scratchnet.monitor; print([m for m in sys.modules if 'tensorboard' in m])"
    found = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match=r"pip install scratchnet\[experiments\]"):
        Monitor(line(), None, folder)
