"""Every sample that PyTorch keeps of its own modules, made of ours: outputs, gradients and states agree."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_modules import module_db
from torch.utils._pytree import tree_leaves, tree_map

from scratchnet import nn

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning"),
]

MODULES = [info for info in module_db if info.module_cls.__module__.startswith("torch.nn.modules")]


def own(x):
    return x.detach().clone().requires_grad_(x.requires_grad) if isinstance(x, Tensor) else x


def run(module: torch.nn.Module, sample) -> list[Tensor]:
    arguments, options = tree_map(own, (sample.forward_input.args, sample.forward_input.kwargs))
    torch.manual_seed(0)
    outputs = [y for y in tree_leaves(module(*arguments, **options)) if isinstance(y, Tensor)]
    wanted = [x for x in (*tree_leaves((arguments, options)), *module.parameters()) if isinstance(x, Tensor)]
    wanted = [x for x in wanted if x.requires_grad]
    sources = [y for y in outputs if y.requires_grad]
    gradients = []
    if wanted and sources:
        upstreams = [torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape) for y in sources]
        gradients = torch.autograd.grad(sources, wanted, upstreams, allow_unused=True, materialize_grads=True)
    return [*outputs, *gradients, *module.state_dict().values()]


@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("info", MODULES, ids=lambda info: info.formatted_name)
def test_samples_of_pytorch(info, training):
    ours = getattr(nn, info.module_cls.__name__)
    torch.manual_seed(0)
    samples = info.module_inputs_func(
        info, device="cpu", dtype=torch.float64, requires_grad=True, training=training
    )
    count = 0
    for sample in samples:
        if sample.forward_input is None:
            continue
        count += 1
        sides = []
        for module_class in (ours, info.module_cls):
            torch.manual_seed(0)
            made = sample.constructor_input
            sides.append(module_class(*made.args, **made.kwargs).double().train(training))
        for actual, expected in zip(*(run(module, sample) for module in sides), strict=True):
            torch.testing.assert_close(actual, expected, equal_nan=True)
    assert count


def test_all_modules_have_samples():
    assert len(MODULES) >= 108
