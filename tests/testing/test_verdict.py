"""The verdict says where, how far, how small, why, and how to see it again."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from ordinary import ORDINARY
from test_checks import KeepsOutputOnContext, OverwritesSaved, RemembersOnTheClass, Slope
from test_compare import AssumesDenseUpstream, IgnoresUpstream, MissingMean, NoVmap, OverwritesUpstream, builtin

from scratchnet.testing import assert_gradients_match, check, compare, explain
from scratchnet.testing.shrink import shrink
from scratchnet.testing.subject import Call

QUICK = {"double_backward": False, "forward_mode": False, "vmap": False}


def derived(gradient):
    """A linear layer of x and w whose gradients are what is given."""

    class Linear(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, w):
            ctx.save_for_backward(x, w)
            return x @ w.T

        @staticmethod
        def backward(ctx, grad):
            return gradient(grad, *ctx.saved_tensors)

    return Linear.apply


def late(x):
    return torch.where(x > 0, x, x * 0.01 + (x.detach() - x) * 0.01)


CAUSES = {
    "wrong sign": (derived(lambda g, x, w: (-g @ w, g.T @ x)), F.linear),
    "factor of 5, the batch size": (derived(lambda g, x, w: (g @ w / 5, g.T @ x)), F.linear),
    "constant factor of 2": (derived(lambda g, x, w: (2 * g @ w, g.T @ x)), F.linear),
    "computed with input 1 transposed": (derived(lambda g, x, w: (g @ w.T, g.T @ x)), F.linear),
    "has too few digits": (derived(lambda g, x, w: ((g.float() @ w.float()).double(), g.T @ x)), F.linear),
    "no gradient is returned": (derived(lambda g, x, w: (g @ w, None)), F.linear),
    "zero throughout": (derived(lambda g, x, w: (0 * (g @ w), g.T @ x)), F.linear),
    "is shifted by one along dimension 1": (derived(lambda g, x, w: ((g @ w).roll(1, 1), g.T @ x)), F.linear),
    "constant along dimension": (derived(lambda g, x, w: (g @ w - (g @ w).mean(1, True), g.T @ x)), F.linear),
    "must be summed": (derived(lambda g, x, w: ((g @ w)[:, :2], g.T @ x)), F.linear),
}


@pytest.mark.parametrize("cause", CAUSES)
def test_the_pattern_gives_the_cause_away(cause):
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(n, 3, dtype=torch.float64, generator=generator) for n in (5, 3))

    assert cause in explain(compare(*CAUSES[cause], x, w, **QUICK))


@pytest.mark.parametrize(
    ("fault", "cause", "options"),
    [
        (IgnoresUpstream, "ignores grad_output", {}),
        (AssumesDenseUpstream, "assumes a contiguous grad_output", {}),
        (OverwritesUpstream, "works in place on upstream 0", {}),
        (MissingMean, "a sum over dimension 1 is missing", {}),
        (NoVmap, "no vmap rule", {"vmap": True}),
    ],
)
def test_a_fault_of_softmax_is_explained(fault, cause, options):
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert cause in explain(compare(fault.apply, builtin, x, **{**QUICK, **options}))


@pytest.mark.parametrize(
    ("fault", "like", "check", "cause"),
    [
        (Slope, lambda x: 3 * x * x, "double_backward", "taken for a constant"),
        (OverwritesSaved, lambda x: x**3, "saved_unchanged", "works in place on saved tensor 0"),
        (RemembersOnTheClass, lambda x: x**3, "threads", "on the class or in a global"),
        (KeepsOutputOnContext, torch.exp, "leaks", "kept on ctx"),
    ],
)
def test_a_fault_of_conduct_is_explained(fault, like, check, cause):
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert cause in explain(compare(fault.apply, like, x, **{**QUICK, check: True}))


class TanhWithTangents(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.tanh()

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx, grad):
        return grad * (1 - ctx.saved_tensors[0] ** 2)

    @staticmethod
    def jvp(ctx, tangent):
        return tangent * (1 - ctx.saved_tensors[0] ** 2)


def branches(x):
    return x.tanh() if x.sum() > 0 else x.tanh()


@pytest.mark.parametrize(
    ("function", "check", "says"),
    [
        (ORDINARY["TanhOnce"].custom, "forward_mode", "no jvp: add a staticmethod jvp(ctx, *tangents)"),
        (TanhWithTangents.apply, "compile", "torch.compile takes no Function with a jvp"),
        (TanhWithTangents.apply, "vmap", "no vmap rule: set generate_vmap_rule = True"),
        (branches, "compile", "breaks the graph: Data-dependent branching: Detected data-dependent branching"),
        (branches, "vmap", "use torch.where"),
    ],
    ids=lambda x: x if isinstance(x, str) and len(x) < 20 else "",
)
def test_what_is_missing_is_said_without_another_cause(function, check, says):
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    asked = {**QUICK, check: "eager" if check == "compile" else True}
    said = explain(compare(function, torch.tanh, x, **asked))
    assert says in said
    assert "likely cause" not in said


def test_the_wrong_branch_is_named():
    x = torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert "only where the input is negative" in explain(compare(late, F.leaky_relu, x, **QUICK))


def test_the_input_is_shrunk_as_far_as_the_fault_allows():
    call = Call((torch.arange(40.0).reshape(5, 8), 3))
    small = shrink(call, lambda call: call.inputs[0].shape[0] >= 2 and call.inputs[0].shape[1] >= 3)
    assert tuple(small.inputs[0].shape) == (2, 3)
    assert small.inputs[1] == 3


def test_the_script_runs_and_fails_like_the_comparison():
    x = torch.randn(6, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    said = explain(compare(IgnoresUpstream.apply, builtin, x, **QUICK))
    assert "smallest input that shows it: (1, 2)" in said
    script = said.partition("to see it again:\n")[2]
    with pytest.raises(AssertionError):
        exec("\n".join(line[9:] for line in script.splitlines()), {})


def test_assert_gradients_match_raises_with_the_whole_verdict():
    x = torch.randn(3, 4, dtype=torch.float64)
    assert assert_gradients_match(torch.exp, torch.exp, x, compile=False).ok
    assert assert_gradients_match(torch.exp, None, x, compile=False).ok
    with pytest.raises(
        AssertionError, match=r"(?s)gradient of input.*got .*expected .*likely cause.*import torch"
    ):
        assert_gradients_match(IgnoresUpstream.apply, builtin, x, thorough=False)
    with pytest.raises(AssertionError, match=r"(?s)likely cause.*print\(check\(custom"):
        assert_gradients_match(IgnoresUpstream.apply, None, x, thorough=False)


def test_what_agrees_needs_no_explanation():
    assert explain(check(torch.exp, torch.ones(2), thorough=False)).startswith("exp: equal: output, gradient")
