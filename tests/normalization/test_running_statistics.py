"""Running statistics under `torch.func.vmap`: several models at once, each with its own."""

from __future__ import annotations

import pytest
import torch

from scratchnet import nn

MODELS = 3
LAYERS = ["BatchNorm2d", "InstanceNorm2d"]


def layer(package, name, momentum=0.1):
    return getattr(package, name)(2, momentum=momentum, affine=True, track_running_stats=True)


@pytest.mark.parametrize("momentum", [0.1, None])
@pytest.mark.parametrize("name", LAYERS)
def test_each_model_of_an_ensemble_follows_its_own_batches(name, momentum):
    batches = torch.randn(2, MODELS, 4, 2, 3, 3, generator=torch.Generator().manual_seed(0))
    parameters, buffers = torch.func.stack_module_state([layer(nn, name, momentum) for _ in range(MODELS)])
    skeleton = layer(nn, name, momentum)
    builtins = [layer(torch.nn, name, momentum) for _ in range(MODELS)]

    def run(parameters, buffers, x):
        return torch.func.functional_call(skeleton, (parameters, buffers), (x,))

    for batch in batches:
        y = torch.func.vmap(run)(parameters, buffers, batch)
        expected = torch.stack([model(x) for model, x in zip(builtins, batch, strict=True)])
        torch.testing.assert_close(y, expected)
    for key, buffer in buffers.items():
        torch.testing.assert_close(buffer, torch.stack([dict(model.named_buffers())[key] for model in builtins]))


@pytest.mark.parametrize("name", LAYERS)
def test_one_model_cannot_follow_several_batches_at_once(name):
    model, batches = layer(nn, name), torch.randn(MODELS, 4, 2, 3, 3)
    with pytest.raises(RuntimeError, match="stack_module_state"):
        torch.func.vmap(model)(batches)
    assert torch.equal(model.running_mean, torch.zeros(2))
    model.eval()
    expected = torch.stack([model(x) for x in batches])
    torch.testing.assert_close(torch.func.vmap(model)(batches), expected)


@pytest.mark.parametrize("momentum", [0.1, None])
def test_running_statistics_are_compiled_without_breaks(momentum):
    torch._dynamo.reset()
    model, builtin = (layer(package, "BatchNorm2d", momentum) for package in (nn, torch.nn))
    compiled = torch.compile(model, fullgraph=True, backend="aot_eager")
    for x in torch.randn(2, 4, 2, 3, 3):
        torch.testing.assert_close(compiled(x), builtin(x))
    for ours, theirs in zip(model.buffers(), builtin.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_statistics_saved_before_versions_are_refused():
    state = {"running_mean": torch.zeros(2), "running_var": torch.ones(2)}
    for package in (nn, torch.nn):
        with pytest.raises(RuntimeError, match="track_running_stats"):
            package.InstanceNorm1d(2).load_state_dict(state)
