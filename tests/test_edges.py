"""Edge cases that samples do not cover: NaN and padding, windows outside the input, autocast, int32 indices."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

from scratchnet import functional, nn
from scratchnet.optim.penalties import max_norm_

DTYPES = (torch.float32, torch.float64)


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("options", [(3, 1, 1, 1), (3, 2, 1, 1), (3, 1, 2, 2), (1, 1, 1, 1), (2, 1, 1, 1)])
def test_convolution_does_not_multiply_padding(dims, groups, options):
    kernel, *geometry = options
    convolve = getattr(functional, f"conv{dims}d")
    for dtype in DTYPES:
        x = torch.randn(2, 4, *(7, 9, 6)[:dims], dtype=dtype).requires_grad_()
        weight = torch.randn(4, 4 // groups, *(kernel,) * dims, dtype=dtype).requires_grad_()
        broken, place = weight.detach().clone(), torch.zeros_like(weight)
        broken.view(-1)[0], place.view(-1)[0] = float("nan"), 1
        seen = convolve(torch.ones_like(x), place, None, *geometry, groups)
        assert torch.equal(convolve(x, broken, None, *geometry, groups).isnan(), seen > 0)
        y = convolve(x, weight, None, *geometry, groups)
        upstream, place = torch.randn_like(y), torch.zeros_like(y)
        upstream.view(-1)[0], place.view(-1)[0] = float("nan"), 1
        ones = [torch.ones_like(t).requires_grad_() for t in (x, weight)]
        seen_by = torch.autograd.grad(convolve(*ones, None, *geometry, groups), ones, place)
        for create_graph in (False, True):
            found = torch.autograd.grad(y, (x, weight), upstream, create_graph=create_graph, retain_graph=True)
            assert all(torch.equal(grad.isnan(), s > 0) for grad, s in zip(found, seen_by, strict=True))


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_pooling_window_outside_the_input_has_no_gradient(dims):
    pool = getattr(functional, f"max_pool{dims}d")
    x = torch.randn(1, 2, *(2, 3, 5)[:dims], dtype=torch.float64, requires_grad=True)
    y, indices = pool(x, 2, stride=1, padding=2, dilation=3, return_indices=True)
    outside = y.isneginf()
    assert outside.any()
    assert torch.equal(outside, indices == -1)
    (grad,) = torch.autograd.grad(y[~outside].sum(), x, retain_graph=True)
    assert torch.equal(torch.autograd.grad(y.sum(), x)[0], grad)
    tangent = torch.func.jvp(lambda x: pool(x, 2, 1, 2, 3), (x.detach(),), (torch.ones_like(x),))[1]
    assert torch.equal(tangent, (~outside).double())


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic", "area"])
def test_interpolate_to_the_same_size_works_under_transforms(mode):
    x = torch.randn(2, 1, 1, 3, 2)

    def same(x):
        return functional.interpolate(x, size=(3, 2), mode=mode)

    assert torch.equal(torch.func.vmap(same)(x), x)
    assert torch.equal(torch.func.grad(lambda x: same(x).sum())(x[0]), torch.ones_like(x[0]))
    assert torch.equal(torch.func.jvp(same, (x[0],), (x[0],))[1], x[0])


@pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning")
@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("options", [{}, {"bidirectional": True, "num_layers": 2}, {"proj_size": 2}], ids=str)
@pytest.mark.parametrize("packed", [False, True])
def test_recurrent_networks_have_the_dtypes_of_autocast(kind, options, packed):
    if "proj_size" in options and kind != "LSTM":
        options = {"batch_first": True}
    x, found = torch.randn(5, 5, 3), []
    for module in (nn, torch.nn):
        network = getattr(module, kind)(3, 4, **options)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            y, state = network(pack_padded_sequence(x, [5, 3, 3, 2, 1]) if packed else x)
        states = state if isinstance(state, tuple) else (state,)
        found.append([t.dtype for t in (y.data if packed else y, *states)])
    assert found[0] == found[1]


@pytest.mark.parametrize("name", ["embedding", "embedding_bag"])
def test_max_norm_takes_int32(name):
    tables = [torch.randn(3, 4, generator=torch.Generator().manual_seed(0)) for _ in range(2)]
    indices = torch.tensor([[0, 2], [2, 2]], dtype=torch.int32)
    ours = getattr(functional, name)(indices, tables[0], max_norm=1.0)
    expected = getattr(torch.nn.functional, name)(indices, tables[1], max_norm=1.0)
    torch.testing.assert_close(ours, expected)
    torch.testing.assert_close(*tables)


@pytest.mark.parametrize("name", ["batch_norm", "instance_norm", "group_norm", "layer_norm"])
@pytest.mark.parametrize("value", [0.1, 1e8, 1e30])
def test_a_constant_is_normalized_to_zero(name, value):
    options = {"batch_norm": (None, None, None, None, True), "group_norm": (3,), "layer_norm": ((3, 7, 7),)}
    x = torch.full((8, 3, 7, 7), value, requires_grad=True)
    y = getattr(functional, name)(x, *options.get(name, ()))
    assert not y.any()
    assert torch.autograd.grad(y, x, torch.randn_like(y))[0].isfinite().all()


@pytest.mark.parametrize("scale", [1e30, 1e-30])
@pytest.mark.parametrize("p", [1.5, 2.0, 3.0, 200.0])
def test_norms_neither_overflow_nor_underflow(scale, p):
    """Norms are homogeneous, so a scale changes values and gradients by known factors."""
    x, z = (torch.rand(4, 6, generator=torch.Generator().manual_seed(i)) + 0.1 for i in (0, 1))
    degree_one = (
        lambda x, z: functional.pairwise_distance(x, z, p, eps=0.0),
        lambda x, z: functional.cdist(x, z, p),
        lambda x, z: functional.pdist(x, p),
        lambda x, z: functional.lp_pool1d(x, p, 3, stride=1),
        lambda x, z: functional.triplet_margin_loss(x, z, x.flip(0), margin=1e-35, p=p, eps=0.0),
    )
    degree_zero = (
        lambda x, z: functional.normalize(x, p, eps=0.0),
        lambda x, z: functional.cosine_similarity(x, z, eps=0.0),
    )
    for norm in (*degree_one, *degree_zero):
        unit = scale if norm in degree_one else 1.0
        small, large = ([t.mul(s).requires_grad_() for t in (x, z)] for s in (1.0, scale))
        expected, got = norm(*small), norm(*large)
        torch.testing.assert_close(got / unit, expected, rtol=1e-4, atol=1e-6)
        wanted, found = (
            torch.autograd.grad(y.sum(), of, allow_unused=True) for y, of in ((expected, small), (got, large))
        )
        for one, other in zip(found, wanted, strict=True):
            if other is not None:
                torch.testing.assert_close(one * (scale / unit), other, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_empty_sequences_return_the_initial_states(kind, bidirectional):
    network = getattr(nn, kind)(3, 4, num_layers=2, bidirectional=bidirectional)
    features, layers = 8 if bidirectional else 4, 4 if bidirectional else 2
    state = torch.randn(layers, 5, 4, requires_grad=True)
    hx = (state, state.detach() * 2) if kind == "LSTM" else state
    empty = torch.zeros(0, 3)
    packed = PackedSequence(empty, torch.zeros(0, dtype=torch.int64))
    for x in (torch.zeros(0, 5, 3), packed):
        y, final = network(x, hx)
        assert (y.data if x is packed else y).shape == ((0, features) if x is packed else (0, 5, features))
        for one, other in zip(*((s,) if isinstance(s, Tensor) else s for s in (final, hx)), strict=True):
            assert torch.equal(one, other)
        first = final if isinstance(final, Tensor) else final[0]
        assert torch.equal(torch.autograd.grad(first.sum(), state)[0], torch.ones_like(state))
    y, final = network(empty)
    assert y.shape == (0, features)
    assert not (final if isinstance(final, Tensor) else final[0]).any()


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("boolean", [False, True])
def test_fully_masked_query_has_zero_weights(average, boolean):
    attention = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(2, 3, 8, requires_grad=True)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    mask[1] = True
    mask = mask if boolean else torch.zeros(3, 3).masked_fill(mask, float("-inf"))
    y, weights = attention(x, x, x, attn_mask=mask, average_attn_weights=average)
    assert not weights[..., 1, :].any()
    torch.testing.assert_close(y, attention(x, x, x, attn_mask=mask, need_weights=False)[0])
    first = torch.autograd.grad(y.square().sum() + weights.square().sum(), x, create_graph=True)[0]
    assert first.isfinite().all()
    assert torch.autograd.grad(first.square().sum(), x)[0].isfinite().all()


@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.int32, torch.int64], ids=str)
@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_resampling_takes_integers_and_booleans(dtype, mode):
    x = torch.randint(0, 2, (2, 3, 4, 5)).to(dtype)
    expected = torch.nn.functional.interpolate(x.double(), size=(7, 3), mode=mode).to(dtype)
    assert torch.equal(functional.interpolate(x, size=(7, 3), mode=mode), expected)


def test_lp_pool_of_negative_sums_of_odd_powers():
    x = torch.tensor([[-1.0, -2.0, -3.0, 4.0]], dtype=torch.float64, requires_grad=True)
    y = functional.lp_pool1d(x, 3, 2)
    torch.testing.assert_close(y, torch.tensor([[-(9 ** (1 / 3)), 37 ** (1 / 3)]], dtype=torch.float64))
    assert torch.autograd.gradcheck(lambda x: functional.lp_pool1d(x, 3, 2), x)


def grad(function, *inputs):
    leaves = [x.clone().requires_grad_() for x in inputs]
    y = function(*leaves)
    return y, torch.autograd.grad(y.sum(), leaves)


INFINITY, NAN = float("inf"), float("nan")
ODD = torch.tensor([[0.1, NAN, 0.2], [0.0, 1.0, 0.1], [NAN, 1.0, 1.0]])
LABELS = torch.tensor([[0, -1, 1], [0, 1, -1], [1, 2, -1]])
SAME_RESULTS = {
    "margin_ranking_loss of NaN": lambda L: grad(
        lambda a, b: L.margin_ranking_loss(a, b, torch.ones(3), reduction="none"), ODD[0], ODD[1]
    ),
    "multi_margin_loss of NaN": lambda L: [
        grad(lambda x, p=p: L.multi_margin_loss(x, torch.tensor([0, 0, 1]), p=p), ODD) for p in (1, 2)
    ],
    "multilabel_margin_loss of NaN": lambda L: grad(lambda x: L.multilabel_margin_loss(x, LABELS), ODD),
    "normalize with p=0": lambda L: grad(lambda x: L.normalize(x, 0.0), torch.tensor([[1.0, NAN, INFINITY, 0]])),
    "cdist with p=0": lambda L: grad(
        lambda x: getattr(L, "cdist", torch.cdist)(x, ODD, 0.0), torch.tensor([[INFINITY, 0.0, 1.0]])
    ),
    "area of infinities": lambda L: L.interpolate(torch.full((1, 1, 4, 5), INFINITY), size=(3, 8), mode="area"),
    "one target of one dimension": lambda L: [
        loss(torch.ones(4), torch.tensor([1]), reduction="none") for loss in (L.cross_entropy, L.nll_loss)
    ],
    "soft_margin_loss of two dtypes": lambda L: L.soft_margin_loss(torch.ones(3).half(), torch.ones(3)),
    "feature_alpha_dropout of a transposed matrix": lambda L: (
        torch.manual_seed(0),
        L.feature_alpha_dropout(torch.ones(5, 7).t(), 0.5, True),
    )[1],
    "embedding_bag of a table without rows": lambda L: [
        L.embedding_bag(torch.zeros(0).long(), torch.ones(0, 3), torch.zeros(4).long(), mode=mode)
        for mode in ("sum", "mean", "max")
    ],
    "multilabel_margin_loss of one score": lambda L: [
        L.multilabel_margin_loss(torch.ones(shape), torch.zeros(other).long(), reduction="none")
        for shape, other in (((), (1,)), ((1,), ()))
    ],
    "batch_norm of nothing, by a variance that is no number": lambda L: grad(
        lambda w: L.batch_norm(torch.ones(2, 3, 0), torch.zeros(3), torch.full((3,), NAN), w), torch.ones(3)
    ),
    "dropout of all channels of a vector": lambda L: [
        drop(torch.tensor([1.0, NAN, 2.0]), 1.0, True) for drop in (L.dropout2d, L.feature_alpha_dropout)
    ],
    "dropout1d of one position, transposed": lambda L: (
        torch.manual_seed(0),
        L.dropout1d(torch.ones(1, 5, 7).permute(2, 1, 0), 0.5, True),
    )[1],
}


def attention_over_static_keys(library, keys, values, mask, **options):
    """Attends from 3 queries to static keys and values in place of 2 projected ones."""
    tensors = torch.ones(3, 1, 4), *[torch.ones(2, 1, 4)] * 2
    projections = torch.ones(12, 4), None, None, None, False, 0.0, torch.ones(4, 4), None
    static = {"static_k": torch.ones(2, keys, 2), "static_v": torch.ones(2, values, 2)}
    return library.multi_head_attention_forward(*tensors, 4, 2, *projections, attn_mask=mask, **static, **options)


TWO_BATCHES = torch.ones(2, 1, 3, 4), torch.ones(3, 1, 3, 4), torch.ones(3, 1, 3, 4)
BOTH_REFUSE = {
    "softsign of booleans": lambda L: L.softsign(torch.tensor([True])),
    "tanhshrink of booleans": lambda L: L.tanhshrink(torch.tensor([True])),
    "l1_loss of booleans": lambda L: L.l1_loss(torch.tensor([True]), torch.ones(1)),
    "margin_ranking_loss of booleans": lambda L: L.margin_ranking_loss(*torch.ones(3, 2).bool()),
    "triplet_margin_loss of booleans": lambda L: L.triplet_margin_loss(*torch.ones(3, 2, 2).bool()),
    "pairwise_distance of booleans": lambda L: L.pairwise_distance(*torch.ones(2, 2, 2).bool()),
    "pairwise_distance of empty vectors": lambda L: L.pairwise_distance(*torch.ones(2, 2, 0), p=INFINITY),
    "soft_margin_loss of a larger target": lambda L: L.soft_margin_loss(torch.ones(1, 4), torch.ones(3, 4)),
    "binary_cross_entropy's weight": lambda L: L.binary_cross_entropy(*torch.ones(2, 3), torch.ones(2)),
    "pos_weight": lambda L: L.binary_cross_entropy_with_logits(*torch.ones(2, 3), pos_weight=torch.ones(2)),
    "embedding_bag of an integer table": lambda L: L.embedding_bag(torch.tensor([[0]]), torch.ones(2, 3).int()),
    "attention of two batches": lambda L: L.scaled_dot_product_attention(*TWO_BATCHES),
    "attention with a mask of another dtype": lambda L: L.scaled_dot_product_attention(
        *torch.ones(3, 1, 1, 1, 1), attn_mask=torch.ones(1, 1).double()
    ),
    **{
        f"max_unpool{d}d to less than nothing, batch {n}": lambda L, d=d, n=n: getattr(L, f"max_unpool{d}d")(
            torch.zeros(n, 2, *[2] * d), torch.zeros(n, 2, *[2] * d).long(), 2, padding=4
        )
        for d in (1, 2, 3)
        for n in (0, 1)
    },
    "attention of two batches with projections": lambda L: L.multi_head_attention_forward(
        *[torch.ones(2, n, 4) for n in (8, 2, 2)],
        *(4, 2, torch.ones(12, 4), None, None, None, False, 0.0, torch.ones(4, 4), None),
    ),
    "attention with a mask for other keys": lambda L: attention_over_static_keys(L, 5, 5, torch.zeros(3, 2)),
    "attention over fewer values than keys": lambda L: attention_over_static_keys(L, 5, 4, None),
    "attention over fewer values than keys, without weights": lambda L: attention_over_static_keys(
        L, 5, 4, None, need_weights=False
    ),
    "scaled_mm with a number as recipe": lambda L: L.scaled_mm(
        *[torch.ones(16, 16).to(torch.float8_e4m3fn)] * 2, torch.ones(()), (1, 2), torch.ones(()), (1, 2)
    ),
}


@pytest.mark.filterwarnings("ignore:dropout2d:UserWarning")
@pytest.mark.parametrize("call", SAME_RESULTS.values(), ids=SAME_RESULTS)
def test_results_are_those_of_the_built_in(call):
    torch.testing.assert_close(call(functional), call(torch.nn.functional), equal_nan=True)


@pytest.mark.parametrize("call", BOTH_REFUSE.values(), ids=BOTH_REFUSE)
def test_errors_say_what_the_op_expects(call):
    errors = TypeError, ValueError, RuntimeError, IndexError, AttributeError
    with pytest.raises(errors):
        call(torch.nn.functional)
    with pytest.raises(errors, match=r"^\w+: expected "):
        call(functional)


def test_grouped_mm_refuses_offsets_that_decrease_or_lie_beyond():
    for offs in ([4, 2], [2, 8]):
        with pytest.raises(RuntimeError, match="grouped_mm: expected increasing offs up to 4"):
            functional.grouped_mm(torch.ones(4, 4), torch.ones(2, 4, 4), offs=torch.tensor(offs))


def test_weights_whose_squares_overflow_are_shortened():
    weight = torch.full((1, 4), 4096.0, dtype=torch.float16)
    assert torch.equal(max_norm_(weight, 0.5), torch.full((1, 4), 0.25, dtype=torch.float16))


@pytest.mark.parametrize(("size", "widths"), [(1, (1, -1)), (1, (-1, 1)), (3, (-3, 3)), (2, (1, -2))])
def test_circular_padding_of_nothing_is_refused(size, widths):
    # The built-in returns memory that nobody wrote.
    with pytest.raises(RuntimeError, match="pad: expected widths that leave elements"):
        functional.pad(torch.ones(1, 1, size), widths, mode="circular")
