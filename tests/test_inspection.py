"""`purity` names each neural-network kernel of PyTorch that runs, and its module."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from reference.catalog import RECORDS, Make
from scratchnet import convert, intercept, purity
from scratchnet.inspection import NETWORK

# Whose built-in, or the composition in its place, dispatches arithmetic alone on the first sample.
ARITHMETIC = """
    softsign maxout learned_elu hardsigmoid l1_loss kl_div poisson_nll_loss gaussian_nll_loss hinge_embedding_loss
    margin_ranking_loss cosine_embedding_loss triplet_margin_loss triplet_margin_with_distance_loss pad linear rms_norm
    CrossMapLRN2d normalize dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout one_hot
    cosine_similarity pairwise_distance linear_kernel polynomial_kernel rbf_kernel grouped_mm SGD Adam AdamW l1_penalty
    l2_penalty max_norm_
""".split()


class Block(nn.Module):
    def __init__(self, again=False):
        super().__init__()
        self.norm, self.again = nn.BatchNorm1d(3), again

    def forward(self, x):
        y = checkpoint(self.norm, x, use_reentrant=False) if self.again else self.norm(x)
        return torch.softmax(y, 1), {"gate": y.sigmoid()}


def rows(found):
    return {(kernel.name, kernel.module, kernel.phase): kernel.calls for kernel in found.kernels}


@pytest.mark.parametrize("again", [False, True])
def test_kernels_are_named_by_module_and_phase(again):
    x = torch.randn(4, 3)
    model = nn.Sequential(Block(again), *())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.random.get_rng_state()
    found = purity(model, x)
    expected = {
        ("native_batch_norm", "0.norm", "forward"): 1,
        ("_softmax", "0", "forward"): 1,
        ("sigmoid", "0", "forward"): 1,
        ("sigmoid_backward", "0", "backward"): 1,
        ("_softmax_backward_data", "0", "backward"): 1,
        ("native_batch_norm_backward", "0.norm", "backward"): 1,
    }
    if again:
        expected["native_batch_norm", "0.norm", "backward"] = 1
    assert rows(found) == expected
    assert not found.pure
    assert "1 _softmax, forward, in 0" in str(found)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    assert torch.equal(state, torch.random.get_rng_state())
    assert not model[0]._forward_hooks


def test_a_converted_model_is_pure_inside_intercept():
    model, x = nn.Sequential(Block()), torch.randn(4, 3)
    convert(model)
    assert set(rows(purity(model, x))) == {
        ("_softmax", "0", "forward"),
        ("sigmoid", "0", "forward"),
        ("sigmoid_backward", "0", "backward"),
        ("_softmax_backward_data", "0", "backward"),
    }
    with intercept():
        found = purity(model, x)
    assert found.pure
    assert str(found).startswith("pure: ")


def test_a_model_that_raises_is_left_without_hooks():
    model = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(RuntimeError):
        purity(model, torch.zeros(2, 4))
    assert not model[0]._forward_hooks
    assert not model[0]._forward_pre_hooks
    with pytest.raises(TypeError, match="expected a torch.nn.Module, got int"):
        purity(3)


def test_arithmetic_is_not_reported():
    arithmetic = (
        "add mul mm bmm matmul exp log sum mean var_mean where clamp max min atanh arctanh norm normal_ gather"
    )
    assert not [name for name in arithmetic.split() if NETWORK.search(name)]


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("record", RECORDS.values(), ids=RECORDS)
def test_built_ins_run_kernels_and_ours_do_not(record):
    class Op(nn.Module):
        def __init__(self, function):
            super().__init__()
            self.function = function

        def forward(self, *inputs, **options):
            return self.function(*inputs, **options)

    sample = next(iter(record.samples(Make(torch.float64))))
    ours, theirs = (purity(Op(side), *sample.inputs, **sample.options) for side in record.sides(sample))
    assert ours.pure, ours
    assert theirs.pure == (record.name in ARITHMETIC), theirs
