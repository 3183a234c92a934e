"""Outputs may be changed in place wherever the built-in's may."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from reference.catalog import RECORDS, Make
from scratchnet.testing.subject import Call, Subject


def overwrite(y: Tensor) -> Tensor:
    y[...] = 0
    return y


IN_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "y += 1": lambda y: y.add_(1),
    "y *= 2": lambda y: y.mul_(2),
    "y[...] = 0": overwrite,
    "y.relu_()": torch.relu_,
}
OUT_OF_PLACE: dict[str, Callable[[Tensor], Tensor]] = {
    "y += 1": lambda y: y + 1,
    "y *= 2": lambda y: y * 2,
    "y[...] = 0": lambda y: y.masked_fill(torch.ones_like(y, dtype=torch.bool), 0),
    "y.relu_()": torch.relu,
}


def run(function: Callable[..., Any], sample: Any, change: Callable[[Tensor], Tensor]) -> list[Tensor | None]:
    """Returns the gradients through a change of the outputs, the outputs, and the inputs after the change."""
    parameters = dict(function.named_parameters()) if isinstance(function, torch.nn.Module) else {}
    call = Call(sample.inputs, sample.options, parameters)
    call = call.with_leaves([x.detach().clone().requires_grad_() for x in call.leaves()])
    torch.manual_seed(0)
    outputs = [change(y) for y in Subject(function).run(call) if y.is_floating_point()]
    learned = [y for y in outputs if y.requires_grad]
    leaves = call.leaves()
    gradients: list[Tensor | None] = []
    if learned and leaves:
        upstream = [torch.linspace(-1, 2, y.numel(), dtype=y.dtype).view(y.shape) for y in learned]
        gradients = list(torch.autograd.grad(learned, leaves, upstream, allow_unused=True))
    return [*gradients, *(y.detach() for y in outputs), *(x.detach() for x in leaves)]


def allowed(function: Callable[..., Any], sample: Any, change: Callable[[Tensor], Tensor]) -> bool:
    """Returns whether the function allows its output to be changed."""
    try:
        run(function, sample, change)
    except RuntimeError:
        return False
    return True


def check_changes(record: Any, changes: Iterable[str], compiled: bool = False) -> None:
    """Compares each change in place with the same change out of place, where the built-in allows it."""
    tried = 0
    for sample in record.samples(Make(torch.float64)):
        for name in changes:
            change = IN_PLACE[name]
            custom, builtin = record.sides(sample)
            if not allowed(builtin, sample, change):
                continue
            tried += 1
            expected = run(custom, sample, OUT_OF_PLACE[name])
            custom = record.sides(sample)[0]
            if compiled:
                torch._dynamo.reset()
                compiled_change = torch.compile(Changed(custom, change), backend="aot_eager")
                actual = run(compiled_change, sample, lambda y: y)
            else:
                actual = run(custom, sample, change)
            for one, other in zip(actual, expected, strict=True):
                assert (one is None) == (other is None)
                if one is not None:
                    torch.testing.assert_close(one, other, equal_nan=True)
        if compiled and tried:
            break
    assert bool(tried) == (record.name not in SAVES_ITS_OUTPUT)


class Changed(torch.nn.Module):
    """Calls a function or a module and changes the outputs in place."""

    def __init__(self, function: Callable[..., Any], change: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.function, self.change = function, change

    def forward(self, *inputs: Any, **options: Any) -> Any:
        output = self.function(*inputs, **options)
        for y in tree_leaves(output):
            if isinstance(y, Tensor) and y.is_floating_point():
                self.change(y)
        return output


# Built-ins whose backward needs their output, which must not be changed.
SAVES_ITS_OUTPUT = frozenset(
    """
    sigmoid tanh softmax log_softmax softmin relu relu_ leaky_relu_ rrelu_ elu_ celu_ selu_ conv2d_relu RNNCell
    pairwise_distance pdist cdist logsumexp rbf_kernel l1_penalty CrossMapLRN2d
    """.split()
)

every_op = pytest.mark.parametrize("record", list(RECORDS.values()), ids=list(RECORDS))
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@every_op
def test_output_may_be_changed_in_place(record):
    check_changes(record, ["y += 1"])


@pytest.mark.slow
@every_op
def test_output_may_be_changed_in_every_way(record):
    check_changes(record, IN_PLACE)


@pytest.mark.slow
@every_op
def test_compiled_output_may_be_changed_in_place(record):
    check_changes(record, ["y += 1"], compiled=True)


@every_op
def test_no_two_elements_of_an_output_share_memory(record):
    """PyTorch rejects in-place changes of overlapping memory."""
    for sample in record.samples(Make(torch.float64)):
        outputs, expected = (tree_leaves(side(*sample.inputs, **sample.options)) for side in record.sides(sample))
        for y, theirs in zip(outputs, expected, strict=True):
            if isinstance(y, Tensor):
                assert _overlaps(y) <= _overlaps(theirs), f"{record.name}({sample})"


def _overlaps(y: Tensor) -> bool:
    return any(stride == 0 and size > 1 for stride, size in zip(y.stride(), y.shape, strict=True))


@pytest.mark.parametrize("change", IN_PLACE.values(), ids=list(IN_PLACE))
def test_changing_an_output_that_is_a_view_raises(change):
    class Viewed(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return (x * 2).view(-1)

        @staticmethod
        def backward(ctx, grad):
            return (grad * 2).view(2, 3)

    with pytest.raises(RuntimeError, match="is a view"):
        change(Viewed.apply(torch.ones(2, 3, requires_grad=True)))
