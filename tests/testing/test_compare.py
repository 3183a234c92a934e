"""The checker, checked: wrong functions must be caught by the quantity that should catch them."""

from __future__ import annotations

import json

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from scratchnet.testing import assert_gradients_match, check, compare, explain
from scratchnet.testing.subject import Call


class Softmax(torch.autograd.Function):
    """A correct softmax in PyTorch's own protocol; the faults below each break one line of it."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x):
        e = torch.exp(x - x.amax(-1, keepdim=True))
        return e / e.sum(-1, keepdim=True)

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(output)
        ctx.save_for_forward(output)

    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * (grad - (grad * y).sum(-1, keepdim=True))

    @staticmethod
    def jvp(ctx, tangent):
        (y,) = ctx.saved_tensors
        return y * (tangent - (tangent * y).sum(-1, keepdim=True))


class ZeroGradient(Softmax):
    @staticmethod
    def backward(ctx, grad):
        return torch.zeros_like(grad)


class MissingMean(Softmax):
    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        return y * grad


class IgnoresUpstream(Softmax):
    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        ones = torch.ones_like(grad)
        return y * (ones - (ones * y).sum(-1, keepdim=True))


class AssumesDenseUpstream(Softmax):
    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        dense = torch.as_strided(grad, y.shape, y.stride()) if grad.untyped_storage().nbytes() else grad
        return y * (dense - (dense * y).sum(-1, keepdim=True))


class OverwritesUpstream(Softmax):
    @staticmethod
    def backward(ctx, grad):
        (y,) = ctx.saved_tensors
        result = y * (grad - (grad * y).sum(-1, keepdim=True))
        if grad.is_contiguous() and not torch.is_grad_enabled():
            grad.mul_(2)
        return result


class ForgetsSecondDerivative(Softmax):
    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.y = output.detach()

    @staticmethod
    def backward(ctx, grad):
        return ctx.y * (grad - (grad * ctx.y).sum(-1, keepdim=True))


class WrongTangent(Softmax):
    @staticmethod
    def jvp(ctx, tangent):
        (y,) = ctx.saved_tensors
        return y * tangent


class WrongValue(Softmax):
    @staticmethod
    def forward(x):
        return Softmax.forward(x) * (1 + 1e-7)


class WrongShape(Softmax):
    @staticmethod
    def forward(x):
        return Softmax.forward(x).unsqueeze(0)


class WrongDtype(Softmax):
    @staticmethod
    def forward(x):
        return Softmax.forward(x).float()


class NoVmap(Softmax):
    generate_vmap_rule = False


class OverwritesInput(Softmax):
    @staticmethod
    def forward(x):
        y = Softmax.forward(x)
        x.data.add_(1)
        return y


class Raises(Softmax):
    @staticmethod
    def backward(ctx, grad):
        raise RuntimeError("no backward today")


def builtin(x):
    return F.softmax(x, -1)


@pytest.fixture
def x():
    return torch.randn(3, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


FAULTS = {
    ZeroGradient: "gradient of input",
    MissingMean: "gradient of input",
    IgnoresUpstream: "gradient of input",
    AssumesDenseUpstream: "gradient of input",
    OverwritesUpstream: "inputs and upstreams unchanged",
    ForgetsSecondDerivative: "double backward of input",
    WrongTangent: "forward mode of output",
    WrongValue: "output",
    WrongShape: "output",
    WrongDtype: "output",
    OverwritesInput: "inputs unchanged",
    Raises: "gradient",
}


@pytest.mark.parametrize(("fault", "quantity"), list(FAULTS.items()), ids=lambda p: getattr(p, "__name__", ""))
def test_a_planted_fault_is_caught(fault, quantity, x):
    result = compare(fault.apply, builtin, x)
    assert not result.ok
    assert quantity in [row.quantity for row in result.failures], str(result)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_the_correct_twin_passes(x, dtype):
    result = compare(Softmax.apply, builtin, x.to(dtype))
    assert result.ok, str(result)
    assert {"output", "gradient of input", "double backward of input", "double backward of upstream"} <= {
        row.quantity for row in result.rows
    }


class TimesSparse(torch.autograd.Function):
    """Takes the matrix, as of a graph, for a constant."""

    @staticmethod
    def forward(ctx, x, matrix):
        ctx.matrix = matrix
        return torch.sparse.mm(matrix, x)

    @staticmethod
    def backward(ctx, grad):
        return torch.sparse.mm(ctx.matrix.t(), grad), None


class TimesSparseUnturned(TimesSparse):
    @staticmethod
    def backward(ctx, grad):
        return torch.sparse.mm(ctx.matrix, grad), None


def test_a_sparse_input_is_a_constant():
    x = torch.randn(4, 2, dtype=torch.float64)
    matrix = torch.randn(4, 4, dtype=torch.float64).relu().to_sparse()

    def builtin(x, matrix):
        return torch.sparse.mm(matrix, x)

    right = compare(TimesSparse.apply, builtin, x, matrix, thorough=True, compile=False)
    assert right.ok, str(right)
    assert check(TimesSparse.apply, x, matrix, compile=False).ok
    wrong = compare(TimesSparseUnturned.apply, builtin, x, matrix)
    assert [row.quantity for row in wrong.failures][:1] == ["gradient of input 0"]
    assert ".to_sparse(layout=torch.sparse_coo)" in explain(wrong)


def test_a_float32_result_that_lost_half_its_digits_is_caught(x):
    result = compare(lambda x: builtin(x) * (1 + 1e-4), builtin, x.float())
    assert [row.quantity for row in result.failures][0] == "output"


class SteepClamp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clamp(-1, 1)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 1.3 * grad * ((x > -1) & (x < 1))


def test_an_element_at_a_kink_excuses_no_other():
    x = torch.tensor([1.0, 0.3, -2.0, 0.7])
    (row, *_) = compare(SteepClamp.apply, F.hardtanh, x).failures
    assert row.quantity == "gradient of input"
    assert row.tolerance < 1e-6


def test_nan_must_meet_nan():
    x = torch.tensor([1.0, float("nan")], dtype=torch.float64)
    assert compare(lambda x: x + 0, lambda x: x * 1, x).ok
    assert not compare(torch.nan_to_num, lambda x: x * 1, x).ok


class TwiceTheBias(nn.Linear):
    """A linear layer that takes its bias twice."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input) + self.bias


def test_modules_are_compared_by_parameter_with_the_built_ins_weights():
    custom, theirs = nn.Linear(3, 2).double(), nn.Linear(3, 2).double()
    before = [p.detach().clone() for p in (*custom.parameters(), *theirs.parameters())]
    x = torch.randn(4, 3, dtype=torch.float64)
    result = compare(custom, theirs, x)
    assert result.ok, str(result)
    assert {"gradient of weight", "gradient of bias"} <= {row.quantity for row in result.rows}
    assert not compare(TwiceTheBias(3, 2).double(), theirs, x).ok
    after = [*custom.parameters(), *theirs.parameters()]
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))
    assert all(p.grad is None for p in after)


class ForgetfulNorm(nn.BatchNorm1d):
    """Batch norm whose running mean never moves."""

    def forward(self, input: Tensor) -> Tensor:
        kept = self.running_mean.clone()
        y = super().forward(input)
        self.running_mean.copy_(kept)
        return y


def test_buffers_are_compared_and_left_alone():
    theirs = nn.BatchNorm1d(3).double()
    x = torch.randn(4, 3, dtype=torch.float64)
    assert compare(nn.BatchNorm1d(3).double(), theirs, x).ok
    result = compare(ForgetfulNorm(3).double(), theirs, x)
    assert "buffer running_mean afterwards" in [row.quantity for row in result.failures]
    assert theirs.num_batches_tracked == 0


def test_what_a_call_writes_into_a_constant_input_is_compared():
    def count(x, calls):
        calls.add_(1)
        return x * 2

    x, calls = torch.ones(2), torch.zeros(1)
    assert compare(count, count, x.requires_grad_(), calls).ok
    result = compare(lambda x, calls: x * 2, count, x, calls)
    assert [row.quantity for row in result.failures] == ["input 1 afterwards"]
    assert calls.item() == 0


def test_modules_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match=r"same parameters.*weight"):
        compare(nn.Linear(3, 2), nn.Linear(3, 4), torch.ones(1, 3))


def test_what_the_built_in_cannot_do_is_not_compared():
    labels = torch.tensor([0, 1])

    def custom(x):
        correct = x.gather(1, labels.unsqueeze(1))
        losses = (1 - correct + x).clamp(min=0).scatter(1, labels.unsqueeze(1), 0)
        return losses.sum() / x.numel()

    result = compare(custom, lambda x: F.multi_margin_loss(x, labels), torch.randn(2, 3, dtype=torch.float64))
    assert result.ok, str(result)
    assert [row.verdict for row in result.rows if row.quantity == "double backward"] == ["not compared"]


def test_random_functions_draw_the_same_numbers(x):
    assert compare(lambda x: F.dropout(x, 0.5), lambda x: F.dropout(x, 0.5), x).ok
    state = torch.random.get_rng_state()
    assert not compare(lambda x: F.dropout(x, 0.5), lambda x: F.dropout(x, 0.4), x).ok
    assert torch.equal(state, torch.random.get_rng_state())


class PairFunction(torch.autograd.Function):
    """The sum and the product of two tensors; a None upstream breaks it."""

    @staticmethod
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        ctx.set_materialize_grads(False)
        return x + y, x * y

    @staticmethod
    def backward(ctx, sums, products):
        x, y = ctx.saved_tensors
        return sums + products * y, sums + products * x


def test_each_of_several_outputs_is_left_out_in_turn(x):
    def builtin(x, y):
        return x + y, x * y

    result = compare(PairFunction.apply, builtin, x, 2 * x, vmap=False, forward_mode=False)
    assert "upstream: None" in result.failures[0].note
    assert "gradient" in result.failures[0].quantity


def test_the_table_names_tensor_place_and_values(x):
    result = compare(MissingMean.apply, builtin, x, name="softmax")
    row = next(row for row in result.failures if row.quantity == "gradient of input")
    assert len(row.index) == 2
    assert row.largest > row.tolerance
    lines = str(result).splitlines()
    assert lines[0].startswith("softmax: ")
    assert "disagree" in lines[0]
    assert any(line.startswith("gradient of input") and f"{list(row.index)}" in line for line in lines)
    json.dumps(result.to_dict(), allow_nan=False)


def test_compiled_code_is_compared_where_asked(x):
    result = compare(torch.exp, torch.exp, x, compile="aot_eager")
    assert {"compiled output", "compiled gradient of input"} <= {row.quantity for row in result.rows}
    assert result.ok

    def unlike_compiled(x):
        return x.exp() + 1 if torch.compiler.is_compiling() else x.exp()

    result = compare(unlike_compiled, torch.exp, x, compile="aot_eager")
    assert [row.quantity for row in result.failures] == ["compiled output"]


def test_a_call_that_the_built_in_refuses_is_no_agreement(x):
    result = compare(torch.exp, lambda x: x.nonsense(), x)
    assert not result.failures
    assert not result.ok


def test_tolerances_set_by_hand_pass_what_the_rules_fail_and_stand_in_the_reproduction(x):
    def rough(x):
        return torch.exp(x) * (1 + 1e-6)

    assert not compare(rough, torch.exp, x).ok
    assert compare(rough, torch.exp, x, rtol=1e-5, atol=0.0).ok
    assert assert_gradients_match(
        rough, torch.exp, x, thorough=False, rtol={torch.float64: 1e-5}, atol={torch.float64: 0.0}
    ).ok
    found = compare(rough, torch.exp, x, rtol=1e-7, atol=0.0)
    assert {row.quantity for row in found.failures} >= {"output", "gradient of input"}
    assert "rtol=1e-07, atol=0.0" in explain(found)


@pytest.mark.parametrize("device", ["nowhere", "meta"])
def test_a_device_without_values_is_refused_before_anything_is_called(device, x):
    with pytest.raises(ValueError, match=f"expected a device of this machine, such as 'cpu', got '{device}'"):
        compare(pytest.fail, torch.exp, x, device=device)


def test_a_call_moves_to_a_device_whole(x):
    labels = torch.arange(3)
    moved = Call((x.requires_grad_(), [labels]), {"k": 2 * x.detach()}, {"w": x}, {"b": labels}).to(
        device=torch.device("meta")
    )
    assert {t.device.type for t in (*moved.tensors(), *moved.buffers.values())} == {"meta"}
    assert [t.requires_grad for t in moved.tensors()] == [True, False, False, True]
    assert moved.inputs[1][0].dtype is torch.int64
