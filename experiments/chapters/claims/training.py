"""Measures how activations affect training: dead units, and the speed of learning."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from experiments.backend import Backend
from experiments.chapters.claims.depth import stack
from experiments.chapters.claims.finding import Bench, Finding
from experiments.data.digits import normalize
from experiments.digit_task import digit_task
from experiments.figures.curves import Curve, curves
from experiments.metrics.gradients import flat_and_dead
from experiments.settings import Settings
from experiments.training import Learner
from experiments.training.schedule import Length
from experiments.training.task import Batches

__all__ = ["dead_units", "elu_against_relu", "elus_alpha"]

# By claim, for the presets quick and full.
STEPS = {"dead": (150, 600), "converges": (150, 600), "alpha": (60, 300)}
SEEDS = (2, 5)
RATES = ((0.01,), (0.003, 0.01, 0.03))
WIDTH, BATCH = 64, 64
PROBES = 500  # test digits; a unit without a slope for all of them counts as dead
LEARNED = 1.0  # smoothed training loss at which a network has learned
SMOOTHED = 10


def training_steps(
    bench: Bench, build: Callable[[Backend], nn.Module], lr: float, steps: int, seed: int
) -> Iterator[tuple[Learner, float]]:
    """Trains a network; yields it and the loss on the batch after each step."""
    task = digit_task(bench.digits, torch.float32).to(bench.device)
    settings = Settings(
        max_steps=steps, lr=lr, batch_size=BATCH, device=bench.device, schedule="constant", seed=seed
    )
    in_epoch = Length.of(settings, len(task.train[1])).in_epoch
    torch.manual_seed(seed)
    learner, batches = Learner(bench.backend, build, task, settings, steps), Batches(task, settings)
    for step in range(steps):
        yield learner, learner.step(*batches.draw(*divmod(step, in_epoch)))["loss"]


def dead_now(model: nn.Module, images: Tensor) -> float:
    """Returns the share of hidden units that have no slope for any image."""
    activations = [module for name, module in model.named_children() if name.startswith("activation")]
    return flat_and_dead(model, activations, images)[1]


def dead_units(bench: Bench) -> Finding:
    """Counts dead units during training at a high learning rate, for ReLU and leaky ReLU from the same weights."""
    steps, lr, depth, every = STEPS["dead"][bench.thorough], 0.1, 4, 10
    probes = normalize(bench.digits.test_images[:PROBES].to(bench.device), torch.float32)
    lines: dict[str, Curve] = {}
    numbers: dict[str, float] = {}
    for activation in ("ReLU", "LeakyReLU"):
        at, shares = [], []
        training = training_steps(
            bench, partial(stack, activation=activation, depth=depth, width=WIDTH), lr, steps, bench.seed
        )
        for step, (learner, _) in enumerate(training, 1):
            if step % every == 0 or step == 1:
                at.append(float(step))
                shares.append(100 * dead_now(learner.model, probes))
        lines[activation] = at, shares
        numbers[f"{activation.lower()}_dead_percent"] = shares[-1]
        numbers[f"{activation.lower()}_dead_percent_at_first"] = shares[0]
    relu, leaky = (numbers[f"{name}_dead_percent"] for name in ("relu", "leakyrelu"))
    return Finding(
        "units can die under ReLU, not under leaky ReLU",
        "true" if relu > 0 and leaky == 0 else "not in this training",
        f"after {steps} steps at learning rate {lr:g} with momentum, {relu:.1f} % of {depth * WIDTH} units under ReLU "
        f"(at first {numbers['relu_dead_percent_at_first']:.1f} %) and {leaky:.1f} % under leaky ReLU have no slope "
        f"for any of {len(probes)} digits, so that their weights cannot change",
        numbers,
        curves("Dead units over training", lines, x="step", y="% of hidden units"),
    )


def elu_against_relu(bench: Bench) -> Finding:
    """Counts the steps that a deep network needs, with the best learning rate for each activation."""
    steps, seeds, rates = STEPS["converges"][bench.thorough], SEEDS[bench.thorough], RATES[bench.thorough]
    depth = 8
    lines: dict[str, Curve] = {}
    needed: dict[str, float] = {}
    best: dict[str, float] = {}
    for activation in ("ReLU", "ELU"):
        build = partial(stack, activation=activation, depth=depth, width=WIDTH)
        of_rate = {}
        for lr in rates:
            trainings = [
                [loss for _, loss in training_steps(bench, build, lr, steps, seed)]
                for seed in range(bench.seed, bench.seed + seeds)
            ]
            smooth = [smoothed(losses) for losses in trainings]
            of_rate[lr] = statistics.mean(until(losses, LEARNED) for losses in smooth), smooth
        best[activation] = min(of_rate, key=lambda lr: of_rate[lr][0])
        needed[activation], smooth = of_rate[best[activation]]
        mean = [statistics.mean(at) for at in zip(*smooth, strict=True)]
        lines[f"{activation}, learning rate {best[activation]:g}"] = list(range(SMOOTHED, steps + 1)), mean
    numbers = {f"{name.lower()}_steps": value for name, value in needed.items()}
    numbers |= {f"{name.lower()}_learning_rate": value for name, value in best.items()}
    return Finding(
        "ELU converges faster than ReLU",
        "true here" if needed["ELU"] < needed["ReLU"] else "false here",
        f"a network of {depth} hidden layers reaches a training loss of {LEARNED:g} after {needed['ELU']:.0f} steps "
        f"with ELU and {needed['ReLU']:.0f} with ReLU: means of {seeds} seeds, each at the best of {len(rates)} "
        f"learning rates, {best['ELU']:g} and {best['ReLU']:g}. This counts steps, whose costs differ",
        numbers,
        curves(f"Training loss, mean of {seeds} seeds", lines, x="step", y="cross entropy"),
    )


def elus_alpha(bench: Bench) -> Finding:
    """Counts the parameters of ELU, and trains one with a learned α."""
    steps, depth = STEPS["alpha"][bench.thorough], 3
    fixed = sum(parameter.numel() for parameter in bench.backend.nn.ELU().parameters())

    def build(backend: Backend) -> nn.Module:
        return stack(backend, "ELU", depth, WIDTH, make=backend.nn.LearnedELU)

    for learner, _ in training_steps(bench, build, 0.03, steps, bench.seed):
        model = learner.model
    alphas = [value.item() for name, value in model.named_parameters() if name.endswith("alpha")]
    numbers = {"parameters_of_elu": float(fixed), **{f"alpha_{at}": a for at, a in enumerate(alphas, 1)}}
    return Finding(
        "ELU's α is learned",
        "false of ELU" if fixed == 0 else "true",
        f"in the paper it is a constant (Clevert et al. 2016), and nn.ELU has {fixed} parameters; as a parameter "
        f"(Trottier et al. 2017; LearnedELU here) it changes from 1 to {', '.join(f'{a:.2f}' for a in alphas)} "
        f"in {depth} layers within {steps} steps",
        numbers,
    )


def smoothed(losses: Sequence[float]) -> list[float]:
    """Returns moving means over `SMOOTHED` steps."""
    return [statistics.mean(losses[end - SMOOTHED : end]) for end in range(SMOOTHED, len(losses) + 1)]


def until(losses: Sequence[float], level: float) -> int:
    """Returns the number of steps until smoothed losses reach a level; one more than there are if they never do."""
    return SMOOTHED + next((at for at, loss in enumerate(losses) if loss <= level), len(losses))
