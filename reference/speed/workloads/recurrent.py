"""Recurrent networks over sequences, and single cells."""

from __future__ import annotations

from functools import partial

from reference.catalog import Make, Sample
from reference.speed.workload import Workload, op_workload

__all__ = ["GATES", "LONG", "NARROW", "WORKLOADS", "sequence_in_words"]

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
SHORT, *LONG = (3, 2, 3, 2), (28, 128, 28, 128), (100, 32, 64, 256)
NARROW = ((250, 8, 8, 8), (250, 8, 64, 64), (4000, 1, 8, 8), (4000, 1, 64, 64))
CELLS = ((2, 3, 2), (128, 128, 128))


def sequence(times: int, batch: int, features: int, hidden: int, make: Make) -> Sample:
    sizes = {"input_size": features, "hidden_size": hidden}
    return Sample((make.normal(times, batch, features),), arguments=sizes)


def step(batch: int, features: int, hidden: int, make: Make) -> Sample:
    return Sample((make.normal(batch, features),), arguments={"input_size": features, "hidden_size": hidden})


def network(op: str, times: int, batch: int, features: int, hidden: int) -> Workload:
    """Returns the workload of one layer over a sequence.

    The flop counter does not see oneDNN's products, so they are counted here: the gates' products with inputs and
    hidden states, and twice as many in the backward.
    """
    products = 2.0 * times * batch * GATES[op] * hidden * (features + hidden)
    sizes = times, batch, features, hidden
    sample = partial(sequence, *sizes)
    return op_workload(op, sequence_in_words(*sizes), sample, flops=(products, 2 * products))


def sequence_in_words(times: int, batch: int, features: int, hidden: int) -> str:
    return f"T{times} B{batch} I{features} H{hidden}"


WORKLOADS = (
    *(network(op, *sizes) for op in GATES for sizes in (SHORT, *LONG)),
    *(network("LSTM", *sizes) for sizes in NARROW),
    *(
        op_workload(op, f"B{sizes[0]} I{sizes[1]} H{sizes[2]}", partial(step, *sizes))
        for op in ("LSTMCell", "GRUCell", "RNNCell")
        for sizes in CELLS
    ),
)
