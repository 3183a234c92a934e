"""What an activation does to training: units that die, and how fast a network learns."""

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
from experiments.digit_task import reading_task
from experiments.figures.curves import Curve, curves
from experiments.metrics.flatness import flat_and_dead
from experiments.settings import Settings
from experiments.training import Learner
from experiments.training.batches import Batches
from experiments.training.length import Length

__all__ = ["dead_units", "elu_against_relu", "elus_alpha"]

# By claim: in the quick preset, and in the full one.
STEPS = {"dead": (150, 600), "converges": (150, 600), "alpha": (60, 300)}
SEEDS = (2, 5)
RATES = ((0.01,), (0.003, 0.01, 0.03))
WIDTH, BATCH = 64, 64
PROBES = 500  # test digits; a unit that is silent for all of them counts as dead
LEARNED = 1.0  # the training loss, of a mean over SMOOTHED steps, that counts as having learned
SMOOTHED = 10


def lessons(
    bench: Bench, build: Callable[[Backend], nn.Module], lr: float, steps: int, seed: int
) -> Iterator[tuple[Learner, float]]:
    """Trains a network; after each step, it and the loss on the batch."""
    task = reading_task(bench.digits, torch.float32).to(bench.device)
    settings = Settings(
        max_steps=steps, lr=lr, batch_size=BATCH, device=bench.device, schedule="constant", seed=seed
    )
    in_epoch = Length.of(settings, len(task.train[1])).in_epoch
    torch.manual_seed(seed)
    learner, batches = Learner(bench.backend, build, task, settings, steps), Batches(task, settings)
    for step in range(steps):
        yield learner, learner.step(*batches.draw(*divmod(step, in_epoch)))["loss"]


def dead_now(model: nn.Module, images: Tensor) -> float:
    """The share of hidden units whose weights no image moves."""
    activations = [module for name, module in model.named_children() if name.startswith("activation")]
    return flat_and_dead(model, activations, images)[1]


def dead_units(bench: Bench) -> Finding:
    """Dead units over a training that goes too fast, for ReLU and leaky ReLU from the same weights."""
    steps, lr, depth, every = STEPS["dead"][bench.thorough], 0.1, 4, 10
    probes = normalize(bench.digits.test_images[:PROBES].to(bench.device), torch.float32)
    lines: dict[str, Curve] = {}
    numbers: dict[str, float] = {}
    for activation in ("ReLU", "LeakyReLU"):
        at, shares = [], []
        training = lessons(
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
        f"(at first {numbers['relu_dead_percent_at_first']:.1f} %) and {leaky:.1f} % under leaky ReLU have no slope at "
        f"any of {len(probes)} digits, so that nothing can move their weights any more",
        numbers,
        curves("Dead units over training", lines, x="step", y="% of hidden units"),
    )


def elu_against_relu(bench: Bench) -> Finding:
    """Steps until a deep network has learned something, each activation at the learning rate that suits it best."""
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
                [loss for _, loss in lessons(bench, build, lr, steps, seed)]
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
        f"a network of {depth} hidden layers comes to a training loss of {LEARNED:g} after {needed['ELU']:.0f} steps "
        f"with ELU and {needed['ReLU']:.0f} with ReLU: means of {seeds} seeds, each at the best of {len(rates)} "
        f"learning rates, {best['ELU']:g} and {best['ReLU']:g}. In steps, that is; see what a step costs",
        numbers,
        curves(f"Training loss, mean of {seeds} seeds", lines, x="step", y="cross entropy"),
    )


def elus_alpha(bench: Bench) -> Finding:
    """What can be learned in an ELU as it is published, and in one whose α is a parameter."""
    steps, depth = STEPS["alpha"][bench.thorough], 3
    fixed = sum(parameter.numel() for parameter in bench.backend.nn.ELU().parameters())

    def build(backend: Backend) -> nn.Module:
        return stack(backend, "ELU", depth, WIDTH, make=backend.nn.LearnedELU)

    for learner, _ in lessons(bench, build, 0.03, steps, bench.seed):
        model = learner.model
    alphas = [value.item() for name, value in model.named_parameters() if name.endswith("alpha")]
    numbers = {"parameters_of_elu": float(fixed), **{f"alpha_{at}": a for at, a in enumerate(alphas, 1)}}
    return Finding(
        "ELU's α is learned",
        "false of ELU" if fixed == 0 else "true",
        f"in the paper it is a constant (Clevert et al. 2016), and nn.ELU has {fixed} parameters; where it is made one "
        f"(Trottier et al. 2017; LearnedELU here), it goes from 1 to {', '.join(f'{a:.2f}' for a in alphas)} "
        f"in {depth} layers within {steps} steps",
        numbers,
    )


def smoothed(losses: Sequence[float]) -> list[float]:
    """Means over a few steps each."""
    return [statistics.mean(losses[end - SMOOTHED : end]) for end in range(SMOOTHED, len(losses) + 1)]


def until(losses: Sequence[float], level: float) -> int:
    """Steps until smoothed losses come down to a level; one more than there are where they never do."""
    return SMOOTHED + next((at for at, loss in enumerate(losses) if loss <= level), len(losses))
