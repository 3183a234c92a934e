"""The adding and the copy problem are what they say they are."""

from __future__ import annotations

import doctest

import pytest
import torch

from experiments.data import sequences as memory
from experiments.data.sequences import COPIED, SIGNAL, SILENCE, SYMBOLS, adding, copying


def test_its_examples_are_right():
    assert doctest.testmod(memory) == (0, 4)


def test_one_number_of_each_half_is_marked_and_their_sum_is_the_answer():
    inputs, sums = adding(500, length=11, seed=3)
    numbers, marks = inputs.unbind(2)
    assert set(marks.unique().tolist()) == {0, 1}
    assert marks[:, :5].sum(1).tolist() == marks[:, 5:].sum(1).tolist() == [1] * 500
    assert (marks.sum(0) > 0).all()
    assert torch.equal(sums[:, 0], (numbers * marks).sum(1))
    assert 0 <= numbers.min() < 0.01 < 0.99 < numbers.max() < 1
    assert sums.var().item() == pytest.approx(1 / 6, rel=0.15)


def test_the_answer_of_a_copy_is_what_came_first():
    inputs, symbols = copying(300, delay=7, seed=3)
    assert inputs.shape == (300, COPIED + 7 + COPIED)
    assert torch.equal(inputs[:, :COPIED], symbols)
    assert symbols.unique().tolist() == list(range(SYMBOLS))
    assert (inputs[:, COPIED : COPIED + 6] == SILENCE).all()
    assert (inputs[:, COPIED + 6] == SIGNAL).all()
    assert (inputs[:, COPIED + 7 :] == SILENCE).all()


@pytest.mark.parametrize("make", [adding, copying])
def test_the_seed_decides(make):
    first, again, other = (make(20, 9, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
