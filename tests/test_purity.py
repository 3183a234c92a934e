"""Every aten op that `scratchnet` dispatches is on the list of allowed tensor arithmetic."""

from __future__ import annotations

import pytest
import torch
from torch.autograd import forward_ad
from torch.utils._python_dispatch import TorchDispatchMode

from reference.catalog import RECORDS, Make
from scratchnet.testing.subject import Call, Subject

ARITHMETIC = """
    add sub rsub mul div neg reciprocal pow sqrt rsqrt square exp exp2 expm1 log log1p log2 abs sign sgn copysign erf
    erfc addcmul addcdiv lerp maximum minimum clamp clamp_min clamp_max fmod remainder floor_divide round floor ceil
    isnan isfinite logical_not logical_and logical_or bitwise_not bitwise_and bitwise_or bitwise_xor
    eq ne lt le gt ge equal where masked_fill
    sum mean var var_mean amax amin max min argmax argmin any all cumsum sort count_nonzero
    mm bmm addmm baddbmm mv dot addmv
"""
MEMORY = """
    view _unsafe_view reshape as_strided expand permute transpose t select slice split split_with_sizes unbind
    squeeze unsqueeze unfold alias detach to lift_fresh diagonal
    clone copy _to_copy contiguous cat stack slice_scatter select_scatter
    index index_put index_select index_add index_fill index_copy gather scatter scatter_add nonzero
    masked_select masked_scatter
    zeros zeros_like ones ones_like full full_like empty empty_like empty_strided new_zeros new_ones new_full
    new_empty new_empty_strided fill zero arange repeat_interleave scalar_tensor set_ resize_ flip roll
    repeat one_hot
    _local_scalar_dense item is_same_size promote_types result_type
    _efficientzerotensor _has_same_storage_numel _new_zeros_with_same_feature_meta
"""
RANDOM = "rand rand_like randn randn_like bernoulli uniform normal exponential random randperm"
ALLOWED = frozenset(f"{ARITHMETIC} {MEMORY} {RANDOM}".split())
# Autograd's own adjoints of views, when a backward is differentiated.
VIEW_ADJOINTS = frozenset({"slice_backward", "select_backward", "_reshape_copy", "as_strided_scatter"})


class Recorder(TorchDispatchMode):
    """Records the names of dispatched ops, without overload and in-place suffix."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        namespace, name = func._schema.name.split("::")
        if namespace != "profiler":  # optimizers record profiler ranges
            name = name.removeprefix("_foreach_")
            self.names.add(name if name in ("set_", "resize_") else name.removesuffix("_"))
        return func(*args, **(kwargs or {}))


def differentiate(subject, call, *, twice):
    outputs = [y for y in subject.run(call) if y.requires_grad]
    if not outputs or not call.leaves():
        return
    upstream = [torch.randn_like(y).requires_grad_(twice) for y in outputs]
    grads = torch.autograd.grad(outputs, call.leaves(), upstream, create_graph=twice, allow_unused=True)
    recorded = [g for g in grads if g is not None and g.requires_grad]
    if twice and recorded:
        torch.autograd.grad([g.sum() for g in recorded], [*call.leaves(), *upstream], allow_unused=True)


def run_forward_mode(subject, call):
    with forward_ad.dual_level():
        duals = [
            forward_ad.make_dual(x.detach().clone(), torch.randn(x.shape, dtype=x.dtype)) for x in call.leaves()
        ]
        subject.run(call.with_leaves(duals))


every_op = pytest.mark.parametrize("record", list(RECORDS.values()), ids=list(RECORDS))
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


@every_op
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
def test_forward_backward_and_jvp_are_arithmetic(record, dtype):
    for sample in record.samples(Make(dtype)):
        with Recorder() as seen:
            differentiate(*record.call(sample), twice=False)
            run_forward_mode(*record.call(sample))
        assert seen.names
        assert seen.names <= ALLOWED, f"{record.name}({sample}) dispatches {sorted(seen.names - ALLOWED)}"


@every_op
def test_second_derivative_is_arithmetic_and_adjoints_of_views(record):
    for sample in record.samples(Make(torch.float64)):
        with Recorder() as seen:
            differentiate(*record.call(sample), twice=True)
        extra = seen.names - ALLOWED - VIEW_ADJOINTS
        assert not extra, f"{record.name}({sample}) dispatches {sorted(extra)}"


@pytest.mark.parametrize("name", ["sigmoid", "softmax", "conv2d", "cross_entropy"])
def test_the_recorder_catches_the_built_in(name):
    record = RECORDS[name]
    sample = next(iter(record.samples(Make(torch.float64))))
    with Recorder() as seen:
        differentiate(Subject(record.builtin), Call(sample.inputs, sample.options), twice=False)
    assert any("_backward" in n for n in seen.names - ALLOWED)
