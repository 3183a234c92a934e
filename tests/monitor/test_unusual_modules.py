"""Modules, parameters, gradients and optimizers of every kind: nothing stops the training, and gaps are named."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations
from torch.testing._internal.two_tensor import TwoTensor
from torch.utils.checkpoint import checkpoint

from scratchnet.monitor import Monitor

X = torch.linspace(-2, 2, 24).view(4, 6)


def network(dtype=None):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5, dtype=dtype), nn.ReLU(), nn.Linear(5, 3, dtype=dtype))


def watch(model, folder, train=None, x=X, optimizers=None):
    """Watches two steps; returns the optimizer."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    if optimizers is None and parameters:
        optimizers = torch.optim.SGD(parameters, lr=0.1)
    with Monitor(model, optimizers, folder, every=1) as monitor:
        for _ in range(2):
            if train is not None:
                train(model, optimizers)
            else:
                y = model(x)
                if y.requires_grad:
                    y.abs().square().sum().backward()
                if optimizers is not None:
                    optimizers.step()
                    optimizers.zero_grad()
            monitor.step()


def shown(events, group):
    return sorted(tag.partition("/")[2] for tag in events.scalars if tag.startswith(f"{group}/"))


def per_sample(model, optimizer):
    fixed = {name: parameter.detach() for name, parameter in model.named_parameters()}

    def loss(parameters, x):
        return torch.func.functional_call(model, parameters, (x[None],)).square().sum()

    gradients = torch.func.vmap(torch.func.grad(loss), (None, 0))(fixed, X)
    for name, parameter in model.named_parameters():
        parameter.grad = gradients[name].mean(0)
    optimizer.step()


def test_per_sample_gradients(folder, read):
    watch(network(), folder, per_sample)
    assert shown(read(), "per_layer_update_ratio_log10") == ["0", "2"]
    assert not shown(read(), "outputs_mean")
    assert read().not_seen() == {1: "- outputs of 0, outputs of 1, outputs of 2: inside torch.func"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("make", [torch.jit.script, lambda model: torch.jit.trace(model, X)])
def test_scripted_and_traced_parts(make, folder, read):
    watch(nn.Sequential(make(network()), nn.Linear(3, 2)), folder)
    assert shown(read(), "outputs_mean") == ["1"]
    assert shown(read(), "per_layer_gradient_norm") == ["0.0", "0.2", "1"]
    assert list(read().not_seen().values()) == [
        "- outputs of 0.0, outputs of 0.1, outputs of 0.2: inside a scripted or traced module"
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_trace_of_a_watched_model_holds_nothing_of_the_monitor(folder):
    model = network()

    def operations():
        return [node.kind() for node in torch.jit.trace(model, X).inlined_graph.nodes()]

    alone = operations()
    with Monitor(model, None, folder):
        assert operations() == alone


@pytest.mark.filterwarnings("ignore:torch.*quantiz.*deprecated")
def test_quantized_modules(folder, read):
    model = torch.ao.quantization.quantize_dynamic(network(), {nn.Linear})
    watch(model, folder)
    assert not read().histograms


def test_lazy_modules(folder, read):
    watch(nn.Sequential(nn.LazyLinear(5), nn.LazyBatchNorm1d()), folder)
    assert shown(read(), "per_layer_update_ratio_log10") == shown(read(), "outputs_mean") == ["0", "1"]


def test_a_module_without_parameters(folder, read):
    watch(nn.Sequential(nn.ReLU(), nn.Tanh()), folder)
    assert shown(read(), "outputs_mean") == ["0", "1"]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_of_another_precision(dtype, folder, read):
    watch(network(dtype), folder, x=X.to(dtype))
    events = read()
    assert not events.not_seen()
    assert shown(events, "per_layer_update_ratio_log10") == ["0", "2"]
    assert all(math.isfinite(v) for v in events.curve("optimizer/gradient_norm").values())


def test_autocast_and_a_gradient_scaler(folder, read):
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)

    def train(model, optimizer):
        with torch.autocast("cpu", torch.bfloat16):
            y = model(X)
        scaler.scale(y.float().square().sum()).backward()
        scaler.step(optimizer)
        scaler.update()
        optimizer.zero_grad()

    watch(network(), folder, train)
    reference = network()
    with torch.autocast("cpu", torch.bfloat16):
        y = reference(X)
    y.float().square().sum().backward()
    norm = math.hypot(*(p.grad.norm().item() for p in reference.parameters()))
    assert read().curve("optimizer/gradient_norm")[1] == pytest.approx(norm, rel=1e-2)  # unscaled; in bfloat16


def test_complex_weights(folder, read):
    watch(nn.Sequential(nn.Linear(6, 3, dtype=torch.complex64)), folder, x=X.to(torch.complex64))
    assert shown(read(), "per_layer_update_ratio_log10") == ["0"]
    assert read().not_seen() == {1: "- outputs of 0: no batch of floating-point numbers"}


class Plain(torch.Tensor):
    """A subclass that computes as a tensor does."""


@pytest.mark.parametrize("wrap", [lambda w: w.as_subclass(Plain), lambda w: TwoTensor(w, w)])
def test_parameters_of_a_subclass(wrap, folder, read):
    model = network()
    model[0].weight = nn.Parameter(wrap(model[0].weight.detach()))
    watch(model, folder)
    events = read()
    assert shown(events, "per_layer_update_ratio_log10") == ["0", "2"]
    if isinstance(model[0].weight, TwoTensor):
        assert "weights of 0.weight: the numbers of a TwoTensor cannot be read" in events.not_seen()[1]
    else:
        assert "weights/0.weight" in events.histograms
        assert not events.not_seen()


def test_parameters_on_the_meta_device(folder, read):
    def train(model, optimizer):
        model(X.to("meta")).sum().backward()
        optimizer.step()

    watch(network().to("meta"), folder, train)
    assert "weights of 0.weight" in read().not_seen()[1]
    assert "on the meta device" in read().not_seen()[1]


def test_a_loss_on_the_meta_device_is_nan(folder, read):
    with Monitor(network(), None, folder) as monitor:
        monitor.step(loss=torch.ones((), device="meta"))
    assert math.isnan(read().curve("loss/train")[1])


def test_parametrized_modules_keep_their_names_and_their_state(folder, read):
    def make():
        torch.manual_seed(0)
        return nn.Sequential(
            parametrizations.spectral_norm(nn.Conv1d(1, 4, 3)),
            parametrizations.weight_norm(nn.Linear(4, 2, bias=False)),
        )

    alone, model = make(), make()
    watch(model, folder, x=X.view(4, 1, 6))
    optimizer = torch.optim.SGD(alone.parameters(), lr=0.1)
    for _ in range(2):
        alone(X.view(4, 1, 6)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
    for (name, value), other in zip(model.state_dict().items(), alone.state_dict().values(), strict=True):
        assert torch.equal(value, other), name
    events = read()
    assert shown(events, "outputs_mean") == shown(events, "per_layer_gradient_norm") == ["0", "1"]
    assert "weights/0.parametrizations.weight.original" in events.histograms
    assert events.not_seen() == {1: "- filters of 0: the weight is parametrized"}


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_modules_have_the_figures_of_one_pass(reentrant, tmp_path, folder, events):
    def train(model, optimizer):
        checkpoint(model, X.clone().requires_grad_(), use_reentrant=reentrant).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    watch(network(), folder, train)
    watch(network(), tmp_path / "plain")
    found, expected = events(folder), events(tmp_path / "plain")
    assert found.scalars == expected.scalars
    for tag in expected.scalars:
        assert found.curve(tag) == pytest.approx(expected.curve(tag), rel=1e-5), tag


def test_evaluation_mode_all_the_time_is_named(folder, read):
    watch(network().eval(), folder)
    assert "no call in training mode" in read().not_seen()[1]


class Descent(torch.optim.Optimizer):
    """An optimizer of a user's, without a learning rate."""

    def __init__(self, parameters):
        super().__init__(parameters, {})

    @torch.no_grad()
    def step(self, closure=None):
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter -= 0.1 * parameter.grad


class Unhooked(torch.optim.Optimizer):
    """One that does not call the constructor, and so takes no hooks."""

    def __init__(self, parameters):
        self.param_groups = [{"params": list(parameters)}]

    def step(self, closure=None):
        pass


def test_optimizers_of_users(folder, read):
    model = network()
    watch(model, folder, optimizers=Descent(model.parameters()))
    assert shown(read(), "per_layer_update_ratio_log10") == ["0", "2"]
    assert not read().not_seen()


def test_an_optimizer_that_takes_no_hooks(folder, read):
    model = network()

    def train(model, optimizer):
        model.zero_grad()
        model(X).sum().backward()
        optimizer.step()

    watch(model, folder, train, optimizers=Unhooked(model.parameters()))
    assert shown(read(), "per_layer_gradient_norm") == ["0", "2"]
    assert "updates of the weights" in read().not_seen()[1]


def test_several_optimizers(folder, read):
    """Each steps on a loss of its own, and the gradients are those that it steps along."""
    model = network()
    optimizers = [torch.optim.SGD(model[0].parameters(), lr=0.5), torch.optim.SGD(model[2].parameters(), lr=0.25)]
    norms = []

    def train(model, optimizers):
        for optimizer, scale in zip(optimizers, (1.0, 10.0), strict=True):
            (scale * model(X).sum()).backward()
            norms.append([math.hypot(*(p.grad.norm().item() for p in model[i].parameters())) for i in (0, 2)])
            optimizer.step()
            model.zero_grad()

    watch(model, folder, train, optimizers=optimizers)
    events = read()
    assert events.curve("optimizer/learning_rate/group_0") == {1: 0.5, 2: 0.5}
    assert events.curve("optimizer/learning_rate/group_1") == {1: 0.25, 2: 0.25}
    assert events.curve("per_layer_gradient_norm/0")[1] == pytest.approx(norms[0][0], rel=1e-5)
    assert events.curve("per_layer_gradient_norm/2")[1] == pytest.approx(norms[1][1], rel=1e-5)
    assert shown(events, "per_layer_update_ratio_log10") == ["0", "2"]


@pytest.mark.parametrize("values", [2**16 - 1, 2**16, 3 * 2**17])
def test_histograms_of_many_values_are_of_an_even_sample(values, folder, read):
    model = nn.Linear(values, 1, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.linspace(-1, 1, values))
    watch(model, folder, lambda model, optimizer: None)
    histogram = read().accumulator.Histograms("weights/weight")[0].histogram_value
    assert histogram.num == values
    assert sum(histogram.bucket) == pytest.approx(values)
    assert all(abs(n / values - 1 / 30) < 2e-4 for n in histogram.bucket[1:])
    assert all(b > a for a, b in pairwise(histogram.bucket_limit))
