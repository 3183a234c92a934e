"""Output, gradients, dtype and shape agree on every sample of PyTorch's op database."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.testing._internal.common_methods_invocations import op_db

from scratchnet import functional

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")

PREFIX = "nn.functional."
PLAIN = ("sigmoid", "tanh", "softmax", "log_softmax", "logsumexp", "cdist")


def ours(op):
    """Returns the name of our functional form of an entry, or None."""
    name = op.name.removeprefix(PREFIX)
    listed = op.name.startswith(PREFIX) or op.name in PLAIN
    return name if listed and name in functional.__all__ else None


OPS = [
    pytest.param(
        op, id=f"{op.name.removeprefix(PREFIX)}{'-' if op.variant_test_name else ''}{op.variant_test_name}"
    )
    for op in op_db
    if ours(op) and torch.float64 in op.dtypes
]


def calls(op):
    for sample in op.sample_inputs("cpu", torch.float64, requires_grad=op.supports_autograd):
        yield (sample.input, *sample.args), sample.kwargs


def run(op, arguments, options, replacement=None):
    """Calls an entry of the database, with a replacement for PyTorch's function if one is given.

    Entries are the built-in, or wrap it to reorder arguments or to seed; for a wrapper, the built-in is patched.
    """
    name = ours(op)
    torch.manual_seed(0)
    if replacement is None:
        return op.op(*arguments, **options)
    if op.op in (getattr(torch.nn.functional, name, None), getattr(torch, name, None)):
        return replacement(*arguments, **options)
    used = []

    def recorded_call(*arguments, **options):
        used.append(True)
        return replacement(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.functional, name, recorded_call)
        result = op.op(*arguments, **options)
    assert used, f"{op.name} does not call torch.nn.functional.{name}"
    return result


def outputs_and_gradients(op, arguments, options, replacement=None):
    def own(x):
        if isinstance(x, Tensor):
            return x.detach().clone().requires_grad_(x.requires_grad)
        return type(x)(map(own, x)) if isinstance(x, tuple | list) else x

    arguments, options = own(tuple(arguments)), {k: own(v) for k, v in options.items()}
    result = run(op, arguments, options, replacement)
    outputs = result if isinstance(result, tuple) else (result,)
    leaves = [x for x in (*arguments, *options.values()) if isinstance(x, Tensor) and x.requires_grad]
    recorded = [y for y in outputs if isinstance(y, Tensor) and y.requires_grad]
    if not recorded or not leaves:
        return outputs, ()
    generator = torch.Generator().manual_seed(1)
    upstream = [torch.randn(y.shape, dtype=y.dtype, generator=generator) for y in recorded]
    return outputs, torch.autograd.grad(recorded, leaves, upstream, allow_unused=True)


@pytest.mark.parametrize("op", OPS)
def test_opinfo_samples_agree(op):
    compared = 0
    for arguments, options in calls(op):
        expected = outputs_and_gradients(op, arguments, options)
        got = outputs_and_gradients(op, arguments, options, getattr(functional, ours(op)))
        about = f"{op.name} on {[tuple(x.shape) if isinstance(x, Tensor) else x for x in arguments]}, {options}: "
        for mine, theirs in zip(got, expected, strict=True):
            assert len(mine) == len(theirs), about
            for a, b in zip(mine, theirs, strict=True):
                if a is None or b is None:
                    present = b if a is None else a
                    assert present is None or not present.any(), f"{about}one side has no gradient"
                else:
                    torch.testing.assert_close(a, b, equal_nan=True, msg=lambda text, about=about: about + text)
        compared += 1
    assert compared


def test_a_wrong_op_is_caught(monkeypatch):
    op = next(op for op in op_db if op.name == "nn.functional.relu")
    monkeypatch.setattr(functional, "relu", lambda x, inplace=False: x.clamp(min=0) * (x > -1))
    test_opinfo_samples_agree(op)
    monkeypatch.setattr(functional, "relu", lambda x, inplace=False: x * (x > 1))
    with pytest.raises(AssertionError):
        test_opinfo_samples_agree(op)
