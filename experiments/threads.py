"""Chooses how many threads compute.

A tiny network gains nothing from a second thread, and beside another busy program it loses: each parallel operation
waits for the thread that has no core. Work is therefore done by one thread unless a batch takes much of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["MUCH", "one_thread", "threads_for", "work_of"]

MUCH = 3e8  # floating-point operations in a forward pass; the mlp for MNIST has 7e7, the deep network 4e8
VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


@contextmanager
def one_thread(chosen: int | None) -> Iterator[None]:
    """Computes with one thread unless the user chose a number.

    Args:
        chosen: The number that ``--threads`` gives. Environment variables and `torch.set_num_threads` give one too.
    """
    before = torch.get_num_threads()
    cores = os.cpu_count() or 1
    by_default = before in (cores, cores // 2) and not any(name in os.environ for name in VARIABLES)
    torch.set_num_threads(chosen or (1 if by_default else before))
    _most.append(before if by_default and chosen is None else 0)
    try:
        yield
    finally:
        _most.pop()
        torch.set_num_threads(before)


_most = [0]  # the number of threads for much work; 0 leaves it as it is


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """Computes with all threads if the work is much, inside `one_thread`."""
    before = torch.get_num_threads()
    if work >= MUCH and _most[-1]:
        torch.set_num_threads(_most[-1])
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.no_grad()
def work_of(model: nn.Module, inputs: Tensor) -> float:
    """Returns the floating-point operations of a forward pass on these inputs; leaves the module as it was."""
    training = model.training
    with FlopCounterMode(display=False) as counter:
        model.eval()(inputs)
    model.train(training)
    return counter.get_total_flops()
