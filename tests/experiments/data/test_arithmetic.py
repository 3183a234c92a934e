"""Sums as characters are right, and different."""

from __future__ import annotations

import doctest

import torch

from experiments.data import arithmetic
from experiments.data.arithmetic import decode, sums


def test_its_examples_are_right():
    assert doctest.testmod(arithmetic) == (0, 2)


def test_each_sum_is_right_and_there_once():
    read, written = sums(2000, seed=0)
    asked = [decode(question) for question in read[:, :8]]
    for question, answer in zip(asked, written, strict=True):
        first, second = question.rstrip("=").split("+")
        assert int(decode(answer)[::-1]) == int(first) + int(second)
    assert len(set(asked)) == 2000
    assert torch.equal(read[:, 8:], written[:, :-1])


def test_more_sums_begin_with_the_same_ones():
    assert torch.equal(sums(10, seed=4)[0], sums(30, seed=4)[0][:10])
