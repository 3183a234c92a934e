"""Strides of outputs and gradients match the built-in's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice, product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._pytree import tree_leaves

from reference.catalog import RECORDS, Make
from scratchnet import functional, nn
from scratchnet.function import Elementwise
from scratchnet.testing.subject import Call, Subject, mapped

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


def transposed(x: Tensor) -> Tensor:
    return x.mT.contiguous().mT


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1).contiguous().movedim(-1, 1)


def expanded(x: Tensor) -> Tensor:
    return x[:1].contiguous().expand(x.shape)


def sliced(x: Tensor) -> Tensor:
    return x.repeat_interleave(2, -1)[..., ::2]


LAYOUTS: dict[str, Callable[[Tensor], Tensor]] = {
    "contiguous": Tensor.contiguous,
    "transposed": transposed,
    "channels_last": channels_last,
    "expanded": expanded,
    "sliced": sliced,
}
PLAIN = ["contiguous", "transposed", "channels_last"]
# Ops that read the values of an argument, which fake tensors do not have.
READS_VALUES = ("TransformerEncoder", "Transformer")
# Ops whose gradients have other strides, and why.
NO_SUCH_BUILT_IN = "PyTorch has no such op; ours is compared with a composition"
COMPOSED = "the built-in is a composition, whose parts determine the strides"
SUMMED = "the built-in adds the input's gradient to zeros for the overwritten values"
KERNELS = "the built-in chooses a kernel by size, each with its own format"
CHUNKED = "gradients are computed chunk by chunk in contiguous memory"
GRADIENTS = {
    **dict.fromkeys("linear_kernel polynomial_kernel l1_penalty l2_penalty".split(), NO_SUCH_BUILT_IN),
    **dict.fromkeys("kl_div poisson_nll_loss gaussian_nll_loss l1_loss soft_margin_loss".split(), COMPOSED),
    **dict.fromkeys("hinge_embedding_loss cosine_embedding_loss".split(), COMPOSED),
    **dict.fromkeys("triplet_margin_loss pairwise_distance LSTM multi_head_attention_forward".split(), COMPOSED),
    **dict.fromkeys("TransformerEncoderLayer TransformerDecoderLayer TransformerEncoder".split(), COMPOSED),
    **dict.fromkeys("TransformerDecoder Transformer".split(), COMPOSED),
    **dict.fromkeys("threshold_ hardtanh_".split(), SUMMED),
    **dict.fromkeys("scaled_dot_product_attention interpolate upsample".split(), KERNELS),
    "linear_cross_entropy": CHUNKED,
    "conv_tbc": "the gradients are permuted gradients of conv1d",
}
# Ops whose outputs have other strides too, and why.
OUTPUTS = {
    **dict.fromkeys("conv3d conv_transpose3d".split(), KERNELS),
    "conv2d_relu_max_pool2d": "an unbatched image stays in the convolution's format, as documented",
    "CrossMapLRN2d": "torch's writes to a copy of its input, ours uses windows along the channels",
    "GRUCell": "the new state does not take the format of the old one",
    "max_norm_": NO_SUCH_BUILT_IN,
}


def strides(function: Callable[..., Any], sample: Any, layout: str, upstream: str | None) -> dict[str, list[int]]:
    """Returns the strides of outputs and gradients, except of dimensions of size 1."""

    parameters = dict(function.named_parameters()) if isinstance(function, torch.nn.Module) else {}
    call = Call(mapped(lambda x: leaf(x, layout), sample.inputs), sample.options, parameters)
    outputs = Subject(function).run(call)
    found = {f"output {i}": y for i, y in enumerate(outputs)}
    learned, leaves = [y for y in outputs if y.requires_grad], call.leaves()
    if learned and leaves:
        upstreams = [arranged(torch.ones_like(y), upstream) for y in learned]
        gradients = torch.autograd.grad(learned, leaves, upstreams, allow_unused=True)
        found |= {f"gradient of {name}": g for name, g in zip(call.names(), gradients, strict=True)}
    return {name: seen(y) for name, y in found.items() if y is not None}


def leaf(x: Any, layout: str) -> Any:
    if not isinstance(x, Tensor) or not x.is_floating_point():
        return x
    return arranged(x.detach(), layout).requires_grad_(x.requires_grad)


def arranged(x: Tensor, layout: str | None) -> Tensor:
    return x.clone() if layout is None or x.dim() < 2 or x.numel() == 0 else LAYOUTS[layout](x)


def seen(y: Tensor) -> list[int]:
    return [s for n, s in zip(y.shape, y.stride(), strict=True) if n > 1] if y.numel() else []


def differences(
    record: Any, layouts: Sequence[str], most: int | None = None, upstream: str | None = None
) -> Iterator[str]:
    """Yields outputs and gradients with strides unlike the built-in's, over calls that the built-in takes."""
    for sample in islice(record.samples(Make(torch.float32)), most):
        if any(x.numel() == 0 for x in Call(sample.inputs).tensors()):
            continue
        for layout in layouts:
            custom, builtin = record.sides(sample)
            try:
                expected = strides(builtin, sample, layout, upstream)
            except (RuntimeError, ValueError):
                continue
            actual = strides(custom, sample, layout, upstream)
            for name, wanted in expected.items():
                if wanted != actual.get(name, wanted):
                    yield f"{name} of {sample} {layout}: {actual[name]}, expected {wanted}"


def listed(record: Any, difference: str) -> bool:
    return record.name in OUTPUTS or (record.name in GRADIENTS and difference.startswith("gradient"))


ELEMENTWISE = [n for n, r in RECORDS.items() if any(issubclass(f, Elementwise) for f in r.functions)]
every_op = pytest.mark.parametrize("record", list(RECORDS.values()), ids=list(RECORDS))


@every_op
def test_strides_match_the_built_in(record):
    found = differences(record, PLAIN, most=2)
    assert not [each for each in found if not listed(record, each)]


@pytest.mark.slow
@every_op
def test_strides_match_the_built_in_in_every_layout(record):
    found = list(differences(record, list(LAYOUTS)))
    assert not [each for each in found if not listed(record, each)]
    assert bool(found) == (record.name in GRADIENTS or record.name in OUTPUTS)


@every_op
def test_fake_tensors_have_the_strides_of_real_ones(record):
    for sample, layout in product(islice(record.samples(Make(torch.float32)), 2), PLAIN):
        custom = record.sides(sample)[0]
        if isinstance(custom, torch.nn.Module) or record.name in READS_VALUES:
            break
        mode, inputs = FakeTensorMode(), mapped(lambda x, layout=layout: leaf(x, layout), sample.inputs)

        def fake(x, mode=mode):
            return mode.from_tensor(x) if isinstance(x, Tensor) else x

        options = {name: mapped(fake, x) for name, x in sample.options.items()}
        with mode:
            faked = tree_leaves(custom(*mapped(fake, inputs), **options))
        real = tree_leaves(custom(*inputs, **sample.options))
        strides_of_both = [[seen(y) for y in outputs if isinstance(y, Tensor)] for outputs in (faked, real)]
        assert strides_of_both[0] == strides_of_both[1], f"{sample} {layout}"


@pytest.mark.parametrize("upstream", PLAIN)
@pytest.mark.parametrize(
    "name", [n for n, r in RECORDS.items() if any(issubclass(f, Elementwise) for f in r.functions)]
)
def test_elementwise_gradient_strides_match_the_built_in(name, upstream):
    found = differences(RECORDS[name], [*PLAIN, "expanded"], most=2, upstream=upstream)
    assert name in GRADIENTS or not list(found)


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("name", ["Conv2d", "ConvTranspose2d"])
@pytest.mark.parametrize("kernel", [1, 3])
def test_a_weight_and_its_gradient_have_the_same_strides(name, kernel, memory_format):
    layer = getattr(nn, name)(4, 3, kernel).to(memory_format=memory_format)
    layer(torch.randn(2, 4, 8, 8)).sum().backward()
    assert layer.weight.grad.stride() == layer.weight.stride()


@pytest.mark.parametrize(
    "options", [{}, {"is_causal": True}, {"attn_mask": torch.zeros(1, 1)}, {"dropout_p": 0.5}], ids=str
)
@pytest.mark.parametrize(
    "make",
    [
        lambda: torch.randn(2, 4, 3, 8).transpose(1, 2),
        lambda: torch.randn(2, 4, 3, 24).permute(1, 2, 0, 3)[..., 8:16],
        lambda: torch.randn(2, 3, 8, 4).transpose(2, 3),
        lambda: torch.randn(2, 3, 4, 8),
    ],
    ids=["heads inside", "chunk", "features outside", "contiguous"],
)
def test_attention_has_the_strides_of_the_built_ins_fused_kernel(make, options):
    x = make().requires_grad_()
    ours, theirs = (
        module.scaled_dot_product_attention(x, x, x, **options) for module in (functional, torch.nn.functional)
    )
    assert ours.stride() == theirs.stride()
