"""The adding problem, the copy problem, and sums in characters."""

from __future__ import annotations

import doctest

import pytest
import torch

from experiments.data import sequences
from experiments.data.sequences import COPIED, SIGNAL, SILENCE, SYMBOLS, adding, copying, decode, sums


def test_doctests():
    assert doctest.testmod(sequences) == (0, 6)


def test_adding_marks_a_number_in_each_half_and_sums_them():
    inputs, totals = adding(500, length=11, seed=3)
    numbers, marks = inputs.unbind(2)
    assert set(marks.unique().tolist()) == {0, 1}
    assert marks[:, :5].sum(1).tolist() == marks[:, 5:].sum(1).tolist() == [1] * 500
    assert (marks.sum(0) > 0).all()
    assert torch.equal(totals[:, 0], (numbers * marks).sum(1))
    assert 0 <= numbers.min() < 0.01 < 0.99 < numbers.max() < 1
    assert totals.var().item() == pytest.approx(1 / 6, rel=0.15)


def test_copying_repeats_the_first_symbols():
    inputs, symbols = copying(300, delay=7, seed=3)
    assert inputs.shape == (300, COPIED + 7 + COPIED)
    assert torch.equal(inputs[:, :COPIED], symbols)
    assert symbols.unique().tolist() == list(range(SYMBOLS))
    assert (inputs[:, COPIED : COPIED + 6] == SILENCE).all()
    assert (inputs[:, COPIED + 6] == SIGNAL).all()
    assert (inputs[:, COPIED + 7 :] == SILENCE).all()


@pytest.mark.parametrize("make", [adding, copying])
def test_the_seed_determines_the_data(make):
    first, again, other = (make(20, 9, seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_sums_are_right_and_distinct():
    read, written = sums(2000, seed=0)
    questions = [decode(question) for question in read[:, :8]]
    for question, answer in zip(questions, written, strict=True):
        first, second = question.rstrip("=").split("+")
        assert int(decode(answer)[::-1]) == int(first) + int(second)
    assert len(set(questions)) == 2000
    assert torch.equal(read[:, 8:], written[:, :-1])


def test_a_larger_count_begins_with_the_same_sums():
    assert torch.equal(sums(10, seed=4)[0], sums(30, seed=4)[0][:10])
