"""Modules that PyTorch lacks, compared with scratchnet's."""

from __future__ import annotations

import pytest
import torch

from experiments.backend import BUILTIN, CUSTOM

POINTS = torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
MODULES = {
    "Maxout": lambda nn: nn.Maxout(2),
    "LearnedELU": lambda nn: nn.LearnedELU(init=0.7),
    "LinearSVM": lambda nn: nn.LinearSVM(4, 3),
    "linear kernel": lambda nn: nn.KernelSVM(POINTS[:5], 3, "linear"),
    "polynomial kernel": lambda nn: nn.KernelSVM(POINTS[:5], 3, "polynomial", gamma=0.5, degree=3),
    "rbf kernel": lambda nn: nn.KernelSVM(POINTS[:5], 3, "rbf", gamma=0.5),
}


@pytest.mark.parametrize("name", MODULES)
def test_modules_match_scratchnets(name):
    ours, theirs = (MODULES[name](backend.nn).double() for backend in (CUSTOM, BUILTIN))
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.normal_(generator=torch.Generator().manual_seed(1))
    theirs.load_state_dict(ours.state_dict())
    results = []
    for module in (ours, theirs):
        x = POINTS.clone().requires_grad_()
        loss = module(x).square().sum() + (module.penalty() if hasattr(module, "penalty") else 0)
        results.append([loss, *torch.autograd.grad(loss, [x, *module.parameters()])])
    torch.testing.assert_close(results[0], results[1], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["l1_penalty", "l2_penalty"])
def test_penalties_match_scratchnets(name):
    results = []
    for backend in (CUSTOM, BUILTIN):
        weights = [POINTS.clone().requires_grad_(), POINTS[0].clone().requires_grad_()]
        penalty = getattr(backend.penalties, name)(weights)
        results.append([penalty, *torch.autograd.grad(penalty, weights)])
    torch.testing.assert_close(results[0], results[1])


def test_max_norm_matches_scratchnets():
    ours, theirs = POINTS.clone(), POINTS.clone()
    torch.testing.assert_close(CUSTOM.penalties.max_norm_(ours, 1.5), BUILTIN.penalties.max_norm_(theirs, 1.5))
