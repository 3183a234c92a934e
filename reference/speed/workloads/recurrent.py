"""Recurrent networks over whole sequences, and single cells."""

from __future__ import annotations

from functools import partial

from reference.catalog import Make, Sample
from reference.speed.workload import Workload, op_workload

__all__ = ["SEQUENCES", "WORKLOADS"]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SEQUENCES = ((3, 2, 3, 2), (28, 128, 28, 128), (100, 32, 64, 256))
CELLS = ((2, 3, 2), (128, 128, 128))


def sequence(times: int, batch: int, features: int, hidden: int, make: Make) -> Sample:
    """A batch of sequences."""
    sizes = {"input_size": features, "hidden_size": hidden}
    return Sample((make.normal(times, batch, features),), arguments=sizes)


def step(batch: int, features: int, hidden: int, make: Make) -> Sample:
    """A batch at one time, without a state."""
    return Sample((make.normal(batch, features),), arguments={"input_size": features, "hidden_size": hidden})


def network(op: str, times: int, batch: int, features: int, hidden: int) -> Workload:
    """One layer over a whole sequence.

    oneDNN's products are hidden from the counter, so they are counted here: of gates from inputs and from hidden
    states, and in the backward twice as many.
    """
    products = 2.0 * times * batch * GATES[op] * hidden * (features + hidden)
    name = f"T{times} B{batch} I{features} H{hidden}"
    sample = partial(sequence, times, batch, features, hidden)
    return op_workload(op, name, sample, flops=(products, 2 * products), compiles=False)


WORKLOADS = (
    *(network(op, *sizes) for op in GATES for sizes in SEQUENCES),
    *(
        op_workload(op, f"B{sizes[0]} I{sizes[1]} H{sizes[2]}", partial(step, *sizes))
        for op in ("LSTMCell", "GRUCell", "RNNCell")
        for sizes in CELLS
    ),
)
