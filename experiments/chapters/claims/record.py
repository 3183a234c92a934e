"""Claims about history and usage: who proposed what and when, with sources, and which networks use maxout."""

from __future__ import annotations

from collections import Counter

import torch

from experiments.chapters.claims.finding import Bench, Finding
from experiments.data.vision import models
from experiments.figures.bars import columns

__all__ = ["SOURCES", "activations_in_use", "back_propagation", "maxout_is_no_default", "support_vector_machine"]

SOURCES: tuple[tuple[str, str, str], ...] = (
    ("1943", "neuron as a threshold unit", "W. McCulloch, W. Pitts, A logical calculus of the ideas immanent in "
     "nervous activity, Bulletin of Mathematical Biophysics 5"),
    ("1958", "perceptron", "F. Rosenblatt, The perceptron: a probabilistic model for information storage and "
     "organization in the brain, Psychological Review 65"),
    ("1964", "momentum", "B. T. Polyak, Some methods of speeding up the convergence of iteration methods, USSR "
     "Computational Mathematics and Mathematical Physics 4"),
    ("1970", "reverse mode of automatic differentiation", "S. Linnainmaa, The representation of the cumulative "
     "rounding error of an algorithm as a Taylor expansion of the local rounding errors, master's thesis, Helsinki"),
    ("1974", "reverse mode for adaptive models", "P. Werbos, Beyond regression: new tools for prediction and "
     "analysis in the behavioral sciences, dissertation, Harvard; applied to networks in 1982"),
    ("1986", "back-propagation in multi-layer networks", "D. Rumelhart, G. Hinton, R. Williams, Learning "
     "representations by back-propagating errors, Nature 323"),
    ("1989", "convolutional network trained by back-propagation", "Y. LeCun et al., Backpropagation applied to "
     "handwritten zip code recognition, Neural Computation 1"),
    ("1990", "simple recurrent network", "J. Elman, Finding structure in time, Cognitive Science 14"),
    ("1992", "support vector machine with kernels", "B. Boser, I. Guyon, V. Vapnik, A training algorithm for "
     "optimal margin classifiers, COLT"),
    ("1995", "support vector machine with a soft margin", "C. Cortes, V. Vapnik, Support-vector networks, Machine "
     "Learning 20"),
    ("1997", "LSTM", "S. Hochreiter, J. Schmidhuber, Long short-term memory, Neural Computation 9"),
    ("2010", "ReLU in deep learning", "V. Nair, G. Hinton, Rectified linear units improve restricted Boltzmann "
     "machines, ICML"),
    ("2013", "leaky ReLU", "A. Maas, A. Hannun, A. Ng, Rectifier nonlinearities improve neural network acoustic "
     "models, ICML workshop"),
    ("2013", "maxout", "I. Goodfellow et al., Maxout networks, ICML"),
    ("2014", "GRU", "K. Cho et al., Learning phrase representations using RNN encoder-decoder for statistical "
     "machine translation, EMNLP"),
    ("2014", "dropout", "N. Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, "
     "JMLR 15"),
    ("2014", "generative adversarial network", "I. Goodfellow et al., Generative adversarial nets, NeurIPS"),
    ("2015", "batch normalization", "S. Ioffe, C. Szegedy, Batch normalization, ICML"),
    ("2016", "ELU, α fixed", "D.-A. Clevert, T. Unterthiner, S. Hochreiter, Fast and accurate deep network learning "
     "by exponential linear units, ICLR"),
    ("2017", "ELU, α learned", "L. Trottier, P. Giguère, B. Chaib-draa, Parametric exponential linear unit for deep "
     "convolutional neural networks, ICMLA"),
)  # fmt: skip

PIECES = 4
ARCHITECTURES = (
    "alexnet", "convnext_tiny", "densenet121", "efficientnet_b0", "efficientnet_v2_s", "maxvit_t", "mnasnet1_0",
    "mobilenet_v2", "mobilenet_v3_large", "resnet50", "resnext50_32x4d", "shufflenet_v2_x1_0", "squeezenet1_0",
    "swin_t", "vgg16", "vit_b_16", "wide_resnet50_2",
)  # fmt: skip
COUNTED = {
    "ELU",
    "GELU",
    "Hardsigmoid",
    "Hardswish",
    "LeakyReLU",
    "Maxout",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Tanh",
}


def back_propagation(bench: Bench) -> Finding:
    """Compares the date of back-propagation with the record; the neuron is from 1943."""
    return Finding(
        "back-propagation was proposed in 1943",
        "false",
        f"according to the sources, {_authors('1943')} (1943) proposed the neuron, which does not learn; the "
        f"reverse mode is {_authors('1970')}'s (1970) and {_authors('1974')}'s (1974), and {_authors('1986')} (1986) "
        "trained multi-layer networks with it",
    )


def support_vector_machine(bench: Bench) -> Finding:
    """Compares the date of the support vector machine with the record; 1986 is back-propagation's best-known paper."""
    return Finding(
        "the support vector machine dates from 1986",
        "false",
        f"according to the sources, {_authors('1992')} (1992), with a soft margin {_authors('1995')} (1995)",
    )


def _authors(year: str) -> str:
    """Formats the family names of the authors of a year's first source."""
    source = next(source for when, _, source in SOURCES if when == year)
    names = []
    for part in source.split(", "):
        initials, _, family = part.partition(" ")
        if not initials.endswith("."):
            break
        names.append(family.split(". ")[-1])
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def activations_in_use() -> tuple[int, Counter[str]]:
    """Counts the activations in one architecture of each of torchvision's families."""
    users: Counter[str] = Counter()
    for name in ARCHITECTURES:
        with torch.device("meta"):
            model = models.get_model(name, weights=None)
        users.update({type(module).__name__ for module in model.modules()} & COUNTED)
    return len(ARCHITECTURES), users


def maxout_is_no_default(bench: Bench) -> Finding:
    """Compares a maxout unit with its linear pieces, and counts the activations of well-known networks."""
    torch.manual_seed(bench.seed)
    slope, offset = torch.randn(PIECES, dtype=torch.float64), torch.randn(PIECES, dtype=torch.float64)
    x = torch.linspace(-3, 3, 601, dtype=torch.float64)[:, None]
    pieces = x * slope + offset
    unit = bench.backend.nn.Maxout(PIECES)(pieces)[:, 0]
    apart = (unit - pieces.amax(1)).abs().max().item()
    count, users = activations_in_use()
    counts = {**dict(users.most_common()), "Maxout": users["Maxout"]}
    numbers = {f"{name.lower()}_architectures": float(number) for name, number in counts.items()}
    return Finding(
        "maxout is the default activation of deep networks",
        "true" if users["Maxout"] > count / 2 else "false",
        f"it is the maximum of several linear pieces (largest difference {apart:g} at {len(x)} points). Of {count} "
        f"architectures of torchvision, one per family, {users['Maxout']} use it; "
        + ", ".join(f"{name} {number}" for name, number in users.most_common()),
        {**numbers, "architectures": float(count), "apart_from_maximum_of_pieces": apart},
        columns(f"Activations in {count} architectures of torchvision", counts, y="architectures"),
    )
