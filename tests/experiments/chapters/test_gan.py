"""Tests of ``python -m experiments gan``, its training step and its distance."""

from __future__ import annotations

import copy

import pytest
import torch
from chapter_runs import assert_complete, assert_same_curves, run_both, summary
from experiment_runs import assert_same_state, rows, state

from experiments import processes
from experiments.__main__ import main
from experiments.backend import BUILTIN, CUSTOM
from experiments.chapters import gan
from experiments.chapters.gan.learner import FILMED, GAN, REAL, GANLearner
from experiments.settings import Settings
from experiments.training import Task

SMALL = ["--channels", 2, "--batch-size", 16, "--max-steps", 4, "--eval-every", 2, "--every", 3]
SETTINGS = Settings(
    max_steps=3, lr=0.1, momentum=0.5, dtype="float64", device="cpu", schedule="constant", preset=None
)


@pytest.fixture(scope="module", autouse=True)
def _short_training_of_the_judge():
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(gan.JUDGES, "max_steps", 12)
        patch.setitem(gan.JUDGES, "eval_every", 12)
        yield


@pytest.fixture(scope="module")
def both(tiny, tmp_path_factory):
    return run_both("gan", tmp_path_factory.mktemp("runs"), *SMALL, "--data", tiny, "--dtype", "float64")


def test_a_run_is_complete(both):
    for run in both:
        assert_complete(run, ["1_film", "2_nearest"], ["3_distances"], ["judge", "duel"])
        found, last = summary(run), rows(run / "duel", split="test")[-1]
        assert found["distance"] == last["distance"] > found["distance_of_real_digits"] > 0
        assert state(run / "duel")["learners"][last["backend"]]["film"].shape == (2, FILMED, 28, 28)


def test_both_backends_have_the_same_curves(both):
    assert_same_curves(*both, ["judge", "duel"])


def test_a_killed_run_continues_bit_for_bit(tiny, tmp_path, monkeypatch):
    words = ["gan", *map(str, [*SMALL, "--save-every", 1, "--data", tiny, "--runs", tmp_path])]
    assert main(words) == 0
    step, steps = GANLearner.step, 0

    def killed(self, *args):
        nonlocal steps
        steps += 1
        if steps == 4:
            raise MemoryError
        return step(self, *args)

    monkeypatch.setattr(GANLearner, "step", killed)
    with pytest.raises(MemoryError):
        main(words)
    monkeypatch.undo()
    gan.JUDGES["max_steps"] = gan.JUDGES["eval_every"] = 12
    undisturbed, run = (tmp_path / f"gan-scratch-00{number}" for number in (1, 2))
    assert state(run / "duel")["step"] == 3
    assert main(["gan", "--resume", str(run)]) == 0
    found, expected = state(run / "duel"), state(undisturbed / "duel")
    assert_same_state(found, expected)
    assert torch.equal(found["learners"]["custom"]["film"], expected["learners"]["custom"]["film"])
    for name in ("metrics.jsonl", "../1_film.png", "../2_nearest.png"):
        assert (run / "duel" / name).read_bytes() == (undisturbed / "duel" / name).read_bytes()


def digits(count):
    images = torch.randint(256, (count, 28, 28), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    return Task(
        (images, torch.zeros(count, dtype=torch.int64)),
        (images, torch.zeros(count, dtype=torch.int64)),
        criterion=lambda nn: nn.BCEWithLogitsLoss(),
        prepare=lambda images: images.unsqueeze(1).double().div_(127.5).sub_(1),
    )


@pytest.mark.parametrize("backend", [CUSTOM, BUILTIN], ids=lambda backend: backend.name)
def test_a_step_moves_each_network_by_its_own_loss(backend):
    """Compares with two PyTorch optimizers, each with one network and the gradient of its loss."""
    torch.manual_seed(0)
    task = digits(8)
    duel = GANLearner(backend, lambda layers: GAN(layers, 2), task, SETTINGS, 3, optimizer=gan.rates)
    reference = copy.deepcopy(duel.model)
    sides = {"generator": 1.0, "discriminator": gan.SLOWER}
    optimizers = {
        side: torch.optim.SGD(getattr(reference, side).parameters(), lr=0.1 * rate, momentum=0.5)
        for side, rate in sides.items()
    }
    images = task.prepare(task.train[0])
    for seed in range(3):
        torch.manual_seed(seed)
        figures = duel.step(images, task.train[1])
        torch.manual_seed(seed)
        drawn = reference.generator(torch.randn(8, 64, dtype=torch.float64))
        real_score, drawn_score = reference.discriminator(images), reference.discriminator(drawn)
        losses = {
            "generator": -drawn_score.sigmoid().log().mean(),
            "discriminator": -(
                REAL * real_score.sigmoid().log()
                + (1 - REAL) * (-real_score).sigmoid().log()
                + (-drawn_score).sigmoid().log()
            ).mean()
            / 2,
        }
        for side, loss in losses.items():
            weights = list(getattr(reference, side).parameters())
            for weight, gradient in zip(
                weights, torch.autograd.grad(loss, weights, retain_graph=True), strict=True
            ):
                weight.grad = gradient
        for optimizer in optimizers.values():
            optimizer.step()
        assert figures["loss"] == pytest.approx(losses["discriminator"].item())
        assert figures["generator_loss"] == pytest.approx(losses["generator"].item())
        right = (real_score > 0).double().mean() + (drawn_score <= 0).double().mean()
        assert figures["accuracy"] == pytest.approx(right.item() / 2)
    for (name, found), expected in zip(duel.model.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-11, msg=name)


def test_drawing_leaves_model_and_random_state_unchanged():
    duel = GANLearner(CUSTOM, lambda layers: GAN(layers, 2), digits(8), SETTINGS, 3, optimizer=gan.rates)
    before, random = copy.deepcopy(duel.model.state_dict()), torch.get_rng_state()
    first, again = duel.draw(5, seed=3), duel.draw(5, seed=3)
    assert torch.equal(first, again)
    assert not torch.equal(first, duel.draw(5, seed=4))
    assert torch.equal(random, torch.get_rng_state())
    assert duel.model.training
    torch.testing.assert_close(duel.model.state_dict(), before, rtol=0, atol=0)


def test_distance_is_frechets_for_normal_distributions():
    """With independent features the distance is the sum over features of (μ - μ')² + (σ - σ')²."""
    judge = torch.nn.Sequential(torch.nn.Identity(), torch.nn.LogSoftmax(dim=1))
    signs = torch.tensor([[1.0, 1], [1, -1], [-1, 1], [-1, -1]], dtype=torch.float64) * (3 / 4) ** 0.5
    one = signs * torch.tensor([2.0, 3]) + torch.tensor([1.0, 0])
    other = signs * torch.tensor([4.0, 3.5]) + torch.tensor([-1.0, 0])
    assert gan.distance(judge, one, other) == pytest.approx(2**2 + 2**2 + 0.5**2)
    assert gan.distance(judge, one, one) == pytest.approx(0, abs=1e-12)
    turn = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    assert gan.distance(judge, one @ turn, other @ turn) == pytest.approx(2**2 + 2**2 + 0.5**2)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--channels 0", "--channels: expected a whole number from 1 up, got 0"),
        ("--accumulate 2", "--accumulate: expected 1, because batch norm needs whole batches, got 2"),
        ("--compile", "--compile: expected no --compile"),
        ("--backend twin", "twin"),
    ],
)
def test_usage_errors_are_one_line(words, message, here, capsys):
    assert main(["gan", *words.split()]) == 2
    err = capsys.readouterr().err
    assert message in err
    assert err.count("\n") == 1


def test_several_processes_are_an_error(here, monkeypatch, capsys):
    monkeypatch.setattr(processes, "size", lambda: 2)
    assert main(["gan"]) == 2
    assert capsys.readouterr().err == "error: gan: expected one process, got 2; start it without torchrun\n"


@pytest.mark.slow
def test_quick_preset_reduces_the_distance(here):
    assert main(["gan"]) == 0
    found = rows(here / "runs" / "gan" / "gan-scratch-001" / "duel", split="test")
    assert found[-1]["distance"] < found[0]["distance"] / 4


def test_evaluation_matches_the_discriminator_in_training_mode():
    duel = GANLearner(CUSTOM, lambda layers: GAN(layers, 2), digits(8), SETTINGS, 3, optimizer=gan.rates)
    images = duel.task.prepare(duel.task.train[0])
    before = copy.deepcopy(duel.model.state_dict())
    found = duel.evaluate(*duel.task.train)
    torch.testing.assert_close(duel.model.state_dict(), before, rtol=0, atol=0)
    drawn = duel.draw(len(images), SETTINGS.seed)
    real_score, drawn_score = duel.model(images), duel.model(drawn)  # in training mode
    right = (real_score > 0).double().mean() + (drawn_score <= 0).double().mean()
    assert found.right / found.answers == pytest.approx(right.item() / 2)
    assert found.loss_sum / found.examples == pytest.approx(
        duel.discriminator_loss(real_score, drawn_score).item()
    )
