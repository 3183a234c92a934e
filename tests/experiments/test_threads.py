"""Small networks compute with one thread, unless the user chose a number."""

from __future__ import annotations

import os

import pytest
import torch
from experiment_runs import mnist

from experiments import threads
from experiments.backend import BUILTIN
from experiments.models import MODELS
from experiments.threads import MUCH, one_thread, threads_for, work_of
from experiments.training import Learner


@pytest.fixture
def cores(monkeypatch):
    """A program on four cores whose user chose nothing."""
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    before = torch.get_num_threads()
    torch.set_num_threads(4)
    yield 4
    torch.set_num_threads(before)


def used(chosen=None):
    """Returns the threads for little and for much work."""
    found = []
    with one_thread(chosen):
        for work in (0.1 * MUCH, 10 * MUCH):
            with threads_for(work):
                found.append(torch.get_num_threads())
    return found


def test_little_work_has_one_thread_and_much_has_all(cores):
    assert used() == [1, 4]
    assert torch.get_num_threads() == 4


@pytest.mark.parametrize("name", threads.VARIABLES)
def test_an_environment_variable_chooses(name, cores, monkeypatch):
    monkeypatch.setenv(name, "4")
    assert used() == [4, 4]


def test_a_flag_or_a_call_chooses(cores):
    assert used(3) == [3, 3]
    torch.set_num_threads(3)
    assert used() == [3, 3]


@pytest.mark.parametrize(
    ("model", "flags", "count"), [("mlp", [], 1), ("mlp", ["--threads", 2], 2), ("cnn", [], 4)]
)
def test_a_training_has_the_threads_of_its_network(model, flags, count, cores, here, monkeypatch):
    monkeypatch.setattr("experiments.chapters.mnist.check_gradients", lambda digits, config: None)
    step, found = Learner.step, set()

    def counted(self, *batch):
        found.add(torch.get_num_threads())
        return step(self, *batch)

    monkeypatch.setattr(Learner, "step", counted)
    assert mnist("--model", model, "--data", "sample", "--max-steps", 1, *flags) == 0
    assert found == {count}
    assert torch.get_num_threads() == cores


def test_counting_the_work_leaves_the_network_as_it_was():
    model = MODELS["deep"](BUILTIN)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    random = torch.get_rng_state()
    assert work_of(model, torch.zeros(2, 1, 28, 28)) > 1e6
    assert model.training
    assert torch.equal(torch.get_rng_state(), random)
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])
