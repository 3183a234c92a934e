"""Faults of built-ins that the campaign has found, by op and condition: differences from these are not ours.

`python -m tests.campaigns faults` writes docs/builtin_faults.md from this list, and a test runs each line of proof.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from .fuzz import Case

__all__ = ["FAULTS", "Fault", "known", "page"]


class Fault(NamedTuple):
    """A fault of built-ins.

    Attributes:
        ops: The names of ops, or a pattern of them.
        when: Under which condition, and what the built-in does.
        proof: An expression that is true, or raises the error below, while the built-in has the fault.
        error: Words of the error that the proof raises.
        kinds: The kinds of findings that it explains; with ``empty`` or ``infinite``, of calls with such tensors alone.
        said: A pattern of the words of these findings.
        changes: Changes of which the case has at least one, or all of those joined by a plus; empty for any.
        given: A pattern of the dtypes of the case's tensors, of which one has to match; empty for any.
        call: A pattern of the call with its arguments; empty for any.
    """

    ops: str
    when: str
    proof: str
    error: str = ""
    kinds: str = "differs"
    said: str = ""
    changes: str = ""
    given: str = ""
    call: str = ""


NORMS = "batch_norm|instance_norm"
PRODUCTS = (
    r"bilinear|linear\w*|conv\w+|\w+_mm|RNN\w*|LSTM\w*|GRU\w*|\w+attention\w*|cdist|\w+_kernel|Transformer\w*"
)
FAULTS = (
    Fault(
        ".*",
        "does not check wrong arguments for tensors without elements",
        'F.local_response_norm(torch.ones(0, 3, 4), 2, alpha="a").shape == (0, 3, 4)',
        kinds="refuses empty",
        changes="spoiled one_size options",
    ),
    Fault(
        "pixel_unshuffle",
        "returns the input's shape if it has no elements",
        "F.pixel_unshuffle(torch.ones(1, 0, 4, 4), 2).shape == (1, 0, 4, 4)",
        kinds="differs empty",
    ),
    Fault(
        NORMS,
        "refuses inputs without channels",
        "F.batch_norm(torch.ones(4, 0), None, None, torch.ones(0), torch.ones(0), True)",
        "select(): index 0 out of range",
        kinds="accepts empty",
    ),
    Fault(
        "batch_norm",
        "reads a weight as if it were contiguous in the backward of evaluation",
        "torch.autograd.grad((y := F.batch_norm((x := torch.ones(2, 2, requires_grad=True)), torch.zeros(2), "
        "torch.ones(2), torch.tensor([1.0, 9.0, 2.0])[::2], torch.zeros(2), eps=0.0)), x, torch.ones_like(y))[0]"
        "[0, 1] == 9",
        said="gradient of input 0",
    ),
    Fault(
        "RNN|LSTM|GRU",
        "refuses sequences of length 0",
        "torch.nn.RNN(1, 1)(torch.ones(0, 1, 1))",
        "Expected sequence length to be larger than 0",
        kinds="accepts empty",
    ),
    Fault(
        "bilinear",
        "refuses inputs without features",
        "F.bilinear(torch.ones(5, 0), torch.ones(5, 4), torch.ones(2, 0, 4))",
        "cannot reshape tensor of 0 elements",
        kinds="accepts empty",
    ),
    Fault(
        "avg_pool3d|lp_pool3d",
        "refuses kernels that fit the padded input, which avg_pool2d takes",
        "F.avg_pool3d(torch.ones(1, 1, 1, 5, 4), 3, padding=1)",
        "smaller than kernel size",
        kinds="accepts",
    ),
    Fault(
        "fractional_max_pool3d.*",
        "refuses windows that fill the input, which fractional_max_pool2d takes",
        "F.fractional_max_pool3d(torch.ones(1, 1, 2, 2, 2), 2, output_size=1)",
        "too large relative to input",
        kinds="accepts",
    ),
    Fault(
        "max_pool3d.*|adaptive_max_pool3d.*",
        "refuses some unbatched inputs that are not contiguous",
        "F.max_pool3d(torch.ones(3, 3, 5, 4).to(memory_format=torch.channels_last), 2)",
        "Unsupported memory format",
        kinds="accepts",
        changes="layouts",
    ),
    Fault(
        "max_pool3d.*",
        "takes, in channels last format, another element for the largest of a window of -inf and padding",
        "F.max_pool3d(torch.where(torch.arange(16).view(2, 4, 2).expand(1, 2, 2, 4, 2) == 14, -inf, 0)"
        ".to(memory_format=torch.channels_last_3d), 2, 1, 1, 1, True, True)[1][0, 0, 2, 4, 0] == 6",
        said="output 1|gradient of input",
        changes="layouts+extremes",
    ),
    Fault(
        "CrossMapLRN2d",
        "drops the wrong channel from its running sum, checks no size, and refuses inputs without channels",
        "torch.nn.CrossMapLRN2d(1, 1.0, 1.0, 1.0)(torch.ones(1, 4, 1, 1)).unique().numel() > 1",
        kinds="differs accepts refuses",
    ),
    Fault(
        "cross_entropy",
        "returns NaN for probabilities of no classes",
        "F.cross_entropy(torch.ones(3, 0), torch.ones(3, 0)).isnan()",
        kinds="differs empty",
    ),
    Fault(
        "weight_norm",
        "has the gradient NaN for the length of a vector without elements",
        "torch.func.grad(lambda g: torch._weight_norm(torch.ones(3, 0), g).sum())(torch.ones(3, 1)).isnan().all()",
        kinds="differs empty",
        said="gradient of input 1",
    ),
    Fault(
        "pdist",
        "has the gradient NaN for infinite distances in the norm inf",
        "torch.func.grad(lambda x: F.pdist(x, inf).sum())(torch.tensor([[inf], [0.0]])).isnan().all()",
        said="gradient.*expected nan",
        changes="extremes",
    ),
    Fault(
        "grid_sample",
        "returns NaN at infinite places, outside the image",
        "F.grid_sample(torch.ones(1, 1, 2, 2), torch.tensor([[[[inf, 0.0]]]]), align_corners=False).isnan().all()",
        said="expected nan",
        changes="extremes",
    ),
    Fault(
        "conv.*",
        "multiplies infinite numbers by the zeros of padding",
        "torch.func.grad(lambda w: F.conv_transpose1d(torch.tensor([[[-inf, 0.0]]]), w, padding=1)[..., 1:].sum())"
        "(torch.ones(1, 1, 3)).isnan().any()",
        said="expected nan",
        changes="extremes",
    ),
    Fault(
        "embedding_bag",
        "divides the gradients of wrong rows with scale_grad_by_freq",
        "torch.func.grad(lambda w: F.embedding_bag(torch.tensor([1, 3, 1, 0, 2]), w, torch.tensor([0, 2, 2, 3]), "
        'mode="sum", scale_grad_by_freq=True).sum())(torch.ones(5, 1))[2] == 0.5',
        said="gradient of input 1",
        changes="options",
    ),
    Fault(
        "multilabel_soft_margin_loss",
        "adds up another dimension than the classes for a weight of more dimensions than the input",
        "F.multilabel_soft_margin_loss(torch.zeros(3, 4), torch.zeros(3, 4), torch.ones(2, 1, 1)) "
        "< F.multilabel_soft_margin_loss(torch.zeros(3, 4), torch.zeros(3, 4))",
        changes="options spoiled",
    ),
    Fault(
        "embedding_bag|\\w*avg_pool\\w+|lp_pool\\w+|upsample\\w*|interpolate|CrossMapLRN2d|local_response_norm|\\w+_loss"
        "|\\w+_with_logits|cross_entropy|threshold",
        "lacks kernels for some booleans and integers, which other layouts, dimensions or options have",
        "F.avg_pool1d(torch.ones(1, 1, 4, dtype=torch.uint8), 2)",
        "not implemented for 'Byte'",
        kinds="accepts",
        said="not implemented for|can't be cast|bool tensor is not supported|following scalar types|without overflow"
        "|expected scalar type",
        changes="spoiled",
    ),
    Fault(
        "weight_norm",
        "refuses lengths of another dtype along the first dimension, which it takes along others",
        "torch._weight_norm(torch.ones(3, 4).half(), torch.ones(3, 1).bfloat16(), 0)",
        "expected scalar type",
        kinds="accepts",
        said="expected scalar type",
        changes="spoiled",
    ),
    Fault(
        "scaled_dot_product_attention|multi_head_attention_forward",
        "returns numbers for a query that is NaN",
        "F.scaled_dot_product_attention(torch.full((1, 1, 1, 1), nan), *[torch.ones(1, 1, 1, 1)] * 2) == 0",
        said="got nan",
        changes="extremes",
    ),
    Fault(
        "scaled_dot_product_attention",
        "does not broadcast the queries' batch where there are no keys",
        "F.scaled_dot_product_attention(torch.ones(1, 3, 4), torch.ones(2, 0, 4), torch.ones(2, 0, 4)).shape[0] == 1",
        kinds="differs empty",
        said="shape",
    ),
    Fault(
        "scaled_dot_product_attention",
        "returns NaN for infinite queries, and in float16 for large ones, where there are no keys, whose sum is 0",
        "F.scaled_dot_product_attention(torch.full((1, 1, 1, 4), 60000.0).half(), *[torch.ones(1, 1, 0, 4).half()] * 2)"
        ".isnan().all()",
        kinds="differs empty",
        said="expected nan",
        changes="extremes",
    ),
    Fault(
        "interpolate|upsample|adaptive_avg_pool.*",
        "takes integers where the output has no elements, and refuses them elsewhere",
        'F.interpolate(torch.ones(1, 1, 6, 1).byte(), scale_factor=0.6, mode="area").shape == (1, 1, 3, 0)',
        kinds="refuses",
        said="expected input (of mode 'area' )?to be floating point",
        changes="spoiled options",
    ),
    Fault(
        "rms_norm",
        "drops the imaginary parts of complex weights",
        "F.rms_norm(torch.ones(2, 4), (4,), torch.ones(4) * 1j).dtype is torch.float32",
        said="output: dtype torch.complex",
        changes="spoiled",
    ),
    Fault(
        "cross_entropy",
        "refuses, with label smoothing alone, one sample's target with a dimension",
        "F.cross_entropy(torch.ones(2), torch.tensor([0]), label_smoothing=0.2)",
        "doesn't match the broadcast shape",
        kinds="accepts",
        said="doesn't match the broadcast shape",
    ),
    Fault(
        "pad",
        "returns unwritten memory for circular widths larger than what negative ones leave, or refuses them",
        'torch.func.grad(lambda x: F.pad(x, (3, -2, 0, 0), mode="circular").sum())(torch.ones(1, 1, 2, 3)).sum() == 4',
        kinds="differs accepts",
        call=", -.*mode='circular'|\\(-.*mode='circular'",
    ),
    Fault(
        "max_pool[12]d.*",
        "takes some element for the largest of a window that lies in the padding",
        "F.max_pool2d(torch.ones(1, 1, 5, 1), 2, 1, 1, 2, return_indices=True)[1].min() >= 0",
        said="output 1|gradient of input",
        call="(?=.*padding=.?[1-9])(?=.*dilation=.?[2-9])",
    ),
    Fault(
        "lp_pool.*",
        "has the gradient 0 at NaN",
        "torch.func.grad(lambda x: F.lp_pool1d(x, 1.0, 1).sum())(torch.tensor([[nan]])) == 0",
        said="gradient.*expected -?0 ",
        changes="extremes",
    ),
    Fault(
        "multi_head_attention_forward",
        "does not check a mask that is_causal=True replaces",
        "torch.nn.MultiheadAttention(2, 1)(*[torch.ones(3, 1, 2)] * 3, attn_mask=torch.ones(3, 2).bool(), "
        "is_causal=True, need_weights=False)[0].shape == (3, 1, 2)",
        kinds="refuses",
        said="expected attn_mask",
    ),
    Fault(
        "lp_pool.*",
        "rounds the average of integers before taking the root",
        "F.lp_pool1d(torch.tensor([[0, 1]]), 2, 2) == 0",
        changes="spoiled",
    ),
    Fault(
        "conv_transpose.*",
        "refuses outputs of size 0, which it takes with groups, and in short dtypes",
        "F.conv_transpose2d(torch.ones(1, 2, 5, 1), torch.ones(2, 3, 2, 2), stride=2, padding=1)",
        "Output size is too small",
        kinds="accepts refuses",
        said="Output size is too small|padding that leaves an output",
    ),
    Fault(
        "LSTM",
        "takes a cell state of another batch for packed sequences",
        "torch.nn.LSTM(3, 2)(torch.nn.utils.rnn.pack_sequence([torch.ones(2, 3)] * 2), (torch.ones(1, 2, 2), "
        "torch.ones(1, 1, 2)))[0].data.shape == (4, 2)",
        kinds="refuses",
        said="expected a state",
        changes="one_size",
    ),
    Fault(
        "embedding_bag",
        "takes include_last_offset that is not True or False for rows of indices, and refuses it with offsets",
        "F.embedding_bag(torch.ones(4).long(), torch.ones(5, 3), torch.tensor([0, 2]), include_last_offset=1)",
        "must be bool",
        kinds="accepts",
        said="'include_last_offset' .*must be bool",
        changes="spoiled",
    ),
    Fault(
        "embedding_bag",
        "takes offsets that decrease, and in some modes returns unwritten memory for them",
        'F.embedding_bag(torch.arange(5), torch.ones(5, 1).double(), torch.tensor([0, 3, 2]), mode="sum").shape '
        "== (3, 1)",
        kinds="refuses",
        said="expected offsets that do not decrease",
    ),
    Fault(
        "adaptive_avg_pool.*",
        "takes inputs of any number of dimensions for outputs of size 1, and refuses them for others",
        "F.adaptive_avg_pool2d(torch.ones(1, 1, 2, 4, 4), 1).shape == (1, 1, 2, 1, 1)",
        kinds="refuses",
        said="expected an input of shape",
        changes="spoiled",
    ),
    Fault(
        "multi_head_attention_forward",
        "takes is_causal that is not True or False, and refuses it with need_weights=False",
        "torch.nn.MultiheadAttention(2, 1)(*[torch.ones(3, 1, 2)] * 3, attn_mask=torch.ones(3, 3), is_causal=[], "
        "need_weights=False)",
        "must be bool",
        kinds="accepts",
        said="'is_causal' .*must be bool",
        changes="spoiled",
    ),
    Fault(
        "scaled_mm",
        "refuses scales of one element by a stride that no element has",
        "F.scaled_mm(*[torch.ones(32, 1).to(torch.float8_e4m3fn).t(), torch.ones(32, 1).to(torch.float8_e4m3fn)], "
        "[torch.ones(1, 1)], [F.ScalingType.RowWise], [torch.ones(1, 2)[:, :1].t()], [F.ScalingType.RowWise], "
        "output_dtype=torch.float32)",
        "expected scale_b.stride(1) to be 1",
        kinds="accepts",
        said=r"expected scale_\w\.stride",
        changes="layouts",
    ),
    Fault(
        "grid_sample",
        "reads, of volumes, the last pixel at places without a number, and in reflections at infinite ones; of images "
        "the first",
        "F.grid_sample(torch.arange(8.0).view(1, 1, 2, 2, 2), torch.full((1, 1, 1, 1, 3), -inf), "
        'padding_mode="reflection", align_corners=False) == 7 and F.grid_sample(torch.arange(4.0).view(1, 1, 2, 2), '
        'torch.full((1, 1, 1, 2), -inf), padding_mode="reflection", align_corners=False) == 0',
        kinds="differs infinite",
    ),
    Fault(
        "cross_entropy",
        "takes a weight of another dtype for probabilities, and refuses it for class indices",
        "F.cross_entropy(*torch.ones(2, 1, 2).half(), torch.ones(2).double()).dtype is torch.float64",
        kinds="refuses",
        said="expected weight in the input's dtype",
        changes="spoiled",
    ),
    Fault(
        "RNN|LSTM|GRU",
        "takes states of more sequences than a packed batch has",
        "torch.nn.RNN(3, 2)(torch.nn.utils.rnn.pack_sequence([torch.ones(1, 3), torch.ones(2, 3)], "
        "enforce_sorted=False), torch.ones(1, 5, 2))[0].data.shape == (3, 2)",
        kinds="refuses",
        said="expected a state of shape",
        changes="one_size",
    ),
    Fault(
        "LSTM",
        "takes, with a projection, a cell state of another dtype than the hidden one",
        "torch.nn.LSTM(3, 2, proj_size=1).bfloat16()(torch.ones(3, 2, 3).bfloat16(), (torch.ones(1, 2, 1).bfloat16(), "
        "torch.ones(1, 2, 2).int()))[0].dtype is torch.bfloat16",
        kinds="refuses",
        said="expected input and states of one dtype",
        changes="spoiled",
    ),
    Fault(
        "multi_head_attention_forward",
        "refuses padding of no keys without weights, and takes it with them",
        "torch.nn.MultiheadAttention(4, 2)(*[torch.ones(n, 4) for n in (3, 0, 0)], key_padding_mask=torch.ones(0), "
        "need_weights=False)",
        "cannot reshape tensor of 0 elements",
        kinds="accepts empty",
        said="cannot reshape tensor of 0 elements",
    ),
    Fault(
        "(RNN|LSTM|GRU)Cell",
        "takes several states for one sample, and may end the process",
        "torch.nn.RNNCell(3, 2)(torch.ones(3), torch.ones(2, 2)).shape == (2, 2)",
        kinds="refuses",
        said="expected hx of shape",
        changes="spoiled one_size",
    ),
    Fault(
        "gaussian_nll_loss",
        "takes a target that is a number",
        "F.gaussian_nll_loss(torch.ones(2), 1.5, torch.ones(2)) == 0.125",
        kinds="refuses",
        said="expected target to be a tensor",
        changes="spoiled",
    ),
    Fault(
        "gaussian_nll_loss",
        "takes complex numbers, for which the loss has no meaning",
        "F.gaussian_nll_loss(torch.ones(1) * 2j, torch.zeros(1), torch.ones(1)).real == -2",
        kinds="refuses",
        said="expected real numbers",
        changes="spoiled",
    ),
    Fault(
        "poisson_nll_loss",
        "takes complex numbers, for which the loss has no meaning",
        "F.poisson_nll_loss(torch.ones(1), torch.ones(1) * 2j).imag == -2",
        kinds="refuses",
        said="expected real numbers",
        changes="spoiled",
    ),
    Fault(
        "binary_cross_entropy_with_logits",
        "takes complex targets, for which the loss has no meaning",
        "F.binary_cross_entropy_with_logits(torch.ones(1), torch.ones(1) * 2j).imag == -2",
        kinds="refuses",
        said="expected a floating-point target, got a complex",
        changes="spoiled",
    ),
    Fault(
        "weight_norm",
        "divides by 0 for tiny vectors, whose squares underflow",
        "torch._weight_norm(torch.full((1, 4), 1e-30), torch.ones(1, 1), 0).isinf().all()",
        said="expected (nan|-?inf)",
        changes="extremes",
    ),
    Fault(
        "fractional_max_pool.*",
        "does not check output_ratio beside output_size",
        'F.fractional_max_pool2d(torch.ones(1, 4, 4), 2, output_size=2, output_ratio="a").shape == (1, 2, 2)',
        kinds="refuses",
        said="expected output_ratio",
        changes="spoiled",
    ),
    Fault(
        "gaussian_nll_loss",
        "refuses a variance that is a whole number, and takes 3.0",
        "F.gaussian_nll_loss(torch.ones(2), torch.ones(2), 3)",
        "any() received an invalid combination",
        kinds="accepts",
        said="any.. received an invalid combination",
        changes="spoiled",
    ),
    Fault(
        "pad",
        "returns unwritten memory for circular widths that crop all elements, and then continue them",
        'F.pad(torch.ones(1, 1, 3), (-3, 3), mode="circular").shape == (1, 1, 3)',
        kinds="refuses",
        said="expected widths that leave elements",
    ),
    Fault(
        "LSTMCell",
        "takes a cell state of another dtype, and returns a hidden state that it then refuses",
        "torch.nn.LSTMCell(1, 1).bfloat16()(torch.ones(1, 1).bfloat16(), (torch.ones(1, 1).bfloat16(), "
        "torch.ones(1, 1)))[0].dtype is torch.float32",
        kinds="refuses",
        said="hx and parameters of one dtype",
        changes="spoiled",
    ),
    Fault(
        "max_unpool.*",
        "does not check a kernel that output_size makes superfluous",
        "F.max_unpool2d(torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1).long(), 2.5, output_size=(2, 3))"
        ".shape == (1, 1, 2, 3)",
        kinds="refuses",
        said="expected (kernel_size|stride|padding) to be",
        changes="spoiled",
    ),
    Fault(
        "max_unpool.*",
        "takes negative padding",
        "F.max_unpool1d(torch.ones(1, 1, 3), torch.zeros(1, 1, 3).long(), 3, 2, -1).shape == (1, 1, 9)",
        kinds="refuses",
        said="expected padding",
    ),
    Fault(
        "elu_?|celu_?|selu_?|hardswish_?|hardtanh_?|relu6_?|hardshrink|softshrink",
        "has one gradient at NaN in whole vectors of numbers, NaN or 0, and another one in the rest, 1",
        "torch.func.grad(lambda x: F.celu(x).sum())(torch.full((33,), nan)).isnan().sum() == 32",
        said="gradient.*(expected|got) nan|gradient.*expected -?0 ",
        changes="extremes",
    ),
    Fault(
        "ctc_loss",
        "has a wrong gradient for a target that ends with the blank",
        "torch.func.grad(lambda z: F.ctc_loss(z.log_softmax(-1).unsqueeze(1), torch.tensor([[0]]), torch.tensor([2]), "
        "torch.tensor([1])))(torch.zeros(2, 2))[1, 0] > -0.5",
        said="gradient",
        changes="layouts sizes spoiled",
    ),
    Fault(
        "cdist|pdist|pairwise_distance|triplet_margin_loss",
        "overflows for huge norms, and underflows for tiny vectors",
        "torch.cdist(torch.full((1, 2), 2.0), torch.zeros(1, 2), 2.0**70) == inf",
        changes="spoiled extremes",
    ),
    Fault(
        "embedding_bag",
        "ends the last bag at the last index, and not at the last offset, in some dtypes",
        'F.embedding_bag(torch.arange(5), torch.ones(5, 1).double(), torch.tensor([0, 2, 2]), mode="sum", '
        "include_last_offset=True)[1] == 3",
        changes="one_size sizes layouts options",
    ),
    Fault(
        "embedding_bag",
        "refuses bags of no indices",
        "F.embedding_bag(torch.ones(2, 0).long(), torch.ones(5, 2))",
        "step must be nonzero",
        kinds="accepts empty",
    ),
    Fault(
        "weight_norm",
        "reads lengths of any shape as those of rows",
        "torch._weight_norm(torch.ones(3, 4), torch.tensor([1.0, 2.0, 3.0, 4.0]), 0)[0].unique().numel() == 1",
        changes="options one_size",
    ),
    Fault(
        "binary_cross_entropy_with_logits",
        "subtracts 1 from a pos_weight of bytes without sign",
        "F.binary_cross_entropy_with_logits(torch.ones(1), torch.ones(1), pos_weight=torch.zeros(1).byte()) > 9",
        changes="spoiled",
        given="uint8",
    ),
    Fault(
        NORMS,
        "takes some statistics of other dtypes than the input's",
        "F.instance_norm(torch.ones(1, 3, 2).half(), torch.zeros(3).double(), torch.ones(3).half()).shape[0] == 1",
        kinds="refuses",
        said="in the dtype of the input|expected running_\\w+ to be floating point",
        changes="spoiled",
    ),
    Fault(
        "nll_loss|cross_entropy",
        "takes inputs without classes where all targets are ignored",
        'F.nll_loss(torch.ones(3, 0), torch.full((3,), -100), reduction="sum") == 0',
        kinds="refuses empty",
    ),
    Fault(
        "max_unpool.*",
        "does not check indices into an output of size 0",
        "F.max_unpool1d(torch.ones(1, 2, 1), torch.tensor([[[0], [7]]]), 2, padding=1).shape == (1, 2, 0)",
        kinds="refuses",
        said="expected indices",
    ),
    Fault(
        ".*_with_indices",
        "does not check return_indices, which it ignores",
        'F.max_pool1d_with_indices(torch.ones(1, 4), 2, return_indices="a")[0].shape == (1, 2)',
        kinds="refuses",
        said="expected return_indices",
    ),
    Fault(
        "grouped_mm",
        "takes offsets that decrease, or that lie beyond the matrix",
        "F.grouped_mm(torch.ones(4, 4), torch.ones(2, 4, 4), offs=torch.tensor([4, 2], dtype=torch.int32)).shape "
        "== (4, 4)",
        kinds="refuses",
        said="expected increasing offs",
    ),
    Fault(
        "linear|conv.*|multi_head.*|Transformer.*",
        "takes biases of other shapes and dtypes than documented",
        "F.linear(torch.ones(2, 3), torch.ones(4, 3), torch.ones(1, 4)).shape == (2, 4)",
        kinds="refuses",
        said="expected (in_proj_)?bias|of one dtype",
    ),
    Fault(
        "conv.*",
        "takes weights without elements, and loses their output channels",
        "F.conv2d(torch.ones(1, 0, 5, 4), torch.ones(3, 0, 0, 0)).shape == (1, 0, 6, 5)",
        kinds="refuses differs empty",
    ),
    Fault(
        NORMS,
        "takes a weight or bias without dimensions for one channel",
        "F.batch_norm(torch.ones(4, 1), None, None, torch.ones(1), torch.tensor(0.0), True).shape == (4, 1)",
        kinds="refuses",
        said="expected (weight|bias) of shape",
        changes="spoiled",
    ),
    Fault(
        "cross_entropy",
        "ignores a negative label_smoothing for class indices, which it refuses for probabilities",
        "F.cross_entropy(torch.tensor([[0.0, 1.0]]), torch.tensor([0]), label_smoothing=-7) == "
        "F.cross_entropy(torch.tensor([[0.0, 1.0]]), torch.tensor([0]))",
        kinds="refuses",
        said="expected label_smoothing between 0 and 1",
    ),
    Fault(
        "cosine_embedding_loss",
        "returns cosines beyond 1 where the features of one input are broadcast",
        "F.cosine_embedding_loss(torch.ones(1, 1), torch.ones(1, 4), torch.ones(1)) == -1",
        changes="sizes one_size spoiled",
    ),
    Fault(
        "multilabel_soft_margin_loss",
        "takes weights and targets that are no tensors, and complex numbers",
        "F.multilabel_soft_margin_loss(torch.zeros(1, 2), torch.zeros(1, 2), weight=1 + 2j).is_complex()",
        kinds="refuses",
        said="expected (weight|target) to be a tensor|expected real numbers",
        changes="spoiled",
    ),
    Fault(
        "margin_ranking_loss",
        "negates a target of bytes without sign",
        "F.margin_ranking_loss(torch.ones(1), torch.zeros(1), torch.ones(1).byte()) == 255",
        changes="spoiled",
        given="uint8",
    ),
    Fault(
        "margin_ranking_loss",
        "has the gradient NaN where an infinite difference or target costs nothing",
        "torch.func.grad(lambda t: F.margin_ranking_loss(torch.tensor([-inf]), torch.zeros(1), t))(-torch.ones(1))"
        ".isnan()",
        said="gradient.*expected nan",
        changes="extremes",
    ),
    Fault(
        "huber_loss",
        "returns the input's dtype where the target has a wider one, unlike other losses",
        'F.huber_loss(torch.ones(2).half(), torch.ones(2), reduction="none").dtype is torch.float16',
        said="output: dtype",
    ),
    Fault(
        "binary_cross_entropy_with_logits",
        "returns the target's dtype where the input has a wider one, unlike other losses",
        "F.binary_cross_entropy_with_logits(torch.ones(2), torch.ones(2).half()).dtype is torch.float16",
        said="output: dtype",
    ),
    Fault(
        "linear",
        "refuses a bias with a weight of one dimension",
        "F.linear(torch.ones(4, 3), torch.ones(3), torch.ones(1))",
        "mat2 must be a matrix",
        kinds="accepts",
        said="mat2 must be a matrix",
    ),
    Fault(
        "triplet_margin_loss|pairwise_distance",
        "refuses negative norms of vectors without elements, and takes positive ones",
        "F.triplet_margin_loss(*[torch.ones(3, 0)] * 3, p=-1)",
        "does not have an identity",
        kinds="accepts empty",
        said="does not have an identity",
    ),
    Fault(
        NORMS,
        "returns NaN for infinite weights, from a difference of infinities",
        "F.instance_norm(torch.tensor([[[1.0, 2.0, 6.0]]]), weight=torch.tensor([inf])).isnan().any()",
        said="output:.*expected nan",
        changes="extremes",
    ),
    Fault(
        "local_response_norm",
        "has the gradient NaN beside channels of infinities for a beta beyond 1",
        "torch.func.grad(lambda x: F.local_response_norm(x, 3, beta=2.0)[:, 1].sum())"
        "(torch.tensor([[[0.5], [1.0], [inf]]]))[0, 0].isnan()",
        said="gradient.*expected nan",
        changes="extremes",
    ),
    Fault(
        "local_response_norm",
        "rounds the mean square of integers",
        "F.local_response_norm(torch.tensor([[[1], [0]]]), 2, 1.0)[0, 1, 0] == 0 and "
        "F.local_response_norm(torch.tensor([[[1], [0]]]), 2, 1.0)[0, 0, 0] == 1",
        changes="spoiled",
        given="int",
    ),
    Fault(
        "local_response_norm",
        "refuses images that are not contiguous, and takes sequences",
        "F.local_response_norm(torch.ones(1, 3, 2, 2, 2).transpose(-1, -2), 3)",
        "view size is not compatible",
        kinds="accepts",
        said="view size is not compatible",
        changes="layouts",
    ),
    Fault(
        "pixel_shuffle|pixel_unshuffle",
        "refuses the memory format channels_last_3d",
        "F.pixel_unshuffle(torch.ones(1, 2, 2, 4, 2).to(memory_format=torch.channels_last_3d), 2)",
        "Unsupported memory format",
        kinds="accepts",
        said="Unsupported memory format",
        changes="layouts",
    ),
    Fault(
        "group_norm",
        "has the gradient NaN for the weight of groups without elements",
        "torch.func.grad(lambda w: F.group_norm(torch.ones(2, 4, 0), 2, w).sum())(torch.ones(4)).isnan().all()",
        kinds="differs empty",
        said="gradient of input 2.*expected nan",
    ),
    Fault(
        "upsample\\w*|interpolate",
        "multiplies infinite numbers by coefficients that are 0",
        'F.interpolate(torch.tensor([[[[inf, 0.0]]]]), size=(1, 2), mode="bicubic").isnan().all()',
        said="expected nan",
        changes="extremes",
    ),
    Fault(
        "embedding_bag",
        "drops indices if there are no offsets, and in some modes writes outside its output",
        'F.embedding_bag(torch.tensor([0]), torch.ones(1, 1), torch.zeros(0).long(), mode="sum").shape == (0, 1)',
        kinds="refuses",
        said="expected an offset for",
    ),
    Fault(
        "multi_head_attention_forward",
        "refuses masks of other dtypes, of which it takes float32 with need_weights=False",
        "torch.nn.MultiheadAttention(2, 1).bfloat16()(*[torch.ones(3, 1, 2).bfloat16()] * 3, "
        "attn_mask=torch.ones(3, 3))",
        "Input dtypes must be the same",
        kinds="accepts",
        said="Input dtypes must be the same",
        changes="spoiled",
    ),
    Fault(
        "scaled_dot_product_attention",
        "takes keys and values without heads for queries that have some",
        "F.scaled_dot_product_attention(torch.ones(1, 4, 3, 2), *[torch.ones(1, 0, 3, 2)] * 2, enable_gqa=True)"
        ".shape[1] == 4",
        kinds="refuses empty",
        said="expected with enable_gqa=True",
    ),
    Fault(
        "fractional_max_pool.*",
        "does not check the size of its windows",
        "F.fractional_max_pool2d(torch.ones(1, 1, 4, 4), -1, output_size=2).shape == (1, 1, 2, 2)",
        kinds="refuses",
        said="expected kernel_size to be",
    ),
    Fault(
        "normalize",
        "takes None for the norm 2",
        "F.normalize(torch.tensor([[3.0, 4.0]]), p=None)[0, 0] == 0.6",
        kinds="refuses",
        said="expected p to be a number, got None",
    ),
    Fault(
        "logsumexp",
        "takes no dimensions for all with keepdim=True, and refuses them without",
        "torch.logsumexp(torch.ones(3), [], True).shape == (1,) and torch.logsumexp(torch.ones(3), [])",
        "doesn't match the broadcast shape",
        kinds="accepts",
        said="doesn't match the broadcast shape",
    ),
)
ROUNDING = r"got -?\d\S*e-(0[7-9]|[1-9]\d), expected -?0 .* in .*(float16|float32)"
# Differences that are no faults, and why.
NO_FAULTS = (
    (
        r".*",
        "differs refuses accepts",
        r"expected (nan|-?inf)",
        "docs/conventions.md shows what the built-in returns",
    ),
    (
        rf"{PRODUCTS}|\w+_norm",
        "differs",
        r"got (nan|-?inf), expected (nan|-?inf)",
        "the order of a sum of infinities is free",
    ),
    (
        r".*norm.*|Transformer.*|multi_head.*|cosine.*",
        "differs",
        r"got -?\d\S*e-\d\d, expected -?\S*e-\d\d",
        "terms cancel in groups of one or two, and in vectors of one direction",
    ),
    ("multilabel_margin_loss", "differs", "got 0, ", "the built-in returns unwritten memory for no samples"),
    (
        "embedding_bag",
        "refuses",
        "expected int64 or int32 indices, got a bool",
        "the built-in reads beyond the end of booleans, as if they were integers, and may crash",
    ),
    (
        "kl_div",
        "differs",
        r"gradient of input 1:.*got nan, expected -?0 ",
        "a negative target has the slope NaN, and zero times NaN is NaN",
    ),
    (
        "multi_head.*|scaled_dot.*|Transformer.*",
        "differs",
        rf"gradient.*{ROUNDING}",
        "the shares of keys with equal values cancel but for their rounding",
    ),
    (
        "cross_entropy",
        "differs",
        rf"gradient.*{ROUNDING}",
        "the shares of one class, with label smoothing, cancel but for their rounding",
    ),
    (
        "LSTM.*",
        "differs",
        r"gradient.*None for output \d got nan, expected -?\d",
        "a gradient that does not come is zero for ours, and zero times NaN is NaN",
    ),
    (
        ".*",
        "differs",
        r"got -?(inf|nan), expected -?\d\S*e\+(38|37|308|307)",
        "intermediate results may overflow if the result nearly does",
    ),
    (".*", "refuses", r"to be a number, got (complex|a \w+ tensor)", "the signature has real numbers"),
    (".*", "accepts", "OverflowError", "ours takes whole numbers of any size as numbers"),
)


def known(case: Case, kind: str, said: str) -> str:
    """Returns why a finding is not ours; empty if nothing explains it."""
    name, changes = case.record.name, set(case.changes)
    given = " ".join(str(x.dtype) for x in case.tensors)
    for fault in FAULTS:
        kinds = fault.kinds.split()
        if (
            re.fullmatch(fault.ops, name)
            and kind in kinds
            and ("empty" not in kinds or case.empty)
            and ("infinite" not in kinds or case.infinite)
            and re.search(fault.said, said)
            and (not fault.changes or any(changes.issuperset(each.split("+")) for each in fault.changes.split()))
            and (not fault.given or re.search(fault.given, given))
            and re.search(fault.call, str(case))
        ):
            return f"{fault.ops} {fault.when}"
    if any(beyond.says and beyond.says.split(",")[0] in said for beyond in case.record.beyond):
        return "docs/conventions.md"
    if case.composed and (kind in ("accepts", "refuses") or "nan" in said or "spoiled" in changes):
        return "the catalog's composition is no built-in"
    for ops, kinds, pattern, reason in NO_FAULTS:
        if re.fullmatch(ops, name) and kind in kinds and re.search(pattern, f"{said} in {given}"):
            if "conventions" not in reason or case.record.beyond:
                return reason
    return ""


def page() -> str:
    """Returns docs/builtin_faults.md."""
    lines = [
        "# Faults of built-ins",
        "",
        "Random calls of every op (`python -m tests.campaigns fuzz`) found these in torch 2.13.0 on a CPU.",
        "Each line of proof is true, or raises the error beside it, after `import torch, torch.nn.functional as F` and",
        '`inf, nan = float("inf"), float("nan")`. docs/conventions.md has the results that are defined mathematically.',
        "`python -m tests.campaigns faults` writes this page.",
        "",
    ]
    for fault in FAULTS:
        ops = (
            "every op"
            if fault.ops == ".*"
            else ", ".join(f"`{op}`" for op in fault.ops.replace(".*", "…").split("|"))
        )
        lines += [f"- {ops}: {fault.when}", "", "  ```text", f"  {fault.proof}", "  ```", ""]
        if fault.error:
            lines[-1:] = [f"  raises `{fault.error}`", ""]
    return "\n".join(lines)
