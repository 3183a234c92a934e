"""Custom operators: what `torch.library.opcheck` finds is part of the comparison."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from scratchnet.testing import compare, explain


def operator(name, faked=True, spoiled=False):
    """A sine as an operator, under a name of its own; a spoiled one overwrites its input and does not declare it."""

    @torch.library.custom_op(f"scratchnet_tests::{name}", mutates_args=())
    def sine(x: Tensor) -> Tensor:
        y = x.sin()
        if spoiled:
            x.add_(1)
        return y

    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return grad * x.cos()

    sine.register_autograd(backward, setup_context=setup_context)
    if faked:
        sine.register_fake(torch.empty_like)
    return sine


@pytest.fixture
def x():
    return torch.randn(3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_a_right_operator_passes_by_each_of_its_names(x):
    sine = operator("right")
    for function in (sine, torch.ops.scratchnet_tests.right, torch.ops.scratchnet_tests.right.default):
        result = compare(function, torch.sin, x)
        assert result.ok, explain(result)
        assert "4 opchecks" in result.headline


def test_an_operator_without_a_fake_lacks_one_and_fails_only_if_that_is_asked_for(x):
    sine = operator("unfaked", faked=False)
    result = compare(sine, torch.sin, x)
    assert result.ok, explain(result)
    assert "not offered: forward mode, vmap, opcheck faketensor, opcheck aot_dispatch_dynamic" in result.headline
    assert [row.check for row in compare(sine, torch.sin, x, opcheck=True).failures] == ["opcheck", "opcheck"]


def test_an_operator_that_writes_to_what_its_schema_leaves_alone_is_found(x):
    found = compare(operator("spoiled", spoiled=True), torch.sin, x).failures
    assert "opcheck schema" in {row.quantity for row in found}
    assert "inputs unchanged" in {row.quantity for row in found}


def test_operators_that_a_function_calls_are_checked_too(x):
    sine, unfaked = operator("inside"), operator("inside_unfaked", faked=False)
    misshapen = operator("inside_misshapen", faked=False)
    misshapen.register_fake(lambda x: x.new_empty(()))

    class Sine(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return sine(x)

        @staticmethod
        def backward(ctx, grad):
            return grad * misshapen(ctx.saved_tensors[0] + torch.pi / 2)

    assert compare(lambda x: sine(x) * 1, torch.sin, x).ok
    assert (
        "opcheck faketensor of scratchnet_tests::inside_unfaked"
        in compare(lambda x: unfaked(x) * 1, torch.sin, x).headline
    )
    for function in (lambda x: misshapen(x) * 1, Sine.apply):
        wrong = compare(function, torch.sin, x)
        assert [row.quantity for row in wrong.failures] == [
            "opcheck faketensor of scratchnet_tests::inside_misshapen"
        ]
        assert "register_fake must return" in explain(wrong)


def test_an_operator_of_a_library_is_shown_by_its_name(x):
    operator("named")
    packet = torch.ops.scratchnet_tests.named
    assert "<OpOverloadPacket(op='scratchnet_tests.named')>" in explain(compare(packet, torch.cos, x))
    assert "<OpOverload(op='scratchnet_tests.named'," in explain(compare(packet.default, torch.cos, x))
