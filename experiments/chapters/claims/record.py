"""Who proposed what and when: what no measurement can tell, with sources."""

from __future__ import annotations

from experiments.chapters.claims.finding import Bench, Finding

__all__ = ["SOURCES", "back_propagation", "support_vector_machine"]

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
    ("2015", "batch normalisation", "S. Ioffe, C. Szegedy, Batch normalization, ICML"),
    ("2016", "ELU, α fixed", "D.-A. Clevert, T. Unterthiner, S. Hochreiter, Fast and accurate deep network learning "
     "by exponential linear units, ICLR"),
    ("2017", "ELU, α learned", "L. Trottier, P. Giguère, B. Chaib-draa, Parametric exponential linear unit for deep "
     "convolutional neural networks, ICMLA"),
)  # fmt: skip


def back_propagation(bench: Bench) -> Finding:
    """What is from 1943 is the neuron."""
    return Finding(
        "back-propagation was proposed in 1943",
        "false",
        f"by the record: 1943 is {_authors('1943')}'s neuron, which does not learn; the reverse mode is "
        f"{_authors('1970')}'s (1970) and {_authors('1974')}'s (1974), and {_authors('1986')} (1986) trained "
        "multi-layer networks with it",
    )


def support_vector_machine(bench: Bench) -> Finding:
    """What is from 1986 is back-propagation, in the form that became known."""
    return Finding(
        "the support vector machine dates from 1986",
        "false",
        f"by the record: {_authors('1992')} (1992), with a soft margin {_authors('1995')} (1995)",
    )


def _authors(year: str) -> str:
    """Family names of the authors of a year's first source."""
    source = next(source for when, _, source in SOURCES if when == year)
    names = []
    for part in source.split(", "):
        initials, _, family = part.partition(" ")
        if not initials.endswith("."):
            break
        names.append(family.split(". ")[-1])
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
