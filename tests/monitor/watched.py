"""Networks to be watched, and their training."""

from __future__ import annotations

import torch
from torch import nn


class Network(nn.Module):
    """A frozen layer, an unused one, a shared parameter, a module called twice, and random numbers."""

    def __init__(self):
        super().__init__()
        self.convolution = nn.Conv2d(1, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.relu = nn.ReLU(inplace=True)
        self.drop = nn.Dropout()
        self.hidden = nn.Linear(64, 8)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.unused = nn.Linear(2, 2)
        self.out = nn.Linear(8, 8)
        self.out.weight = self.hidden_square = nn.Parameter(torch.randn(8, 8) / 3)

    def forward(self, x):
        x = self.drop(self.relu(self.norm(self.convolution(x)))).flatten(1)
        return self.out(torch.tanh(self.frozen(self.relu(self.hidden(x)))) @ self.hidden_square)


def train(model, optimizer, steps, monitor=None, seed=1):
    generator = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        x = torch.randn(5, 1, 6, 6, generator=generator)
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        optimizer.step()
        if monitor is not None:
            monitor.step(loss=loss)


def network(lr=0.1):
    torch.manual_seed(0)
    model = Network()
    return model, torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def line(value=0.0):
    """y = w x with one weight, so that every figure is known."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def hooks(model, optimizer):
    found = [hook for part in model.modules() for hook in part._forward_hooks.values()]
    found += [*optimizer._optimizer_step_pre_hooks.values(), *optimizer._optimizer_step_post_hooks.values()]
    return len(found)
