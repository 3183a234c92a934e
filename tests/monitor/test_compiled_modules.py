"""`torch.compile`: the same training, the same tags, no compilation because of the monitor."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from watched import hooks

from scratchnet.monitor import Monitor


class Block(nn.Sequential):
    """With a forward of its own: that of nn.Sequential torch does not compile in place."""

    def forward(self, x):
        return self[1](self[0](x))


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.block = Block(nn.Linear(6, 5), nn.ReLU())
        self.out = nn.Linear(5, 3)

    def forward(self, x):
        return self.out(self.block(x))


class Backend:
    """Runs what it is given as it is, and counts how often it is given anything."""

    def __init__(self):
        self.compilations = 0

    def __call__(self, graph, inputs):
        self.compilations += 1
        return graph.forward


def compiled(how, **options):
    """A model, what to call, and what is compiled of it."""
    torch.compiler.reset()
    torch.manual_seed(0)
    model = Model()
    if how == "wrapped":
        model = torch.compile(model, **options)
    elif how == "in place":
        model.compile(**options)
    elif how == "part wrapped":
        model.block = torch.compile(model.block, **options)
    elif how == "part in place":
        model.block.compile(**options)
    elif how == "leaves wrapped":
        model.block[0], model.out = (torch.compile(leaf, **options) for leaf in (model.block[0], model.out))
    run = torch.compile(lambda x: model(x), **options) if how == "function" else model
    return model, run


def train(model, run, writer=None, every=1, steps=5):
    """The losses of a training; without a writer there is no monitor."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    generator = torch.Generator().manual_seed(1)
    monitor = None if writer is None else Monitor(model, optimizer, writer, every=every)
    losses = []
    for _ in range(steps):
        optimizer.zero_grad()
        loss = run(torch.randn(4, 6, generator=generator)).square().mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
        if monitor is not None:
            monitor.step(loss=loss)
    if monitor is not None:
        monitor.close()
        assert hooks(model, optimizer) == 0
    return losses


# torch.compile looks at the gradient of its inputs.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute")
HOW = ["wrapped", "in place", "part wrapped", "part in place", "leaves wrapped", "function"]


@pytest.mark.parametrize("every", [1, 2])
@pytest.mark.parametrize("fullgraph", [False, True])
@pytest.mark.parametrize("how", HOW)
def test_a_monitor_changes_no_result_and_compiles_nothing_anew(how, fullgraph, every, folder, read):
    alone, watched = Backend(), Backend()
    model, run = compiled(how, backend=alone, fullgraph=fullgraph)
    expected = train(model, run)
    model, run = compiled(how, backend=watched, fullgraph=fullgraph)
    assert train(model, run, folder, every) == expected
    # A function may be compiled once more, with and without hooks: the monitor cannot know that it is compiled.
    assert watched.compilations <= alone.compilations + (how == "function")


@pytest.mark.parametrize("how", HOW)
def test_tags_are_those_of_the_module_itself_and_what_is_missing_is_named(how, tmp_path, folder, read):
    model, run = compiled(how, backend="eager")
    train(model, run, folder)
    events = read()
    plain = Model()
    train(plain, plain, tmp_path / "plain")
    expected = type(events)(tmp_path / "plain")
    assert not expected.not_seen()
    seen = {
        "part wrapped": {"out"},
        "part in place": {"out"},
        "leaves wrapped": {"block.0", "block.1", "out"},
    }.get(how, set())
    outputs = [tag for tag in expected.scalars if tag.startswith(("outputs_", "units_"))]
    missing = {tag for tag in outputs if tag.partition("/")[2] not in seen}
    assert set(events.scalars) == set(expected.scalars) - missing
    assert events.histograms == expected.histograms
    said = events.not_seen()
    assert list(said) == ([1] if missing else [])  # once
    for tag in missing:
        assert f"outputs of {tag.partition('/')[2]}" in said[1]
    assert not missing or "compiled" in said[1]


@pytest.mark.parametrize("backend", ["aot_eager", pytest.param("inductor", marks=pytest.mark.slow)])
@pytest.mark.parametrize("how", ["wrapped", "in place", "part wrapped"])
def test_backends(how, backend, folder, read):
    expected = train(*compiled(how, backend=backend))
    assert train(*compiled(how, backend=backend), folder, every=2) == expected
    assert list(read().curve("optimizer/gradient_norm")) == [1, 3, 5]


def test_a_model_compiled_after_steps_that_were_watched(folder, read):
    torch.compiler.reset()
    torch.manual_seed(0)
    model, backend = Model(), Backend()
    with Monitor(model, None, folder, every=1) as monitor:
        model(torch.ones(2, 6)).sum().backward()
        monitor.step()
        model.compile(backend=backend)
        for _ in range(4):
            model(torch.ones(2, 6)).sum().backward()
            monitor.step()
    assert list(read().curve("outputs_mean/out")) == [1]
    assert "inside a compiled module" in read().not_seen()[3]


def test_a_copy_of_a_compiled_model(folder):
    model, _ = compiled("wrapped", backend="eager")
    with Monitor(model, None, folder) as monitor:
        clone = copy.deepcopy(model)
        assert torch.equal(clone(torch.ones(2, 6)), model(torch.ones(2, 6)))
        monitor.step()


@pytest.mark.filterwarnings("ignore:Profiler record function")
@pytest.mark.parametrize("every", [1, 2])
def test_a_compiled_step_of_the_optimizer_is_compiled_at_most_twice(every, folder, read):
    torch.compiler.reset()
    model = Model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    frames = torch._dynamo.utils.counters["frames"]
    step = torch.compile(lambda: optimizer.step(), backend="eager")
    with Monitor(model, optimizer, folder, every=every) as monitor:
        for i in range(12):
            model(torch.randn(4, 6)).square().mean().backward()
            step()
            monitor.step()
            optimizer.zero_grad(set_to_none=False)
            if i == 3:
                compiled_so_far = frames["total"]
    assert frames["total"] == compiled_so_far
    assert "updates of the weights: the optimizer did no step" in read().not_seen()[1]
