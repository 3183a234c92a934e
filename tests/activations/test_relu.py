"""What the catalog cannot say of ReLU."""

from __future__ import annotations

import torch

from scratchnet.activations.relu import relu


def test_relu_keeps_integers():
    assert relu(torch.tensor([-1, 2])).tolist() == [0, 2]
